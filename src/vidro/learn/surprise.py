"""The surprise of one token: minus the logarithm of the probability that the model gave it.

What the rung below lacks (`generating`): a text comes out, and nothing says how good the model is. So take a true text
and look at what the model had thought of its next token. Certain of it: surprise 0. One chance in two: 0.69. Never
expected: without end.

>>> [round(surprise(p), 2) for p in (1.0, 0.5, 0.1, 0.01)]
[0.0, 0.69, 2.3, 4.61]

Why a logarithm: the probability of two tokens is the *product* of theirs, and their surprise should be the *sum*. The
logarithm is what turns the one into the other (Shannon 1948):

>>> round(surprise(0.5 * 0.1), 3) == round(surprise(0.5) + surprise(0.1), 3)
True

With the natural logarithm the unit is the *nat*; with that of base 2 the *bit*, the answer to one fair question of yes
or no. 1 nat is 1.44 bits.

>>> round(bits(surprise(0.5)), 6), round(bits(surprise(1 / 8)), 6)
(1.0, 3.0)

A model gives no probabilities but logits. `softmax` makes probabilities of them, and `token_surprise` goes from logits
to nats without ever holding a probability: a float cannot hold e^-1000, but it can hold 1000.

Production is `vidro.model.loss.next_token_loss`, for many tokens at once (`tests/equal/test_losses_equal.py`).
What is missing: a text has many tokens. Next rung: `cross_entropy`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def surprise(probability: float) -> float:
    """Nats: 0 for what was certain, infinite for what was held to be impossible."""
    return 0.0 - math.log(probability) if probability > 0 else math.inf  # 0.0 −: certainty is 0.0 and not −0.0


def bits(nats: float) -> float:
    """The same surprise in bits: one nat is 1 / ln 2 = 1.4427 bits."""
    return nats / math.log(2)


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities: e to each logit, divided by the sum of all.

    Taking the largest logit away from all changes nothing, top and bottom shrink alike, and e to what is left is at
    most 1. Without that, e to the power of 1000 would be too large for a float.

    >>> [round(p, 3) for p in softmax([2.0, 1.0, 0.0])]
    [0.665, 0.245, 0.09]
    >>> softmax([1002.0, 1001.0, 1000.0]) == softmax([2.0, 1.0, 0.0])
    True
    """
    largest = max(logits)
    powers = [math.exp(logit - largest) for logit in logits]
    return [power / sum(powers) for power in powers]


def token_surprise(logits: Sequence[float], target: int) -> float:
    """Nats for the true next token: ln (Σ e^logit) − its logit.

    It is −ln softmax(logits)[target], put another way: −ln (e^a / S) = ln S − a.

    >>> round(token_surprise([2.0, 1.0, 0.0], target=0), 3), round(surprise(softmax([2.0, 1.0, 0.0])[0]), 3)
    (0.408, 0.408)
    >>> token_surprise([0.0, 1000.0], target=0)  # by way of the probability it would be infinite
    1000.0
    """
    largest = max(logits)
    of_all = largest + math.log(sum(math.exp(logit - largest) for logit in logits))
    return of_all - logits[target]


def gradient(logits: Sequence[float], target: int) -> list[float]:
    """How the surprise changes with each logit: the probabilities, less 1 at the true token.

    A step against it lifts the true token by what it lacked, and presses each other one by what it had too much. Once
    the model is right and sure, there is nothing left to change.

    >>> [round(slope, 3) for slope in gradient([2.0, 1.0, 0.0], target=0)]
    [-0.335, 0.245, 0.09]
    """
    return [p - (place == target) for place, p in enumerate(softmax(logits))]
