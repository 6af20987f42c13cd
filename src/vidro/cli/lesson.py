"""How a lesson looks on a terminal: words as Markdown, code in colours, output with a bar, figures as shades and files.

Into a file or pipe, or with ``--plain``, it is plain text. Not here: running the lesson (`learn/lesson_run`).
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.cli.terminal import stdout_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from vidro.learn.lesson_run import Picture
    from vidro.learn.terminal import Grid

READABLE = 100  # columns; longer lines read badly
ABOVE, BELOW = (0, 114, 178), (213, 94, 0)  # the blue and orange of the figures


def show_lesson(text: str, where: Path, folder: Path, *, plain: bool) -> None:
    """Run a lesson and print each piece as it comes; figures are saved into `folder`."""
    from vidro.learn.lesson_run import Code, Markdown, Printed, run_lesson

    console = stdout_console()
    console.width = min(console.width, READABLE)
    pretty = console.is_terminal and not plain
    for piece in run_lesson(text, where=where):
        if isinstance(piece, Markdown | Code):
            _show_source(console, piece.text, words=isinstance(piece, Markdown), pretty=pretty)
        elif isinstance(piece, Printed):
            _show_printed(console, piece.text, pretty=pretty)
        else:
            _show_picture(console, piece, folder, where.stem, pretty=pretty)


def _show_source(console: Console, text: str, *, words: bool, pretty: bool) -> None:
    if not pretty:
        print(text if words else textwrap.indent(text, "    "), end="\n\n", flush=True)
        return
    from rich.markdown import Markdown
    from rich.padding import Padding
    from rich.syntax import Syntax

    if words:
        console.print(Markdown(text), "")
    else:
        console.print(Padding(Syntax(text, "python", theme="ansi_dark", word_wrap=True), (0, 0, 1, 2)))


def _show_printed(console: Console, text: str, *, pretty: bool) -> None:
    if not pretty:
        print(text, end="\n\n", flush=True)
        return
    from rich.text import Text

    for line in text.splitlines():
        console.print(Text.assemble(("│ ", "dim"), line), soft_wrap=True)
    console.print()


def _show_picture(console: Console, picture: Picture, folder: Path, name: str, *, pretty: bool) -> None:
    from vidro.core.files import write_bytes_atomic
    from vidro.learn.figures import png
    from vidro.learn.terminal import as_text, grid_of

    grid = grid_of(picture.figure)
    if pretty and grid is not None:
        console.print(*([grid.title] if grid.title else []), shaded(grid), "", sep="\n")
    else:
        words = as_text(picture.figure)
        if words is not None:
            _show_printed(console, words, pretty=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{picture.number}.png"
    write_bytes_atomic(path, png(picture.figure))
    print(f"figure: {path}\n", flush=True)


def shaded(grid: Grid) -> Table:
    """A matrix with the colours of its figure behind the numbers."""
    from rich.table import Table
    from rich.text import Text

    made: Any = Table.grid(padding=0)
    names = bool(grid.rows)
    for _ in range(names + len(grid.words[0])):
        made.add_column(justify="right")
    if grid.columns:
        made.add_row(*([""] if names else []), *(f" {column} " for column in grid.columns))
    for place, words in enumerate(grid.words):
        cells = [
            Text(f" {word} ", style=colours(float(share)))
            for word, share in zip(words, grid.shares[place], strict=True)
        ]
        made.add_row(*([f"{grid.rows[place]} "] if names else []), *cells)
    return made


def colours(share: float) -> str:
    """Rich's style for a share from -1 to 1: from white to the full colour, with letters that can be read on it.

    >>> colours(0.0), colours(1.0)
    ('#222222 on #ffffff', '#ffffff on #0072b2')
    """
    full = ABOVE if share >= 0 else BELOW
    red, green, blue = (round(255 + (part - 255) * abs(share)) for part in full)
    return f"{'#ffffff' if abs(share) > 0.6 else '#222222'} on #{red:02x}{green:02x}{blue:02x}"
