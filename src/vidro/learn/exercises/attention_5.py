"""Exercise for attention-5: turning by place, sharing keys and values, and the mask of a text that goes on."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor, same

STUB = '''\
"""Exercise attention-5: attention today. Check it with: vidro learn check attention-5 FILE"""

import torch


def turn(x, places):
    """x [T, E], places [T] (whole numbers). Turns pair i of the numbers of each row by place · 10000^(-2i/E).

    A pair (a, b) turned by an angle is (a cos - b sin, b cos + a sin). Pair i may be x[i] and x[i + E/2], or x[2i] and
    x[2i + 1]: both are in use.
    """
    raise NotImplementedError


def look_back(query, key, value):
    """Causal attention: query [B, H, T, E]; key and value [B, K, S, E], where K divides H and T ≤ S.

    The T tokens that ask are the last T of S. Heads 0 … H/K - 1 use key head 0, the next H/K use key head 1, and so on.
    """
    raise NotImplementedError
'''

TURN = ("turn", "rotate", "apply_rope", "rope", "apply_rotary", "apply_rotary_emb")
LOOK = ("look_back", "grouped_attention", "grouped_query_attention", "attention")
T, E = 6, 8
THETA = 10_000.0


def draw(*shape: int, seed: int = 1) -> Tensor:
    """Random numbers of this shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def turned(solution: Solution, x: Tensor, places: Tensor) -> Tensor:
    """What the reader's function gives, in the shape of x."""
    found = as_tensor(solution.get(*TURN)(x, places))
    if found.shape != x.shape:
        raise Wrong("turning changes the shape", found=list(found.shape), expected=list(x.shape))
    return found


def place_0_stays(solution: Solution) -> None:
    """An angle of 0."""
    x = draw(1, E)
    same(turned(solution, x, torch.tensor([0])), x, what="the numbers at place 0, which must stay as they are,")


def lengths_stay(solution: Solution) -> None:
    """Turning does not stretch, and it does turn."""
    x, places = draw(T, E), torch.arange(T)
    found = turned(solution, x, places)
    if torch.allclose(found[1:], x[1:], atol=1e-4):
        raise Wrong("nothing is turned", hint="At place 1 the first pair turns by 1 radian.")
    same(found.norm(dim=1), x.norm(dim=1), what="the lengths of the turned rows")


def scores_know_the_distance(solution: Solution) -> None:
    """The same distance, the same score, wherever."""
    query, key = draw(1, E, seed=2), draw(1, E, seed=3)

    def score(here: int, there: int) -> float:
        one, other = (turned(solution, x, torch.tensor([at])) for x, at in ((query, here), (key, there)))
        return (one @ other.T).item()

    first, later, farther = score(3, 1), score(40, 38), score(40, 31)
    if abs(first - later) > 1e-3:
        raise Wrong("places 3 and 1 and places 40 and 38 are equally far apart, and their scores differ",
                    found=round(later, 3), expected=round(first, 3))  # fmt: skip
    if abs(later - farther) < 1e-3:
        raise Wrong("the score is the same at distance 2 and at distance 9")


