"""A source looked at once: its files and their checksums, how it is split, how large both sides are.

Tokenizer training needs the training side before there are tokens, so this comes first. Texts are not kept: they are
read again when asked for, so memory stays flat. What the look found is remembered in the cache by the files'
checksums. Read before: `documents`, `split`. Read next: `prepare`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vidro.config.schema import DataOptions
from vidro.core.errors import DataError
from vidro.core.files import read_json, sha256_bytes, sha256_file, write_bytes_atomic, write_json_atomic
from vidro.data.blocks import Readable, check_encoding
from vidro.data.corpora import CORPORA, corpus_file
from vidro.data.documents import STDIN, Reading, no_text, read_file
from vidro.data.report import ReadReport
from vidro.data.sources import InputFile, Source, find_inputs, input_file
from vidro.data.split import Split, SplitRule, SplitSurvey, split_notes, utf8_length

SURVEY_VERSION = 2


@dataclass(frozen=True)
class SurveyResult:
    """What reading everything once found: the split rule, sizes of both sides, remarks."""

    rule: SplitRule
    n_documents: int
    train_bytes: int
    val_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TextSource:
    """Text that is found, checked and divided, but neither loaded nor tokenized.

    `source_sha256` is the checksum of the file, or of all files' checksums; `val_files` is empty where validation text
    is set apart from `files`.
    """

    name: str
    files: tuple[InputFile, ...]
    val_files: tuple[InputFile, ...]
    reading: Reading
    source_sha256: str
    result: SurveyResult

    @property
    def notes(self) -> list[str]:
        """What there is to say about reading and splitting."""
        return list(self.result.notes)

    def train_texts(self) -> Iterator[str]:
        """The training side of every document that has one; read from the files anew."""
        return _texts(self.files, self.result.rule, "train", self.reading)

    def val_texts(self) -> Iterator[str]:
        """The validation side."""
        if self.val_files:
            return _texts(self.val_files, SplitRule("val"), "val", self.reading)
        return _texts(self.files, self.result.rule, "val", self.reading)

    def split(self) -> Split:
        """Both sides in memory, read in one pass."""
        split = Split(notes=self.notes)
        for text in _read(self.files, self.reading, ReadReport()):
            for side, piece in self.result.rule.divide(text):
                (split.train if side == "train" else split.val).append(piece)
        split.val.extend(_read(self.val_files, self.reading, ReadReport()))
        return split


def open_source(
    source: Source, options: DataOptions, *, cache_dir: Path | None = None, stdin: Readable | None = None
) -> TextSource:
    """Find, read through and divide `source` as `options` say.

    Standard input (``"-"``) is kept in the cache, as it can be read only once. Raises DataError, one line, for all
    that cannot be read or divided.
    """
    check_encoding(options.encoding)
    reading = Reading(options.encoding, options.skip_bad)
    found = ReadReport()  # what lay beside the files; apart, because the same files may lie elsewhere another time
    where = stage(source, cache_dir=cache_dir, stdin=stdin)
    files = _hashed(find_inputs(where, report=found, cache_dir=cache_dir))
    val_files, notes = _validation_files(source, options, found, cache_dir)
    checksums = [[(item.kind, item.sha256) for item in part] for part in (files, val_files)]
    key = digest([SURVEY_VERSION, checksums, asdict(reading)])
    remembered = None if cache_dir is None else cache_dir / "surveys" / f"{key[:32]}.json"
    result = _recall(remembered)
    if result is None:
        result = _survey(files, val_files, reading, where=source)
        if remembered is not None:
            write_json_atomic(remembered, {**asdict(result), "rule": result.rule.to_dict()})
    sha256 = str(files[0].sha256) if len(files) == 1 else digest([item.sha256 for item in files])
    return TextSource(
        name=source_name(source, files),
        files=tuple(files),
        val_files=tuple(val_files),
        reading=reading,
        source_sha256=sha256,
        result=replace(result, notes=(*found.notes, *notes, *result.notes)),
    )


def stage(source: Source, *, cache_dir: Path | None, stdin: Readable | None = None) -> Source:
    """`source` itself, but standard input as a file in the cache, named by its checksum."""
    if source != STDIN:
        return source
    if cache_dir is None:
        raise DataError("standard input can be read only once", hint="Save the text as a file first.")
    data = (stdin or sys.stdin.buffer).read()
    if not data.strip():
        raise DataError("there is no text in it", where="standard input")
    path = cache_dir / "stdin" / f"{sha256_bytes(data)[:32]}.txt"
    if not path.exists():
        write_bytes_atomic(path, data)
    return path


def source_name(source: Source, files: Sequence[InputFile]) -> str:
    """What to call the text: the file's, folder's or corpus's name."""
    if source == STDIN:
        return "stdin"
    if isinstance(source, str) and source in CORPORA and not Path(source).exists():
        return source
    if len(files) == 1:
        return files[0].path.name
    return Path(source).name or "text" if isinstance(source, str | Path) else files[0].path.name


