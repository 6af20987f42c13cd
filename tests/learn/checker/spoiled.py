"""How a right model is spoiled: one method replaced, and the names that the checker must then give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tests.learn.checker.models import (
    BOOK,
    LLAMA,
    NANO,
    BookAttention,
    BookBlock,
    BookGPT,
    LlamaAttention,
    LlamaBlock,
    LlamaLM,
    NanoAttention,
    NanoGPT,
    QwenConfig,
    QwenLM,
)
from torch import nn

from vidro.learn.checker import check_model

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Case:
    """A spoiled model, the names of all its faults, and part of the place of the first one named."""

    make: Make
    names: frozenset[str]
    where: str | None
    arguments: dict[str, Any]


class Cases(dict[str, Case]):
    """The mistakes of one file. Those whose name begins with R were made by real readers."""

    def add(self, name: str, names: str, make: Make, where: str | None = None, **arguments: Any) -> None:
        """Register a mistake: no more and no fewer names than these may be given."""
        assert name not in self
        self[name] = Case(make, frozenset(names.split()), where, arguments)


def assert_named(case: Case) -> None:
    """Exactly the faults of the case are named, at the right place, and the model is left as it was."""
    torch.manual_seed(0)
    model = case.make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = check_model(model, **case.arguments)
    assert report.names == case.names, str(report)
    if case.where is not None:
        assert any(case.where in (finding.where or "") for finding in report.faults), str(report)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def book(**methods: Any) -> Callable[[], nn.Module]:
    """The book's model with these methods of its attention replaced."""
    attention = type("Attention", (BookAttention,), methods)
    block = type("Block", (BookBlock,), {"attention": attention})
    return lambda: type("GPT", (BookGPT,), {"block": block})(BOOK)


def book_model(**methods: Any) -> Callable[[], nn.Module]:
    """The book's model with these methods of its own replaced."""
    return lambda: type("GPT", (BookGPT,), methods)(BOOK)


def nano(**methods: Any) -> Callable[[], nn.Module]:
    """nanoGPT's with another attention."""
    attention = type("Attention", (NanoAttention,), methods)
    return lambda: type("GPT", (NanoGPT,), {"attention": attention})(NANO)


def nano_model(**methods: Any) -> Callable[[], nn.Module]:
    """nanoGPT's with these methods replaced."""
    return lambda: type("GPT", (NanoGPT,), methods)(NANO)


def llama(**methods: Any) -> Callable[[], nn.Module]:
    """Llama's with another attention."""
    block = type("Block", (LlamaBlock,), {"attention": type("Attention", (LlamaAttention,), methods)})
    return lambda: type("LM", (LlamaLM,), {"block": block})(**LLAMA)


def llama_model(**methods: Any) -> Callable[[], nn.Module]:
    """Llama's with these methods replaced."""
    return lambda: type("LM", (LlamaLM,), methods)(**LLAMA)


def qwen(**methods: Any) -> Callable[[], nn.Module]:
    block = type("Block", (LlamaBlock,), {"attention": type("Attention", (LlamaAttention,), methods)})
    return lambda: type("LM", (QwenLM,), {"block": block})(QwenConfig())
