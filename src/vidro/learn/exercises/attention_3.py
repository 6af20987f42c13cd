"""Exercise for attention-3: causal attention, from its shape to its gradients.

The steps go from what is easily seen to what is easily missed: a mask that was made and never applied leaves every
shape and even the loss curve as they should be. When the numbers are wrong, they are compared with those of the
usual mistakes, so that the mistake can be named.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build, fill, matrix, run
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise attention-3: attention that looks back only. Check it with: vidro learn check attention-3 FILE"""

import torch
from torch import nn


class CausalAttention(nn.Module):
    """[B, T, d_in] in, [B, T, d_out] out; no token sees what comes after it."""

    def __init__(self, d_in, d_out, context_length, dropout, qkv_bias=False):
        super().__init__()
        # Three matrices, W_query, W_key and W_value, as nn.Linear or nn.Parameter; a mask; nn.Dropout for the shares.
        raise NotImplementedError

    def forward(self, x):
        # Scores: query · key / √d_out. Hide the future. Softmax along each row. Dropout. Mix the values.
        raise NotImplementedError
'''

B, T, D_IN, D_OUT, CONTEXT = 2, 5, 4, 3, 6
NAMES = ("CausalAttention", "CausalSelfAttention", "MaskedAttention", "SelfAttention")


def made(solution: Solution, *, dropout: float = 0.0) -> nn.Module:
    """The reader's attention with known weights, not training."""
    torch.manual_seed(0)
    sizes = {"d_in": D_IN, "d_out": D_OUT, "context_length": CONTEXT, "dropout": dropout, "bias": False, "n_heads": 1}
    attention = build(solution.get(*NAMES), **sizes)
    if not isinstance(attention, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class CausalAttention(nn.Module).")
    query, key, value = known()
    fill(attention, query=query, key=key, value=value)
    return attention.eval()


def known() -> list[Tensor]:
    """The query, key and value matrix, [d_in, d_out]; large enough that no two tokens are treated alike."""
    dice = torch.Generator().manual_seed(3)
    return [torch.randn(D_IN, D_OUT, generator=dice) for _ in range(3)]


def batch() -> Tensor:
    """Two texts of five tokens."""
    return torch.randn(B, T, D_IN, generator=torch.Generator().manual_seed(5))


def expected(x: Tensor, *, mistake: str = "") -> Tensor:
    """What must come out; or what comes out with one of the usual mistakes."""
    query, key, value = (x @ weights for weights in known())
    if mistake == "query and key are exchanged":
        query, key = key, query
    scores = query @ key.transpose(-1, -2)
    scores = scores / {"the scores are not divided by √d_out": 1.0, "divide by √d_out, not by d_out": D_OUT}.get(
        mistake, math.sqrt(D_OUT)
    )
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    if mistake == "the mask is upside down: each token sees itself and what comes after":
        later = later.T
    if mistake == "the hidden scores are 0, and e⁰ is 1: they must be −∞":
        return scores.masked_fill(later, 0.0).softmax(dim=-1) @ value
    if mistake == "the shares were masked after softmax and not divided by what was left":
        return scores.softmax(dim=-1).masked_fill(later, 0.0) @ value
    if mistake == "the mask is not applied: every token sees the whole text":
        return scores.softmax(dim=-1) @ value
    dim = -2 if mistake == "softmax runs down the columns: it belongs along each row, dim=-1" else -1
    return scores.masked_fill(later, -torch.inf).softmax(dim=dim).nan_to_num() @ value


MISTAKES = (
    "the mask is not applied: every token sees the whole text",
    "the scores are not divided by √d_out",
    "divide by √d_out, not by d_out",
    "the shares were masked after softmax and not divided by what was left",
    "the hidden scores are 0, and e⁰ is 1: they must be −∞",
    "softmax runs down the columns: it belongs along each row, dim=-1",
    "query and key are exchanged",
    "the mask is upside down: each token sees itself and what comes after",
)


def it_is_there(solution: Solution) -> None:
    """A class that can be built."""
    made(solution)


def it_has_the_shape(solution: Solution) -> None:
    """[B, T, d_in] → [B, T, d_out]."""
    found = list(run(made(solution), batch()).shape)
    if found != [B, T, D_OUT]:
        raise Wrong("the answer has another shape", found=found, expected=[B, T, D_OUT])


def it_gives_the_numbers(solution: Solution) -> None:
    """The values by hand; else which of the usual mistakes gives what came out."""
    x = batch()
    answer = run(made(solution), x).detach()
    right = expected(x)
    if answer.isnan().any():
        raise Wrong("there are numbers that are none (nan)", hint="Does each token still see itself?")
    if torch.allclose(answer, right, atol=1e-4):
        return
    for mistake in MISTAKES:
        if torch.allclose(answer, expected(x, mistake=mistake), atol=1e-4):
            raise Wrong(mistake)
    place = int((answer - right).abs().amax(dim=(0, 2)).gt(1e-4).nonzero()[0])
    raise Wrong(
        f"token {place + 1} of the first text has other numbers",
        found=[round(value, 3) for value in answer[0, place].tolist()],
        expected=[round(value, 3) for value in right[0, place].tolist()],
    )


def it_sees_no_future(solution: Solution) -> None:
    """Change a token: nothing before it may move."""
    attention, x = made(solution), batch()
    before = run(attention, x)
    for place in range(1, T):
        changed = x.clone()
        changed[:, place] += 1.0
        moved = (run(attention, changed) - before)[:, :place].abs().max().item()
        if moved > 1e-6:
            raise Wrong(f"token {place + 1} was changed, and a token before it moved by {moved:.3f}")


def it_takes_shorter_texts(solution: Solution) -> None:
    """A text shorter than the context, and one as long as it."""
    attention = made(solution)
    for length in (1, CONTEXT):
        x = torch.randn(1, length, D_IN, generator=torch.Generator().manual_seed(length))
        found = list(run(attention, x).shape)
        if found != [1, length, D_OUT]:
            raise Wrong(f"a text of {length} tokens has another shape", found=found, expected=[1, length, D_OUT])


def it_drops_while_training(solution: Solution) -> None:
    """Two passes differ in training and agree in eval."""
    attention, x = made(solution, dropout=0.5), batch()
    if not torch.equal(run(attention, x), run(attention, x)):
        raise Wrong("after eval() two passes over one text differ", hint="Use nn.Dropout: it knows eval().")
    attention.train()
    if torch.equal(run(attention, x), run(attention, x)):
        raise Wrong("dropout=0.5 drops nothing while training", hint="Put the shares through nn.Dropout.")


def it_learns(solution: Solution) -> None:
    """A gradient reaches every matrix."""
    attention = made(solution)
    run(attention, batch()).square().sum().backward()
    for role in ("query", "key", "value"):
        start = matrix(attention, role).untyped_storage().data_ptr()
        reached = [
            parameter.grad
            for parameter in attention.parameters()
            if parameter.untyped_storage().data_ptr() == start and parameter.grad is not None
        ]
        if not reached or not any(bool(gradient.any()) for gradient in reached):
            raise Wrong(f"no gradient reaches the {role} matrix", hint="Is it cut off by detach() or .data?")


EXERCISE = Exercise(
    "attention-3",
    STUB,
    (
        Step("there is a CausalAttention with matrices for query, key and value", it_is_there),
        Step(f"[{B}, {T}, {D_IN}] goes in, [{B}, {T}, {D_OUT}] comes out", it_has_the_shape),
        Step("the numbers are right", it_gives_the_numbers),
        Step("no token sees the future", it_sees_no_future),
        Step("shorter texts are welcome", it_takes_shorter_texts),
        Step("dropout drops while training, and only then", it_drops_while_training),
        Step("a gradient reaches every matrix", it_learns),
    ),
    solution="vidro.learn.attention_3",
)
