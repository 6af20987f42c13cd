"""Exercise for bits-per-byte: an arithmetic coder. How it works inside is the reader's choice; its files are weighed.

A coder that rounds each symbol up to whole bits still gives every text back. Only the scale shows what it wastes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._numbers import same_number

STUB = '''\
"""Exercise bits-per-byte: a coder that reaches the loss. Check it with: vidro learn check bits-per-byte FILE"""


def bits_per_byte(nats, n_bytes):
    """The loss of a whole text, in bits for each byte of its file."""
    raise NotImplementedError


def compress(symbols, predict):
    """A list of symbols (0, 1, 2 …) as bytes.

    predict(before) gives a list with the probability of each symbol, from the list of those before it. Narrow an
    interval: each symbol takes its part. Whole numbers are safest; Python's are as long as you like.
    """
    raise NotImplementedError


def expand(packed, n_symbols, predict):
    """The list of symbols again. Ask predict for the same, and see in which part the number lies."""
    raise NotImplementedError
'''

SLACK_BYTES = 4
EVEN = [0.5, 0.25, 0.25]


def steady(before: Sequence[int]) -> list[float]:
    """Always the same chances."""
    return EVEN


def in_turn(before: Sequence[int]) -> list[float]:
    """Chances that depend on the symbol before, and shares of a bit."""
    rows = ([0.9, 0.06, 0.04], [0.01, 0.95, 0.04], [0.3, 0.3, 0.4])
    return rows[before[-1] if len(before) else 0]


def drawn(predict, length: int, seed: int) -> list[int]:
    """A text as the model expects it."""
    dice = random.Random(seed)
    text: list[int] = []
    while len(text) < length:
        text.append(dice.choices((0, 1, 2), predict(text))[0])
    return text


def bytes_paid(text: Sequence[int], predict) -> float:
    """The surprise of a text, in bytes."""
    return sum(-math.log2(predict(text[:place])[symbol]) for place, symbol in enumerate(text)) / 8


def packed_by(solution: Solution, text: list[int], predict) -> bytes:
    """The reader's file."""
    packed = solution.get("compress", "encode")(list(text), predict)
    if not isinstance(packed, bytes | bytearray):
        raise Wrong("compress must give bytes", found=type(packed).__name__)
    return bytes(packed)


def there_and_back(solution: Solution, text: list[int], predict, what: str) -> bytes:
    """Pack and unpack; the packed file."""
    packed = packed_by(solution, text, predict)
    found = list(solution.get("expand", "decompress", "decode")(packed, len(text), predict))
    if found != text:
        same = next(
            (n for n, (a, b) in enumerate(zip(found, text, strict=False)) if a != b), min(len(found), len(text))
        )
        raise Wrong(f"{what} does not come back: it differs at symbol {same + 1}", found=found[same : same + 3],
                    expected=text[same : same + 3])  # fmt: skip
    return packed


def light_enough(packed: bytes, text: list[int], predict, what: str) -> None:
    """The file weighs what the surprise says, and a few bytes. Raises Wrong that names a waste it knows."""
    paid = bytes_paid(text, predict)
    rounded = sum(math.ceil(-math.log2(predict(text[:n])[symbol])) for n, symbol in enumerate(text)) / 8
    if len(packed) <= paid + SLACK_BYTES:
        return
    if abs(len(packed) - rounded) <= SLACK_BYTES:
        raise Wrong(f"{what}: each symbol takes a whole number of bits", found=f"{len(packed)} bytes",
                    expected=f"{paid:.0f}", hint="An interval narrows by 0.9 as well as by 0.5.")  # fmt: skip
    raise Wrong(f"{what}: the file is larger than the loss says", found=f"{len(packed)} bytes", expected=f"{paid:.0f}")


def the_unit_is_right(solution: Solution) -> None:
    """Nats → bits → per byte."""
    nats = 300.0
    mistakes = {
        "these are nats per byte: divide by ln 2": nats / 100,
        "multiplied by ln 2: divide": nats * math.log(2) / 100,
        "these are bytes per byte": nats / math.log(2) / 8 / 100,
        "upside down": 100 / (nats / math.log(2)),
    }
    found = solution.get("bits_per_byte", "bpb")(nats, 100)
    same_number(found, nats / math.log(2) / 100, mistakes, what="bits_per_byte(300, 100)")


def a_short_text_comes_back(solution: Solution) -> None:
    """Eleven bits."""
    text = [0, 1, 0, 0, 2, 0, 0, 1]
    packed = there_and_back(solution, text, steady, "a text of 8 symbols")
    light_enough(packed, text, steady, "a text of 8 symbols")


def a_long_text_comes_back(solution: Solution) -> None:
    """Longer than the digits of a float."""
    text = drawn(steady, 400, seed=1)
    packed = there_and_back(solution, text, steady, "a text of 400 symbols")
    light_enough(packed, text, steady, "a text of 400 symbols")


def the_model_is_asked_each_time(solution: Solution) -> None:
    """Chances that change with what came before; symbols of a fraction of a bit."""
    text = drawn(in_turn, 600, seed=2)
    packed = there_and_back(solution, text, in_turn, "a text whose chances change")
    light_enough(packed, text, in_turn, "a text whose chances change")


def sure_things_cost_nothing(solution: Solution) -> None:
    """Probabilities near 1 and near 0, and a symbol of probability 0 when it does not come."""

    def sure(before: Sequence[int]) -> list[float]:
        return [1 - 1e-7, 1e-7, 0.0]

    text = [0] * 2000 + [1] + [0] * 2000
    packed = there_and_back(solution, text, sure, "one unlikely symbol among 4,000 likely ones")
    light_enough(packed, text, sure, "one unlikely symbol among 4,000 likely ones")


EXERCISE = Exercise(
    "bits-per-byte",
    STUB,
    (
        Step("nats become bits per byte", the_unit_is_right),
        Step("a short text comes back, from a file as small as its surprise", a_short_text_comes_back),
        Step("a long text does too", a_long_text_comes_back),
        Step("the model is asked anew for each symbol", the_model_is_asked_each_time),
        Step("sure things cost nothing, and unlikely ones come back", sure_things_cost_nothing),
    ),
    solution="vidro.learn.bits_per_byte",
)
