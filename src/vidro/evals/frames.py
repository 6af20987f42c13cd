"""The look that all charts share: size, axes of tokens and epochs, titles, legends and how numbers are written.

Not here: what is drawn inside (`charts`), where words may stand (`labels`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vidro.evals.curves import Curves, Line

SIZE_INCHES, DPI = (12.0, 7.5), 100
TITLE, WORDS = 17, 12  # points
DARK, GREY = "#444444", "#767676"


def empty_figure(title: str) -> Figure:
    """A white figure with a title and a canvas of its own, known to nobody else."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.14, h_pad=0.12)  # inches kept free at the edges
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", fontsize=TITLE)
    return figure


def frame(run: Curves, title: str, unit: str, *, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure and its axes from top to bottom: tokens below, epochs above, the run's facts under the title."""
    figure = empty_figure(title)
    parts: list[Axes] = []
    for row in range(1, rows + 1):
        axes = figure.add_subplot(rows, 1, row)
        style(axes, unit if row == 1 else "", "tokens read" if row == rows else "")
        axes.set_xlim(0, x_end(run))
        parts.append(axes)
    if run.tokens_per_epoch is not None:
        per_epoch = run.tokens_per_epoch
        above = parts[0].secondary_xaxis("top", functions=(times(1 / per_epoch), times(per_epoch)))
        above.set_xlabel("epochs (times through the text)", fontsize=WORDS, color=DARK)
        above.tick_params(labelsize=WORDS, colors=DARK)
    parts[0].set_title(facts(run), loc="left", fontsize=WORDS, color=DARK, pad=10)
    return figure, parts


def style(axes: Axes, y_label: str, x_label: str) -> None:
    """Faint grid, no box, readable numbers."""
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=WORDS)
    axes.set_ylabel(y_label, fontsize=WORDS + 1)
    axes.set_xlabel(x_label, fontsize=WORDS + 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def legend(figure: Figure, axes: Axes) -> None:
    """Below the axes, where it covers nothing, in as few rows as the width allows."""
    handles, names = axes.get_legend_handles_labels()
    for columns in range(len(names), 0, -1):
        look = {"frameon": False, "fontsize": WORDS, "columnspacing": 1.4, "handlelength": 1.8}
        made = figure.legend(handles, names, loc="outside lower center", ncols=columns, **look)
        if columns == 1 or made.get_window_extent().width < 0.95 * figure.bbox.width:
            return
        made.remove()


def alone(line: Line) -> dict[str, Any]:
    """Markers for lines of so few points that they could not be seen without."""
    return {"marker": "o", "markersize": 6} if line.x.size < 3 else {}


def times(factor: float) -> Callable[[Any], Any]:
    """Multiplication, as the second scale of an axis wants it."""
    return lambda value: value * factor


def x_end(run: Curves) -> float:
    """The right end of the axis: a little past the last point, so that its mark is not cut."""
    return 1.03 * run.last_x if run.last_x > 0 else 1.0


def y_limits(*values: np.ndarray) -> tuple[float, float]:
    """Limits around all values with some air; never of no height."""
    every = np.concatenate(values)
    low, high = float(every.min()), float(every.max())
    air = 0.06 * (high - low) if high > low else max(0.05 * abs(high), 0.1)
    return low - air, high + air


def facts(run: Curves) -> str:
    """One line of what the run is: name, family, size, tokens, epochs, time."""
    parts = [shown_name(run.name)]
    known = run.facts
    if "family" in known:
        parts.append(f"{known['family']}, {short_count(known['n_parameters'])} parameters")
    parts.append(f"{short_count(run.last_x)} tokens")
    if run.tokens_per_epoch is not None:
        parts.append(f"{run.last_x / run.tokens_per_epoch:.3g} epochs")
    if "minutes" in run.end:
        parts.append(f"{run.end['minutes']:.3g} min")
    return "  ·  ".join(parts)


def shown_name(name: str) -> str:
    """A run's name as a title or legend can show it: not too long, and a dollar sign is only a dollar sign.

    >>> shown_name("_costs$5"), shown_name("a" * 30 + "b" * 30)
    (' _costs\\\\$5', 'aaaaaaaaaaaaaaaaaaa…bbbbbbbbbbbbbbbbbbb')
    """
    short = name if len(name) <= 40 else f"{name[:19]}…{name[-19:]}"
    return (" " if short.startswith("_") else "") + short.replace("$", "\\$")


def short_count(value: int | float) -> str:
    """A count in at most five signs.

    >>> [short_count(n) for n in (0, 950, 2_500, 1_000_000, 1_250_000, 124_439_808, 3e9)]
    ['0', '950', '2.5k', '1M', '1.25M', '124M', '3B']
    """
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def round_numbers(low: float, high: float) -> list[float]:
    """Four to twelve round numbers between two positive limits, for a logarithmic axis.

    >>> round_numbers(3.0, 300.0)
    [5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
    """
    if high < 8 * low:  # less than a decade: evenly spaced
        return [float(tick) for tick in MaxNLocator(nbins=6).tick_values(low, high) if low <= tick <= high]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        every = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        found = [number for number in every if low <= number <= high]
        if len(found) <= 12:
            return found
    every = [10.0**decade for decade in decades if low <= 10.0**decade <= high]
    return every[:: -(-len(every) // 12)]
