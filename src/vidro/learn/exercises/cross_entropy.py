"""Exercise for cross-entropy: the loss of a batch, with what is not asked, and means that are weighed rightly."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._numbers import is_close, number_of, same_number

STUB = '''\
"""Exercise cross-entropy: the loss of a text. Check it with: vidro learn check cross-entropy FILE"""

import torch


def cross_entropy(logits, targets):
    """Logits [B, T, V] and targets [B, T] → (nats of all counted tokens together, how many were counted).

    Row t of a text is compared with target t. Where the target is -100 nothing is counted. Do not use PyTorch's own
    cross_entropy: log_softmax and an index will do.
    """
    raise NotImplementedError


def total(parts):
    """Of several batches, each (nats, count), the mean over all tokens."""
    raise NotImplementedError


def between(p, q):
    """H(p, q) of two lists of probabilities: the mean surprise of one who believes q where p happens."""
    raise NotImplementedError
'''

B, T, V = 2, 4, 5
IGNORE = -100


def batch() -> tuple[Tensor, Tensor]:
    """Logits and answers."""
    dice = torch.Generator().manual_seed(7)
    return 2 * torch.randn(B, T, V, generator=dice), torch.randint(V, (B, T), generator=dice)


def scored(solution: Solution, logits: Tensor, targets: Tensor) -> tuple[float, float]:
    """(nats, count) of the reader's function."""
    answer: Any = solution.get("cross_entropy", "loss", "calc_loss_batch", "calc_loss")(logits, targets)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong("the answer must be two numbers: (nats, count)", found=type(answer).__name__)
    return number_of(answer[0], "the nats"), number_of(answer[1], "the count")


def all_tokens_are_counted(solution: Solution) -> None:
    """The count first: it shows what was understood."""
    _, count = scored(solution, *batch())
    if count != B * T:
        raise Wrong(f"{B} texts of {T} tokens are another count", found=count, expected=B * T)


def the_nats_are_right(solution: Solution) -> None:
    """The sum; else which mistake gives what came out."""
    logits, targets = batch()
    log_p = logits.log_softmax(dim=-1)
    each = -log_p.gather(-1, targets[..., None])[..., 0]
    right = each.sum().item()

    def summed(scores: Tensor, answers: Tensor = targets) -> float:
        return -scores.gather(-1, answers[..., None]).sum().item()

    mistakes = {
        "this is the mean already: give the sum, the count is beside it": right / (B * T),
        "the minus is missing": -right,
        "these are bits: take the natural logarithm": right / math.log(2),
        "the softmax runs over the places: it belongs over the V scores, dim=-1": summed(logits.log_softmax(dim=1)),
        "these are probabilities: the logarithm is missing": summed(logits.softmax(dim=-1)),
        "the logits themselves are summed: softmax is missing": summed(logits),
        "softmax is taken twice": summed(logits.softmax(dim=-1).log_softmax(dim=-1)),
        "the targets are moved by one: here row t belongs to target t": -log_p[:, :-1]
        .gather(-1, targets[:, 1:, None])
        .sum()
        .item(),
    }
    same_number(scored(solution, logits, targets)[0], right, mistakes, what="the nats")


def some_are_not_asked(solution: Solution) -> None:
    """−100 counts nothing, and what stands there does not matter."""
    logits, targets = batch()
    targets[0, 2:], targets[1, 0] = IGNORE, IGNORE
    right = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
    nats, count = scored(solution, logits, targets)
    if count == B * T and is_close(nats, right):
        raise Wrong("tokens marked −100 cost nothing, and are counted all the same", found=count, expected=5)
    if count != 5:
        raise Wrong("tokens marked −100 are counted", found=count, expected=5)
    same_number(nats, right, what="with tokens marked −100 the nats")


def nothing_is_nothing(solution: Solution) -> None:
    """All marked: (0, 0), and no 0 / 0."""
    logits, targets = batch()
    nats, count = scored(solution, logits, torch.full_like(targets, IGNORE))
    if (nats, count) != (0.0, 0.0):
        raise Wrong("with every token marked −100 it must be (0, 0)", found=(nats, count))


def the_mean_is_of_tokens(solution: Solution) -> None:
    """Unequal batches."""
    parts = [(8.0, 2), (200.0, 200)]
    mistakes = {"this is the mean of the batches' means: a small batch weighs too much": 2.5}
    same_number(solution.get("total", "mean", "mean_loss")(parts), 208 / 202, mistakes, what="total")


def two_distributions(solution: Solution) -> None:
    """One hot, mixed, and what never happens."""
    between = solution.get("between", "cross", "cross_entropy_between")
    p, q = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]
    mistakes = {
        "p and q are exchanged": -sum(b * math.log(a) for a, b in zip(p, q, strict=True)),
        "this is the entropy of p": -sum(a * math.log(a) for a in p),
        "these are bits": -sum(a * math.log2(b) for a, b in zip(p, q, strict=True)),
        "the minus is missing": sum(a * math.log(b) for a, b in zip(p, q, strict=True)),
    }
    same_number(between(p, q), -sum(a * math.log(b) for a, b in zip(p, q, strict=True)), mistakes, what="between")
    try:
        same_number(between([1.0, 0.0], [0.5, 0.5]), math.log(2), what="between([1, 0], [0.5, 0.5])")
        same_number(between([1.0, 0.0], [1.0, 0.0]), 0.0, what="between([1, 0], [1, 0])")
    except ValueError:
        raise Wrong("a probability of 0 stops the program", hint="What never happens (p = 0) costs nothing.") from None


EXERCISE = Exercise(
    "cross-entropy",
    STUB,
    (
        Step("every token is counted once", all_tokens_are_counted),
        Step("the nats are right", the_nats_are_right),
        Step("what is marked −100 is not asked", some_are_not_asked),
        Step("nothing asked is nothing paid", nothing_is_nothing),
        Step("the mean is one over tokens, not over batches", the_mean_is_of_tokens),
        Step("cross-entropy between two distributions", two_distributions),
    ),
    solution="vidro.learn.cross_entropy",
)
