"""Instructions and preferences from a file: rows of the usual forms, as conversations.

A file is one JSON list of rows or JSON Lines, packed with gzip or Zstandard or not. All its rows have one form
(`forms`). Every conversation of instructions ends with an answer; a row of preferences has two, chosen and rejected.
Fields that are not used are named in the notes.

Not here: how a conversation becomes text (`vidro.text.styles`) and batches (`collate`). Read next: `collate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from vidro.core.errors import DataError
from vidro.data.forms import Talk, answer_of, form_of, messages_of
from vidro.data.rows import Row, RowFault, read_rows
from vidro.text.conversation import Message, check_asks

_N_SHOWN = 8


@dataclass(frozen=True)
class InstructionRow:
    """One conversation that ends with an answer; `kind` is the row's own name for its sort, `line` its place."""

    messages: Talk
    kind: str | None = None
    line: int = 0

    @property
    def prompt(self) -> Talk:
        """All but the last answer."""
        return self.messages[:-1]


@dataclass(frozen=True)
class PreferenceRow:
    """A conversation that ends with the user, the better answer and the worse one."""

    prompt: Talk
    chosen: str
    rejected: str
    kind: str | None = None
    line: int = 0

    def as_rows(self) -> tuple[InstructionRow, InstructionRow]:
        """The conversation with the better answer, and with the worse."""
        both = (Message("assistant", answer) for answer in (self.chosen, self.rejected))
        better, worse = (InstructionRow((*self.prompt, answer), self.kind, self.line) for answer in both)
        return better, worse


class HasPrompt(Protocol):
    """A row that asks something."""

    @property
    def prompt(self) -> Talk: ...


R = TypeVar("R", bound=HasPrompt)
M = TypeVar("M", InstructionRow, PreferenceRow)


@dataclass(frozen=True)
class Table(Generic[R]):
    """The rows, their form, how many were left out for having an empty question or answer, and what there is to say."""

    rows: tuple[R, ...]
    form: str
    n_empty: int
    notes: tuple[str, ...]


InstructionTable = Table[InstructionRow]
PreferenceTable = Table[PreferenceRow]


@dataclass(frozen=True)
class RowSplit(Generic[R]):
    """Rows to train on, to watch while training, and to measure at the end."""

    train: tuple[R, ...]
    val: tuple[R, ...]
    test: tuple[R, ...]


def read_instructions(path: str | Path, *, skip_empty: bool = False) -> InstructionTable:
    """The conversations of a file, every one ending with an answer.

    Raises DataError with the row's number. Rows with an empty question or answer are an error that lists them, or with
    `skip_empty` are left out and counted.
    """

    def convert(row: Row, form: str) -> InstructionRow:
        messages = messages_of(row, form, answered=True)
        if messages[-1].role != "assistant":
            raise RowFault(f"the conversation ends with the {messages[-1].role}, not with an answer")
        return InstructionRow(messages, _kind(row), row.number)

    return _read(Path(path), convert, pairs=False, skip_empty=skip_empty)


def read_preferences(path: str | Path, *, skip_empty: bool = False) -> PreferenceTable:
    """The questions of a file, each with a chosen and a rejected answer: a text, or a message that holds it.

    Raises DataError as `read_instructions` does.
    """

    def convert(row: Row, form: str) -> PreferenceRow:
        """A row of the file as a question with its two answers."""
        prompt = messages_of(row, form, answered=False)
        try:
            check_asks(prompt)
        except DataError as problem:
            raise RowFault(problem.what) from None
        return PreferenceRow(
            prompt, answer_of(row, "chosen", prompt), answer_of(row, "rejected", prompt), _kind(row), row.number
        )

    table = _read(Path(path), convert, pairs=True, skip_empty=skip_empty)
    n_same = sum(row.chosen == row.rejected for row in table.rows)
    same = (f"{n_same:,} of {len(table.rows):,} rows have the same text as chosen and rejected.",) if n_same else ()
    return Table(table.rows, table.form, table.n_empty, (*table.notes, *same))


