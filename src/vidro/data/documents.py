"""From files to documents: plain text, Markdown, HTML, EPUB, JSON Lines, Word, PDF, Parquet, folders of them, stdin.

`read_documents` is the whole interface. A text file is one document, unless lines that are exactly `<|endoftext|>`
divide it (as in TinyStories); a JSON Lines file has one a line. Inside, a file is first cut into `Unit`s, because
JSON can be parsed by other processes. Read next: `clean` (what is removed), `split` (train and validation).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from vidro.core.errors import DataError
from vidro.data import epub, jsonl, markup, office
from vidro.data.blocks import Readable, TornArchive, check_encoding, decode_blocks, read_blocks
from vidro.data.clean import clean_text
from vidro.data.jsonl import LineChunk
from vidro.data.report import ReadReport
from vidro.data.sources import InputFile, Source, find_inputs

__all__ = ["Document", "ReadReport", "Reading", "read_documents"]

STDIN = "-"
_SEPARATOR = re.compile(r"^<\|endoftext\|>[ \t]*\n", re.MULTILINE)


@dataclass
class Document:
    """One text, where it came from, and what its source says about it."""

    text: str
    source: str
    id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """How files are read: their encoding (None: UTF-8) and whether bad records are skipped and counted."""

    encoding: str | None = None
    skip_bad: bool = False


Unit = LineChunk | Document


def read_documents(
    source: Source,
    *,
    encoding: str | None = None,
    skip_bad: bool = False,
    report: ReadReport | None = None,
    cache_dir: Path | None = None,
    stdin: Readable | None = None,
) -> Iterator[Document]:
    """Every document of a file, folder, glob, list of these, ``"-"`` (standard input) or downloaded corpus, in order.

    What was changed or left out is counted in `report`. Memory holds one document at a time. Raises DataError, one
    line, for all that cannot be read; also when there is no text at all.
    """
    report = ReadReport() if report is None else report
    reading = Reading(encoding, skip_bad)
    check_encoding(encoding)
    if source == STDIN:
        documents = read_stream(stdin or sys.stdin.buffer, reading, report)
        yield from _not_empty(documents, [], report, where="standard input")
        return
    files = find_inputs(source, report=report, cache_dir=cache_dir)
    documents = chain.from_iterable(read_file(item, reading, report) for item in files)
    yield from _not_empty(documents, files, report, where=source)


def read_file(item: InputFile, reading: Reading, report: ReadReport) -> Iterator[Document]:
    """The documents of one file, cleaned and counted; empty ones are left out and counted."""
    for unit in read_units(item, reading, report):
        yield from unit_documents(unit, item, reading, report)


def read_stream(stream: Readable, reading: Reading, report: ReadReport) -> Iterator[Document]:
    """Standard input as plain text."""
    item = InputFile(Path(STDIN), "standard input", "text", None)
    report.files += 1
    for text in _text_documents(iter(lambda: stream.read(1 << 20), b""), item, reading, report):
        yield from unit_documents(Document(text, "stdin"), item, reading, report)


def unit_documents(unit: Unit, item: InputFile, reading: Reading, report: ReadReport) -> Iterator[Document]:
    """The cleaned documents in one unit of a file. A pure function of the unit: any process may do it."""
    if isinstance(unit, LineChunk):
        records = jsonl.parse_chunk(
            unit, where=str(item.path), encoding=reading.encoding, skip_bad=reading.skip_bad, report=report
        )
        found = (Document(r.text, r.source or item.name, r.id, r.metadata) for r in records)
    else:
        found = iter([unit])
    for document in found:
        document.text = clean_text(document.text, report)
        if not document.text.strip():
            report.count("empty")
            continue
        report.documents += 1
        report.bytes += len(document.text) if document.text.isascii() else len(document.text.encode("utf-8"))
        yield document


def read_units(item: InputFile, reading: Reading, report: ReadReport) -> Iterator[Unit]:
    """A file as units: chunks of lines for JSON Lines, whole documents otherwise.

    A file that cannot be read is a DataError, or is skipped and counted where the user wants that.
    """
    report.files += 1
    try:
        yield from _units(item, reading, report)
    except TornArchive as torn:
        problem = DataError(f"the compressed file is {torn.reason}", where=item.path, hint="Fetch or pack it again.")
        _skip_file(problem, reading, report)
    except DataError as problem:
        _skip_file(problem, reading, report)


def _skip_file(problem: DataError, reading: Reading, report: ReadReport) -> None:
    if not reading.skip_bad:
        raise problem from None
    report.skip(f"{problem.where}: {problem.what}")


def _units(item: InputFile, reading: Reading, report: ReadReport) -> Iterator[Unit]:
    if item.kind == "jsonl":
        yield from _json_units(item, reading, report)
    elif item.kind == "text":
        for text in _text_documents(read_blocks(item.path, item.compression), item, reading, report):
            yield Document(text, item.name)
    elif item.kind == "html":
        data = b"".join(read_blocks(item.path, item.compression))
        text = markup.html_text(data, where=item.path, encoding=reading.encoding, report=report)
        yield Document(text, item.name)
    elif item.kind == "epub":
        book = epub.read_epub(item.path, report=report)
        metadata = {key: value for key, value in (("title", book.title), ("author", book.author)) if value}
        yield Document(book.text, item.name, None, metadata)
    elif item.kind == "docx":
        yield Document(office.read_docx(item.path), item.name)
    elif item.kind == "pdf":
        yield Document(office.read_pdf(item.path, report=report), item.name)
    else:
        for r in office.read_parquet(item.path, skip_bad=reading.skip_bad, report=report):
            yield Document(r.text, r.source or item.name, r.id, r.metadata)


def _json_units(item: InputFile, reading: Reading, report: ReadReport) -> Iterator[Unit]:
    """Chunks of lines; or documents, when the file is one JSON list."""
    blocks = read_blocks(item.path, item.compression)
    first = next(blocks, b"")
    if first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        data = b"".join([first, *blocks])
        records = jsonl.parse_list(
            data, where=str(item.path), encoding=reading.encoding, skip_bad=reading.skip_bad, report=report
        )
        yield from (Document(r.text, r.source or item.name, r.id, r.metadata) for r in records)
    else:
        yield from jsonl.line_chunks(chain([first] if first else [], blocks))


def _text_documents(blocks: Iterable[bytes], item: InputFile, reading: Reading, report: ReadReport) -> Iterator[str]:
    """A plain text, divided at lines that are exactly ``<|endoftext|>`` (the form of TinyStories)."""
    n_read = 0

    def counted() -> Iterator[bytes]:
        nonlocal n_read
        for block in blocks:
            n_read += len(block)
            yield block

    texts = decode_blocks(counted(), where=item.path, encoding=reading.encoding, report=report)
    try:
        yield from _divided(texts, report)
    except TornArchive as torn:
        what = f"the compressed file is {torn.reason}: {n_read:,} bytes of text could be read"
        raise DataError(what, where=item.path, hint="Fetch or pack it again.") from None


def _divided(texts: Iterable[str], report: ReadReport) -> Iterator[str]:
    """Pieces between separator lines, as soon as each is complete; a text without any is one piece."""
    piece: list[str] = []
    line: list[str] = []  # the beginning of a line whose end has not come yet
    n_pieces = 0
    for text in chain(texts, [None]):
        if text is None:
            body = "".join(line)
            body += "\n" if body.rstrip(" \t") == "<|endoftext|>" else ""
        else:
            cut = text.rfind("\n") + 1
            if cut == 0:
                line.append(text)
                continue
            body = "".join([*line, text[:cut]])
            line = [text[cut:]]
        first, *others = _SEPARATOR.split(body) if "<|endoftext|>" in body else [body]
        piece.append(first)
        for other in others:
            yield "".join(piece).strip("\n")
            n_pieces += 1
            piece = [other]
    rest = "".join(piece)
    if n_pieces == 0:
        yield rest
    else:
        report.count("separator", n_pieces)
        if rest.strip():
            yield rest.strip("\n")


def _not_empty(
    documents: Iterable[Document], files: Sequence[InputFile], report: ReadReport, *, where: object
) -> Iterator[Document]:
    """Pass documents on; DataError when none came."""
    n_documents = 0
    for document in documents:
        n_documents += 1
        yield document
    if n_documents == 0:
        raise no_text(files, report, where=where)


def no_text(files: Sequence[InputFile], report: ReadReport, *, where: object = None) -> DataError:
    """The one line for a source that turned out to hold no text; `where` is named in place of a single file."""
    where = files[0].path if len(files) == 1 else where
    if isinstance(where, list | tuple):
        where = ", ".join(str(part) for part in where[:3]) + (" …" if len(where) > 3 else "")
    if files and all(item.path.stat().st_size == 0 for item in files):
        what = "the file is empty" if len(files) == 1 else "all files are empty"
    else:
        what = "there is no text in it"
    return DataError(
        what, where=where, hint=report.notes[-1] if report.n_skipped else "Choose a text with words in it."
    )
