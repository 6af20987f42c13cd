"""Texts with a label each, from a table: which column is the text, which the label, and the rows they make.

    file → `Table` → the two columns, by name or guessed → rows

What was guessed is said in `LabelledTable.notes`. A label is a string, without the white space around it; a text stays
as it is. Classes of unequal size are met here too, by fewer rows (`balance`) or by weights. Not here: the forms of
tables (`tables`), copies among the texts, and the split that keeps copies together. Read next: `duplicates`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidro.core.errors import DataError, UsageError
from vidro.data.delimited import LABEL_NAMES, LOOKED_AT, MOST_LABELS, TEXT_NAMES, looks_like_labels, mean_length
from vidro.data.jsonl import check_surrogates
from vidro.data.tables import Table, brief, read_table, text_of

_HOLDS = "a text and a label"
_TABLE = f"Choose a table that has {_HOLDS} in each row."
_NAME_THEM = "Name the columns: --text-column NAME --label-column NAME."


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A text, its label, and where it stood: the line of the file, or the place in a JSON list (from 1)."""

    text: str
    label: str
    line: int


@dataclass(frozen=True)
class LabelledTable:
    """The rows in the order of the file, the label names sorted, and what there is to say about the reading.

    Without a header line the columns are called "1", "2", … `guessed`: the caller did not name both columns.
    """

    rows: tuple[LabelledRow, ...]
    labels: tuple[str, ...]
    text_column: str
    label_column: str
    guessed: bool
    n_empty: int
    notes: tuple[str, ...] = ()


def read_labelled(
    path: Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str | None = None,
    skip_empty: bool = False,
    known: Sequence[str] | None = None,
) -> LabelledTable:
    """The labelled texts of a file; columns by name, or guessed from their names and then from what they hold.

    Rows without a text are a DataError with their lines, or left out and counted where `skip_empty` asks for that. All
    else that is no table of texts and labels is a DataError too. `known`: the labels that rows may have; there need not
    be rows of each.
    """
    if text_column is not None and text_column == label_column:
        raise UsageError(f"the text and the label cannot both be column {text_column!r}", hint=_NAME_THEM)
    wanted = [name for name in (text_column, label_column) if name is not None]
    table = read_table(path, holds=_HOLDS, wanted=wanted, encoding=encoding)
    text_at, label_at = _choose_columns(table, text_column, label_column)
    rows, n_empty = _rows(table, text_at, label_at, skip_empty)
    names = table.names[text_at], table.names[label_at]
    guessed = text_column is None or label_column is None
    notes = (*table.notes, *_notes(table, *names, guessed, n_empty))
    return LabelledTable(rows, _labels(rows, names[1], path, known), *names, guessed, n_empty, notes)


def _choose_columns(table: Table, text: str | None, label: str | None) -> tuple[int, int]:
    """Where the text and the label stand among the columns."""
    names = table.names
    if len(names) < 2:
        found = f" ({names[0]!r})" if names else ""
        raise DataError(f"there is only one column{found}", where=table.path, hint=_TABLE)
    for name in (text, label):
        if name is not None:
            table.find(name)
    text_at = _named(names, text, TEXT_NAMES, other=label)
    label_at = _named(names, label, LABEL_NAMES, other=text)
    columns = [[_shown(row[at]).strip() for row in table.cells[:LOOKED_AT]] for at in range(len(names))]
    if text_at is None:
        left = [at for at in range(len(names)) if at != label_at]
        text_at = max(left, key=lambda at: (not looks_like_labels(columns[at]), mean_length(columns[at])))
    if label_at is None:
        left = [at for at in range(len(names)) if at != text_at]
        likely = left if len(left) == 1 else [at for at in left if looks_like_labels(columns[at])]
        if not likely:
            what = f"no column looks like labels (columns: {', '.join(names)})"
            raise DataError(what, where=table.path, hint="Name it: --label-column NAME.")
        label_at = min(likely, key=lambda at: len(set(columns[at])))
    for at in (text_at, label_at):
        table.check_single(names[at])
    return text_at, label_at


def _named(names: Sequence[str], wish: str | None, usual: Sequence[str], *, other: str | None) -> int | None:
    """The column that the caller named, or the first of a usual name; None when there is none."""
    if wish is not None:
        return names.index(wish)
    folded = [None if name == other else name.casefold() for name in names]
    return next((folded.index(name) for name in usual if name in folded), None)


