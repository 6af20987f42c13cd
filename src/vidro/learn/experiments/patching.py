"""A pass through a model in which some results are replaced by others: the tool of `tracing` and `rank_one`.

What a part gives is looked at with `parts_of`, and replaced, at chosen tokens, with `patched`. A part is named
by its block (from 0) and what it is: "attention" or "feedforward", each what it adds to the residual; "embedding" is
the looked-up token (block -1). Not here: what is to be learned from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidro.core.shapes import Bool, Float, Int
from vidro.model.transformer import Transformer

Part = tuple[int, str]
EMBEDDING: Part = (-1, "embedding")


def sublayers(model: Transformer) -> list[Part]:
    """Attention and feed-forward of each block, in the order in which they work."""
    return [(block, kind) for block in range(len(model.blocks)) for kind in ("attention", "feedforward")]


def module_of(model: Transformer, part: Part) -> nn.Module:
    """The module whose result the part is."""
    block, kind = part
    return model.token_embedding if part == EMBEDDING else getattr(model.blocks[block], kind)


def part_name(part: Part) -> str:
    """How a table calls it; blocks count from 1.

    >>> part_name((0, "feedforward"))
    'feed-forward 1'
    """
    block, kind = part
    return f"{kind.replace('dforward', 'd-forward')} {block + 1}"


@dataclass(frozen=True)
class Patch:
    """Instead of what `part` gives: `value`, at the tokens where `where` is true."""

    part: Part
    where: Bool[Tensor, "B T"]
    value: Float[Tensor, "*B_T D"]


@contextmanager
def patched(model: Transformer, patches: Sequence[Patch]) -> Iterator[None]:
    """Inside, the model works with these results in place of its own."""
    handles = []
    for patch in patches:

        def replace(module: nn.Module, given: Any, result: Tensor, patch: Patch = patch) -> Tensor:
            return torch.where(patch.where[..., None], patch.value, result)

        handles.append(module_of(model, patch.part).register_forward_hook(replace))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def watching(module: nn.Module, *, inputs: bool = False) -> Iterator[list[Tensor]]:
    """Inside, what the module gives (or, with `inputs`, is given) is collected, pass by pass."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        seen.append((given[0] if inputs else result).detach())

    handle = module.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def parts_of(model: Transformer, ids: Int[Tensor, "B T"]) -> dict[Part, Float[Tensor, "B T D"]]:
    """What each part gives in an ordinary pass, the embedding first."""
    found: dict[Part, Tensor] = {}
    handles = []
    for part in (EMBEDDING, *sublayers(model)):

        def keep(module: nn.Module, given: Any, result: Tensor, part: Part = part) -> None:
            found[part] = result.detach()

        handles.append(module_of(model, part).register_forward_hook(keep))
    try:
        with torch.no_grad():
            model.hidden(ids)
    finally:
        for handle in handles:
            handle.remove()
    return found
