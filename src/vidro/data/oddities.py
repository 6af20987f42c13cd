"""Warnings about a text: what would make a worse model than its owner expects.

Each rule is one small function of the tally; thresholds stand beside it. Not here: the counting (`look`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from vidro.data.report import ReadReport

if TYPE_CHECKING:
    from vidro.data.look import Tally

LONG_LINE_CHARS = 10_000
ONE_CHARACTER_SHARE = 0.4
DUPLICATE_SHARE = 0.05
SMALL_BYTES = 50_000
MOJIBAKE_LEAST = 5
_USUAL_CONTROLS = frozenset("\n\t\f")


def find_oddities(tally: Tally, report: ReadReport) -> Iterator[str]:
    """A sentence for everything that is unusual."""
    yield from _size(tally)
    yield from _characters(tally)
    yield from _lines(tally, report)
    yield from _copies(tally)


def _size(tally: Tally) -> Iterator[str]:
    if tally.n_bytes < SMALL_BYTES:
        yield (
            f"The text is very small ({tally.n_bytes:,} bytes): a model will learn it by heart rather than learn to "
            "write like it."
        )
    if tally.n_documents > 1 and tally.short_documents:
        yield f"{tally.short_documents:,} of {tally.n_documents:,} documents have fewer than 20 characters."


def _characters(tally: Tally) -> Iterator[str]:
    counts = tally.characters
    total = int(counts.sum())
    top = int(counts.argmax())
    if counts[top] > ONE_CHARACTER_SHARE * total:
        yield f"{counts[top] / total:.0%} of the text is the character {named(top)}."
    controls = [
        code
        for code in np.flatnonzero(counts[:160]).tolist()
        if unicodedata.category(chr(code)) == "Cc" and chr(code) not in _USUAL_CONTROLS
    ]
    if controls:
        few = ", ".join(named(code) for code in controls[:4]) + (" …" if len(controls) > 4 else "")
        yield f"{int(counts[controls].sum()):,} control characters ({few})."
    if counts[0xFFFD]:
        yield f"{counts[0xFFFD]:,} replacement characters (U+FFFD): the text was decoded wrongly before it came here."
    if tally.mojibake.total() >= MOJIBAKE_LEAST:
        sign, n = tally.mojibake.most_common(1)[0]
        yield f"{n:,} times {sign!r}: UTF-8 text that was once read as Latin-1 looks like this."


def _lines(tally: Tally, report: ReadReport) -> Iterator[str]:
    if tally.longest_line > LONG_LINE_CHARS:
        yield f"The longest line has {tally.longest_line:,} characters."
    kinds = {"CR LF": report.counts["crlf"], "CR": report.counts["cr"], "LF": report.counts["lf"]}
    mixed = {kind: n for kind, n in kinds.items() if n}
    if len(mixed) > 1:
        yield f"Mixed line ends ({', '.join(f'{kind} {n:,}' for kind, n in mixed.items())}); all are made LF."


def _copies(tally: Tally) -> Iterator[str]:
    if tally.duplicate_documents > DUPLICATE_SHARE * tally.n_documents:
        yield (
            f"{tally.duplicate_documents:,} of {tally.n_documents:,} documents are copies of others; "
            "a model will know them by heart."
        )
    if tally.duplicate_paragraph_bytes > DUPLICATE_SHARE * tally.n_bytes:
        share = tally.duplicate_paragraph_bytes / tally.n_bytes
        yield f"{share:.0%} of the text are paragraphs that stood there before."


def named(code: int) -> str:
    """A character to be shown, never printed raw: U+0041 'A', or U+0007."""
    character = chr(code)
    return f"U+{code:04X} {character!r}" if character.isprintable() else f"U+{code:04X}"
