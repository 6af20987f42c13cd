"""How much a model copies: passages of its samples that stand word for word in the text it learned from.

Every language repeats itself, so that even text that nobody has copied shares passages with a long book. The figures of
the samples are therefore put beside those of held-out text cut to the same lengths: what goes beyond them was learned
by heart. Drawing samples from the bare start follows Carlini et al., "Extracting Training Data from Large Language
Models" (2021).

Not here: the search (`memorisation`), drawing the samples (`api/memorisation`), the screen (`cli/memorisation`).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from vidro.core.errors import DataError
from vidro.evals.memorisation import CopyIndex

SMALL_CHARS = 2_000_000  # a text up to here is searched for shorter passages too
SHORTEST_SMALL, SHORTEST_LARGE = 12, 20  # characters; shorter ones are so common in a large text that it takes minutes

READING = (
    "Held-out text was never learned from: what it shares with the training text is how the text repeats itself. Only "
    "what goes beyond it was learned by heart."
)
"""How the two lines of figures are to be read."""

Span = tuple[int, int]


@dataclass(frozen=True)
class CopiedText:
    """A text and what of it is copied: `spans` are the passages of at least `min_chars` characters, merged.

    `longest` is the longest passage, however short; None where it is below what the search finds. `prompt` and `seed`
    give a sample again; held-out text has neither.
    """

    text: str
    copied_frac: float
    spans: tuple[Span, ...]
    longest: Span | None
    prompt: str = ""
    seed: int | None = None

    @property
    def longest_chars(self) -> int:
        """Length of the longest passage; 0 where it is below what the search finds."""
        return 0 if self.longest is None else self.longest[1] - self.longest[0]

    @property
    def shown(self) -> tuple[Span, ...]:
        """What to underline: the copies or, where no passage is long enough, the longest."""
        return self.spans if self.spans or self.longest is None else (self.longest,)

    @property
    def sort_key(self) -> tuple[int, float]:
        """The longest passage first, the most copied of equals."""
        return -self.longest_chars, -self.copied_frac


@dataclass(frozen=True)
class CopyFigures:
    """Some texts together. A 0 among the lengths means: below what the search finds."""

    n_texts: int
    n_chars: int
    n_with_copies: int
    median_longest_chars: int
    longest_chars: int
    copied_frac: float

    @classmethod
    def of(cls, texts: Sequence[CopiedText]) -> CopyFigures:
        """The figures of `texts`; the share copied is of all their characters together."""
        n_chars = sum(len(one.text) for one in texts)
        n_copied = sum(end - start for one in texts for start, end in one.spans)
        lengths = [one.longest_chars for one in texts]
        return cls(
            n_texts=len(texts),
            n_chars=n_chars,
            n_with_copies=sum(bool(one.spans) for one in texts),
            median_longest_chars=statistics.median_low(lengths),  # of a real text, as a 0 is no length to average
            longest_chars=max(lengths),
            copied_frac=n_copied / max(n_chars, 1),
        )


@dataclass(frozen=True)
class Memorisation:
    """What a run copies: `samples` beside `held_out` text of the same lengths.

    `min_chars`: the shortest passage that counts as copied; `shortest_chars`: the shortest that the search finds;
    `n_short`: passages of held-out text that are shorter than their sample, because there is no more of it.
    """

    run: str
    text: str
    text_bytes: int
    min_chars: int
    shortest_chars: int
    samples: tuple[CopiedText, ...]
    held_out: tuple[CopiedText, ...]
    n_short: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def wrote(self) -> CopyFigures:
        """The figures of the samples."""
        return CopyFigures.of(self.samples)

    @property
    def unseen(self) -> CopyFigures:
        """The figures of the held-out text."""
        return CopyFigures.of(self.held_out)

    def to_json(self) -> dict[str, Any]:
        """Plain values; of each sample also its text and where in it the copies stand."""
        return {
            "run": self.run,
            "training_text": self.text,
            "training_bytes": self.text_bytes,
            "min_chars": self.min_chars,
            "shortest_chars": self.shortest_chars,
            "settings": self.settings,
            "samples": asdict(self.wrote),
            "held_out": {**asdict(self.unseen), "n_short": self.n_short},
            "texts": [{**asdict(one), "longest_chars": one.longest_chars} for one in self.samples],
        }


def length_word(length: int, *, shortest: int) -> str:
    """A length in characters; 0 means that it is below what the search finds.

    >>> length_word(1234, shortest=20), length_word(0, shortest=20)
    ('1,234', 'under 20')
    """
    return f"{length:,}" if length else f"under {shortest}"


def copy_index(texts: Sequence[str]) -> CopyIndex:
    """The search in the training text, down to the shortest passages that it finds quickly."""
    small = sum(map(len, texts)) <= SMALL_CHARS
    return CopyIndex(texts, shortest=SHORTEST_SMALL if small else SHORTEST_LARGE)


def copied_text(
    index: CopyIndex, text: str, *, min_chars: int, prompt: str = "", seed: int | None = None
) -> CopiedText:
    """`text` with what of it stands in the training text."""
    found = index.copied(text, min_chars=min_chars)
    most = found.longest_chars or index.copied(text, min_chars=index.shortest).longest_chars
    longest = None
    if most:
        start = index.copied(text, min_chars=most).spans[0][0]  # only runs of the full length are left
        longest = (start, start + most)
    return CopiedText(text, found.copied_frac, found.spans, longest, prompt, seed)


def held_out_passages(texts: Iterable[str], lengths: Sequence[int], rng: np.random.Generator) -> list[str]:
    """A passage of held-out text for each length (in characters), from places that `rng` draws.

    They may run from one document into the next, as a model's windows do. Where there is too little text, a passage is
    all of it. Raises DataError where there is none.
    """
    whole = "\n".join(texts)
    if not whole.strip():
        raise DataError("there is no held-out text to compare with", hint="Train with --val FILE.")
    passages = []
    for length in lengths:
        start = int(rng.integers(max(len(whole) - length, 0) + 1))
        passages.append(whole[start : start + length])
    return passages
