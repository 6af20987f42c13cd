"""JSON Lines: one document a line, as Dolma (`id`, `text`, `source` …) and C4 (`text`, `url` …) have them.

A file is cut into chunks of whole lines, so that it streams and other processes can do the parsing; each chunk knows
its first line number. A `.json` file that is one list of records is read too. Not here: gzip and Zstandard (`blocks`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vidro.core.errors import DataError
from vidro.data.blocks import TornArchive
from vidro.data.report import ReadReport

_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_SKIP_HINT = "Repair that line, or use --skip-bad to leave such lines out and count them."


@dataclass(frozen=True)
class LineChunk:
    """Some whole lines of a file: their bytes, and the number (from 1) of the first."""

    data: bytes
    first_line: int
    torn: str | None = None


@dataclass(frozen=True)
class Record:
    """One parsed line: the text and what else it says."""

    text: str
    id: str | None
    source: str | None
    metadata: dict[str, Any]


def line_chunks(blocks: Iterable[bytes]) -> Iterator[LineChunk]:
    """Blocks cut after their last line end; the rest begins the next chunk.

    After a tear the last chunk carries the reason and only whole lines.
    """
    line, held = 1, [b""]
    torn: str | None = None
    try:
        for block in blocks:
            cut = block.rfind(b"\n") + 1
            if cut == 0:
                held.append(block)
                continue
            data = b"".join([*held, memoryview(block)[:cut]])
            yield LineChunk(data, line)
            line += data.count(b"\n")
            held = [block[cut:]]
    except TornArchive as problem:
        torn = problem.reason
    rest = b"" if torn else b"".join(held)
    if rest or torn:
        yield LineChunk(rest, line, torn)


def parse_chunk(
    chunk: LineChunk, *, where: str, encoding: str | None, skip_bad: bool, report: ReadReport
) -> Iterator[Record]:
    """The records of a chunk. Raises DataError with the line number, or skips and counts the line."""
    data = chunk.data
    if chunk.first_line == 1:
        data = data.removeprefix(b"\xef\xbb\xbf")
        if data.lstrip()[:1] == b"[":
            hint = "Write one record a line."
            raise DataError("this is one JSON list, not one JSON record a line", where=where, hint=hint)
    for number, line in enumerate(data.split(b"\n"), start=chunk.first_line):
        if not line.strip():
            continue
        try:
            yield record_of(_parse(line, encoding))
        except ValueError as problem:
            bad(f"line {number:,}", str(problem), where=where, skip_bad=skip_bad, report=report)
    if chunk.torn:
        lines = chunk.first_line - 1 + data.count(b"\n")
        what = f"the compressed file is {chunk.torn}: {lines:,} whole lines could be read"
        if not skip_bad:
            hint = "Fetch or pack it again, or use --skip-bad to keep what can be read."
            raise DataError(what, where=where, hint=hint)
        report.skip(f"{where}: {what}")


def parse_list(
    data: bytes, *, where: str, encoding: str | None, skip_bad: bool, report: ReadReport
) -> Iterator[Record]:
    """The records of a file that is one JSON list. Raises DataError with the item number, or skips and counts it."""
    try:
        items = json.loads(data.decode(encoding or "utf-8-sig"))
    except (ValueError, RecursionError, LookupError) as problem:
        hint = "Repair it, or use --skip-bad to leave such files out and count them."
        raise DataError(f"this is not JSON ({problem})", where=where, hint=hint) from None
    for number, item in enumerate(items, start=1):
        try:
            yield record_of(item)
        except ValueError as problem:
            bad(f"item {number:,}", str(problem), where=where, skip_bad=skip_bad, report=report)


def bad(place: str, reason: str, *, where: str, skip_bad: bool, report: ReadReport) -> None:
    """Raise DataError for a bad record, or count it where the user wants such records skipped."""
    if not skip_bad:
        raise DataError(f"{place}: {reason}", where=where, hint=_SKIP_HINT)
    report.skip(f"{where} {place}: {reason}")


def record_of(value: Any) -> Record:
    """The document in a parsed record. Raises ValueError with the reason."""
    if not isinstance(value, dict):
        raise ValueError(f"this is {_kind(value)}, not a record with a 'text' field")
    if "text" not in value and "attributes" in value:
        raise ValueError("this is a Dolma attribute record: it marks a document, which lies in another file")
    if "text" not in value:
        fields = ", ".join(sorted(str(key) for key in value)[:8]) or "none"
        raise ValueError(f"there is no 'text' field (fields: {fields})")
    text = value["text"]
    if not isinstance(text, str):
        raise ValueError(f"'text' is {_kind(text)}, not text")
    if not text.isascii():
        check_surrogates(text)
    metadata = value.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    metadata.update({key: value[key] for key in ("url", "timestamp", "date") if key in value})
    identity, source = value.get("id"), value.get("source")
    return Record(text, None if identity is None else str(identity), None if source is None else str(source), metadata)


def check_surrogates(text: str) -> None:
    """Raise ValueError when the text holds half a surrogate pair: it is a mistake, and UTF-8 cannot hold it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        character = ord(text[problem.start])
        raise ValueError(
            f"'text' holds half a surrogate pair (\\u{character:04x}) at character {problem.start:,}"
        ) from None


def _parse(line: bytes, encoding: str | None) -> Any:
    try:
        return json.loads(line.decode(encoding or "utf-8"))
    except UnicodeDecodeError as problem:
        raise ValueError(f"not {problem.encoding.upper()} text at byte {problem.start:,} of the line") from None
    except json.JSONDecodeError as problem:
        raise ValueError(f"this is not JSON ({problem.msg} at column {problem.colno:,})") from None
    except RecursionError:
        raise ValueError("this JSON is nested too deeply") from None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "text" if isinstance(value, str) else _KINDS[type(value)]
