"""Entropy and divergence: what must be paid, and what is paid on top for not knowing.

What the rung below lacks (`cross_entropy`): a loss of 2.1 nats says nothing by itself. Is it much? Could it be 0? A
coin cannot be guessed, however good the model; part of every loss is the coin's fault. That part is the *entropy* of
what happens, and the rest, the *divergence*, is the model's:

    H(p, q)        =  H(p)       +  D(p ‖ q)
    cross-entropy  =  entropy    +  divergence
    what is paid   =  must be    +  for believing q while p is true

>>> p, q = [0.7, 0.3], [0.5, 0.5]
>>> round(entropy(p), 3), round(divergence(p, q), 3), round(between(p, q), 3)
(0.611, 0.082, 0.693)

The divergence (Kullback & Leibler 1951) is never below 0, and 0 only where q = p: nobody can pay less than the entropy.
It is no distance, since it depends on which of the two is true:

>>> round(divergence([0.5, 0.5], [0.9, 0.1]), 3), round(divergence([0.9, 0.1], [0.5, 0.5]), 3)
(0.511, 0.368)

To believe something impossible that happens costs without end. Who counts therefore counts one more of everything
(`shares`), as production does: `vidro.evals.yardsticks.unigram_nats` is `between` the shares of two texts. The two are
held equal in `tests/equal/test_losses_equal.py`.

What is missing: nats are no unit that a person feels. Next rung: `perplexity`.
"""

from __future__ import annotations

from collections.abc import Sequence

from vidro.learn.cross_entropy import between


def entropy(p: Sequence[float]) -> float:
    """H(p) = −Σ p ln p, in nats: the mean surprise of one who knows exactly how likely everything is.

    Nothing to guess; a fair coin, ln 2; of k equally likely things ln k, which is the most that k things can have:

    >>> entropy([1.0, 0.0]), round(entropy([0.5, 0.5]), 3), round(entropy([0.25] * 4), 3)
    (0.0, 0.693, 1.386)
    """
    return between(p, p)


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """D(p ‖ q) = Σ p ln (p / q), in nats: how much more than the entropy is paid for believing q.

    >>> divergence([0.2, 0.8], [0.2, 0.8])
    0.0
    """
    return between(p, q) - entropy(p)


def shares(counts: Sequence[int], more: int = 0) -> list[float]:
    """How often each thing occurs, as a share of all; `more` is added to every count first.

    >>> shares([3, 1, 0]), [round(share, 3) for share in shares([3, 1, 0], more=1)]
    ([0.75, 0.25, 0.0], [0.571, 0.286, 0.143])
    """
    grown = [count + more for count in counts]
    return [count / sum(grown) for count in grown]
