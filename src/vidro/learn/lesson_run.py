"""Run a lesson cell by cell and hand out what there is to see, piece by piece.

A terminal, a page of the site and a test all take their pieces from here, so that they show the same. Each code cell
gives its source, then what it printed, then the value of its last line as a notebook would show it: a figure, or text.
All cells share one namespace. Not here: cells (`percent`), how pieces look (`terminal`, `page`).
"""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.core.errors import LessonError
from vidro.learn.percent import Cell, parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Markdown:
    """Words for the reader."""

    text: str
    line: int


@dataclass(frozen=True)
class Code:
    """The source of a cell that is about to run."""

    text: str
    line: int


@dataclass(frozen=True)
class Printed:
    """What a cell printed, or the text of its last value; without the line end."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure, numbered from 1 within the lesson."""

    figure: Figure
    number: int


Piece = Markdown | Code | Printed | Picture


def run_lesson(text: str, *, where: Path) -> Iterator[Piece]:
    """Run a lesson's source; `where` is its file, for messages. Raises LessonError naming the line that failed.

    Torch's random numbers go on as if the lesson had not run.

    >>> lesson = "# %% [markdown]\\n# # Sums\\n# %%\\na = 1\\nprint(a + 1)\\n# %%\\na + 2\\n"
    >>> for piece in run_lesson(lesson, where=Path("sums.py")):
    ...     print(type(piece).__name__, repr(piece.text))
    Markdown '# Sums'
    Code 'a = 1\\nprint(a + 1)'
    Printed '2'
    Code 'a + 2'
    Printed '3'
    """
    import torch

    names: dict[str, Any] = {"__name__": "lesson", "__file__": str(where)}
    figures = 0
    dice = torch.get_rng_state()
    try:
        for cell in parse(text, where=where):
            if cell.kind == "markdown":
                yield Markdown(cell.source, cell.line)
                continue
            yield Code(cell.source, cell.line)
            for piece in _run_cell(cell, names, where, figures):
                figures += isinstance(piece, Picture)
                yield piece
    finally:
        torch.set_rng_state(dice)


def _run_cell(cell: Cell, names: dict[str, Any], where: Path, figures: int) -> list[Piece]:
    """What one code cell gives."""
    from matplotlib.figure import Figure

    printed = io.StringIO()
    try:
        statements, last = _compiled(cell, where)
        with contextlib.redirect_stdout(printed):
            exec(statements, names)
            value = None if last is None else eval(last, names)
    except Exception as problem:
        raise LessonError(said_of(problem, where), where=where) from problem
    pieces: list[Piece] = []
    words = printed.getvalue()
    if isinstance(value, Figure):
        pieces.append(Picture(value, figures + 1))
    elif value is not None:
        words += repr(value)
    return [*([Printed(words.rstrip("\n"))] if words.strip() else []), *pieces]


def _compiled(cell: Cell, where: Path) -> tuple[Any, Any]:
    """The cell's statements and, apart, its last one if that is an expression; with the file's line numbers."""
    tree = ast.parse("\n" * (cell.line - 1) + cell.source, filename=str(where))
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = compile(ast.Expression(tree.body.pop().value), str(where), "eval")  # pyright: ignore
    return compile(tree, str(where), "exec"), last


def said_of(problem: BaseException, where: Path) -> str:
    """One line about an exception: its kind, its message, and the last line of the file `where` that it passed.

    >>> try:
    ...     exec(compile("x = 1\\nx / 0", "sums.py", "exec"))
    ... except ZeroDivisionError as problem:
    ...     print(said_of(problem, Path("sums.py")))
    line 2: ZeroDivisionError: division by zero
    """
    message = str(problem).strip().splitlines()
    what = type(problem).__name__ + (f": {message[0]}" if message else "")
    line = None
    if isinstance(problem, SyntaxError) and problem.filename == str(where):
        line, what = problem.lineno, f"{type(problem).__name__}: {problem.msg}"
    passed = problem.__traceback__
    while passed is not None:
        if passed.tb_frame.f_code.co_filename == str(where):
            line = passed.tb_lineno
        passed = passed.tb_next
    return what if line is None else f"line {line}: {what}"
