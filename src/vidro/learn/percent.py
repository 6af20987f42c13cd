"""Cells of a lesson's source: the percent format that Jupytext, VS Code, Spyder and PyCharm read as a notebook.

    # %% [markdown]
    # # A title
    #
    # Words for the reader, in Markdown.

    # %%
    print(1 + 1)

This is the part of the format that lessons use, so that any of those programs opens a lesson as it is: two kinds of
cells, no titles or options beside the marker, no magic commands. Anything else is an error that names its line.
`tests/learn/test_percent.py` holds the reading equal to Jupytext's. Not here: running (`lesson_run`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vidro.core.errors import LessonError

MARKER = re.compile(r"# ?%%")
MARKDOWN, CODE = "# %% [markdown]", "# %%"
MAGIC = re.compile(r"\s*(# ?)?[%!?]")


@dataclass(frozen=True)
class Cell:
    """One cell: its kind, its text without comment signs or outer blank lines, and the file's line it begins at."""

    kind: Literal["markdown", "code"]
    source: str
    line: int


def parse(text: str, *, where: object = None) -> list[Cell]:
    """The cells of a lesson; empty ones are left out. Raises LessonError naming the line.

    >>> for cell in parse("# %% [markdown]\\n# # Sums\\n#\\n# Of two.\\n\\n# %%\\nprint(1 + 1)\\n"):
    ...     print(cell.line, cell.kind, repr(cell.source))
    2 markdown '# Sums\\n\\nOf two.'
    7 code 'print(1 + 1)'
    """
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if MARKER.match(line)]
    before = lines[: starts[0]] if starts else lines
    if any(line.strip() for line in before) or not starts:
        raise LessonError("a lesson begins with a cell", where=where, hint=f"Write {MARKDOWN} into the first line.")
    cells: list[Cell] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        cells += _cell(lines[start:end], start + 1, where)
    return cells


def _cell(lines: list[str], number: int, where: object) -> Iterator[Cell]:
    """The cell of these lines, of which the first is the marker and stands in line `number`; none if it is empty."""
    marker, *body = lines
    if marker.rstrip() not in (MARKDOWN, CODE):
        hint = f"A cell begins with {CODE} or {MARKDOWN}."
        raise LessonError(f"line {number} is no beginning of a cell: {marker}", where=where, hint=hint)
    kind = "markdown" if marker.rstrip() == MARKDOWN else "code"
    for place, line in enumerate(body, start=number + 1):
        if kind == "markdown" and line.strip() and not re.match(r"#( |$)", line):
            hint = f"Every line below {MARKDOWN} begins with # and a blank."
            raise LessonError(f"line {place} is not a comment", where=where, hint=hint)
        if kind == "code" and MAGIC.match(line):
            hint = "A lesson is plain Python, so that it runs everywhere."
            raise LessonError(f"line {place} is a notebook's command: {line.strip()}", where=where, hint=hint)
    source = [line[2:] for line in body] if kind == "markdown" else body
    inside = [place for place, line in enumerate(source) if line.strip()]
    if inside:
        first, last = inside[0], inside[-1]
        yield Cell(kind, "\n".join(source[first : last + 1]), number + 1 + first)


def title_of(cells: list[Cell]) -> str:
    """The heading of the first cell.

    >>> title_of(parse("# %% [markdown]\\n# # Sums\\n"))
    'Sums'
    """
    first = cells[0].source.splitlines()[0] if cells and cells[0].kind == "markdown" else ""
    return first.removeprefix("# ") if first.startswith("# ") else ""
