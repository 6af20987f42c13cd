"""Exercise for surprise: from a probability to nats, from logits to nats, and what the logits learn from it."""

from __future__ import annotations

import math

import torch

from vidro.learn import surprise as ours
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import same
from vidro.learn.exercises._numbers import called, same_number

STUB = '''\
"""Exercise surprise: the surprise of one token. Check it with: vidro learn check surprise FILE"""

import math


def surprise(probability):
    """Nats for a token that was given this probability: 0 for 1, infinite (math.inf) for 0."""
    raise NotImplementedError


def bits(nats):
    """The same surprise in bits."""
    raise NotImplementedError


def softmax(logits):
    """A list of logits → a list of probabilities. It must survive logits of 1000."""
    raise NotImplementedError


def token_surprise(logits, target):
    """Nats for the token number target: straight from the logits, so that it survives logits of 1000."""
    raise NotImplementedError


def gradient(logits, target):
    """How token_surprise changes with each logit: a list of slopes."""
    raise NotImplementedError
'''

ROW = [2.0, 1.0, -0.5, 0.3]


def it_is_minus_the_logarithm(solution: Solution) -> None:
    """Known values, and the edge."""
    surprise = solution.get("surprise", "surprisal", "nats")
    for p in (0.5, 0.1, 1.0):
        mistakes = {
            "the logarithm is that of base 2, which gives bits": -math.log2(p),
            "the logarithm is that of base 10": -math.log10(p),
            "the minus is missing": math.log(p),
            "it is no logarithm": 1 - p,
        }
        same_number(surprise(p), -math.log(p), mistakes if p < 1 else None, what=f"surprise({p})")


def impossible_is_infinite(solution: Solution) -> None:
    """ln 0 is no number: it must not stop the program."""
    try:
        answer = solution.get("surprise", "surprisal", "nats")(0.0)
    except ValueError:
        raise Wrong("surprise(0.0) stops the program", hint="math.log(0) is an error: answer math.inf.") from None
    same_number(answer, math.inf, what="surprise(0.0)")


def nats_are_bits(solution: Solution) -> None:
    """1 bit is ln 2 nats."""
    bits = solution.get("bits", "to_bits", "nats_to_bits")
    mistakes = {"multiplied by ln 2: divide": 3 * math.log(2) * math.log(2)}
    same_number(bits(3 * math.log(2)), 3.0, mistakes, what="bits(3 · ln 2)")


def softmax_is_right(solution: Solution) -> None:
    """Values, and logits that a float's e to the power of cannot hold."""
    softmax = solution.get("softmax", "probabilities")
    row = torch.tensor(ROW)
    mistakes = {
        "each logit is divided by the sum, not e to it": row / row.sum(),
        "e to the logits is not divided by the sum": row.exp(),
        "what is left of the logits is not divided by the sum of e to it": (row - row.max()).exp(),
        "the powers are of 2 and not of e": (2**row) / (2**row).sum(),
    }
    same(called(softmax, ROW), row.softmax(dim=0), mistakes, what="the probabilities")
    hint = "Take the largest logit away from all of them first: nothing changes."
    try:
        same(called(softmax, [1000.0, 999.0]), torch.tensor([1.0, 0.0]).softmax(dim=0), what="the probabilities")
    except OverflowError:
        raise Wrong("e to the power of 1000 is too large for a float", hint=hint) from None
    except Wrong as wrong:
        raise Wrong(f"with logits of 1000: {wrong}", hint=hint) from None


def straight_from_the_logits(solution: Solution) -> None:
    """The same as by way of the probability, and where that way ends."""
    token_surprise = solution.get("token_surprise", "cross_entropy", "loss")
    mistakes = {
        "the largest logit was taken away from the sum only": ours.token_surprise(ROW, 2) - max(ROW),
        "this is the sum of all e^logit, without a logarithm": sum(map(math.exp, ROW)) - ROW[2],
        "the logit is added: take it away": ours.token_surprise(ROW, 2) + 2 * ROW[2],
    }
    same_number(called(token_surprise, ROW, 2), ours.token_surprise(ROW, 2), mistakes, what="token_surprise")
    hint = "ln Σ e^logit − logit: no probability is needed. Σ with the largest taken away, and added again after ln."
    try:
        answer = called(token_surprise, [0.0, 1000.0], 0)
        same_number(answer, 1000.0, what="token_surprise([0, 1000], 0)")
    except (OverflowError, ValueError):
        raise Wrong("logits of 1000 stop the program", hint=hint) from None
    except Wrong as wrong:
        raise Wrong(str(wrong), hint=hint) from None


def the_gradient_is_right(solution: Solution) -> None:
    """Probabilities, less 1 at the true token."""
    right = torch.tensor(ours.gradient(ROW, 1))
    plain = torch.tensor(ROW).softmax(dim=0)
    mistakes = {
        "the sign is reversed": -right,
        "the 1 is not taken away at the true token": plain,
        "1 is taken away everywhere": plain - 1,
    }
    same(called(solution.get("gradient", "grad", "slopes"), ROW, 1), right, mistakes, what="the slopes")


EXERCISE = Exercise(
    "surprise",
    STUB,
    (
        Step("surprise is minus the logarithm of the probability", it_is_minus_the_logarithm),
        Step("what was held to be impossible surprises without end", impossible_is_infinite),
        Step("nats become bits", nats_are_bits),
        Step("softmax makes probabilities, also of large logits", softmax_is_right),
        Step("surprise comes straight from the logits, also from large ones", straight_from_the_logits),
        Step("the gradient is what was given, less what was true", the_gradient_is_right),
    ),
    solution="vidro.learn.surprise",
)
