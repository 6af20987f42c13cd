"""The confusion matrix as a picture: who is taken for whom, and how often.

A row is a true class, a column what was predicted. Right answers are blue and mistakes orange, the darker the larger
their share of the row; each cell says its rows and their share. Not here: the numbers (`accuracy`), the other charts
(`charts`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vidro.core.errors import UsageError
from vidro.evals.accuracy import ClassScores, accuracy_line, shown_class
from vidro.evals.charts import BLUE, ORANGE
from vidro.evals.frames import DARK, GREY, SIZE_INCHES, WORDS, empty_figure
from vidro.evals.labels import settle
from vidro.evals.plots import check_picture, plain_style, save_picture
from vidro.infer.explain_text import display_width, percent

MOST_CLASSES = 100
_MOST_WORDED = 30  # classes; with more the cells are too small for numbers
_CELL_INCHES, _BARE_INCHES = (0.66, 0.5), (0.2, 0.2)  # the least width and height of a cell with and without them
_DARK_SHARE = 0.55  # from here on words are white


def plot_confusion(scores: ClassScores, path: Path, *, title: str) -> Path:
    """Draw the confusion matrix into `path`, PNG or SVG by its ending.

    Raises UsageError for another ending and for more than `MOST_CLASSES` classes.
    """
    check_picture(path)
    if len(scores.names) > MOST_CLASSES:
        what = f"a confusion matrix of {len(scores.names)} classes cannot be read as a picture"
        raise UsageError(what, where=path, hint="Its numbers are in the scores written as JSON.")
    with plain_style():
        return save_picture(confusion_chart(scores, title), path)


def confusion_chart(scores: ClassScores, title: str) -> Figure:
    """The picture; larger than the other charts where there are many classes."""
    n_classes = len(scores.names)
    worded = n_classes <= _MOST_WORDED
    figure = empty_figure(_plain(shown_class(title, 90)))
    across, up = _CELL_INCHES if worded else _BARE_INCHES
    figure.set_size_inches(max(SIZE_INCHES[0], 3 + n_classes * across), max(SIZE_INCHES[1], 3 + n_classes * up))
    axes = figure.add_subplot()
    shares = scores.confusion / np.maximum(scores.support, 1)[:, None]
    axes.imshow(_colours(shares), aspect="auto", interpolation="nearest")
    facts = accuracy_line(scores) + ("" if worded else "; too many classes for numbers in the cells")
    axes.set_title(facts, loc="left", fontsize=WORDS, color=DARK, pad=10)
    _name_sides(axes, scores, cell_points=72 * (figure.get_figwidth() - 3) / n_classes)
    if worded:
        _write_cells(axes, scores, shares)
    settle(figure)
    return figure


def _colours(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """[classes, classes, 3]: white where nothing is, a visible tint for a single row, full colour for all of them."""
    strength = np.where(shares > 0, 0.07 + 0.93 * shares, 0.0)[:, :, None]
    hue = np.where(np.eye(len(shares), dtype=bool)[:, :, None], to_rgb(BLUE), to_rgb(ORANGE))
    return 1 - strength * (1 - hue)


def _name_sides(axes: Axes, scores: ClassScores, *, cell_points: float) -> None:
    """Class names along both axes, those below slanted where they are wider than a cell, and lines between cells."""
    n_classes = len(scores.names)
    size = WORDS if n_classes <= _MOST_WORDED else 8
    short = [shown_class(name) for name in scores.names]
    names = [_plain(name) for name in short]
    rows = [f"{name} ({support:,})" for name, support in zip(names, scores.support, strict=True)]
    axes.set_yticks(range(n_classes), rows, fontsize=size)
    axes.set_xticks(range(n_classes), names, fontsize=size)
    if 0.65 * size * max(map(display_width, short)) > cell_points:
        slant, va = (40, "top") if n_classes <= _MOST_WORDED else (90, "center")
        for label in axes.get_xticklabels():
            label.set(rotation=slant, ha="right", va=va, rotation_mode="anchor")
    axes.set_ylabel("true class (its rows)", fontsize=WORDS + 1, labelpad=10)
    axes.set_xlabel("predicted class", fontsize=WORDS + 1)
    edges = np.arange(n_classes + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _write_cells(axes: Axes, scores: ClassScores, shares: NDArray[np.float64]) -> None:
    """In each cell its rows, and below them their share of the true class; only a faint 0 where none are."""
    size = next(size for most, size in ((3, 18), (6, 15), (10, 12), (_MOST_WORDED, 10)) if len(shares) <= most)
    for (row, column), count in np.ndenumerate(scores.confusion):
        if not count:
            axes.text(column, row, "0", fontsize=size, color=GREY, ha="center", va="center")
            continue
        share = float(shares[row, column])
        colour = "white" if share > _DARK_SHARE else DARK
        for words, points, va, shrink in ((f"{count:,}", 1, "bottom", 1.0), (percent(share), -2, "top", 0.8)):
            axes.annotate(
                words, (column, row), (0, points), textcoords="offset points", ha="center", va=va,
                fontsize=shrink * size, color=colour,
            )  # fmt: skip


def _plain(text: str) -> str:
    """Text in which Matplotlib sees no formula."""
    return text.replace("$", "\\$")
