"""Corpora that Vidro writes itself, from tiny world: the same bytes on every machine, so they need no network.

Not here: the village and its stories (`tinyworld`), the names of the corpora (`catalogue`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from vidro.data.tinyworld import floor_bits_per_byte, instructions, messages, stories

SEED = 1
STORY_BYTES = 5_000_000
BETWEEN = "\n<|endoftext|>\n"  # a line of its own between two stories: each is a document
N_MESSAGES, N_HELD_MESSAGES = 2_000, 250
N_INSTRUCTIONS, N_HELD_INSTRUCTIONS = 24_000, 480


def story_text() -> Iterator[str]:
    """The stories, document by document."""
    for number, story in enumerate(stories(seed=SEED, n_bytes=STORY_BYTES)):
        yield BETWEEN + story if number else story
    yield "\n"


def story_floor(texts: Iterable[str]) -> float | None:
    """Bits per byte that no model can do without on these documents of `story_text`; None when one is not of them."""
    return floor_bits_per_byte(texts, seed=SEED, n_bytes=STORY_BYTES)


def labelled(task: Literal["spam", "topics"], *, held_out: bool) -> Iterator[str]:
    """Rows of a label and a message, parted by a tab, without a header."""
    n = N_HELD_MESSAGES if held_out else N_MESSAGES
    for label, text in messages(seed=SEED, n=n, task=task, held_out=held_out):
        yield f"{label}\t{text}\n"


def asked(*, held_out: bool) -> Iterator[str]:
    """JSON rows in Alpaca's form, with the kind of each beside it."""
    n = N_HELD_INSTRUCTIONS if held_out else N_INSTRUCTIONS
    for row in instructions(seed=SEED, n=n, held_out=held_out):
        yield json.dumps(row._asdict(), ensure_ascii=False) + "\n"


MAKERS: dict[str, Callable[[], Iterator[str]]] = {
    "tinyworld.txt": story_text,
    "tinyworld-spam.tsv": lambda: labelled("spam", held_out=False),
    "tinyworld-spam-test.tsv": lambda: labelled("spam", held_out=True),
    "tinyworld-topics.tsv": lambda: labelled("topics", held_out=False),
    "tinyworld-topics-test.tsv": lambda: labelled("topics", held_out=True),
    "tinyworld-instructions.jsonl": lambda: asked(held_out=False),
    "tinyworld-instructions-test.jsonl": lambda: asked(held_out=True),
}
