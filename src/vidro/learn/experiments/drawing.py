"""What figures of experiments need beside `learn/figures`: an axis on which doublings are equally far apart.

Not here: the figures themselves (`learn/figures`).
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator


def doubling(figure: Figure, marks: Sequence[int]) -> Figure:
    """The figure, its horizontal axis logarithmic, with a whole number at each mark and none between; 0 is allowed.

    >>> from vidro.learn.figures import curves
    >>> figure = doubling(curves({"a": ([1, 2, 4], [3, 2, 1])}, x="k", y="loss"), [1, 2, 4])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['1', '2', '4']
    """
    axes = figure.axes[0]
    if 0 in marks:
        axes.set_xscale("symlog", base=2, linthresh=1)
    else:
        axes.set_xscale("log", base=2)
    axes.set_xticks(list(marks), [f"{mark}" for mark in marks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    return figure
