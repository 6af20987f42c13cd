"""A look at a text before training: how large it is, what is odd about it, what it reads like.

Everything streams; of very large sources only the beginning is looked at, and that is said. Counting characters is
done in numpy, so a look takes about as long as reading. Not here: how it is shown (`cli/data`).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from vidro.data.blocks import Readable
from vidro.data.documents import Document, ReadReport, read_documents
from vidro.data.oddities import find_oddities
from vidro.data.sources import Source, find_inputs
from vidro.data.split import utf8_length
from vidro.text.tokenizer import Tokenizer

MOST_LOOKED_AT_BYTES = 400_000_000
BYTES_PER_TOKEN = 4
PARAGRAPH_CHARS = 40  # shorter ones ("* * *", "Chapter I") repeat in every book
SAMPLE_CHARS = 240
N_CHARACTERS = 0x110000

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Look:
    """What there is to see. Sizes are of the text after cleaning, in UTF-8; `disk_bytes` is as it lies on the disk.

    `n_tokens_is_estimate` is True where no tokenizer was given. `complete` is False where the source was too large to
    look at to its end. Duplicates count the second and further copies.
    """

    name: str
    encoding: str
    n_files: int
    disk_bytes: int
    n_documents: int
    n_bytes: int
    n_characters: int
    n_lines: int
    n_words: int
    n_distinct_characters: int
    n_tokens: int
    n_tokens_is_estimate: bool
    duplicate_documents: int
    duplicate_paragraphs: int
    duplicate_paragraph_bytes: int
    complete: bool
    samples: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        about = " (estimated at 4 bytes each)" if self.n_tokens_is_estimate else ""
        share = self.duplicate_paragraph_bytes / max(1, self.n_bytes)
        lines = [
            f"{self.name}: {self.n_bytes:,} bytes of text in {_many(self.n_documents, 'document')}, {self.encoding}",
            f"  on disk      {_many(self.n_files, 'file')}, {self.disk_bytes:,} bytes",
            f"  characters   {self.n_characters:,}, of {self.n_distinct_characters:,} kinds",
            f"  words        {self.n_words:,} in {_many(self.n_lines, 'line')}",
            f"  tokens       {self.n_tokens:,}{about}",
            f"  duplicates   {_many(self.duplicate_documents, 'document')}, "
            f"{_many(self.duplicate_paragraphs, 'paragraph')} ({share:.1%} of the text)",
        ]
        for title, items in (("warning", self.warnings), ("note", self.notes)):
            lines += [f"  {title:<12} {item}" for item in items]
        for number, sample in enumerate(self.samples, start=1):
            lines += ["", f"  sample {number}", *(f"  | {line}" for line in sample.splitlines())]
        return "\n".join(lines)


@dataclass
class Tally:
    """What adds up while documents stream by."""

    characters: Array = field(default_factory=lambda: np.zeros(N_CHARACTERS, dtype=np.int64))
    n_documents: int = 0
    n_bytes: int = 0
    n_lines: int = 0
    n_words: int = 0
    n_tokens: int = 0
    longest_line: int = 0
    short_documents: int = 0
    duplicate_documents: int = 0
    duplicate_paragraphs: int = 0
    duplicate_paragraph_bytes: int = 0
    mojibake: Counter[str] = field(default_factory=Counter)
    uncounted: list[str] = field(default_factory=list, repr=False)
    n_uncounted: int = 0
    documents_seen: set[bytes] = field(default_factory=set, repr=False)
    paragraphs_seen: set[bytes] = field(default_factory=set, repr=False)


def look(
    source: Source,
    *,
    tokenizer: Tokenizer | None = None,
    encoding: str | None = None,
    skip_bad: bool = False,
    cache_dir: Path | None = None,
    stdin: Readable | None = None,
    seed: int = 0,
) -> Look:
    """Read `source` and describe it; with a tokenizer, tokens are counted and not estimated. Raises DataError."""
    report = ReadReport()
    tally, samples = Tally(), _Samples(seed)
    documents = read_documents(
        source, encoding=encoding, skip_bad=skip_bad, report=report, cache_dir=cache_dir, stdin=stdin
    )
    complete = True
    for document in documents:
        if tally.n_bytes >= MOST_LOOKED_AT_BYTES:
            complete = False
            break
        _add(tally, document, tokenizer)
        samples.offer(document.text)
    _count_characters(tally, "", at_least=0)
    n_files, disk_bytes = _on_disk(source, cache_dir, tally)
    notes = list(report.notes)
    if not complete:
        notes.append(f"Only the first {tally.n_bytes:,} bytes of text were looked at.")
    return Look(
        name="standard input" if source == "-" else str(source),
        encoding=_encoding(encoding, report, tally),
        n_files=n_files,
        disk_bytes=disk_bytes,
        n_documents=tally.n_documents,
        n_bytes=tally.n_bytes,
        n_characters=int(tally.characters.sum()),
        n_lines=tally.n_lines,
        n_words=tally.n_words,
        n_distinct_characters=int(np.count_nonzero(tally.characters)),
        n_tokens=tally.n_bytes // BYTES_PER_TOKEN if tokenizer is None else tally.n_tokens,
        n_tokens_is_estimate=tokenizer is None,
        duplicate_documents=tally.duplicate_documents,
        duplicate_paragraphs=tally.duplicate_paragraphs,
        duplicate_paragraph_bytes=tally.duplicate_paragraph_bytes,
        complete=complete,
        samples=samples.pieces(),
        warnings=tuple(find_oddities(tally, report)),
        notes=tuple(notes),
    )


def _add(tally: Tally, document: Document, tokenizer: Tokenizer | None) -> None:
    text = document.text
    data = text.encode("utf-8")
    tally.n_documents += 1
    tally.n_bytes += len(data)
    _count_characters(tally, text)
    tally.n_lines += text.count("\n") + (not text.endswith("\n"))
    tally.longest_line = max(tally.longest_line, max(map(len, text.split("\n"))))
    tally.n_words += len(text.split())
    tally.short_documents += len(text.strip()) < 20
    for sign in ("Ã©", "Ã£", "Ã¼", "â€™", "â€œ"):
        if sign in text:
            tally.mojibake[sign] += text.count(sign)
    if tokenizer is not None:
        tally.n_tokens += len(tokenizer.encode_batch([text])[0])
    tally.duplicate_documents += _seen(data, tally.documents_seen)
    for paragraph in text.split("\n\n"):
        if len(paragraph) >= PARAGRAPH_CHARS and _seen(paragraph.strip().encode("utf-8"), tally.paragraphs_seen):
            tally.duplicate_paragraphs += 1
            tally.duplicate_paragraph_bytes += utf8_length(paragraph)


def _count_characters(tally: Tally, text: str, *, at_least: int = 1 << 20) -> None:
    """Count many texts at once, as a count costs as much as there are characters in Unicode."""
    tally.uncounted.append(text)
    tally.n_uncounted += len(text)
    if tally.n_uncounted >= at_least:
        codes = np.frombuffer("".join(tally.uncounted).encode("utf-32-le"), dtype="<u4")
        tally.characters += np.bincount(codes, minlength=N_CHARACTERS)
        tally.uncounted, tally.n_uncounted = [], 0


def _seen(data: bytes, before: set[bytes]) -> bool:
    """Whether these bytes were there before; remembers a short hash of them."""
    key = blake2b(data, digest_size=8).digest()
    if key in before:
        return True
    before.add(key)
    return False


class _Samples:
    """A few lines from each of three documents, all as likely (reservoir sampling); or three pieces of the only one."""

    def __init__(self, seed: int, n: int = 3) -> None:
        self._random = random.Random(seed)
        self._n, self._offered = n, 0
        self._kept: list[str] = []
        self._of_first: list[str] = []

    def offer(self, text: str) -> None:
        """Perhaps keep a piece of this document."""
        self._offered += 1
        if self._offered == 1:
            self._of_first = [self._piece(text) for _ in range(self._n)]
        if len(self._kept) < self._n:
            self._kept.append(self._piece(text))
        elif (place := self._random.randrange(self._offered)) < self._n:
            self._kept[place] = self._piece(text)

    def pieces(self) -> tuple[str, ...]:
        """What was kept, without repetition."""
        pieces = self._kept if self._offered >= self._n else self._of_first
        return tuple(dict.fromkeys(piece for piece in pieces if piece))

    def _piece(self, text: str) -> str:
        """Some lines from anywhere: from the beginning of a line where one is near, to the end of a word."""
        start = self._random.randrange(max(1, len(text) - SAMPLE_CHARS))
        line = text.find("\n", start, start + SAMPLE_CHARS)
        start = line + 1 if start and line >= 0 else start
        piece = text[start : start + SAMPLE_CHARS]
        return piece.strip() if len(piece) < SAMPLE_CHARS else piece.rpartition(" ")[0].strip() or piece.strip()


def _on_disk(source: Source, cache_dir: Path | None, tally: Tally) -> tuple[int, int]:
    if source == "-":
        return 1, tally.n_bytes
    files = find_inputs(source, report=ReadReport(), cache_dir=cache_dir)
    return len(files), sum(item.path.stat().st_size for item in files)


def _encoding(wish: str | None, report: ReadReport, tally: Tally) -> str:
    """What the bytes turned out to be."""
    if wish is not None:
        return wish
    wide = [name.upper() for name in ("utf-16", "utf-32") if report.counts[name]]
    if not wide and not tally.characters[128:].any():
        return "ASCII"
    return ", ".join([*wide, *(["UTF-8"] if report.files > len(wide) else [])])


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
