"""Writing one fact into a feed-forward layer by a change of rank one (ROME: Meng et al. 2022).

The layer's second matrix W is seen as a memory: the hidden activations k of a token are the key, W k is the value that
it adds. Three steps put another value v* under one key k*:

    k*   the mean key at the chosen token (the end of the name, say), over a few texts that end in the question
    v*   the value there with which the model gives the new answer: found by gradient steps on the value alone
    W    W + (v* - W k*) (C⁻¹ k*)ᵀ / (k*ᵀ C⁻¹ k*): now W k* = v*, and keys that are common in stories move least

C is the mean of k kᵀ over stories. Not here: what comes of an edit (`edits`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from vidro.core.shapes import Bool, Float, Int
from vidro.learn.experiments.patching import Patch, patched, watching
from vidro.learn.experiments.rows import Rows, answer_nats
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer

RIDGE = 1e-3  # of the mean of C's diagonal, added to it: activations that never fire would make C singular


@dataclass(frozen=True)
class Effort:
    """How v* is looked for: Adam's steps and rate, and what it costs to go away from the old value."""

    steps: int = 40
    lr: float = 0.5
    decay: float = 0.05
    enough_nats: float = -0.05
    """It stops when the new answer's mean ln probability is above this."""


def rank_one(
    W: Float[Tensor, "D F"], k: Float[Tensor, "F"], v: Float[Tensor, "D"], C: Float[Tensor, "F F"]
) -> Float[Tensor, "D F"]:
    """The change of W after which it gives v for k, and for other keys k' adds as little as k'ᵀ C⁻¹ k is small.

    >>> W, k, v = torch.zeros(2, 3), torch.tensor([1.0, 0.0, 0.0]), torch.tensor([5.0, 7.0])
    >>> changed = W + rank_one(W, k, v, torch.eye(3))
    >>> changed @ k, changed @ torch.tensor([0.0, 1.0, 1.0])
    (tensor([5., 7.]), tensor([0., 0.]))
    """
    direction = torch.linalg.solve(C, k)
    return torch.outer(v - W @ k, direction) / (k @ direction)


def second_moment(model: Transformer, block: int, windows: Int[Tensor, "B T"]) -> Float[Tensor, "F F"]:
    """C of a block's feed-forward over these windows, with a small ridge."""
    with at_rest(model), watching(_down(model, block), inputs=True) as keys:
        model.hidden(windows)
    k = keys[0].flatten(0, 1)
    C = k.T @ k / len(k)
    return C + RIDGE * C.diagonal().mean() * torch.eye(len(C))


@contextmanager
def edited(
    model: Transformer, block: int, rows: Rows, places: Int[Tensor, "B"], C: Float[Tensor, "F F"], effort: Effort
) -> Iterator[Float[Tensor, ""]]:
    """Inside, the model gives the answers of `rows` by an edit of this block at these places; then it is itself again.

    `rows` is one question with the new answer after several texts; yields the size of the change relative to W's.
    """
    down = _down(model, block)
    W, bias = down.weight, 0.0 if down.bias is None else down.bias.detach()
    old = W.detach().clone()
    k, v = key_at(model, block, rows, places), find_value(model, block, rows, places, effort)
    change = rank_one(old, k, v - bias, C)  # gpt2 adds a bias behind W
    try:
        W.data = old + change
        yield change.norm() / old.norm()
    finally:
        W.data = old


def key_at(model: Transformer, block: int, rows: Rows, places: Int[Tensor, "B"]) -> Float[Tensor, "F"]:
    """k*: the mean of the hidden activations at one place of each row."""
    with at_rest(model), watching(_down(model, block), inputs=True) as keys:
        model.hidden(rows.ids)
    return keys[0][torch.arange(len(places)), places].mean(dim=0)


def find_value(
    model: Transformer, block: int, rows: Rows, places: Int[Tensor, "B"], effort: Effort
) -> Float[Tensor, "D"]:
    """v*: what the feed-forward should give at these places, so that the rows' answers are likely."""
    with at_rest(model), watching(model.blocks[block].get_submodule("feedforward")) as results:
        model.hidden(rows.ids)
    before = results[0][torch.arange(len(places)), places].mean(dim=0)
    value = before.clone().requires_grad_()
    optimizer = torch.optim.Adam([value], lr=effort.lr * before.std().item())
    where = _only(rows, places)
    for _ in range(effort.steps):
        with patched(model, [Patch((block, "feedforward"), where, value)]):
            nats = answer_nats(model, rows).mean()
        if nats.item() > effort.enough_nats:
            break
        cost = -nats + effort.decay * (value - before).square().sum() / before.square().sum()
        (value.grad,) = torch.autograd.grad(cost, [value])
        optimizer.step()
    return value.detach()


def _only(rows: Rows, places: Int[Tensor, "B"]) -> Bool[Tensor, "B T"]:
    where = torch.zeros_like(rows.answering)
    where[torch.arange(len(places)), places] = True
    return where


def _down(model: Transformer, block: int) -> torch.nn.Linear:
    down = model.blocks[block].get_submodule("feedforward").get_submodule("down")
    assert isinstance(down, torch.nn.Linear)
    return down