def the_speeds_are_right(solution: Solution) -> None:
    """Numbers, in either order of pairs."""
    x, places = draw(T, E), torch.arange(T)
    found = turned(solution, x, places)
    pairs = torch.arange(E // 2)
    right = THETA ** (-2 * pairs / E)
    by_speed = {
        "": right,
        "all pairs turn equally fast: pair i turns by place · 10000^(-2i/E)": torch.ones(E // 2),
        "the speeds fall too slowly: the exponent is -2i/E, where i counts pairs": THETA ** (-pairs / E),
        "the speeds fall too fast: i counts pairs, so 2i is the place of its first number": THETA ** (-4 * pairs / E),
        "the slow pairs come first: the first pair turns by 1 radian per place": right.flip(0),
        "the pairs turn the other way round: (a cos - b sin, b cos + a sin)": -right,
    }
    for mistake, speed in by_speed.items():
        if any(torch.allclose(found, by_hand(x, places, speed, apart=apart), atol=1e-4) for apart in (True, False)):
            if mistake:
                raise Wrong(mistake)
            return
    same(found, by_hand(x, places, right, apart=True), what="the turned numbers")


def by_hand(x: Tensor, places: Tensor, speed: Tensor, *, apart: bool) -> Tensor:
    """Turned as complex numbers; pairs half a row `apart`, or side by side."""
    pairs = x.view(len(x), 2, -1).transpose(1, 2) if apart else x.view(len(x), -1, 2)
    arrows = torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones(T, E // 2), places[:, None] * speed)
    result = torch.view_as_real(arrows)
    return (result.transpose(1, 2) if apart else result).reshape(x.shape)


def expected(query: Tensor, key: Tensor, value: Tensor, *, sharing: str = "neighbours", mask: str = "end") -> Tensor:
    """Causal attention; or with heads shared in another way, or with the mask in another place."""
    times = query.shape[1] // key.shape[1]
    if sharing == "neighbours":
        key, value = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1)
    else:
        key, value = key.repeat(1, times, 1, 1), value.repeat(1, times, 1, 1)
    scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])
    asked, seen = scores.shape[-2:]
    first = {"end": seen - asked, "start": 0, "none": seen}[mask]
    later = torch.ones(asked, seen, dtype=torch.bool).triu(1 + first)
    return scores.masked_fill(later, -torch.inf).softmax(dim=-1) @ value


def check_look(solution: Solution, sizes: tuple[int, int, int, int], mistakes: dict[str, dict[str, Any]]) -> None:
    """`look_back` with H, K, T, S against the numbers by hand, and those of mistakes."""
    heads, key_heads, asked, seen = sizes
    query, key, value = (
        draw(2, heads, asked, E),
        draw(2, key_heads, seen, E, seed=2),
        draw(2, key_heads, seen, E, seed=3),
    )
    wrong = {mistake: expected(query, key, value, **options) for mistake, options in mistakes.items()}
    found = solution.get(*LOOK)(query, key, value)
    same(found, expected(query, key, value), wrong)


def it_is_causal_attention(solution: Solution) -> None:
    """As many key heads as query heads, the whole text at once."""
    check_look(solution, (2, 2, 5, 5), {"the mask is not applied: every token sees the whole text": {"mask": "none"}})


def heads_are_shared(solution: Solution) -> None:
    """6 query heads, 2 key heads."""
    mistake = "the key heads are shared in turn (0 1 0 1 …): neighbours share one (0 0 0 1 1 1)"
    check_look(solution, (6, 2, 5, 5), {mistake: {"sharing": "in turn"}})


def the_text_goes_on(solution: Solution) -> None:
    """The last 2 of 5 tokens ask, then the last alone."""
    mistakes = {
        "the mask begins at the wrong end: the first of the 2 that ask is token 4 of 5, and sees 4": {"mask": "start"},
        "the mask is not applied: token 4 of 5 sees token 5": {"mask": "none"},
    }
    check_look(solution, (4, 2, 2, 5), mistakes)
    check_look(
        solution, (4, 2, 1, 5), {"one token that asks is the last of the text, and sees it all": {"mask": "start"}}
    )


EXERCISE = Exercise(
    "attention-5",
    STUB,
    (
        Step("at place 0 nothing is turned", place_0_stays),
        Step("turning keeps lengths", lengths_stay),
        Step("a score depends on the distance only", scores_know_the_distance),
        Step("each pair turns at its own speed", the_speeds_are_right),
        Step("look_back is causal attention", it_is_causal_attention),
        Step("6 query heads share 2 key heads", heads_are_shared),
        Step("the last tokens of a text see all that came before them", the_text_goes_on),
    ),
    solution="vidro.learn.attention_5",
)
