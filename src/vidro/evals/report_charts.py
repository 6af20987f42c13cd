"""The picture of an answer report: how the scores of all answers are spread, run beside run.

Not here: the means (`answers`), the page around it (`report_pages`), the look shared by all charts (`frames`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vidro.evals.answers import token_f1
from vidro.evals.charts import RUN_COLOURS
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