def digest(value: Any) -> str:
    """SHA-256 of a plain value, through JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _hashed(files: Iterable[InputFile]) -> list[InputFile]:
    return [replace(item, sha256=sha256_file(item.path)) for item in files]


def _validation_files(
    source: Source, options: DataOptions, report: ReadReport, cache_dir: Path | None
) -> tuple[list[InputFile], list[str]]:
    """The files given by ``--val``, or those that the named corpus has for validation."""
    if options.val is not None:
        return _hashed(find_inputs(options.val, report=report, cache_dir=cache_dir)), []
    corpus = CORPORA.get(source) if isinstance(source, str) and not Path(source).exists() else None
    if corpus is None or corpus.file("val") is None:
        return [], []
    path = corpus_file(corpus.name, "val", cache_dir=cache_dir)
    return _hashed([input_file(path)]), [f"{corpus.name} has a validation text of its own, which is used."]


def _survey(
    files: Sequence[InputFile], val_files: Sequence[InputFile], reading: Reading, *, where: Any
) -> SurveyResult:
    """Read everything once."""
    survey, report = SplitSurvey(), ReadReport()
    for text in _read(files, reading, report):
        survey.add(text)
    where = where if isinstance(where, str | Path) else files[0].path
    if survey.n_documents == 0:
        raise no_text(files, report, where=where)
    if val_files:
        rule, train_bytes = SplitRule("train"), survey.n_bytes
        before = report.documents
        val_bytes = sum(utf8_length(text) for text in _read(val_files, reading, report))
        if report.documents == before:
            raise no_text(val_files, report, where=val_files[0].path)
    else:
        rule = survey.rule(where=where)
        known = survey.val_bytes(rule)
        val_bytes = sum(map(utf8_length, _texts(files, rule, "val", reading))) if known is None else known
        train_bytes = survey.n_bytes - val_bytes
    notes = (*report.notes, *split_notes(rule, survey.n_documents, train_bytes, val_bytes))
    return SurveyResult(rule, survey.n_documents, train_bytes, val_bytes, notes)


def _read(files: Sequence[InputFile], reading: Reading, report: ReadReport) -> Iterator[str]:
    return (document.text for item in files for document in read_file(item, reading, report))


def _texts(files: Sequence[InputFile], rule: SplitRule, side: str, reading: Reading) -> Iterator[str]:
    for text in _read(files, reading, ReadReport()):
        for name, piece in rule.divide(text):
            if name == side:
                yield piece


def _recall(path: Path | None) -> SurveyResult | None:
    """What an earlier look at the same files found; None where there was none or its record is damaged."""
    if path is None or not path.exists():
        return None
    try:
        saved = read_json(path, error=DataError)
        rule = SplitRule(saved["rule"]["kind"], saved["rule"]["cut"], int(saved["rule"]["limit"]))
        return SurveyResult(rule, saved["n_documents"], saved["train_bytes"], saved["val_bytes"], tuple(saved["notes"]))
    except (DataError, KeyError, TypeError, ValueError):
        return None  # a cache entry only: looked at again
