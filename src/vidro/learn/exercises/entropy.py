"""Exercise for entropy: what must be paid, what is paid on top, and the cases with a 0 in them."""

from __future__ import annotations

import math

from vidro.learn.cross_entropy import between
from vidro.learn.entropy import divergence, entropy
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor
from vidro.learn.exercises._numbers import called, number_of, same_number

STUB = '''\
"""Exercise entropy: entropy and divergence. Check it with: vidro learn check entropy FILE"""

import math


def entropy(p):
    """H(p) in nats, of a list of probabilities. What never happens (0) adds nothing."""
    raise NotImplementedError


def divergence(p, q):
    """D(p ‖ q) in nats: what one who believes q pays on top of H(p); math.inf where q has 0 for what happens."""
    raise NotImplementedError


def shares(counts, more=0):
    """Counts → a list of probabilities; `more` is added to each count first."""
    raise NotImplementedError
'''

P, Q = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]
ENTROPY = ("entropy", "H")
DIVERGENCE = ("divergence", "kl_divergence", "kl", "KL", "kl_div")


def entropy_is_right(solution: Solution) -> None:
    """Values; of k equal things ln k."""
    mistakes = {
        "these are bits: take the natural logarithm": entropy(P) / math.log(2),
        "the minus is missing": -entropy(P),
        "each surprise must be weighed by how often it happens": -sum(math.log(p) for p in P),
        "each surprise is weighed by how often it happens, so do not divide by their number": entropy(P) / 3,
    }
    same_number(called(solution.get(*ENTROPY), P), entropy(P), mistakes, what="the entropy of [0.5, 0.3, 0.2]")
    same_number(called(solution.get(*ENTROPY), [0.25] * 4), math.log(4), what="the entropy of four equal things")


def never_adds_nothing(solution: Solution) -> None:
    """0 · ln 0 is 0."""
    try:
        found = called(solution.get(*ENTROPY), [0.5, 0.0, 0.5])
    except ValueError:
        raise Wrong("a probability of 0 stops the program", hint="ln 0 is an error: leave out what is 0.") from None
    same_number(found, math.log(2), what="the entropy of [0.5, 0, 0.5]")


def divergence_is_right(solution: Solution) -> None:
    """Values and direction."""
    mistakes = {
        "p and q are exchanged": divergence(Q, P),
        "this is the cross-entropy: take the entropy of p away": between(P, Q),
        "the sign is reversed": -divergence(P, Q),
        "these are bits: take the natural logarithm": divergence(P, Q) / math.log(2),
        "the entropy of q is taken away, and not that of p": between(P, Q) - entropy(Q),
    }
    same_number(called(solution.get(*DIVERGENCE), P, Q), divergence(P, Q), mistakes, what="the divergence")


def who_is_right_pays_nothing(solution: Solution) -> None:
    """0 for q = p, never below."""
    find = solution.get(*DIVERGENCE)
    same_number(called(find, P, P), 0.0, what="the divergence of p from itself")
    for q in ([0.1, 0.1, 0.8], [0.6, 0.2, 0.2], [0.34, 0.33, 0.33]):
        if number_of(called(find, P, q), "the divergence") < 0:
            raise Wrong(f"the divergence of {q} from {P} is below 0")


def zeros_on_either_side(solution: Solution) -> None:
    """What never happens costs nothing; what was held to be impossible and happens costs without end."""
    find = solution.get(*DIVERGENCE)
    try:
        same_number(called(find, [1.0, 0.0], [0.5, 0.5]), math.log(2), what="divergence([1, 0], [0.5, 0.5])")
        same_number(called(find, [1.0, 0.0], [1.0, 0.0]), 0.0, what="divergence([1, 0], [1, 0])")
        same_number(called(find, [0.5, 0.5], [1.0, 0.0]), math.inf, what="divergence([0.5, 0.5], [1, 0])")
    except (ValueError, ZeroDivisionError):
        raise Wrong("a probability of 0 stops the program", hint="Look at p first; then answer math.inf.") from None


def counts_become_shares(solution: Solution) -> None:
    """Together 1, with and without the one more."""
    find = solution.get("shares", "probabilities", "normalise", "normalize")
    for more, right in ((0, [0.75, 0.25, 0.0]), (1, [4 / 7, 2 / 7, 1 / 7])):
        found = as_tensor(called(find, [3, 1, 0], more)).tolist()
        if len(found) != 3 or any(abs(a - b) > 1e-4 for a, b in zip(found, right, strict=True)):
            hint = "Divide by the sum of the grown counts." if more else None
            raise Wrong(f"shares([3, 1, 0], more={more}) is another list", found=[round(a, 3) for a in found],
                        expected=[round(b, 3) for b in right], hint=hint)  # fmt: skip


EXERCISE = Exercise(
    "entropy",
    STUB,
    (
        Step("entropy is the mean surprise of one who knows", entropy_is_right),
        Step("what never happens adds nothing", never_adds_nothing),
        Step("divergence is what is paid on top", divergence_is_right),
        Step("who is right pays nothing on top, and nobody pays less", who_is_right_pays_nothing),
        Step("zeros on either side", zeros_on_either_side),
        Step("counts become shares", counts_become_shares),
    ),
    solution="vidro.learn.entropy",
)
