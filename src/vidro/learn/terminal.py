"""Figures where there are no pixels: a matrix as shaded cells, bars as rows of blocks, in plain characters.

What is drawn is read back from the figure, so a lesson says it once. Curves and points have no such form; of them only
the file is shown. Not here: drawing with pixels (`figures`), colours of a terminal (`cli/learn`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vidro.learn.figures import MOST_NUMBERED, Numbers, array, number

SHADES = " ░▒▓█"
BAR_WIDTH = 40


@dataclass(frozen=True)
class Grid:
    """A small matrix with the names of its rows and columns, and what each cell says."""

    title: str
    rows: list[str]
    columns: list[str]
    words: list[list[str]]
    shares: np.ndarray
    """How strong each cell is, from -1 to 1."""


def grid_of(figure: Figure) -> Grid | None:
    """The matrix of a `heat` figure of at most 16 × 16 cells; None for other figures."""
    images = figure.axes[0].images if figure.axes else []
    if not images:
        return None
    axes, image = figure.axes[0], images[0]
    cells = np.ma.getdata(np.ma.asarray(image.get_array())).astype(float)
    if max(cells.shape) > MOST_NUMBERED:
        return None
    said = [text.get_text() for text in axes.texts]
    names = [[label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())]
    most = max(abs(limit) for limit in image.get_clim() if limit is not None) or 1.0
    shares = np.where(np.isfinite(cells), cells / most, 0.0)
    width = cells.shape[1]
    words = [said[place : place + width] for place in range(0, len(said), width)]
    return Grid(title_of(figure), names[0], names[1], words, shares)


def title_of(figure: Figure) -> str:
    """The figure's title in one line."""
    return " ".join(figure.get_suptitle().split())


def as_text(figure: Figure) -> str | None:
    """A figure in plain characters; None where it has no such form.

    >>> from vidro.learn.figures import bars, heat
    >>> print(as_text(heat([[1, 0], [0.5, 0.5]], rows=["cats", "sleep"], columns=["cats", "sleep"], digits=1)))
            cats  sleep
     cats  █ 1.0    0.0
    sleep  ▒ 0.5  ▒ 0.5
    >>> print(as_text(bars({"the": 2.0, "a": 1.0}, y="times", digits=0)))
    the  ████████████████████████████████████████ 2
      a  ████████████████████ 1
    """
    grid = grid_of(figure)
    if grid is not None:
        return _grid_text(grid)
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)] if figure.axes else []
    return _bars_text(figure, found) if found else None


def grid(values: Numbers, *, rows: list[str] | None = None, columns: list[str] | None = None, digits: int = 2) -> str:
    """A matrix in plain characters, for `print` in a lesson: shaded cells with numbers and names.

    >>> print(grid([[1.0, -0.25]], rows=["cats"]))
    cats  █ 1.00  ░ -0.25
    """
    cells = np.atleast_2d(array(values))
    finite = np.where(np.isfinite(cells), cells, 0.0)
    most = float(np.abs(finite).max(initial=0.0)) or 1.0
    words = [[number(value, digits) for value in row] for row in cells]
    return _grid_text(Grid("", rows or [], columns or [], words, finite / most))


def _grid_text(grid: Grid) -> str:
    cells = [
        [f"{shade(share)} {word}" for word, share in zip(words, shares, strict=True)]
        for words, shares in zip(grid.words, grid.shares, strict=True)
    ]
    heads = grid.columns or [""] * len(cells[0])
    widths = [max(len(head), *(len(row[place]) for row in cells)) for place, head in enumerate(heads)]
    names = grid.rows or [""] * len(cells)
    left = max(len(name) for name in names)
    lines = [[" " * left, *(head.rjust(width) for head, width in zip(heads, widths, strict=True))]]
    lines = lines if grid.columns else []
    for name, row in zip(names, cells, strict=True):
        lines.append([name.rjust(left), *(cell.rjust(width) for cell, width in zip(row, widths, strict=True))])
    if not grid.rows:
        lines = [line[1:] for line in lines]
    text = "\n".join("  ".join(line).rstrip() for line in lines)
    return f"{grid.title}\n{text}" if grid.title else text


def shade(share: float) -> str:
    """A block as dark as a share of -1 to 1 is large; blank only where it is next to nothing."""
    return SHADES[min(len(SHADES) - 1, int(np.ceil(abs(share) * (len(SHADES) - 1) - 0.2)))]


def _bars_text(figure: Figure, found: list[Rectangle]) -> str:
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    words = [text.get_text() for text in axes.texts]
    heights = [patch.get_height() for patch in found]
    most = max((abs(height) for height in heights), default=0.0) or 1.0
    left = max(len(name) for name in names)
    rows = [
        f"{name.rjust(left)}  {'█' * round(BAR_WIDTH * abs(height) / most)} {word}"
        for name, height, word in zip(names, heights, words, strict=True)
    ]
    title = title_of(figure)
    return "\n".join([*([title] if title else []), *rows])
