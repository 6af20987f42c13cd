"""Exercise for attention-2: attention with three learned matrices, as raw parameters or as nn.Linear."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build, fill, matrix, run
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import same

STUB = '''\
"""Exercise attention-2: attention that learns. Check it with: vidro learn check attention-2 FILE"""

import torch
from torch import nn


class SelfAttention(nn.Module):
    """[T, d_in] in, [T, d_out] out (a batch in front is welcome); each token may look at every other."""

    def __init__(self, d_in, d_out):
        super().__init__()
        # Three matrices: W_query, W_key and W_value, as nn.Linear(..., bias=False) or as nn.Parameter [d_in, d_out].
        raise NotImplementedError

    def forward(self, x):
        # query, key, value. Scores: query · key / √d_out. Softmax along each row. Mix the values.
        raise NotImplementedError
'''

T, D_IN, D_OUT = 5, 4, 3
NAMES = ("SelfAttention", "SelfAttention_v2", "SelfAttention_v1", "SelfAttentionV2", "SelfAttentionV1")


def made(solution: Solution) -> nn.Module:
    """The reader's attention with known weights."""
    torch.manual_seed(0)
    attention = build(solution.get(*NAMES), d_in=D_IN, d_out=D_OUT, bias=False, dropout=0.0, n_heads=1)
    if not isinstance(attention, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class SelfAttention(nn.Module).")
    query, key, value = known()
    fill(attention, query=query, key=key, value=value)
    return attention.eval()


def known() -> list[Tensor]:
    """Query, key and value matrix, [d_in, d_out]."""
    dice = torch.Generator().manual_seed(3)
    return [torch.randn(D_IN, D_OUT, generator=dice) for _ in range(3)]


def text() -> Tensor:
    """One text of five tokens."""
    return torch.randn(1, T, D_IN, generator=torch.Generator().manual_seed(5))


def it_is_there(solution: Solution) -> None:
    """A class that can be built, with three matrices that learn."""
    attention = made(solution)
    n_learned = sum(numbers.numel() for numbers in attention.parameters())
    if n_learned < 3 * D_IN * D_OUT:
        raise Wrong("not all three matrices are learned", hint="Wrap them in nn.Parameter, or use nn.Linear.")


def it_has_the_shape(solution: Solution) -> None:
    """[T, d_in] → [T, d_out]."""
    found = list(run(made(solution), text(), rows_first=True).shape)
    if found != [1, T, D_OUT]:
        raise Wrong("the answer has another shape", found=found[1:], expected=[T, D_OUT])


def it_gives_the_numbers(solution: Solution) -> None:
    """The values by hand; else which of the usual mistakes gives what came out."""
    x = text()
    query, key, value = (x @ weights for weights in known())
    products = query @ key.transpose(1, 2)
    scores = products / math.sqrt(D_OUT)
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    mistakes = {
        "the scores are not divided by √d_out": products.softmax(-1) @ value,
        "divide by √d_out, not by d_out": (products / D_OUT).softmax(-1) @ value,
        "divide by the root of the key's width, d_out, not of d_in": (products / math.sqrt(D_IN)).softmax(-1) @ value,
        "softmax runs down the columns: it belongs along each row, dim=-1": scores.softmax(-2) @ value,
        "query and key are exchanged": scores.transpose(1, 2).softmax(-1) @ value,
        "the queries are mixed: mix the values": scores.softmax(-1) @ query,
        "the keys are mixed: mix the values": scores.softmax(-1) @ key,
        "the values are mixed by scores: softmax makes shares of them first": scores @ value,
        "later tokens are hidden: that belongs to the next lesson": (
            scores.masked_fill(later, -torch.inf).softmax(-1) @ value
        ),
    }
    same(run(made(solution), x, rows_first=True), scores.softmax(-1) @ value, mistakes)


def it_takes_any_length(solution: Solution) -> None:
    """A text of one token gets its own value; a longer one works too."""
    attention = made(solution)
    alone = text()[:, :1]
    same(run(attention, alone, rows_first=True), alone @ known()[2], what="the numbers of a token that is alone")
    long = torch.randn(1, 11, D_IN, generator=torch.Generator().manual_seed(7))
    found = list(run(attention, long, rows_first=True).shape)
    if found != [1, 11, D_OUT]:
        raise Wrong("a text of 11 tokens gives another shape", found=found[1:], expected=[11, D_OUT])


def it_learns(solution: Solution) -> None:
    """A gradient reaches every matrix."""
    attention = made(solution)
    run(attention, text(), rows_first=True).square().sum().backward()
    for role in ("query", "key", "value"):
        start = matrix(attention, role).untyped_storage().data_ptr()
        reached = [
            numbers.grad
            for numbers in attention.parameters()
            if numbers.untyped_storage().data_ptr() == start and numbers.grad is not None
        ]
        if not any(bool(gradient.any()) for gradient in reached):
            raise Wrong(f"no gradient reaches the {role} matrix", hint="Is it cut off by detach() or .data?")


EXERCISE = Exercise(
    "attention-2",
    STUB,
    (
        Step("there is a SelfAttention with three matrices that learn", it_is_there),
        Step(f"[{T}, {D_IN}] goes in, [{T}, {D_OUT}] comes out", it_has_the_shape),
        Step("the numbers are right", it_gives_the_numbers),
        Step("texts of any length are welcome", it_takes_any_length),
        Step("a gradient reaches every matrix", it_learns),
    ),
    solution="vidro.learn.attention_2",
)
