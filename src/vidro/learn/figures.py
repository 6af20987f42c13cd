"""The figures of the lessons: a matrix as shaded cells, curves, bars, and points or arrows in a plane.

Each function takes plain numbers (lists, arrays, tensors) and gives a Matplotlib Figure that belongs to nobody else: no
screen, no pyplot, no state. As the last line of a lesson's cell it is shown in a notebook, put on a page, or saved. The
colours are those of a run's plots (`evals/charts`). Not here: the same on a terminal (`terminal`).
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vidro.evals.charts import BLUE, ORANGE, RUN_COLOURS, RUN_DASHES, RUN_MARKERS
from vidro.evals.frames import DARK
from vidro.evals.plots import plain_style

WIDTH_INCHES, HEIGHT_INCHES, DPI = 7.2, 4.2, 120
WORDS = 10.5  # points
LETTER_INCHES = 0.098  # of a title, on average
MOST_NUMBERED = 16  # cells of larger matrices carry no numbers
FEW_POINTS = 20  # curves of fewer points show each

ONE_WAY = LinearSegmentedColormap.from_list("one way", ["#ffffff", BLUE])
TWO_WAYS = LinearSegmentedColormap.from_list("two ways", [ORANGE, "#ffffff", BLUE])

Numbers = Any
"""Anything that `numpy.asarray` or a tensor's `tolist` makes numbers of."""

P = ParamSpec("P")


class LessonFigure(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    with plain_style():
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def in_plain_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with Matplotlib's own defaults, whatever the user's settings are."""

    @wraps(draw)
    def drawn(*arguments: P.args, **named: P.kwargs) -> Figure:
        with plain_style():
            return draw(*arguments, **named)

    return drawn


def array(values: Numbers) -> np.ndarray:
    """Numbers of any kind as an array of floats."""
    detached = values.detach().cpu().tolist() if hasattr(values, "detach") else values
    return np.asarray(detached, dtype=float)


@in_plain_style
def heat(
    values: Numbers,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "",
    digits: int = 2,
) -> Figure:
    """A matrix as shaded cells with its numbers: white is 0, blue above, orange below; infinities are grey.

    Larger matrices than 16 × 16 show shades only.
    """
    cells = np.atleast_2d(array(values))
    height, width = cells.shape
    finite = cells[np.isfinite(cells)]
    most = float(np.abs(finite).max(initial=0.0)) or 1.0
    negative = bool((finite < 0).any())
    figure, axes = _empty(title, size=_heat_size(height, width, rows))
    colours = (TWO_WAYS if negative else ONE_WAY).with_extremes(bad="#d9d9d9")
    shown = np.ma.masked_invalid(cells)
    axes.imshow(shown, cmap=colours, vmin=-most if negative else 0.0, vmax=most, aspect="equal")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=WORDS, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(range(width) if columns else [], list(columns) if columns else [])
    axes.set_yticks(range(height) if rows else [], list(rows) if rows else [])
    if max(height, width) <= MOST_NUMBERED:
        for (i, j), value in np.ndenumerate(cells):
            light = np.isfinite(value) and abs(value) > 0.6 * most
            axes.text(j, i, number(value, digits), ha="center", va="center", fontsize=WORDS - 1,
                      color="white" if light else "#222222")  # fmt: skip
        axes.set_xticks(np.arange(width + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(height + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="minor", length=0, top=False)
    return figure


@in_plain_style
def curves(lines: Mapping[str, tuple[Numbers, Numbers]], *, x: str, y: str, title: str = "") -> Figure:
    """Lines by name, each (xs, ys); told apart by dash and marker as well as by colour."""
    figure, axes = _empty(title)
    _frame(axes, x, y)
    for place, (name, (xs, ys)) in enumerate(lines.items()):
        few = len(array(xs)) < FEW_POINTS
        axes.plot(array(xs), array(ys), label=name, color=RUN_COLOURS[place % len(RUN_COLOURS)], linewidth=2,
                  linestyle=RUN_DASHES[place % len(RUN_DASHES)], markersize=5,
                  marker=RUN_MARKERS[place % len(RUN_MARKERS)] if few else None)  # fmt: skip
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=WORDS)
    return figure


@in_plain_style
def bars(values: Mapping[str, float], *, y: str, title: str = "", digits: int = 2) -> Figure:
    """A bar for each label, with its number above."""
    figure, axes = _empty(title)
    _frame(axes, "", y)
    axes.grid(visible=False, axis="x")
    heights = array(list(values.values()))
    drawn = axes.bar(range(len(heights)), heights, color=[BLUE if value >= 0 else ORANGE for value in heights])
    axes.bar_label(drawn, labels=[number(value, digits) for value in heights], fontsize=WORDS, padding=2)
    crowded = sum(len(label) for label in values) > 60
    axes.set_xticks(
        range(len(heights)), list(values), rotation=40 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.margins(y=0.12)
    return figure


@in_plain_style
def points(places: Mapping[str, Numbers], *, x: str = "", y: str = "", title: str = "", arrows: bool = False) -> Figure:
    """Named points in a plane, each (x, y); with `arrows` drawn from the origin, as vectors."""
    figure, axes = _empty(title)
    _frame(axes, x, y)
    for place, (name, where) in enumerate(places.items()):
        across, up = (float(value) for value in array(where))
        colour = RUN_COLOURS[place % len(RUN_COLOURS)]
        axes.plot([across], [up], marker="o", markersize=3 if arrows else 7, color=colour)
        if arrows:
            axes.annotate("", (across, up), (0.0, 0.0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2})
        axes.annotate(name, (across, up), (6, 6), textcoords="offset points", fontsize=WORDS, color=DARK)
    if arrows:
        axes.plot([0.0], [0.0], marker="+", color=DARK)
    axes.margins(0.18)
    return figure


def number(value: float, digits: int) -> str:
    """A number as a cell or a bar shows it; a rounded zero has no sign.

    >>> number(-0.001, 2), number(2.0, 0), number(float("-inf"), 2)
    ('0.00', '2', '−∞')
    """
    if np.isnan(value):
        return "nan"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def _heat_size(height: int, width: int, rows: Sequence[str] | None) -> tuple[float, float]:
    """Inches for a matrix: square cells, a margin for the names of the rows and for the title."""
    cell = min(0.62, 6.4 / max(width, 1), 5.4 / max(height, 1))
    names = 0.11 * max((len(name) for name in rows), default=0) if rows else 0.0
    return max(3.2, cell * width + names + 0.5), cell * height + 1.1


def _empty(title: str, *, size: tuple[float, float] = (WIDTH_INCHES, HEIGHT_INCHES)) -> tuple[Figure, Axes]:
    figure = LessonFigure(figsize=size, dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    wrapped = textwrap.fill(title, int(size[0] / LETTER_INCHES))
    figure.suptitle(wrapped, x=0.02, ha="left", fontsize=WORDS + 1.5)
    return figure, figure.add_subplot()


def _frame(axes: Axes, x: str, y: str) -> None:
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=WORDS)
    axes.set_xlabel(x, fontsize=WORDS)
    axes.set_ylabel(y, fontsize=WORDS)
