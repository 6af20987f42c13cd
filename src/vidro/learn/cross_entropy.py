"""Cross-entropy: the mean surprise of a text, counted token by token.

What the rung below lacks (`surprise`): a single token says little about a model. A text asks at every place which token
comes next, so add up the surprise of all of them and divide by how many there are. That is the loss which training
makes small: row t of the logits [B, T, V] is compared with target t, the token after it.

>>> import torch
>>> logits = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])  # one text, two places, three tokens
>>> nats, count = cross_entropy(logits, torch.tensor([[0, 2]]))
>>> round(nats, 3), count, round(nats / count, 3)
(1.506, 2, 0.753)

Sum and count stay apart until the very end. A mean of means gives a batch of 3 tokens as much weight as one of 300:

>>> total([(2.0, 1), (3.0, 9)]), (2.0 / 1 + 3.0 / 9) / 2  # the mean of ten tokens; the mean of two means
(0.5, 1.1666666666666667)

Some places are not asked: padding, a question that only the answer follows from. Their target is −100 (`IGNORE`).

Why *cross*: it is measured between two distributions. p is what really comes next, q what the model says, and
H(p, q) = −Σ p ln q (`between`). For one place of one text p is 1 at the true token and 0 elsewhere, and the sum has one
term: the surprise. For many places it is the mean; the next rung, `entropy`, says how small it can become.

Production: `vidro.model.loss` (`tests/equal/test_losses_equal.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from vidro.core.shapes import Float, Int
from vidro.learn.surprise import surprise, token_surprise

IGNORE = -100


def cross_entropy(logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]) -> tuple[float, int]:
    """(nats of all counted tokens, how many were counted), one token after the other.

    >>> import torch
    >>> nothing = torch.full((1, 2), IGNORE)
    >>> cross_entropy(torch.zeros(1, 2, 5), nothing)
    (0.0, 0)
    """
    nats, count = 0.0, 0
    for rows, answers in zip(logits.tolist(), targets.tolist(), strict=True):
        for row, answer in zip(rows, answers, strict=True):
            if answer == IGNORE:
                continue
            nats += token_surprise(row, answer)
            count += 1
    return nats, count


def total(parts: Iterable[tuple[float, int]]) -> float:
    """The mean over all tokens of several batches: all nats, divided once by all counts."""
    pairs = list(parts)
    return sum(nats for nats, _ in pairs) / sum(count for _, count in pairs)


def between(p: Sequence[float], q: Sequence[float]) -> float:
    """H(p, q) = −Σ p ln q: the mean surprise of one who believes q, where p is what happens.

    What never happens costs nothing, whatever q says of it; what happens and was held to be impossible costs
    everything.

    >>> round(between([0.5, 0.5], [0.9, 0.1]), 3), between([0.5, 0.5], [1.0, 0.0])
    (1.204, inf)
    >>> between([0.0, 1.0], [0.75, 0.25]) == surprise(0.25)  # one hot: the surprise of that one
    True
    """
    return sum(share * surprise(guess) for share, guess in zip(p, q, strict=True) if share > 0)
