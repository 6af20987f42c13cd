"""Tiny world's floor: the bits reported for a story are those of the only way in which it can be told."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose, log2
from typing import TypeVar

import pytest

from vidro.data.tinyworld import floor_bits_per_byte, stories, told
from vidro.data.tinyworld.telling import PLOTS, RULES, TABLES, Digits, Teller

T = TypeVar("T")


class OutOfScriptError(Exception):
    """The script has ended where there are still options."""

    def __init__(self, n_options: int) -> None:
        self.n_options = n_options


class Script(Digits):
    """Choices as written down; afterwards the first option each time (`padded`), or an error."""

    def __init__(self, script: Sequence[int], *, padded: bool = False) -> None:
        super().__init__()
        self.script, self.padded = script, padded
        self.sizes: list[int] = []
        self.teller = Teller(self)
        self.n_told: list[int] = []  # pieces before each choice

    def pick(self, options: Sequence[T]) -> T:
        number = len(self.sizes)
        if number >= len(self.script) and not self.padded:
            raise OutOfScriptError(len(options))
        self.sizes.append(len(options))
        self.n_told.append(len(self.teller.told))
        return options[self.script[number] % len(options) if number < len(self.script) else 0]

    @property
    def text(self) -> str:
        return "".join(self.teller.told)


class Recorder(Digits):
    """Ordinary digits that are written down."""

    def pick(self, options: Sequence[T]) -> T:
        self.written = [*getattr(self, "written", []), self.rest % len(options)]
        return super().pick(options)


def recorded(seed: int, index: int) -> tuple[str, list[int]]:
    """A story and its choices."""
    digits = Recorder(seed, index)
    teller = Teller(digits)
    teller.tell()
    return "".join(teller.told), digits.written


def readings(text: str) -> list[float]:
    """The bits of every way to tell this very text: a search through all choices that begin as the text does."""
    found, open_scripts = [], [[]]
    while open_scripts:
        script = Script(open_scripts.pop())
        try:
            script.teller.tell()
        except OutOfScriptError as end:
            if text.startswith(script.text):
                open_scripts += [[*script.script, digit] for digit in range(end.n_options)]
            continue
        if script.text == text:
            found.append(sum(log2(size) for size in script.sizes))
    return found


def test_a_story_can_be_told_in_one_way_only_and_its_bits_are_those_reported() -> None:
    for index in range(100):
        one = told(5, index)
        (bits,) = readings(one.text)
        assert isclose(bits, one.bits, abs_tol=1e-6), index


def test_what_is_no_story_cannot_be_told() -> None:
    one = told(5, 0).text
    assert readings(one)
    for other in (one + " ", one[:-1], one.replace("the", "a", 1), ""):
        assert not readings(other)


def test_every_other_choice_shows_and_changes_nothing_before_it() -> None:
    for index in range(25):
        text, choices = recorded(6, index)
        assert text == told(6, index).text
        straight = Script(choices)
        straight.teller.tell()
        for number, size in enumerate(straight.sizes):
            for other in set(range(size)) - {choices[number]}:
                changed = Script([*choices[:number], other, *choices[number + 1 :]], padded=True)
                changed.teller.tell()
                assert changed.text != text
                assert changed.text.startswith("".join(straight.teller.told[: straight.n_told[number]]))


def test_no_option_is_written_twice() -> None:
    steps = [step for _, paragraphs in PLOTS.values() for paragraph in paragraphs for step in paragraph]
    for options in [*steps, *RULES.values()]:
        assert len(set(options)) == len(options)
    for table in TABLES.values():
        assert len({row.names for row in table}) == len(table)


def test_a_story_has_as_many_bits_as_it_has_choices() -> None:
    bits = [told(0, index).bits for index in range(1000)]
    assert 25 <= min(bits) <= max(bits) <= 90
    assert 40 <= sum(bits) / 1000 <= 60


def test_the_floor_is_bits_over_bytes_and_unknown_for_other_texts() -> None:
    ours = list(stories(seed=3, n_bytes=20_000))
    expected = sum(told(3, index).bits for index in range(len(ours))) / sum(len(one.encode()) for one in ours)
    floor = floor_bits_per_byte(ours, seed=3, n_bytes=20_000)
    assert floor == pytest.approx(expected, abs=1e-9)
    assert 0.03 < expected < 0.1
    few = floor_bits_per_byte(ours[4:9], seed=3, n_bytes=20_000)
    assert few is not None
    assert few != floor
    assert floor_bits_per_byte([*ours, "Call me Ishmael."], seed=3, n_bytes=20_000) is None
    assert floor_bits_per_byte(ours, seed=4, n_bytes=20_000) is None
    assert floor_bits_per_byte([], seed=3, n_bytes=20_000) is None
