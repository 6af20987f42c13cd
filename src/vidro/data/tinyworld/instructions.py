"""Instructions with exact answers, in eight kinds, and the combinations of each that are held out.

Not here: the words they are made of (`words`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

from vidro.data.tinyworld import words
from vidro.data.tinyworld.facts import ANIMALS, PEOPLE, PLACES, with_article
from vidro.data.tinyworld.telling import Digits, held

Drawn = tuple[tuple[object, ...], str, str, str]  # what makes the combination, or nothing; instruction, input, output
NAMES = list(PEOPLE)


class Instruction(NamedTuple):
    """A task of a kind, the text that it is about (or ""), and its one right answer."""

    kind: str
    instruction: str
    input: str
    output: str


def _ask(digits: Digits, what: str, **fields: object) -> str:
    return digits.pick(words.PHRASINGS[what]).format(**fields)


def _some(digits: Digits, options: Sequence[str], n: int) -> list[str]:
    found: list[str] = []
    while len(found) < n:
        found.append(digits.pick([option for option in options if option not in found]))
    return found


def _units(digits: Digits) -> Drawn:
    large, small, size = digits.pick(words.UNITS)
    n = digits.pick(range(2, 61))
    (m, of), (answer, to) = digits.pick((((n, large), (n * size, small)), ((n * size, small), (n, large))))
    return (n, large, small), _ask(digits, "units", n=m, of=of, to=to, name=digits.pick(NAMES)), "", f"{answer} {to}"


def _arithmetic(digits: Digits) -> Drawn:
    op, limit = digits.pick((("+", 99), ("-", 99), ("*", 20), ("/", 12)))
    a, b = digits.pick(range(2, limit + 1)), digits.pick(range(2, limit + 1))
    a = {"+": a, "-": a + b, "*": a, "/": a * b}[op]
    answer = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[op]
    story = words.SUMS[op].format(name=digits.pick(NAMES), a=a, b=b, things=digits.pick(words.COUNTED))
    combination = (op, *sorted((a, b))) if op in "+*" else (op, a, b)
    return combination, _ask(digits, "arithmetic", a=a, b=b, op=op, story=story), "", str(answer)


def inflected(word: str, form: str) -> str:
    """The "plural" of a regular noun, or the "past" tense of a regular verb.

    >>> inflected("berry", "plural"), inflected("bake", "past")
    ('berries', 'baked')
    """
    if word[-1] == "y" and word[-2] not in "aeiou":
        return word[:-1] + ("ies" if form == "plural" else "ied")
    if form == "plural":
        return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")
    return word + ("d" if word[-1] == "e" else "ed")


def _inflection(digits: Digits) -> Drawn:
    form = digits.pick(("plural", "past"))
    nouns, verbs = (*words.NOUNS, *words.MORE_NOUNS), (*words.VERBS, *words.MORE_VERBS)
    regular, odd = (nouns, words.ODD_PLURALS) if form == "plural" else (verbs, words.ODD_PASTS)
    # A few hundred words are sooner remembered than understood; "wugs" (Berko 1958) takes the rule.
    wug = digits.pick(words.STARTS) + digits.pick(words.MIDDLES) + digits.pick(words.ENDS)
    word = digits.pick(digits.pick(([*regular, *odd], [wug])))
    combination = (form, word) if word in regular else ()  # odd and made-up words are practice, never held out
    # The word stands on a line of its own, as its answer will: to a reader of pieces " boat" and "boat" are two words.
    return combination, _ask(digits, form), word, odd.get(word) or inflected(word, form)


def _passive(digits: Digits) -> Drawn:
    who = digits.pick([*NAMES, *words.STRANGERS])
    things, verbs = digits.pick(((words.THINGS, words.PARTICIPLES), (words.PIECES, words.MUSIC)))
    thing, (past, participle) = digits.pick(things), digits.pick(list(verbs.items()))
    noun, verb = digits.pick(((thing, "was"), (inflected(thing, "plural"), "were")))
    active = f"{who[0].upper()}{who[1:]} {past} the {noun}."
    passive = f"The {noun} {verb} {participle} by {who}."
    form, given, wanted = digits.pick((("passive", active, passive), ("active", passive, active)))
    return (who, past, noun), _ask(digits, form), given, wanted


def _spelling(digits: Digits) -> Drawn:
    form, word = digits.pick(("letters", "backwards")), digits.pick([*words.NOUNS, *words.VERBS])
    asked = _ask(digits, form, word=word)
    # To a reader of pieces of words a spelling is a fact to remember: only the question is new, as with opposites.
    return (asked,), asked, "", "-".join(word) if form == "letters" else word[::-1]


def _sorting(digits: Digits) -> Drawn:
    form, n = digits.pick(("words", "numbers")), digits.pick((3, 4))
    some = _some(digits, words.NOUNS[:40] if form == "words" else [str(number) for number in range(1, 100)], n)
    ordered = sorted(some, key=None if form == "words" else int)
    return tuple(ordered), _ask(digits, form), ", ".join(some), ", ".join(ordered)


def _opposites(digits: Digits) -> Drawn:
    pair = digits.pick(words.OPPOSITES)
    word, other = digits.pick((pair, pair[::-1]))
    asked = _ask(digits, "opposites", word=word)
    return (asked,), asked, "", other  # no rule leads to an opposite: only the question is new


def _story(digits: Digits) -> Drawn:
    story, *questions = digits.pick(words.STORIES)
    (a, b), thing = _some(digits, NAMES, 2), with_article(digits.pick(words.THINGS))
    fields = {
        "a": PEOPLE[a], "b": PEOPLE[b], "thing": thing, "s": digits.pick(list(ANIMALS.values())),
        "p": digits.pick(list(PLACES.values())), "day": digits.pick(words.DAYS),
        "food": digits.pick([person.treat for person in PEOPLE.values()]),
    }  # fmt: skip
    first = digits.pick(range(0, len(questions), 2))
    question, answer = (text.format_map(fields) for text in questions[first : first + 2])
    return (a, b, thing), question, story.format_map(fields), answer


SHOWN = ((45, "km", "meters"), ("the artist", "composed", "song"))
"""Combinations that are never trained on, because people are shown the answers to them."""

KINDS = {
    "units": _units, "arithmetic": _arithmetic, "inflection": _inflection, "passive": _passive,
    "spelling": _spelling, "sorting": _sorting, "opposites": _opposites, "story": _story,
}  # fmt: skip


def instructions(
    *, seed: int, n: int, kinds: Sequence[str] | None = None, held_out: bool = False
) -> Iterator[Instruction]:
    """`n` rows of `kinds` (all eight of `KINDS` if None), each kind equally likely.

    With `held_out` they ask for combinations (these numbers, this word, this sentence), about one in eight, that never
    occur without it. A kind that is not in `KINDS` is a ValueError.
    """
    if unknown := set(kinds or ()) - set(KINDS):
        raise ValueError(f"no such kind of instruction: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    for index in range(n):
        kind = Digits("kind", seed, index).pick(list(kinds or KINDS))
        for attempt in count():
            combination, *row = KINDS[kind](Digits("instruction", seed, index, attempt))
            if (combination in SHOWN or (bool(combination) and held(kind, *combination))) == held_out:
                yield Instruction(kind, *row)
                break
