"""Exercise for attention-4: several heads, joined by one matrix; as a list of heads or by a reshape."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build, fill, run
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import all_reached, same

STUB = '''\
"""Exercise attention-4: several heads. Check it with: vidro learn check attention-4 FILE"""

import torch
from torch import nn


class MultiHeadAttention(nn.Module):
    """[B, T, d_in] in, [B, T, d_out] out; n_heads causal attentions of width d_out / n_heads side by side."""

    def __init__(self, d_in, d_out, context_length, n_heads, dropout, qkv_bias=False):
        super().__init__()
        # W_query, W_key, W_value: [d_in, d_out] for all heads together. A mask, a dropout, and out_proj.
        raise NotImplementedError

    def forward(self, x):
        # Cut the width into heads: [B, T, d_out] → [B, T, H, E] → [B, H, T, E]. Attention as before. Join, out_proj.
        raise NotImplementedError
'''

B, T, D, H, CONTEXT = 2, 5, 6, 3, 7
NAMES = ("MultiHeadAttention", "MultiHeadAttentionWrapper", "CausalSelfAttention", "MultiHead", "StackedHeads")


def made(solution: Solution, *, n_heads: int = H, dropout: float = 0.0) -> nn.Module:
    """The reader's attention with known weights, not training."""
    torch.manual_seed(0)
    sizes = {"d_in": D, "d_out": D, "context_length": CONTEXT, "dropout": dropout, "bias": False, "n_heads": n_heads}
    attention = build(solution.get(*NAMES), **sizes)
    if not isinstance(attention, nn.Module):
        raise Wrong("it is no nn.Module", hint="Write class MultiHeadAttention(nn.Module).")
    query, key, value, out = known()
    width = D // n_heads
    lists = [part for part in attention.children() if isinstance(part, nn.ModuleList) and len(part) == n_heads]
    if lists:
        for number, head in enumerate(lists[0]):
            own = slice(number * width, (number + 1) * width)
            fill(head, query=query[:, own], key=key[:, own], value=value[:, own])
    else:
        fill(attention, query=query, key=key, value=value)
    fill(attention, out=out)
    return attention.eval()


def known() -> list[Tensor]:
    """Query, key, value and output matrix, [D, D]; the heads' parts of the first three side by side."""
    dice = torch.Generator().manual_seed(3)
    return [torch.randn(D, D, generator=dice) for _ in range(4)]


def batch() -> Tensor:
    """Two texts of five tokens."""
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(5))


def expected(x: Tensor, n_heads: int, *, mistake: str = "") -> Tensor:
    """What must come out; or what comes out with one of the usual mistakes."""
    weights = known()
    query, key, value = (cut(x @ matrix, n_heads, mistake) for matrix in weights[:3])
    if mistake == "query and key are exchanged":
        query, key = key, query
    width = {"divide by the root of a head's width, not of all heads together": D}.get(mistake, key.shape[-1])
    scores = query @ key.transpose(-1, -2) / math.sqrt(width)
    if mistake != "the mask is not applied: every token sees the whole text":
        scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf)
    mixed = scores.softmax(dim=-1) @ value
    if mistake == "joining mixes tokens and heads: move the heads back behind the tokens first":
        joined = mixed.reshape(B, T, D)
    else:
        joined = mixed.transpose(1, 2).reshape(B, T, D)
    return joined if mistake == "out_proj is not applied" else joined @ weights[3]


def cut(x: Tensor, n_heads: int, mistake: str) -> Tensor:
    """[B, T, D] → [B, H, T, E]."""
    if mistake == "cutting mixes tokens and heads: first [B, T, H, E], then move the heads forward":
        return x.view(B, n_heads, T, -1)
    if mistake == "a head takes every third number: its numbers must stand side by side":
        return x.view(B, T, -1, n_heads).permute(0, 3, 1, 2)
    return x.view(B, T, n_heads, -1).transpose(1, 2)


MISTAKES = (
    "the mask is not applied: every token sees the whole text",
    "divide by the root of a head's width, not of all heads together",
    "cutting mixes tokens and heads: first [B, T, H, E], then move the heads forward",
    "joining mixes tokens and heads: move the heads back behind the tokens first",
    "a head takes every third number: its numbers must stand side by side",
    "out_proj is not applied",
    "query and key are exchanged",
)


def it_is_there(solution: Solution) -> None:
    """A class that can be built, with an output matrix."""
    made(solution)


def it_has_the_shape(solution: Solution) -> None:
    """[B, T, d_in] → [B, T, d_out]."""
    found = list(run(made(solution), batch()).shape)
    if found == [B, T, D * H]:
        raise Wrong("d_out is the width of all heads together; each has d_out / n_heads", found=found[-1], expected=D)
    if found != [B, T, D]:
        raise Wrong("the answer has another shape", found=found, expected=[B, T, D])


def it_gives_the_numbers(solution: Solution, n_heads: int) -> None:
    """The values by hand; else which of the usual mistakes gives what came out."""
    x, right = batch(), expected(batch(), n_heads)
    wrong = {mistake: expected(x, n_heads, mistake=mistake) for mistake in MISTAKES}
    if n_heads > 1:
        wrong[f"{n_heads} heads give what one head gives: is the width cut?"] = expected(x, 1)
    same(run(made(solution, n_heads=n_heads), x), right, wrong)


def one_head_is_causal_attention(solution: Solution) -> None:
    """With one head it is rung 3 and a matrix."""
    it_gives_the_numbers(solution, 1)


def three_heads_are_right(solution: Solution) -> None:
    """With three heads."""
    it_gives_the_numbers(solution, H)


def it_sees_no_future(solution: Solution) -> None:
    """Change a token, in a text of any length: nothing before it may move."""
    attention = made(solution)
    for length in (2, CONTEXT):
        x = torch.randn(1, length, D, generator=torch.Generator().manual_seed(length))
        changed = x.clone()
        changed[:, -1] += 1.0
        moved = (run(attention, changed) - run(attention, x))[:, :-1].abs().max().item()
        if moved > 1e-6:
            raise Wrong(f"the last of {length} tokens was changed, and one before it moved by {moved:.3f}")


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
    all_reached(attention)


EXERCISE = Exercise(
    "attention-4",
    STUB,
    (
        Step("there is a MultiHeadAttention with matrices for query, key, value and output", it_is_there),
        Step(f"[{B}, {T}, {D}] goes in, [{B}, {T}, {D}] comes out", it_has_the_shape),
        Step("one head gives the numbers of attention-3, and an output matrix", one_head_is_causal_attention),
        Step("three heads give the numbers of three attentions side by side", three_heads_are_right),
        Step("no token sees the future, in short texts and long ones", it_sees_no_future),
        Step("dropout drops while training, and only then", it_drops_while_training),
        Step("a gradient reaches every matrix", it_learns),
    ),
    solution="vidro.learn.attention_4",
)
