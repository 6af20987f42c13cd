"""Which text is trained on and which is kept back for validation: decided once, before the tokenizer is trained.

One text: the first nine tenths of its characters train, the rest validates. Several: each document by a hash of its
own text, about a tenth validates; so a document keeps its side whatever stands beside it, and copies of it never
stand on both. A rule is a pure function of one document, so any process can apply it. Read next: `prepare`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from vidro.core.errors import DataError
from vidro.data.documents import Document

TRAIN_SHARE = 0.9
_HASH_RANGE = 1 << 64
_HASH_LIMIT = int((1 - TRAIN_SHARE) * _HASH_RANGE)
_ODD_SHARES = (0.03, 0.3)


@dataclass(frozen=True)
class SplitRule:
    """How one document is divided.

    `kind` is "cut" (at character `cut`), "hash" (validation when the document's hash is below `limit`), "train" or
    "val" (everything on that side).
    """

    kind: str
    cut: int = 0
    limit: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The sides that documents may come out on."""
        return ("train", "val") if self.kind in ("cut", "hash") else (self.kind,)

    def divide(self, text: str) -> list[tuple[str, str]]:
        """(side, text) pairs that put together give `text`."""
        if self.kind == "cut":
            return [("train", text[: self.cut]), ("val", text[self.cut :])]
        if self.kind == "hash":
            return [("val" if document_hash(text) < self.limit else "train", text)]
        return [(self.kind, text)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest; the limit as text, as JSON readers lose digits of numbers so large."""
        return {**asdict(self), "limit": str(self.limit)}


@dataclass
class Split:
    """The texts of both sides, and what there is to say about it."""

    train: list[str] = field(default_factory=list)
    val: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class SplitSurvey:
    """What has to be known of all documents before a rule can be made; gathered while they stream by."""

    n_documents: int = 0
    lowest: int = _HASH_RANGE
    highest: int = -1
    n_bytes: int = 0
    usual_val_bytes: int = 0  # what the usual hash rule sets apart
    only: str | None = None  # the text, as long as there is one alone

    def add(self, text: str) -> None:
        """Take one document into account."""
        key, size = document_hash(text), utf8_length(text)
        self.n_documents += 1
        self.n_bytes += size
        self.usual_val_bytes += size if key < _HASH_LIMIT else 0
        self.only = text if self.n_documents == 1 else None
        self.lowest, self.highest = min(self.lowest, key), max(self.highest, key)

    def rule(self, *, where: object = None) -> SplitRule:
        """The rule for these documents. Raises DataError when nothing can be set apart."""
        hint = "Give a text for validation: --val FILE"
        if self.only is not None:
            if len(self.only) < 2:
                what = "one character cannot be divided into training and validation text"
                raise DataError(what, where=where, hint=hint)
            return cut_rule(self.only)
        if self.lowest >= self.highest:
            what = f"all {self.n_documents} documents are the same text, so none can be set apart for validation"
            raise DataError(what, where=where, hint=hint)
        return SplitRule("hash", limit=max(self.lowest + 1, min(_HASH_LIMIT, self.highest)))

    def val_bytes(self, rule: SplitRule) -> int | None:
        """How many bytes the rule sets apart; None where only another pass over the documents can tell."""
        if self.only is not None and rule.kind == "cut":
            return utf8_length(self.only[rule.cut :])
        return self.usual_val_bytes if rule == hash_rule() else None


def hash_rule() -> SplitRule:
    """The usual rule for many documents: a tenth of all hashes validates."""
    return SplitRule("hash", limit=_HASH_LIMIT)


def cut_rule(text: str) -> SplitRule:
    """The rule for one text: nine tenths of its characters train."""
    return SplitRule("cut", cut=int(TRAIN_SHARE * len(text)))


def document_hash(text: str) -> int:
    """A number below 2**64 that depends on the text alone: the first 8 bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def utf8_length(text: str) -> int:
    """How many bytes the text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def split_documents(
    documents: Iterable[Document | str], *, val_documents: Iterable[Document | str] | None = None
) -> Split:
    """Both sides in memory: `val_documents` as they are when given, else by the rule in this module's docstring."""
    texts = [_text(document) for document in documents]
    if val_documents is not None:
        return Split(texts, [_text(document) for document in val_documents], [])
    survey = SplitSurvey()
    for text in texts:
        survey.add(text)
    if not texts:
        raise DataError("there is no text to divide")
    rule = survey.rule()
    split = Split()
    for text in texts:
        for side, piece in rule.divide(text):
            (split.train if side == "train" else split.val).append(piece)
    sizes = [sum(utf8_length(text) for text in side) for side in (split.train, split.val)]
    split.notes = split_notes(rule, len(texts), sizes[0], sizes[1])
    return split


def split_notes(rule: SplitRule, n_documents: int, train_bytes: int, val_bytes: int) -> list[str]:
    """What the user should know of the division: only what is unusual."""
    share = val_bytes / max(1, train_bytes + val_bytes)
    if rule.kind == "hash" and not _ODD_SHARES[0] <= share <= _ODD_SHARES[1]:
        return [
            f"Validation is {share:.0%} of the text, because whole documents are set apart and there are only "
            f"{n_documents:,} of unequal size; --val FILE chooses it by hand."
        ]
    return []


def _text(document: Document | str) -> str:
    return document if isinstance(document, str) else document.text
