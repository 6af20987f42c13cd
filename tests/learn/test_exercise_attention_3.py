"""The exercise attention-3: every usual mistake in the book's own form is named, other sensible forms pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidro.learn.exercise import grade, load_exercise

BOOK = """
import torch
from torch import nn

class CausalAttention(nn.Module):
    def __init__(self, d_in, d_out, context_length, dropout, qkv_bias=False):
        super().__init__()
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), diagonal=1).bool())

    def forward(self, x):
        n = x.shape[1]
        q, k, v = self.W_query(x), self.W_key(x), self.W_value(x)
        scores = q @ k.transpose(1, 2)
        scores = scores.masked_fill(self.mask[:n, :n], -torch.inf)
        shares = torch.softmax(scores / k.shape[-1] ** 0.5, dim=-1)
        return self.dropout(shares) @ v
"""
RAW = """
import torch
from torch import nn

class SelfAttention(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.W_query = nn.Parameter(torch.rand(d_in, d_out))
        self.W_key = nn.Parameter(torch.rand(d_in, d_out))
        self.W_value = nn.Parameter(torch.rand(d_in, d_out))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        q, k, v = x @ self.W_query, x @ self.W_key, x @ self.W_value
        shares = torch.softmax(q @ k.T / k.shape[-1] ** 0.5, dim=-1).tril()
        return self.drop(shares / shares.sum(dim=-1, keepdim=True)) @ v
"""
FUSED = """
import torch
from torch import nn
from torch.nn import functional as F

class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_attn, self.p = nn.Linear(config.n_embd, 3 * config["d_out"], bias=config.bias), config.dropout

    def forward(self, x):
        q, k, v = self.c_attn(x).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.p if self.training else 0.0)
"""

MISTAKES = {
    "masked_fill without its result": (
        "scores = scores.masked_fill(", "scores.masked_fill(", "the mask is not applied"),
    "no scale": (" / k.shape[-1] ** 0.5", "", "the scores are not divided by √d_out"),
    "scale of d": ("k.shape[-1] ** 0.5", "k.shape[-1]", "divide by √d_out, not by d_out"),
    "softmax over the queries": ("dim=-1", "dim=1", "softmax runs down the columns"),
    "exchanged": ("q @ k.transpose(1, 2)", "k @ q.transpose(1, 2)", "query and key are exchanged"),
    "zero instead of infinity": ("-torch.inf", "0.0", "the hidden scores are 0"),
    "upside down": ("torch.triu(torch.ones(context_length, context_length), diagonal=1)",
                    "torch.tril(torch.ones(context_length, context_length), diagonal=-1)", "the mask is upside down"),
    "hides itself": ("diagonal=1", "diagonal=0", "there are numbers that are none (nan)"),
    "full mask on short texts": ("self.mask[:n, :n]", "self.mask", "line 18: RuntimeError"),
    "no dropout": ("self.dropout(shares)", "shares", "dropout=0.5 drops nothing while training"),
    "dropout in eval": (
        "self.dropout(shares)", "nn.functional.dropout(shares, self.dropout.p)", "after eval() two passes"),
    "detached": ("self.W_key(x)", "self.W_key(x).detach()", "no gradient reaches the key matrix"),
    "wrong axis of the answer": ("return self.dropout(shares) @ v", "return (self.dropout(shares) @ v).mean(1)",
                             "the answer"),
    "forgotten return": ("return self.dropout(shares) @ v", "self.dropout(shares) @ v", "the answer is no tensor"),
    "another value": ("self.W_value(x)", "self.W_value(x) + 1", "token 1 of the first text has other numbers"),
}  # fmt: skip


def graded(tmp_path: Path, source: str) -> list[str]:
    """The problems found."""
    file = tmp_path / "mine.py"
    file.write_text(source, encoding="utf-8")
    return [outcome.problem for outcome in grade(load_exercise("attention-3"), file) if outcome.problem is not None]


@pytest.mark.parametrize("source", [BOOK, RAW, FUSED], ids=["book", "raw parameters", "one matrix"])
def test_sensible_forms_pass(tmp_path: Path, source: str) -> None:
    assert graded(tmp_path, source) == []


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(tmp_path: Path, name: str) -> None:
    right, wrong, said = MISTAKES[name]
    assert right in BOOK
    problems = graded(tmp_path, BOOK.replace(right, wrong))
    assert len(problems) == 1
    assert problems[0].startswith(said)


def test_masking_after_softmax_without_sharing_out_is_named(tmp_path: Path) -> None:
    source = RAW.replace(" / shares.sum(dim=-1, keepdim=True)", "")
    (problem,) = graded(tmp_path, source)
    assert problem == "the shares were masked after softmax and not divided by what was left"
