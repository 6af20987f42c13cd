"""Mistakes with the mask, and other ways in which tokens see what they should not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.learn.checker.models import BOOK, BookGPT
from tests.learn.checker.spoiled import (
    Case,
    Cases,
    assert_named,
    book,
    book_model,
    nano,
)
from torch import Tensor, nn

CASES = Cases()


# the mask


def without_assignment(self: Any, scores: Tensor) -> Tensor:
    scores.masked_fill(self.hidden(scores), -torch.inf)
    return scores


def no_mask(self: Any, scores: Tensor) -> Tensor:
    return scores


def filled_with(value: float) -> Any:
    return lambda self, scores: scores.masked_fill(self.hidden(scores), value)


def diagonal(at: int) -> Any:
    return lambda self, s: torch.ones(s.shape[-2:], dtype=torch.bool).triu(diagonal=at)


def lower(self: Any, scores: Tensor) -> Tensor:
    return torch.ones(scores.shape[-2:], dtype=torch.bool).tril(diagonal=-1)


LEAK = "future-leak mask-never-applied"
CASES.add("R masked_fill without assignment", LEAK, book(masked=without_assignment), "trf_blocks.0.att")
CASES.add("the mask is a buffer nobody reads", LEAK, book(masked=no_mask), "trf_blocks.0.att")
CASES.add("a mask of zeros", "future-leak mask-too-weak", book(masked=filled_with(0.0)), "trf_blocks.0.att")
CASES.add("1e-9 for -1e9", "future-leak mask-too-weak", book(masked=filled_with(-1e-9)), "trf_blocks.0.att")
CASES.add("one later token is seen", "future-leak wrong-mask", book(hidden=diagonal(2)), "trf_blocks.0.att")
CASES.add("a token does not see itself", "not-finite wrong-mask", book(hidden=diagonal(0)), "trf_blocks.0.att")
CASES.add("the past is hidden", "future-leak wrong-mask context-unused", book(hidden=lower), "trf_blocks.0.att")


def inverted_sdpa(self: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    later = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(diagonal=0)  # True means "may look" to PyTorch
    return F.scaled_dot_product_attention(q, k, v, attn_mask=later)


def open_sdpa(self: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


CASES.add("R triu for PyTorch's attention", "future-leak wrong-mask context-unused", nano(attend=inverted_sdpa), "attn")
CASES.add("is_causal forgotten", LEAK, nano(attend=open_sdpa), "transformer.h.0.attn")


def plus_mean(self: Any, in_idx: Tensor) -> Tensor:
    x = BookGPT.embedded(self, in_idx)
    return x + x.mean(dim=1, keepdim=True)


def heads_in_a_row(self: Any, mixed: Tensor) -> Tensor:
    return mixed.reshape(mixed.shape[0], mixed.shape[2], -1)


CASES.add("the mean of the text is added", "future-leak", book_model(embedded=plus_mean), "GPT")
CASES.add("heads joined without transpose", "future-leak", book(joined=heads_in_a_row), "trf_blocks.0.att")


class TimeNorm(nn.Module):
    """Normalises over the tokens instead of the width."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(dim=1, keepdim=True)) / (x.std(dim=1, keepdim=True) + 1e-5)


def time_norm() -> nn.Module:
    model = BookGPT(BOOK)
    model.final_norm = TimeNorm()
    return model


def batch_norm(self: Any, in_idx: Tensor) -> Tensor:
    x = BookGPT.embedded(self, in_idx)
    return x - 0.5 * x.mean(dim=0, keepdim=True)


CASES.add("a norm over the tokens", "future-leak", time_norm, "final_norm")
CASES.add("centred over the batch", "rows-mixed", book_model(embedded=batch_norm), "GPT")
CASES.add(
    "attention's result is dropped", "context-unused no-gradient", book(mixed=lambda self, shares, values: values)
)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_it_is_named(case: Case) -> None:
    assert_named(case)