def _rows(table: Table, text_at: int, label_at: int, skip_empty: bool) -> tuple[tuple[LabelledRow, ...], int]:
    """The rows that have a text, and how many have none. Raises DataError for what is missing or no text."""
    rows: list[LabelledRow] = []
    empty: list[int] = []
    unlabelled: list[int] = []
    for line, cells in zip(table.lines, table.cells, strict=True):
        try:
            text = text_of(cells[text_at], table.names[text_at])
            label = _label_of(cells[label_at], table.names[label_at])
        except ValueError as problem:
            raise DataError(f"{table.unit} {line:,}: {problem}", where=table.path, hint="Repair it.") from None
        if not text.strip():
            empty.append(line)
        elif not label:
            unlabelled.append(line)
        else:
            rows.append(LabelledRow(text, label, line))
    if empty and not skip_empty:
        hint = "Fill it in, or leave such rows out: --skip-empty."
        raise DataError(f"there is no text in {table.places(empty)}", where=table.path, hint=hint)
    if unlabelled:
        what = f"there is no label in {table.places(unlabelled)}"
        raise DataError(what, where=table.path, hint="Fill it in, or take such rows out.")
    return tuple(rows), len(empty)


def _label_of(cell: Any, column: str) -> str:
    if isinstance(cell, list | dict):
        raise ValueError(f"column {column!r} is {brief(cell)}, not a label")
    label = _shown(cell).strip()
    check_surrogates(label)
    return label


def _labels(rows: Sequence[LabelledRow], column: str, path: Path, known: Sequence[str] | None) -> tuple[str, ...]:
    """The label names, sorted. Raises DataError when they cannot be classes."""
    labels = tuple(sorted({row.label for row in rows}))
    if not rows:
        raise DataError("there is no row with a text", where=path, hint=_TABLE)
    if known is not None:
        if unknown := [row for row in rows if row.label not in known]:
            what = f"line {unknown[0].line:,}: the label {unknown[0].label!r} is not known"
            raise DataError(what, where=path, hint=f"Known: {', '.join(known)}. {_NAME_THEM}")
        return labels
    if len(labels) == 1:
        what = f"every row has the same label, {labels[0]!r}"
        raise DataError(what, where=path, hint=f"A classifier needs two or more. {_NAME_THEM}")
    if len(labels) > MOST_LABELS or len(labels) == len(rows):
        what = f"column {column!r} has {len(labels):,} different labels in {len(rows):,} rows"
        raise DataError(what, where=path, hint=f"This looks like text, not labels. {_NAME_THEM}")
    return labels


def _notes(table: Table, text: str, label: str, guessed: bool, n_empty: int) -> list[str]:
    notes = [f"Text: column {text!r}, label: column {label!r}{' (guessed)' if guessed else ''}."]
    if others := [name for name in table.names if name not in (text, label)]:
        notes.append(f"Columns not used: {', '.join(others)}.")
    if n_empty:
        notes.append(f"{n_empty:,} {'row' if n_empty == 1 else 'rows'} without text left out.")
    return notes


def _shown(value: Any) -> str:
    """A cell as text: a number or true and false as JSON writes them, nothing for null."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def balance(rows: Sequence[LabelledRow], *, seed: int) -> tuple[list[LabelledRow], int]:
    """As many rows of each label as the smallest has, drawn at random, in their order; and how many went."""
    draw = np.random.default_rng(seed)
    places: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        places[row.label].append(at)
    n = min(map(len, places.values()), default=0)
    kept = sorted(at for label in sorted(places) for at in draw.choice(places[label], n, replace=False))
    return [rows[at] for at in kept], len(rows) - len(kept)


def class_weights(rows: Iterable[LabelledRow], labels: Sequence[str]) -> tuple[float, ...]:
    """A weight for each label, the larger the rarer it is; their mean over the rows is 1.

    >>> class_weights([LabelledRow("a", "x", 1), LabelledRow("b", "x", 2), LabelledRow("c", "y", 3)], ["x", "y"])
    (0.75, 1.5)
    """
    counts = Counter(row.label for row in rows)
    if unknown := sorted(counts.keys() - set(labels)):
        raise DataError(f"label {unknown[0]!r} is not one of {', '.join(labels)}", hint="Take out these rows.")
    if missing := [label for label in labels if label not in counts]:
        raise DataError(f"there is no row with label {missing[0]!r}, so it has no weight", hint="Add rows of it.")
    return tuple(counts.total() / (len(labels) * counts[label]) for label in labels)
