"""Mistakes with the loss, dropout and tied weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.learn.checker.models import BOOK, BookGPT, QwenConfig, QwenLM
from tests.learn.checker.spoiled import (
    Case,
    Cases,
    assert_named,
    book,
    llama_model,
    nano,
    nano_model,
)
from torch import Tensor, nn

CASES = Cases()


# before and after training


def loud_head() -> nn.Module:
    model = BookGPT(BOOK)
    model.out_head.weight = model.tok_emb.weight  # N(0, 1): right for an embedding, 30 times too large for a head
    return model


def as_shares(self: Any, x: Tensor) -> Tensor:
    return self.head(x).softmax(dim=-1)


CASES.add("tied to an embedding of N(0, 1)", "first-loss", loud_head)
CASES.add("softmax at the end", "probabilities-returned cannot-overfit", llama_model(output=as_shares))


def unshifted(self: Any, logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def backwards(self: Any, logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, :-1].flatten())


def divided_by_all(self: Any, logits: Tensor, labels: Tensor) -> Tensor:
    nats = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    return nats.mean()


def gathered(self: Any, logits: Tensor, labels: Tensor) -> Tensor:
    log_p = logits[:, :-1].log_softmax(-1)
    return -log_p.gather(2, labels[:, 1:, None] % logits.shape[-1]).mean()


CASES.add("labels are not shifted", "labels-unshifted", llama_model(loss=unshifted))
CASES.add("labels are shifted the other way", "labels-shifted-wrongly", llama_model(loss=backwards))
CASES.add("padding counts in the number", "padding-in-loss", llama_model(loss=divided_by_all))
CASES.add("padding counts as a token", "padding-in-loss", llama_model(loss=gathered))


# dropout, tying, cache


def always_dropping(self: Any, shares: Tensor) -> Tensor:
    return F.dropout(shares, 0.1)


def dropping_sdpa(self: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout, is_causal=True)


def by_dice(self: Any, shares: Tensor) -> Tensor:
    return shares * (torch.rand_like(shares) > 0.1) / 0.9


CASES.add("R dropout without its switch", "dropout-in-eval", book(drop=always_dropping), "trf_blocks.0.att")
CASES.add("dropout_p without its switch", "dropout-in-eval", nano(attend=dropping_sdpa), "attn")
CASES.add("dropout by hand", "dropout-in-eval", book(drop=by_dice), "trf_blocks.0.att")


def copied(self: Any) -> None:
    self.lm_head.weight = nn.Parameter(self.transformer["wte"].weight.detach().clone())


def said_only() -> nn.Module:
    model = QwenLM(QwenConfig())
    model.cfg = copy.replace(model.cfg) if hasattr(copy, "replace") else copy.copy(model.cfg)
    model.cfg.tie_word_embeddings = True
    return model


CASES.add("R tied by copying", "untied-copy", nano_model(tie=copied), "lm_head")
CASES.add("tied in the config only", "untied-copy", said_only)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_it_is_named(case: Case) -> None:
    assert_named(case)
