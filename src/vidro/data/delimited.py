"""CSV and TSV: which delimiter, whether quote marks quote, and whether the first record names the columns.

Files say none of the three, so they are guessed, from the first records and from what the columns hold; the guesses
stand in `Delimited.notes`. How texts and labels look is known here, and `labelled` asks too. Not here: files, packed or
not, and JSON (`tables`). Read next: `tables`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidro.core.errors import DataError

TEXT_NAMES = (
    "text",
    "message",
    "sms",
    "review",
    "sentence",
    "content",
    "comment",
    "tweet",
    "document",
    "body",
    "email",
)
LABEL_NAMES = ("label", "labels", "class", "category", "target", "spam", "is_spam", "sentiment", "topic", "intent")
MOST_LABELS = 1_000
LOOKED_AT = 10_000  # records that guesses are made from
LONGEST_NAME = 40  # characters of a cell that may be the name of a column, or of a label
_QUOTED = re.compile(r'(?<![^\t\n])"(?:[^"]|"")*+"(?=[\t\n]|\Z)')


@dataclass(frozen=True)
class Delimited:
    """The names of the columns, the cells of each record and the line where it begins, and what was guessed.

    Without a header line the columns are called "1", "2", …
    """

    names: list[str]
    cells: list[list[str]]
    lines: list[int]
    notes: list[str]


def read_delimited(content: str, delimiters: str, *, wanted: Sequence[str], path: Path) -> Delimited:
    """The records of a text, cut by one of the `delimiters` (of equally good ones, the first); all have as many cells.

    `wanted` are names of columns that the caller knows. Blank lines are no records. Raises DataError.
    """
    delimiter = max(delimiters, key=lambda one: _regularity(content, one))  # the first of equals
    quoted = delimiter != "\t" or uses_quotes(content)
    cells, lines = _records(content, delimiter, quoted, path)
    for number, record in zip(lines, cells, strict=True):
        if len(record) != len(cells[0]):
            what = f"line {number:,} has not the {len(cells[0])} columns of line {lines[0]:,}, but {len(record)}"
            hint = f"Put texts that hold {'a tab' if delimiter == chr(9) else repr(delimiter)} in quote marks."
            raise DataError(what, where=path, hint=hint)
    notes = []
    if delimiter == "\t" and quoted:
        notes.append("Quote marks around cells were taken off.")
    numbers = [str(number) for number in range(1, len(cells[0]) + 1)] if cells else []
    if not cells or not has_header(cells[: LOOKED_AT + 1], wanted):
        notes.append(f"No header line was found: the columns are called {' '.join(numbers)}.")
        return Delimited(numbers, cells, lines, notes)
    names = [cell.strip() or number for cell, number in zip(cells[0], numbers, strict=True)]
    notes.append(f"Line {lines[0]:,} was read as the header.")
    return Delimited(names, cells[1:], lines[1:], notes)


def _records(content: str, delimiter: str, quoted: bool, path: Path) -> tuple[list[list[str]], list[int]]:
    """The cells of each record, and the line where it begins."""
    cells: list[list[str]] = []
    lines: list[int] = []
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    line = 1
    try:
        for record in reader:
            alone = len(record) == 1 and cells and len(cells[0]) == 1  # an empty cell of the only column, written as ""
            if len(record) > 1 or alone or any(cell.strip() for cell in record):
                cells.append(record)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as problem:
        what = f"line {line:,}: this is not {'TSV' if delimiter == chr(9) else 'CSV'} ({problem})"
        hint = "A quote mark inside a quoted text is written twice, and each that opens must close; or use JSON Lines."
        raise DataError(what, where=path, hint=hint) from None
    return cells, lines


def _regularity(content: str, delimiter: str) -> float:
    """Which share of the first records has the usual number of cells, if that is at least two."""
    head = io.StringIO("\n".join(content.split("\n", 200)[:200]), newline="")
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    try:
        sizes = [len(record) for record in csv.reader(head, delimiter=delimiter, quoting=quoting) if record]
    except csv.Error:
        return 0.0
    usual, n = max(Counter(sizes).items(), key=lambda item: item[1], default=(0, 0))
    return n / len(sizes) if usual > 1 else 0.0


def uses_quotes(content: str) -> bool:
    """Whether quote marks in a TSV are quoting: all of them stand around cells, or twice inside such a cell.

    >>> uses_quotes('ham\\t"a ""big"" one"\\n'), uses_quotes('ham\\t"Yes" she said\\nham\\t"No"\\n')
    (True, False)
    """
    found = _QUOTED.findall(content)
    if any("\n" in cell and "\t" in cell for cell in found):
        return False  # it spans two records: a mark that opens in one message, and one that closes in another
    return bool(found) and '"' not in _QUOTED.sub("", content)


def has_header(cells: Sequence[Sequence[str]], wanted: Sequence[str]) -> bool:
    """Whether the first record names the columns.

    It does when it holds a name that the caller gave, or a usual one that its column does not hold again ("spam" is a
    label as well); or when its columns look like label and text, but it holds no such label and far shorter text. A
    caller who gave names, not numbers, believes in a header: then any words will do, to be shown beside the wrong name.
    """
    first, rest = [cell.strip() for cell in cells[0]], cells[1:]
    if any(name in first for name in wanted):
        return True
    named = [cell for cell in first if cell]
    if len(set(named)) < len(named) or any(len(cell) > LONGEST_NAME or _is_number(cell) for cell in named):
        return False
    if any(not name.isdecimal() for name in wanted):
        return True
    columns = [[row[at].strip().casefold() for row in rest] for at in range(len(first))]
    known = {*TEXT_NAMES, *LABEL_NAMES}
    if any(cell.casefold() in known and cell.casefold() not in columns[at] for at, cell in enumerate(first)):
        return True
    labels = any(
        cell and cell.casefold() not in columns[at] and looks_like_labels(columns[at]) for at, cell in enumerate(first)
    )
    return labels and any(cell and 4 * len(cell) < mean_length(columns[at]) for at, cell in enumerate(first))


def looks_like_labels(column: Sequence[str]) -> bool:
    """Whether a column holds few distinct, short values, and not always the same.

    >>> looks_like_labels(["ham", "spam", "ham", "ham"]), looks_like_labels(["ham"] * 4), looks_like_labels("abcd")
    (True, False, False)
    """
    distinct = set(column)
    return 2 <= len(distinct) <= min(MOST_LABELS, len(column) / 2) and max(map(len, distinct)) <= LONGEST_NAME


def mean_length(column: Sequence[str]) -> float:
    """In characters; of no cells 0."""
    return sum(map(len, column)) / max(1, len(column))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
