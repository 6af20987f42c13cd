"""Mistakes inside attention: softmax, scale, query and key, positions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.learn.checker.models import BOOK, NANO, BookGPT, NanoGPT
from tests.learn.checker.spoiled import (
    Case,
    Cases,
    assert_named,
    book,
    book_model,
    llama,
    nano,
)
from torch import Tensor, nn

CASES = Cases()


# softmax and scale


def no_mask(self: Any, scores: Tensor) -> Tensor:
    return scores


def softmax_over(axis: int) -> Any:
    return lambda self, scores, keys: torch.softmax(scores / keys.shape[-1] ** 0.5, dim=axis)


def masked_afterwards(self: Any, scores: Tensor, keys: Tensor) -> Tensor:
    shares = torch.softmax(scores / keys.shape[-1] ** 0.5, dim=-1)
    return shares * torch.tril(torch.ones(shares.shape[-2:]))


def zeroed_afterwards(self: Any, scores: Tensor, keys: Tensor) -> Tensor:
    shares = torch.softmax(scores / keys.shape[-1] ** 0.5, dim=-1)
    return shares.masked_fill(self.hidden(shares), 0.0)


def unscaled(self: Any, scores: Tensor, keys: Tensor) -> Tensor:
    return torch.softmax(scores, dim=-1)


def times_root(self: Any, scores: Tensor, keys: Tensor) -> Tensor:
    return torch.softmax(scores * keys.shape[-1] ** 0.5, dim=-1)


def whole_width(self: Any, scores: Tensor, keys: Tensor) -> Tensor:
    return torch.softmax(scores / (keys.shape[-1] * self.n_heads) ** 0.5, dim=-1)


def scaled_twice(self: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q / math.sqrt(q.shape[-1]), k, v, is_causal=True)


AXIS = "softmax-wrong-axis"
CASES.add("softmax over the queries", f"{AXIS} future-leak", book(shares=softmax_over(-2)), "trf_blocks.0.att")
CASES.add("softmax over the heads", f"{AXIS} not-finite", book(shares=softmax_over(1)), "trf_blocks.0.att")
CASES.add("softmax over the batch", f"{AXIS} not-finite", book(shares=softmax_over(0)), "trf_blocks.0.att")
LATE = "not-renormalised future-leak"
CASES.add("multiplied by the mask afterwards", LATE, book(masked=no_mask, shares=masked_afterwards), "trf_blocks.0.att")
CASES.add("filled with 0 afterwards", LATE, book(masked=no_mask, shares=zeroed_afterwards), "trf_blocks.0.att")
CASES.add("no scale", "missing-scale", book(shares=unscaled), "trf_blocks.0.att")
CASES.add("no scale, einsum", "missing-scale", llama(scale=lambda self, scores: scores), "layers.0.attn")
CASES.add("multiplied by the root", "missing-scale", book(shares=times_root), "trf_blocks.0.att")
CASES.add("scaled by the whole width", "missing-scale", book(shares=whole_width), "trf_blocks.0.att")
CASES.add("scaled before PyTorch scales", "missing-scale", nano(attend=scaled_twice), "attn")


# query and key


def exchanged(self: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return self.heads(self.W_key(x)), self.heads(self.W_query(x)), self.heads(self.W_value(x))


def exchanged_fused(self: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(k, q, v, is_causal=True)


def halved(self: Any, shares: Tensor, values: Tensor) -> Tensor:
    return 0.5 * (shares @ values)


SWAPPED = "query-key-swapped"
CASES.add("R queries from W_key", SWAPPED, book(project=exchanged), "trf_blocks.0.att")
CASES.add("R the same against a reference", SWAPPED, book(project=exchanged), reference=BookGPT(BOOK))
CASES.add("fused and exchanged, against a reference", SWAPPED, nano(attend=exchanged_fused), reference=NanoGPT(NANO))
CASES.add("half of what it should be", "differs-from-reference", book(mixed=halved), reference=BookGPT(BOOK))


def loaded_crosswise() -> nn.Module:
    model = BookGPT(BOOK)
    model.load_state_dict(WEIGHTS)
    for block in model.trf_blocks:
        query, key = block.att.W_query.weight.detach().clone(), block.att.W_key.weight.detach().clone()
        block.att.W_query.weight.data, block.att.W_key.weight.data = key, query
    return model


WEIGHTS = {name: tensor.clone() for name, tensor in BookGPT(BOOK).state_dict().items()}
CASES.add("R weights loaded crosswise", SWAPPED, loaded_crosswise, reference=WEIGHTS)


# positions


def only_tokens(self: Any, in_idx: Tensor) -> Tensor:
    return self.tok_emb(in_idx)


def position_zero(self: Any, in_idx: Tensor) -> Tensor:
    return self.tok_emb(in_idx) + self.pos_emb(torch.zeros(in_idx.shape[1], dtype=torch.long))


UNPLACED = "positions-ignored"
CASES.add("positions are never added", f"{UNPLACED} no-gradient", book_model(embedded=only_tokens), "trf_blocks.0.att")
CASES.add("all tokens at position 0", UNPLACED, book_model(embedded=position_zero), "trf_blocks.0.att")
CASES.add("nothing is rotated", UNPLACED, llama(turned=lambda self, x, start: x), "layers.0.attn")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_it_is_named(case: Case) -> None:
    assert_named(case)
