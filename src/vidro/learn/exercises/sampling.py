"""Exercise for sampling: temperature, top-k and the throw, with the edges that are easily missed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor, same

STUB = '''\
"""Exercise sampling: temperature and top-k by hand. Check it with: vidro learn check sampling FILE"""

import torch


def with_temperature(logits, temperature):
    """Probabilities [V] of logits [V] at a temperature above 0."""
    raise NotImplementedError


def keep_top_k(logits, k):
    """Logits [V] in which all but the k largest are −∞; the logits that were given stay as they are."""
    raise NotImplementedError


def draw(probabilities, dice):
    """The number of a token, each drawn as often as it is probable. `dice` is a torch.Generator."""
    raise NotImplementedError


def choose(logits, dice, temperature=1.0, top_k=0):
    """The number of the next token: top-k (0: all), temperature, draw. Temperature 0: the most probable."""
    raise NotImplementedError
'''

LOGITS = torch.tensor([2.0, -1.0, 0.5, 1.0, -3.0])
TEMPERATURE = ("with_temperature", "softmax_with_temperature", "apply_temperature")
TOP_K = ("keep_top_k", "top_k", "apply_top_k")


def tempered(solution: Solution, logits: Tensor, temperature: float) -> Tensor:
    """The reader's probabilities."""
    return as_tensor(solution.get(*TEMPERATURE)(logits.clone(), temperature))


def kept_by(solution: Solution, logits: Tensor, k: int) -> Tensor:
    """The reader's filtered logits."""
    return as_tensor(build(solution.get(*TOP_K), logits=logits, k=k, top_k=k))


def at_one_it_is_softmax(solution: Solution) -> None:
    """Temperature 1 changes nothing."""
    found = tempered(solution, LOGITS, 1.0)
    same(found, LOGITS.softmax(-1), {"these are logits: softmax is missing": LOGITS}, what="the probabilities at 1")


def cold_and_hot(solution: Solution) -> None:
    """Two temperatures, or which mistake."""
    for temperature in (0.5, 2.0):
        wrong = {
            "the logits are multiplied by the temperature: divide": (LOGITS * temperature).softmax(-1),
            "the temperature is not used": LOGITS.softmax(-1),
            "the probabilities are divided: divide the logits, before softmax": LOGITS.softmax(-1) / temperature,
        }
        right = (LOGITS / temperature).softmax(-1)
        same(tempered(solution, LOGITS, temperature), right, wrong, what=f"the probabilities at {temperature}")


def very_cold(solution: Solution) -> None:
    """A tiny temperature overflows unless the largest logit is taken away first, or something like it."""
    found = tempered(solution, torch.tensor([90.0, 80.0, 70.0]), 1e-40)
    if found.isnan().any():
        hint = "Take the largest logit away first: no probability changes."
        raise Wrong("at a tiny temperature the logits overflow, and nan comes out", hint=hint)
    same(found, torch.tensor([1.0, 0.0, 0.0]), what="the probabilities at 1e-40")


def others_are_gone(solution: Solution) -> None:
    """−∞, not 0."""
    given = LOGITS.clone()
    found = kept_by(solution, given, 2)
    right = torch.tensor([2.0, -torch.inf, -torch.inf, 1.0, -torch.inf])
    if not torch.equal(given, LOGITS):
        raise Wrong(
            "the logits that were given were changed", hint="masked_fill makes new ones, masked_fill_ does not."
        )
    if torch.equal(found, right):
        return
    mistakes: dict[str, Tensor] = {
        "the others are 0, and e⁰ is 1: they must be −∞": torch.tensor([2.0, 0.0, 0.0, 1.0, 0.0]),
        "the two smallest are kept": torch.tensor([-torch.inf, -1.0, -torch.inf, -torch.inf, -3.0]),
        "one too many is kept": torch.tensor([2.0, -torch.inf, 0.5, 1.0, -torch.inf]),
        "one too few is kept": torch.tensor([2.0, -torch.inf, -torch.inf, -torch.inf, -torch.inf]),
        "only the two are given back: tokens would lose their numbers": torch.tensor([2.0, 1.0]),
    }
    for mistake, numbers in mistakes.items():
        if found.shape == numbers.shape and torch.equal(found, numbers):
            raise Wrong(mistake)
    raise Wrong("the filtered logits are not right", found=found.tolist(), expected=right.tolist())


def k_may_be_large(solution: Solution) -> None:
    """More than there are."""
    for k in (5, 50):
        if not torch.equal(kept_by(solution, LOGITS, k), LOGITS):
            raise Wrong(f"with k = {k} all five must stay")


def as_often_as_probable(solution: Solution) -> None:
    """A thousand throws."""
    draw, dice = solution.get("draw"), torch.Generator().manual_seed(0)
    shares = torch.tensor([0.5, 0.0, 0.2, 0.3])
    drawn = [int(draw(shares, dice)) for _ in range(1000)]
    found = torch.tensor([drawn.count(number) / 1000 for number in range(4)])
    if found[1] > 0:
        raise Wrong("a token of probability 0 was drawn")
    if found.max() == 1.0:
        raise Wrong(f"token {int(found.argmax())} comes every time: nothing is drawn", hint="torch.multinomial draws.")
    if (found - shares).abs().max() > 0.06:
        raise Wrong("in 1,000 throws the tokens come with other shares", found=found.tolist(), expected=shares.tolist())


def the_seed_decides(solution: Solution) -> None:
    """The dice that are given, and no others."""

    def text(seed: int, other: int) -> list[Any]:
        torch.manual_seed(other)
        dice = torch.Generator().manual_seed(seed)
        return [int(solution.get("draw")(torch.full((9,), 1 / 9), dice)) for _ in range(12)]

    if text(1, 5) != text(1, 6):
        raise Wrong("the same dice give other tokens: others are thrown", hint="Pass generator=dice.")
    if text(1, 5) == text(2, 5):
        raise Wrong("other dice give the same tokens")


def all_together(solution: Solution) -> None:
    """Greedy at 0; else only the kept ones come, all of them."""
    choose, dice = solution.get("choose", "choose_token"), torch.Generator().manual_seed(0)
    if {int(choose(LOGITS.flip(0), dice, temperature=0.0)) for _ in range(20)} != {4}:
        raise Wrong("at temperature 0 another than the most probable token comes")
    drawn = {int(choose(LOGITS, dice, temperature=3.0, top_k=3)) for _ in range(300)}
    if drawn != {0, 2, 3}:
        raise Wrong("with top_k=3 these tokens come", found=sorted(drawn), expected=[0, 2, 3])
    drawn = {int(choose(LOGITS, dice, temperature=5.0)) for _ in range(500)}
    if drawn != {0, 1, 2, 3, 4}:
        raise Wrong("without top-k at a high temperature all five should come", found=sorted(drawn))


EXERCISE = Exercise(
    "sampling",
    STUB,
    (
        Step("at temperature 1 it is softmax", at_one_it_is_softmax),
        Step("colder and hotter, the numbers are right", cold_and_hot),
        Step("a tiny temperature gives numbers too", very_cold),
        Step("top-k: the others are −∞", others_are_gone),
        Step("k may be larger than the vocabulary", k_may_be_large),
        Step("each token is drawn as often as it is probable", as_often_as_probable),
        Step("the dice that are given decide", the_seed_decides),
        Step("all together choose a token", all_together),
    ),
    solution="vidro.learn.sampling",
)
