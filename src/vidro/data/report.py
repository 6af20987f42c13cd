"""What reading came across: counts that add up over files and processes, and the sentences made of them.

Law 8: nothing is silently truncated, skipped or changed; it is counted here and said once at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_SKIPPED_KEPT = 20

# Told how many bytes are done, and of how many (None: not known).
Progress = Callable[[int, int | None], None]

_SENTENCES = {
    "bom": "Byte-order mark removed ({n} {texts}).",
    "crlf": "Windows line ends (CR LF) made LF ({n} {lines}).",
    "cr": "Old Macintosh line ends (CR) made LF ({n} {lines}).",
    "gutenberg": "Project Gutenberg header or footer removed ({n} {texts}).",
    "empty": "{n} empty {documents} left out.",
    "separator": "{n} {documents} told apart by lines that are exactly <|endoftext|>.",
    "utf-16": "Read as UTF-16 because its byte-order mark says so ({n} {files}).",
    "utf-32": "Read as UTF-32 because its byte-order mark says so ({n} {files}).",
    "hidden": "{n} hidden {files} left out.",
    "attributes": "{n} Dolma attribute {files} left out (they hold marks on the documents, not text).",
    "unlisted": "{n} {files} named by the book's reading order are not in the EPUB.",
    "nondocument": "{n} {files} in the EPUB's reading order are not text (pictures, say) and were left out.",
    "pages": "{n} PDF {pages} without text left out (pictures of text are not read).",
}


@dataclass
class ReadReport:
    """Files, documents and UTF-8 bytes read; what was skipped (first 20) and changed."""

    files: int = 0
    documents: int = 0
    bytes: int = 0
    n_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    other_kinds: Counter[str] = field(default_factory=Counter)

    def count(self, what: str, n: int = 1) -> None:
        """Count one of the changes that `notes` has a sentence for."""
        assert what in _SENTENCES or what == "lf", what
        self.counts[what] += n

    def skip(self, where: str) -> None:
        """Count something bad that was left out on the user's wish (``--skip-bad``)."""
        self.n_skipped += 1
        if len(self.skipped) < MOST_SKIPPED_KEPT:
            self.skipped.append(where)

    def merge(self, other: ReadReport) -> None:
        """Add what another process or file reported."""
        self.files += other.files
        self.documents += other.documents
        self.bytes += other.bytes
        self.n_skipped += other.n_skipped
        self.skipped = (self.skipped + other.skipped)[:MOST_SKIPPED_KEPT]
        self.counts.update(other.counts)
        self.other_kinds.update(other.other_kinds)

    @property
    def notes(self) -> list[str]:
        """One sentence for each kind of change, with its count."""
        sentences = [_fill(_SENTENCES[what], n) for what, n in self.counts.items() if what in _SENTENCES and n]
        if self.other_kinds:
            kinds = ", ".join(f"{kind} {n:,}" for kind, n in self.other_kinds.most_common(6))
            sentences.append(_fill("{n} {files} of other kinds left out", self.other_kinds.total()) + f" ({kinds}).")
        if self.n_skipped:
            more = "" if self.n_skipped == 1 else f" and {self.n_skipped - 1:,} more"
            sentences.append(f"Skipped as bad: {self.skipped[0]}{more}.")
        return sentences


def _fill(sentence: str, n: int) -> str:
    plurals = {f"{word}s": word if n == 1 else f"{word}s" for word in ("text", "line", "document", "file", "page")}
    return sentence.format(n=f"{n:,}", **plurals)
