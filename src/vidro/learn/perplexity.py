"""Perplexity: between how many equally likely tokens the model hesitates.

What the rung below lacks (`entropy`): 2.3 nats is no picture. But one who chooses among k equally likely things pays
ln k nats for each, so e to the power of the nats is a number of choices. A model with 2.3 nats per token is as unsure
as one who throws a die of ten faces at every token (Jelinek et al. 1977).

>>> round(perplexity(math.log(10)), 6)
10.0
>>> round(perplexity(2.3), 1), round(perplexity(0.0), 1)
(10.0, 1.0)

It is the mean of the choices at each token, but not the plain one: multiply them, and take the n-th root (the geometric
mean). One token held to be almost impossible weighs heavily, and one held to be impossible spoils all:

>>> round(of_probabilities([0.5, 0.5, 0.5]), 3), round(of_probabilities([0.5, 0.5, 0.0001]), 1)
(2.0, 34.2)
>>> of_probabilities([0.5, 0.5, 0.0])
inf

So it is wrong to average perplexities. Average nats, over all tokens, and raise e to that once.

Perplexity is *per token*, and what a token is, the tokenizer decides: the same text with the same total of nats has a
smaller perplexity when cut into more tokens. `per_unit` shares the nats out anew, over words as papers do, or bytes.

Production: `vidro.evals.perplexity` (`tests/equal/test_losses_equal.py`). Next rung: `bits_per_byte`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vidro.learn.entropy import entropy
from vidro.learn.surprise import softmax, surprise

LARGEST = 709  # e to more than this is no float


def perplexity(nats_per_token: float) -> float:
    """e to the mean nats: how many equally likely choices would be as surprising.

    >>> perplexity(1000.0)  # e^1000 is more than a float can hold
    inf
    """
    return math.exp(nats_per_token) if nats_per_token < LARGEST else math.inf


def of_probabilities(given: Sequence[float]) -> float:
    """Perplexity of a text, from the probability that each of its tokens was given: 1 / their geometric mean."""
    return perplexity(sum(surprise(p) for p in given) / len(given))


def choices(logits: Sequence[float]) -> float:
    """Between how many tokens a model hesitates at one place, before it knows the answer: e to the entropy.

    Of three tokens, none is preferred; one is preferred; one is as good as certain:

    >>> [round(choices(row), 2) for row in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [9.0, 0.0, 0.0])]
    [3.0, 2.65, 1.0]
    """
    return perplexity(entropy(softmax(logits)))


def per_unit(nats_per_token: float, n_tokens: int, n_units: int) -> float:
    """The perplexity per word (or byte, or line), whatever the tokens are: all nats shared out over `n_units`.

    A text of 6 words, once cut into 6 tokens at 2 nats and once into 12 tokens at 1 nat. Per token they seem far
    apart, per word they are the same:

    >>> round(perplexity(2.0), 2), round(perplexity(1.0), 2)
    (7.39, 2.72)
    >>> round(per_unit(2.0, 6, 6), 2), round(per_unit(1.0, 12, 6), 2)
    (7.39, 7.39)
    """
    return perplexity(nats_per_token * n_tokens / n_units)