def split_instructions(rows: Sequence[R], *, val: float = 0.05, test: float = 0.1, seed: int) -> RowSplit[R]:
    """The rows in a random order that the seed decides, in three parts; the shares are of all rows, rounded.

    Rows that ask the same stay together, so nothing that is measured was trained on; a part may then be a little
    larger than its share. Raises DataError when a part that was asked for would be empty.
    """
    if val < 0 or test < 0 or val + test >= 1:
        raise DataError(f"the shares {val:g} (validation) and {test:g} (test) leave nothing to train on")
    sizes = [max(1, round(len(rows) * share)) if share else 0 for share in (test, val)]
    groups: dict[Talk, list[R]] = {}
    for row in rows:
        groups.setdefault(row.prompt, []).append(row)
    waiting = list(groups.values())
    order = [waiting[number] for number in np.random.default_rng(seed).permutation(len(waiting))]
    parts: list[list[R]] = []
    for size in sizes:
        part: list[R] = []
        while order and len(part) < size:
            part += order.pop()
        parts.append(part)
    if not order or any(len(part) < size for part, size in zip(parts, sizes, strict=True)):
        what = f"{len(rows):,} rows with {len(waiting):,} different questions are too few for so many parts"
        raise DataError(what, hint="Give more rows, or a share of 0 for validation or test.")
    train = tuple(row for group in order for row in group)
    return RowSplit(train, val=tuple(parts[1]), test=tuple(parts[0]))


# From rows to conversations


def _read(path: Path, convert: Callable[[Row, str], M], *, pairs: bool, skip_empty: bool) -> Table[M]:
    found = read_rows(path)
    kept: list[M] = []
    empty: list[int] = []
    unused: Counter[str] = Counter()
    form = first = ""
    for row in found.rows:
        try:
            own = form_of(row, pairs=pairs)
            if form and own != form:
                raise RowFault(f"this row has the form {own}, but {first} has the form {form}")
            form, first = own, first or f"{found.unit} {row.number:,}"
            made = convert(row, form)
        except RowFault as fault:
            raise DataError(f"{found.unit} {row.number:,}: {fault}", where=path, hint=fault.hint) from None
        unused.update(row.unused())
        (empty.append(row.number) if _is_empty(made) else kept.append(made))
    notes = list(found.notes)
    if unused:
        counts = ", ".join(f"{name} ({n:,} rows)" for name, n in unused.most_common())
        notes.append(f"Fields not used: {counts}.")
    if empty:
        what = _empty_rows(empty, len(found.rows), found.unit)
        if not skip_empty:
            hint = "Complete them, or leave such rows out and count them: --skip-empty"
            raise DataError(what, where=path, hint=hint)
        notes.append(f"Left out: {what}.")
    if not kept:
        raise DataError("all rows were left out, because their output or question is empty", where=path)
    return Table(tuple(kept), form, len(empty), tuple(notes))


def _kind(row: Row) -> str | None:
    return row.optional_text("kind") or None


def _is_empty(made: InstructionRow | PreferenceRow) -> bool:
    messages = made.messages if isinstance(made, InstructionRow) else made.prompt
    answers = [] if isinstance(made, InstructionRow) else [made.chosen, made.rejected]
    texts = [message.text for message in messages if message.role != "system"]
    return any(not text.strip() for text in [*texts, *answers])


def _empty_rows(numbers: list[int], n_rows: int, unit: str) -> str:
    shown = ", ".join(f"{number:,}" for number in numbers[:_N_SHOWN])
    more = f" and {len(numbers) - _N_SHOWN:,} more" if len(numbers) > _N_SHOWN else ""
    plural = "" if len(numbers) == 1 else "s"
    return f"{len(numbers):,} of {n_rows:,} rows without output or question ({unit}{plural} {shown}{more})"
