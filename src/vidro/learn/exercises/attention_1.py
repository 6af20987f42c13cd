"""Exercise for attention-1: scores, shares and a mixture, by three small functions."""

from __future__ import annotations

import torch
from torch import Tensor

from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor, same

STUB = '''\
"""Exercise attention-1: attention by likeness. Check it with: vidro learn check attention-1 FILE"""

import torch


def scores(x):
    """x [T, D]: T tokens of D numbers. Gives [T, T]: the dot product of each token (row) with each (column)."""
    raise NotImplementedError


def shares(x):
    """[T, T]: the scores as shares of attention; all positive, each row adds up to 1."""
    # First with e to the power of the scores. Then: what happens to scores of 1000?
    raise NotImplementedError


def simple_attention(x):
    """[T, D]: for each token all tokens, mixed in its shares."""
    raise NotImplementedError
'''

SCORES = ("scores", "attention_scores", "attn_scores")
SHARES = ("shares", "attention_weights", "attn_weights", "weights")
MIXTURE = ("simple_attention", "context_vectors", "self_attention", "attention")


def text() -> Tensor:
    """Four tokens of three numbers."""
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


def scores_are_dot_products(solution: Solution) -> None:
    """x x', and not the cosine, nor anything divided."""
    x = text()
    right = x @ x.T
    unit = x / x.norm(dim=1, keepdim=True)
    mistakes = {
        "the scores are divided by √D: that belongs to the next lesson": right / 3**0.5,
        "these are cosines: do not divide by the lengths": unit @ unit.T,
        "each token is multiplied with itself only": torch.diag(right.diagonal()),
    }
    same(solution.get(*SCORES)(x), right, mistakes, what="the scores")


def shares_add_up(solution: Solution) -> None:
    """Softmax along each row."""
    x = text()
    right = (x @ x.T).softmax(dim=1)
    mistakes = {
        "softmax runs down the columns: each row must add up to 1": (x @ x.T).softmax(dim=0),
        "the scores are divided by their sum: first raise e to their power": x @ x.T / (x @ x.T).sum(1, keepdim=True),
        "all shares together add up to 1: each row must": (x @ x.T).flatten().softmax(dim=0).view(4, 4),
        "e to the power of the scores, and not yet divided by the sum of the row": (x @ x.T).exp(),
        "these are the scores": x @ x.T,
    }
    same(solution.get(*SHARES)(x), right, mistakes, what="the shares")


def mixtures_are_right(solution: Solution) -> None:
    """Shares times tokens."""
    x = text()
    weights = (x @ x.T).softmax(dim=1)
    mistakes = {
        "rows and columns of the shares are exchanged: row i mixes token i": weights.T @ x,
        "the tokens are mixed by their scores: use the shares": x @ x.T @ x,
        "the tokens came out as they went in": x,
        "all tokens get the plain mean": x.mean(dim=0, keepdim=True).expand(4, 3),
    }
    same(solution.get(*MIXTURE)(x), weights @ x, mistakes, what="the mixtures")


def large_scores_do_no_harm(solution: Solution) -> None:
    """e to the power of 1000 is too large for a float; softmax takes the largest score off first."""
    x = 30 * text()
    found = as_tensor(solution.get(*SHARES)(x))
    if not found.isfinite().all():
        raise Wrong(
            "scores of 1000 give shares that are no numbers: e to their power is too large for the computer",
            hint="Take the largest score of the row off all of its scores first: the shares stay the same.",
        )
    same(found, (x @ x.T).softmax(dim=1), what="the shares of large scores")


EXERCISE = Exercise(
    "attention-1",
    STUB,
    (
        Step("the scores are all dot products", scores_are_dot_products),
        Step("the shares of each token are positive and add up to 1", shares_add_up),
        Step("each token becomes a mixture of all", mixtures_are_right),
        Step("large scores do no harm", large_scores_do_no_harm),
    ),
    solution="vidro.learn.attention_1",
)
