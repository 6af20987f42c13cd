"""Tables: cells by column, from CSV, TSV, JSON Lines or a JSON list; packed with gzip or Zstandard too.

    file → text → records and the names of their columns → `Table` → the texts of one column (`read_column`)
             └─ the texts of its lines, where it is no table (`read_lines`)

What was guessed on the way is said in `Table.notes`. Not here: how CSV and TSV are cut (`delimited`), which column is
the text and which the label (`labelled`), rows with many fields (`rows`), tables of documents (`jsonl`, `office`). Read
next: `labelled`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidro.core.errors import DataError, did_you_mean
from vidro.data.blocks import TornArchive, check_encoding, decode_blocks, decode_bytes, read_blocks
from vidro.data.delimited import LONGEST_NAME, read_delimited
from vidro.data.jsonl import check_surrogates
from vidro.data.report import ReadReport
from vidro.data.sources import COMPRESSIONS

_JSON = (".json", ".jsonl", ".ndjson")
_DELIMITERS = {".tsv": "\t", ".tab": "\t", ".csv": ",;\t"}
_ANY_DELIMITER = "\t,;"
_JSON_HINT = "Write one object a line, or one list of objects."


@dataclass(frozen=True)
class Table:
    """The names of the columns; of each record its cells and where it begins; and what there is to say.

    The cells of CSV and TSV are texts. Those of JSON are any values, None where a record has no such field.
    """

    path: Path
    names: list[str]
    cells: list[list[Any]]
    lines: list[int]
    unit: str  # what `lines` counts, from 1: "line" of the file, or "item" of a JSON list
    notes: tuple[str, ...]

    def find(self, name: str) -> int:
        """Where the column stands, the first of several. Raises DataError, naming those there are, where it is none."""
        if name not in self.names:
            what = f"there is no column {name!r} (columns: {', '.join(self.names) or 'none'})"
            hint = did_you_mean(name, self.names)
            raise DataError(what, where=self.path, hint=hint if hint.startswith("Did") else "Name one of these.")
        return self.names.index(name)

    def check_single(self, name: str) -> None:
        """Raise DataError when several columns have this name."""
        if (n := self.names.count(name)) > 1:
            raise DataError(f"{n} columns are called {name!r}", where=self.path, hint="Give each a name of its own.")

    def places(self, lines: Sequence[int]) -> str:
        """The first of these lines (or items), and how many there are.

        >>> table = Table(Path("a.json"), ["text"], [["a"]], [1], "item", ())
        >>> table.places([3]), table.places([1, 2, 3, 4, 5, 1000])
        ('item 3', '6 items (1, 2, 3, 4, 5, …)')
        """
        shown = ", ".join(f"{line:,}" for line in lines[:5]) + (", …" if len(lines) > 5 else "")
        return f"{self.unit} {shown}" if len(lines) == 1 else f"{len(lines):,} {self.unit}s ({shown})"


def read_table(path: Path, *, holds: str, wanted: Sequence[str] = (), encoding: str | None = None) -> Table:
    """The table in a file; it has at least one record.

    `wanted`: names of columns that the caller knows; they tell a header line. `holds`: what each record should have,
    for the errors. Raises DataError for what is no table.
    """
    check_encoding(encoding)
    hint = f"Choose a table that has {holds} in each row."
    report = ReadReport()
    suffix, packed = _suffixes(path)
    content = decode_bytes(_bytes(path, packed), where=path, encoding=encoding, report=report)
    if not content.strip():
        raise DataError("there are no rows in it", where=path, hint=hint)
    if suffix in _JSON or (suffix not in _DELIMITERS and content.lstrip()[0] in "[{"):
        unit, found = _objects(content, holds, path)
        names = list(dict.fromkeys(key for _, value in found for key in value))
        cells = [[value.get(name) for name in names] for _, value in found]
        table = Table(path, names, cells, [number for number, _ in found], unit, tuple(report.notes))
    else:
        cut = read_delimited(content, _DELIMITERS.get(suffix, _ANY_DELIMITER), wanted=wanted, path=path)
        table = Table(path, cut.names, cut.cells, cut.lines, "line", (*report.notes, *cut.notes))
    if not table.cells:
        raise DataError(f"there are no rows in it{' below the header' if table.names else ''}", where=path, hint=hint)
    return table


def read_column(
    path: Path, column: str, *, encoding: str | None = None, say: Callable[[str], None] | None = None
) -> list[str]:
    """The texts of one column, in the order of the file. What reading guessed or changed goes to `say`.

    Raises DataError for a column that is not there, and for records without a text, with their lines.
    """
    table = read_table(path, holds="a text", wanted=[column], encoding=encoding)
    at = table.find(column)
    table.check_single(column)
    texts: list[str] = []
    empty: list[int] = []
    for line, cells in zip(table.lines, table.cells, strict=True):
        try:
            text = text_of(cells[at], column)
        except ValueError as problem:
            raise DataError(f"{table.unit} {line:,}: {problem}", where=path, hint="Repair it.") from None
        texts.append(text)
        if not text.strip():
            empty.append(line)
    if empty:
        hint = "Fill it in, or take such rows out."
        raise DataError(f"there is no text in {table.places(empty)}", where=path, hint=hint)
    if say is not None:
        for note in table.notes:
            say(note)
    return texts


def is_table(path: Path) -> bool:
    """Whether the name is that of a table.

    >>> is_table(Path("mail.jsonl.gz")), is_table(Path("messages.txt"))
    (True, False)
    """
    return _suffixes(path)[0] in {*_JSON, *_DELIMITERS}


def read_lines(path: Path, *, encoding: str | None = None) -> Iterator[str]:
    """One text a line, from a file packed or not, as it is read. Raises DataError for a line without text."""
    return lines_of(read_blocks(path, _suffixes(path)[1]), where=path, encoding=encoding)


def lines_of(blocks: Iterable[bytes], *, where: object, encoding: str | None = None) -> Iterator[str]:
    """One text a line, as the bytes come. Raises DataError for a line without text.

    >>> list(lines_of([b"a b\\r", b"\\nc", b"d\\n"], where="stdin"))
    ['a b', 'cd']
    """
    n_lines = 0
    for line in _split(decode_blocks(blocks, where=where, encoding=encoding, report=ReadReport()), where):
        n_lines += 1
        if not line.strip():
            raise DataError(f"there is no text in line {n_lines:,}", where=where, hint="Take empty lines out.")
        yield line
    if not n_lines:
        raise DataError("there is no text in it", where=where, hint="Write one text a line.")


def _split(pieces: Iterable[str], where: object) -> Iterator[str]:
    """The lines of a text that comes in pieces."""
    rest = ""
    try:
        for piece in pieces:
            *lines, rest = (rest + piece).split("\n")
            yield from lines
    except TornArchive as torn:
        raise _torn(where, torn) from None
    if rest:
        yield rest


def text_of(cell: Any, column: str) -> str:
    """The text in a cell, "" where there is none. Raises ValueError for another kind of value.

    >>> text_of("a b", "body"), text_of(None, "body")
    ('a b', '')
    """
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise ValueError(f"column {column!r} is {brief(cell)}, not text")
    check_surrogates(cell)
    return cell


def brief(value: Any) -> str:
    """A JSON value as an error shows it: its beginning.

    >>> brief({"a": [1, None]}), brief("x" * 60)
    ('{"a": [1, null]}', '"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…')
    """
    text = json.dumps(value)
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "…"


def _suffixes(path: Path) -> tuple[str, str | None]:
    """What the name says of the form, and of the packing."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else None
    return suffixes[-1] if suffixes else "", packed


def _bytes(path: Path, packed: str | None) -> bytes:
    try:
        return b"".join(read_blocks(path, packed))
    except TornArchive as torn:
        raise _torn(path, torn) from None


def _torn(where: object, torn: TornArchive) -> DataError:
    return DataError(f"the compressed file is {torn.reason}", where=where, hint="Fetch or pack it again.")


def _objects(content: str, holds: str, path: Path) -> tuple[str, list[tuple[int, dict[str, Any]]]]:
    """What is counted, and the objects of a JSON list, or one a line, with their numbers."""
    if content.lstrip()[0] == "[":
        unit, found = "item", list(enumerate(_loads(content, "", path), start=1))
    else:
        lines = enumerate(content.split("\n"), start=1)
        unit, found = "line", [(n, _loads(line, f"line {n:,}: ", path)) for n, line in lines if line.strip()]
    for number, value in found:
        if not isinstance(value, dict):
            what = f"{unit} {number:,}: {brief(value)} is not an object with {holds}"
            raise DataError(what, where=path, hint=_JSON_HINT)
    return unit, found


def _loads(text: str, at: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{at}this is not JSON ({problem})", where=path, hint=_JSON_HINT) from None
