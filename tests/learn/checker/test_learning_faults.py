"""Mistakes with the cache, with learning, and models that do not run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.learn.checker.models import BOOK, BookGPT
from tests.learn.checker.spoiled import (
    Case,
    Cases,
    assert_named,
    book,
    book_model,
    llama,
    qwen,
)
from torch import Tensor, nn

CASES = Cases()


def no_start(self: Any, held: int) -> int:
    return 0


def steps_masked(self: Any, new: int, seen: int, start: int) -> Tensor:
    return torch.full((new, seen), float("-inf")).triu(diagonal=1)


def steps_open(self: Any, new: int, seen: int, start: int) -> Tensor:
    mask = torch.full((new, seen), float("-inf")).triu(diagonal=1)
    return mask if start == 0 else torch.zeros(new, seen)


CACHE = "cache-differs"
CASES.add("every cached step is at position 0", CACHE, llama(start=no_start))
CASES.add("R cached steps see the first tokens only", CACHE, llama(mask=steps_masked))
CASES.add("several cached tokens see each other", CACHE, llama(mask=steps_open))
CASES.add("a cache that is handed in, at position 0", CACHE, qwen(start=no_start))


# learning


def frozen_embedding(self: Any, in_idx: Tensor) -> Tensor:
    return BookGPT.embedded(self, in_idx).detach()


def norm_forgotten(self: Any, in_idx: Tensor) -> Tensor:
    return self.out_head(self.trf_blocks(self.drop_emb(self.embedded(in_idx))))


class PlainList(BookGPT):
    """Blocks in a list that PyTorch does not see."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        blocks = list(self.trf_blocks)
        del self.trf_blocks
        self.blocks = blocks

    def forward(self, in_idx: Tensor) -> Tensor:
        x = self.embedded(in_idx)
        for block in self.blocks:
            x = block.eval()(x)
        return self.out_head(self.final_norm(x))


def mute() -> nn.Module:
    model = BookGPT(BOOK)
    model.out_head = nn.Sequential(nn.Linear(32, 97), nn.Hardtanh(-1e-3, 1e-3))
    return model


CASES.add("embeddings are cut off", "no-gradient", book_model(embedded=frozen_embedding), "tok_emb")
CASES.add("the last norm is never called", "no-gradient", book_model(forward=norm_forgotten), "final_norm")
CASES.add("blocks in a plain list", "hidden-modules", lambda: PlainList(BOOK), "PlainList")
CASES.add("logits that cannot grow", "cannot-overfit", mute)


# it does not run


def whole_mask(self: Any, scores: Tensor) -> Tensor:
    return self.mask.bool()


def one_too_few() -> nn.Module:
    model = BookGPT(BOOK)
    model.pos_emb = nn.Embedding(23, 32)
    return model


def crossed_sizes(self: Any, mixed: Tensor) -> Tensor:
    return mixed.transpose(1, 2).flatten(1)


CASES.add("the mask is not cut to the text", "only-full-length", book(hidden=whole_mask))
CASES.add("one position too few", "does-not-run", one_too_few, context_length=24)
CASES.add("shapes that do not fit", "does-not-run", book(joined=crossed_sizes))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_it_is_named(case: Case) -> None:
    assert_named(case)
