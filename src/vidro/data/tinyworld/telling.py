"""How a story of tiny world is told: from left to right, one choice at a time, and each choice just before it shows.

A story is one large number, read digit by digit: every choice among n things takes one digit in base n from the hash of
its key. So it is the same on every machine, and its probability is known: one over the product of these n. Two ways of
choosing never tell the same text (the tests read stories backwards to see that), so it is the text's probability too.

Not here: what is told (`plots.txt`, `facts`), many stories and their floor (`stories`).
"""

from __future__ import annotations

import functools
import hashlib
import string
from collections.abc import Callable, Sequence
from importlib.resources import files
from operator import attrgetter
from typing import Any, TypeVar

from vidro.data.tinyworld.facts import ANIMALS, BEST_MAKER, PEOPLE, PLACES, SMALL, cells, lines

T = TypeVar("T")


class Digits:
    """The digits of one large number, 256 bits of hash of the key; `ways` is in how many ways it could have gone."""

    def __init__(self, *key: object) -> None:
        name = "/".join(map(str, ("tinyworld", 2, *key)))
        self.rest, self.ways = int.from_bytes(hashlib.sha256(name.encode()).digest(), "little"), 1

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`, all equally likely."""
        self.ways *= len(options)
        self.rest, digit = divmod(self.rest, len(options))
        return options[digit]


def held(*key: object) -> bool:
    """Whether a combination is one of the eighth that is held out, the same for ever."""
    return hashlib.sha256("/".join(map(str, key)).encode()).digest()[0] < 32


class Row:
    """A row of a table: its cells by name, and `names`, whoever is named in them or is not to come beside it."""

    who: str
    fear: str

    def __init__(self, columns: Sequence[str], values: Sequence[str]) -> None:
        self.__dict__.update(zip(columns, values, strict=True))
        text = " ".join(values)
        self.names = frozenset([text, *(name for name in (*PEOPLE, *ANIMALS) if name in text)])


def _options(step: str) -> tuple[str, ...]:
    return tuple("" if option == "-" else option for option in cells(step))


def _sections(kind: str) -> dict[str, tuple[str, list[str]]]:
    """The plots or the tables by name: what the title says of them, and their lines."""
    found = {}
    for section in files("vidro.data.tinyworld").joinpath("plots.txt").read_text(encoding="utf-8").split("\n# ")[1:]:
        title, _, body = section.partition("\n")
        what, _, name = title.partition(": ")[0].partition(" ")
        if what == kind:
            found[name] = title.partition(": ")[2], lines(body)
    return found


def _plot(title: str, body: list[str]) -> Plot:
    roles = dict(part.split(" ", 1) for part in title.split(", "))
    return COMMON | roles, [[_options(step) for step in line.split(" / ")] for line in body]


Plot = tuple[dict[str, str], list[list[tuple[str, ...]]]]
COMMON = dict.fromkeys("hfgkm", "person") | {"s": "animal", "z": "animal", "p": "place", "w": "wise", "spot": "spot"}
PLOTS = {name: _plot(*section) for name, section in _sections("plot").items()}
TABLES = {
    name: [Row(title.split(), cells(line)) for line in body] for name, (title, body) in _sections("table").items()
}
RULES = {name: options for name, *options in map(cells, _sections("rules")[""][1])}
EVERYONE, BEASTS = list(PEOPLE.values()), list(ANIMALS.values())
WISE = [ANIMALS["Professor"], ANIMALS["Moss"], PEOPLE["Lev"], PEOPLE["Miss Okoro"], PEOPLE["Granny Pell"]]

# Who can play a role, given the cast so far; where there is only one candidate, there is no choice.
Cast = dict[str, Any]
CANDIDATES: dict[str, Callable[[Cast], Sequence[Any]]] = {
    **{name: lambda cast, table=table: table for name, table in TABLES.items()},
    "person": lambda cast: EVERYONE,
    "animal": lambda cast: BEASTS,
    "place": lambda cast: list(PLACES.values()),
    "spot": lambda cast: cast["p"].spots,
    "wise": lambda cast: WISE,
    "owner of something small": lambda cast: [one for one in EVERYONE if one.own in SMALL],
    "place away from home": lambda cast: [one for one in PLACES.values() if one is not cast["h"].place],
    "best friend": lambda cast: [cast["h"].friend],
    "maker": lambda cast: [BEST_MAKER[cast["f"].likes]],
    "seller": lambda cast: list(BEST_MAKER.values()),
    "customer": lambda cast: [one for one in EVERYONE if one.likes == cast["h"].makes],
    "helper": lambda cast: [PEOPLE[cast["t"].who]],
    "somebody who fears something else": lambda cast: [one for one in EVERYONE if one.fear != cast["h"].fear],
    "somebody who does not mind the dark": lambda cast: [one for one in EVERYONE if one.fear != "the dark"],
    "own fear": lambda cast: [row for row in TABLES["fears"] if row.fear == cast["h"].fear],
    "own wish": lambda cast: [row for row in TABLES["wishes"] if row.who == cast["h"].name],
    "keeper": lambda cast: [animal.keeper for animal in BEASTS],
    "own animal": lambda cast: [animal for animal in BEASTS if animal.keeper is cast["k"]],
}


@functools.cache
def _parsed(line: str) -> list[tuple[str, str | None, Callable[[Any], Any]]]:
    """Literal text, the role or rule that comes after it, and how to get the word from the role."""
    found = []
    for literal, field, _, _ in string.Formatter().parse(line):
        name, _, word = (field or "").partition(".")
        found.append((literal, name or None, attrgetter(word) if word else str))
    return found


class Teller:
    """Tells one story into `told`, pieces of text; `cast` is who plays which role so far, `known` who was named."""

    def __init__(self, digits: Digits) -> None:
        self.digits = digits
        self.told: list[str] = []
        self.cast: Cast = {}
        self.roles: dict[str, str] = {}
        self.known: set[str] = set()

    def tell(self) -> None:
        """The story, paragraph by paragraph and step by step."""
        self.roles, paragraphs = self.digits.pick(list(PLOTS.values()))
        for number, steps in enumerate(paragraphs):
            gap = "\n\n" if number else ""
            for options in steps:
                option = self.digits.pick(options)
                if option:
                    self.told.append(gap)
                    self.say(option)
                    gap = " "

    def say(self, line: str) -> None:
        """Tell a line; each rule and role in it is drawn when its turn has come."""
        for literal, name, word in _parsed(line):
            self.told.append(literal)
            if name in RULES:
                self.say(self.digits.pick(RULES[name]))
            elif name is not None:
                value = str(word(self.cast[name] if name in self.cast else self.draw(name)))
                if "{" in value:
                    self.say(value)
                else:
                    self.told.append(value)

    def draw(self, name: str) -> Any:
        """Somebody or something to play this role from now on; nobody plays two roles."""
        options = CANDIDATES[self.roles[name]](self.cast)
        if len(options) > 1 and name != "spot":
            options = [option for option in options if self.known.isdisjoint(option.names)]
        chosen = self.cast[name] = self.digits.pick(options)
        self.known.update(getattr(chosen, "names", ()))
        return chosen
