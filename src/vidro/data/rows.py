"""JSON rows for fine-tuning: a file that is one list of objects, or one object a line, read whole.

Such files are small beside corpora, so they are read at once; `jsonl` streams. A `Row` remembers which of its fields
were asked for, so that what nobody used can be said. Not here: what the fields mean (`forms`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidro.core.errors import DataError
from vidro.data.blocks import TornArchive, decode_bytes, read_blocks
from vidro.data.report import ReadReport

_PACKED = (".gz", ".zst")


class RowFault(Exception):
    """What is wrong with one row; its reader adds the file and the number."""

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass
class Row:
    """The fields of one object, and its number: in the list, or its line."""

    values: dict[str, Any]
    number: int
    used: set[str] = field(default_factory=set)

    def take(self, name: str) -> Any:
        """The value of a field that is there."""
        self.used.add(name)
        return self.values[name]

    def text(self, name: str) -> str:
        """The text of a field that is there. Raises RowFault when it is not text."""
        return text_field(self.take(name), repr(name))

    def optional_text(self, name: str) -> str:
        """The text of a field, "" where it is missing or null. Raises RowFault when it is something else."""
        return self.text(name) if self.values.get(name) is not None else ""

    def unused(self) -> list[str]:
        """The fields with a value that nobody asked for."""
        return [name for name, value in self.values.items() if name not in self.used and value not in (None, "")]


@dataclass(frozen=True)
class Rows:
    """The rows of a file; `unit` is what their numbers count: "row" of a list, or "line"."""

    rows: list[Row]
    unit: str
    notes: tuple[str, ...]


def text_field(value: Any, name: str) -> str:
    """The value if it is text. Raises RowFault."""
    if not isinstance(value, str):
        raise RowFault(f"{name} is {_sort(value)}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise RowFault(f"{name} holds half a surrogate pair at character {problem.start:,}") from None
    return value


def read_rows(path: Path) -> Rows:
    """The rows of a file. Raises DataError when it cannot be read, is not JSON or holds something else than objects."""
    report = ReadReport()
    text = decode_bytes(_read_bytes(path), where=path, encoding=None, report=report)
    if not text.strip():
        raise DataError("the file is empty", where=path)
    if text.lstrip().startswith("["):
        unit, values = "row", list(enumerate(_parse_list(text, path), start=1))
    else:
        unit, values = "line", _parse_lines(text, path)
    rows: list[Row] = []
    for number, value in values:
        if not isinstance(value, dict):
            hint = 'A row is an object such as {"instruction": "…", "output": "…"}.'
            raise DataError(f"{unit} {number:,} is {_sort(value)}, not an object", where=path, hint=hint)
        rows.append(Row(value, number))
    if not rows:
        raise DataError("the list is empty", where=path)
    return Rows(rows, unit, tuple(report.notes))


def _read_bytes(path: Path) -> bytes:
    compression = path.suffix if path.suffix in _PACKED else None
    try:
        return b"".join(read_blocks(path, compression))
    except TornArchive as torn:
        hint = "Fetch or pack it again."
        raise DataError(f"the compressed file is {torn.reason}", where=path, hint=hint) from None


def _parse_list(text: str, path: Path) -> list[Any]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        what = f"this is not JSON ({problem.msg} at line {problem.lineno:,} column {problem.colno:,})"
        raise DataError(what, where=path) from None
    except RecursionError:
        raise DataError("this JSON is nested too deeply", where=path) from None


def _parse_lines(text: str, path: Path) -> list[tuple[int, Any]]:
    values: list[tuple[int, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append((number, json.loads(line)))
        except json.JSONDecodeError as problem:
            if not values and _is_object(text):
                raise DataError("this is one JSON object, not a list of rows", where=path) from None
            what = f"line {number:,} is not JSON ({problem.msg} at column {problem.colno:,})"
            raise DataError(what, where=path, hint="Give one JSON list of objects, or one object a line.") from None
        except RecursionError:
            raise DataError(f"line {number:,}: this JSON is nested too deeply", where=path) from None
    return values


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _sort(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object", str: "text"}
    return names[type(value)]
