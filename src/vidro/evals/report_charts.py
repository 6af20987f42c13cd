"""The pictures of reports: how scores and copies are spread, what a byte costs, run beside run.

Not here: the numbers (`answers`, `perplexity`, `copying`), curves of training (`report_curves`), the pages around
them (`report_pages`, `report_texts`), the look shared by all charts (`frames`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from vidro.evals.answers import token_f1
from vidro.evals.charts import BLUE, RUN_COLOURS
from vidro.evals.frames import WORDS, empty_figure, legend, shown_name, style
from vidro.evals.instructions import RunAnswers
from vidro.evals.plots import plain_style

BINS = 10
_HATCHES = ("", "//", "..", "\\\\", "xx", "--")


def distribution_chart(runs: Sequence[RunAnswers]) -> Figure:
    """The word F1 of each run's answers in ten steps; the judge's scores below, where there are any."""
    judged = [run for run in runs if run.judged is not None]
    with plain_style():
        figure = empty_figure("How the scores are spread")
        figure.set_size_inches(12.0, 5.0 if not judged else 8.6)
        rows = 2 if judged else 1
        axes = figure.add_subplot(rows, 1, 1)
        f1 = [[token_f1(row.answer, row.expected) for row in run.answers] for run in runs]
        draw_bars(axes, f1, [run.run for run in runs], most=1.0, label="word F1 of an answer")
        legend(figure, axes)
        if judged:
            below = figure.add_subplot(rows, 1, 2)
            scores = [
                [float(s) for s in run.judged.scores if s is not None] for run in judged if run.judged is not None
            ]
            draw_bars(below, scores, [run.run for run in judged], most=100.0, label="the judge's score of an answer")
    return figure


def draw_bars(axes: Axes, values: Sequence[Sequence[float]], names: Sequence[str], *, most: float, label: str) -> None:
    """Bars for each run side by side in ten steps from 0 to `most`; their heights are shares of the run's answers."""
    edges = np.linspace(0.0, most, BINS + 1)
    width = 0.84 * most / BINS / len(values)
    style(axes, "share of the answers", label)
    for number, (column, name) in enumerate(zip(values, names, strict=True)):
        counts, _ = np.histogram(column, bins=edges)
        left = edges[:-1] + 0.08 * most / BINS + number * width
        axes.bar(
            left, counts / max(len(column), 1), width, align="edge", label=shown_name(name),
            color=RUN_COLOURS[number % len(RUN_COLOURS)], edgecolor="white", hatch=_HATCHES[number % len(_HATCHES)],
        )  # fmt: skip
    axes.set_xlim(0.0, most)
    axes.set_xticks(edges, [f"{edge:g}" for edge in np.round(edges, 3)], fontsize=WORDS)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(visible=False, axis="x")


def bits_chart(runs: Mapping[str, float], yardsticks: Mapping[str, float]) -> Figure:
    """A bar for each run and each yardstick, the fewest bits per byte on top."""
    bars = sorted([*runs.items(), *yardsticks.items()], key=lambda bar: bar[1])
    with plain_style():
        figure = empty_figure("What a byte of the text costs")
        figure.set_size_inches(12.0, 2.2 + 0.5 * len(bars))
        axes = figure.add_subplot()
        style(axes, "", "bits per byte (lower is better)")
        for place, (name, bits) in enumerate(bars):
            mine = name in runs
            axes.barh(place, bits, color=BLUE if mine else "#bbbbbb", height=0.7, hatch="" if mine else "//",
                      edgecolor="white")  # fmt: skip
            axes.annotate(f"{bits:.3f}", (bits, place), (6, 0), textcoords="offset points", va="center", fontsize=WORDS)
        axes.set_yticks(range(len(bars)), [shown_name(name) for name, _ in bars], fontsize=WORDS + 1)
        axes.set_xlim(0, 1.12 * bars[-1][1])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def copies_chart(runs: Sequence[Mapping[str, Sequence[int]]]) -> Figure:
    """How long the longest copy of each text is: a row for each run, kind of text beside kind of text."""
    with plain_style():
        figure = empty_figure("How long the longest copy of a text is")
        figure.set_size_inches(12.0, 1.0 + 4.0 * len(runs))
        for row, lengths in enumerate(runs, start=1):
            axes = figure.add_subplot(len(runs), 1, row)
            most = BINS * round_step(max(max(each, default=0) for each in lengths.values()) / BINS)
            values = [[float(length) for length in each] for each in lengths.values()]
            draw_bars(axes, values, list(lengths), most=most, label="characters")
            axes.set_ylabel("share of the texts", fontsize=WORDS + 1)
            axes.legend(frameon=False, fontsize=WORDS)
    return figure


def round_step(least: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 … that is not smaller.

    >>> round_step(0.0), round_step(4.5), round_step(46.0)
    (1.0, 5.0, 50.0)
    """
    return next(
        step for power in range(18) for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power) if step >= least
    )
