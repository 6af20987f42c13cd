"""The facts of tiny world as gaps to fill: "Ada the postwoman had …", in the wordings of the stories.

Each kind of fact has several wordings: the first is where it is asked, the others show whether the answer depends on
the words of the question. A candidate is the answer of another fact of the kind, put into the same gap. Not here:
asking a model (`recall`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vidro.data.tinyworld.facts import ANIMALS, PEOPLE, PLACES, cells, lines

OPENING = "Once there was {h.a_kind} called {h}. {h.They} lived {h.home}, and {h.they} {h.habit}."
WHIM = "That week {h.they} talked of nothing but whales."
LEAD = f"{OPENING} {WHIM}".replace("{h", "{o") + "\n\n"
HERO = f"{OPENING} {WHIM} "

# What comes before the gap | the answer | what ends it. {h} is whom the fact is about. LEAD begins a story about
# somebody else, {o}, and HERO one about {h}; END is a full stop and the end of the paragraph, one token for a model.
# Wordings with "treat" say a thing that is liked as it comes.
WORDINGS_TABLE = {
    "lives": """
Once there was {h.a_kind} called {h}. {h.They} lived | {h.home} | , and
{h.full} lived | {h.home} | .
This is a story about {h}, who lived | {h.home} | ,
LEADThen {o} remembered {h}, who lived | {h.home} |  and""",
    "owns": """
{h.full} had | {h.a_own} | ,
{h.full} lived {h.home}. {h.They} owned | {h.a_own} | ,
LEADThen {o} remembered {h}, who lived {h.home} and owned | {h.a_own} | .""",
    "likes": """
{h.full} had {h.a_own}, a good friend called {h.friend} and a great love of | {h.likes} | .
This is a story about {h}, who lived {h.home}, {h.habit} and was fond of | {h.likes} | .
LEAD{o} thanked {h} with | {h.treat} | ,
LEADOn the way home {h} came by. {h} brought | {h.treat} | ,""",
    "fears": """
HEROThere was only one thing that {h.they} feared, and that was | {h.fear} | END
HERO{h.They} was brave in most ways, but {h.they} was afraid of | {h.fear} | END
HERO{h.They} never told anyone that {h.they} was afraid of | {h.fear} | END""",
    "has the friend": """
HERO{h.Their} best friend was | {h.friend.full} | END
{h.full} had {h.a_own}, a good friend called | {h.friend} |  and
HERO"And what now?" asked | {h.friend} | ,""",
    "does": """
{h} was {h.a_kind} who lived {h.home} and | {h.habit} | .
Everybody in Tansy Bay knew {h}, because {h.they} | {h.habit} | .""",
    "makes": """
HERO{h.They} had the best | {h.makes} |  in
HEROEvery Saturday {h.they} sold | {h.makes} |  on
LEAD{h.full} had the best | {h.makes} |  in""",
    "is": "{h} was | {h.a_kind} |  who",
    "animal is": """
LEADAlong came {h} the | {h.kind} | , who
LEADIt was no ghost. It was only {h} the | {h.kind} | .""",
    "animal does": """
LEADAlong came {h.full}, who | {h.habit} | .
LEAD{h.full}, who | {h.habit} | ,""",
    "animal is kept by": """
LEADThere, all alone, was {h}, | {h.keeper} | 's
LEAD{h}, | {h.keeper} | 's""",
    "animal comes from": "LEAD{h.full} had come all the way from | {h.place} |  to",
    "animal likes": """
LEADThen {o} remembered that {h} loved | {h.likes} | ,
LEAD{o} thanked {h} with | {h.treat} | ,""",
    "animal sounds like": "LEADFrom {h.place} came | {h.noise} | .",
    "place is known for": """
LEADSo off they went to {h}. | {h.fact} |
LEADOne windy morning they met {h.at}. | {h.fact} |""",
}


@dataclass(frozen=True)
class Question:
    """One fact in one wording. `answer` begins with the blank before it, `end` is what shows that it is over."""

    kind: str
    subject: str
    mention: str
    """The words in the prompt that say whom it is about: mostly the name."""

    wording: int
    prompt: str
    answer: str
    end: str
    candidates: tuple[str, ...]
    """All answers that there are in this kind and wording, the right one among them."""

    @property
    def fact(self) -> tuple[str, str]:
        """Which fact it asks for, in whatever wording."""
        return self.kind, self.subject


def questions() -> list[Question]:
    """Every fact in every wording; the kinds in order, in each the wordings in order.

    >>> one = questions()[0]
    >>> one.prompt + " …", one.answer, one.end, len(one.candidates)
    ('Once there was a girl called Nora. She lived …', ' in the windmill', ', and', 16)
    """
    return [question for kind in WORDINGS_TABLE for question in _of_kind(kind)]


def _of_kind(kind: str) -> Iterator[Question]:
    for wording, line in enumerate(lines(WORDINGS_TABLE[kind])):
        before, answer, _ = cells(line)
        end = line.rsplit("|", 1)[1].removeprefix(" ").replace("END", ".\n\n")
        before = before.replace("LEAD", LEAD).replace("HERO", HERO)
        answers = {str(one): f" {answer.format(h=one)}" for one in subjects(kind)}
        candidates = tuple(dict.fromkeys(answers.values()))
        for one in subjects(kind):
            right = answers[str(one)]
            mention = one.place.name if kind == "animal sounds like" else one.name
            yield Question(kind, str(one), mention, wording, _told(before, one, right), right, end, candidates)


def subjects(kind: str) -> list[Any]:
    """Whom the facts of a kind are about."""
    if kind.startswith("place"):
        return list(PLACES.values())
    beings = ANIMALS if kind.startswith("animal") else PEOPLE
    return [one for one in beings.values() if kind != "makes" or one.makes]


def _told(before: str, one: Any, answer: str) -> str:
    """The text before the gap, with the first somebody else to lead in who does not give the answer away."""
    for other in PEOPLE.values():
        text = before.format(h=one, o=other)
        if other is not one and answer.strip() not in text and str(one) not in LEAD.format(o=other):
            return text
    raise AssertionError(f"every wording gives {answer!r} away")
