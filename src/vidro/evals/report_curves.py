"""How the runs of a report were trained: their losses over tokens, those that can be compared in one chart.

Losses of base models are drawn in bits per byte, which all tokenizers share; losses of classifiers in nats per text, of
others in nats per token. Not here: a run's own charts (`charts`), where the numbers come from (`curves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vidro.core.events import read_events
from vidro.evals.charts import RUN_COLOURS, RUN_DASHES, RUN_MARKERS, accuracy_chart, loss_chart
from vidro.evals.curves import Curves, Line, curves, smoothed
from vidro.evals.frames import DARK, WORDS, empty_figure, legend, shown_name, style, x_end, y_limits
from vidro.evals.labels import settle
from vidro.evals.plots import plain_style
from vidro.evals.report import Picture, Section, Table, picture_of

UNITS = {"base": "bits per byte", "classifier": "nats per text", "other": "nats per token"}
MEMORY_SHARE = 0.1  # of a run: several noisy training losses in one picture are smoothed more than one alone
TOP_SHARE = 0.98  # of the losses; the first steps of a fresh model would flatten all others


@dataclass(frozen=True)
class RunCurves:
    """The curves of some runs, and the names of those that kept none (imported models have not been trained here)."""

    runs: tuple[Curves, ...] = ()
    without: tuple[str, ...] = ()


NO_CURVES = RunCurves()


def training_curves(run_dirs: Mapping[str, Path]) -> RunCurves:
    """The curves of the runs in these folders, under these names."""
    found = {name: curves(read_events(folder / "metrics.jsonl"), name=name) for name, folder in run_dirs.items()}
    drawn = tuple(run for run in found.values() if run.train or run.val)
    return RunCurves(drawn, tuple(name for name, run in found.items() if not run.train and not run.val))


def curve_sections(found: RunCurves) -> list[Section]:
    """The section of the training curves: a chart for each kind of loss; none where there are no runs."""
    words = [f"{name} kept no record of its training here." for name in found.without]
    pictures: list[Picture] = []
    with plain_style():
        for kind in UNITS:
            alike = [run for run in found.runs if loss_kind(run) == kind]
            if len(alike) == 1:
                charts = [loss_chart(alike[0]), *([accuracy_chart(alike[0])] if kind == "classifier" else [])]
            else:
                charts = [losses_chart(alike, UNITS[kind])] if alike else []
            names = ", ".join(run.name for run in alike)
            pictures += [picture_of(chart, f"The training of {names}: loss over the tokens read.") for chart in charts]
    return [Section("Training", tuple(words), pictures=tuple(pictures))] if words or pictures else []


def versions_section(versions: Mapping[str, str]) -> Section:
    """What measured this."""
    return Section("Versions", tables=(Table(("part", "version"), tuple(versions.items())),))


def loss_kind(run: Curves) -> str:
    """Which losses this run's can be compared with: a key of `UNITS`."""
    return "classifier" if run.accuracy else "base" if run.val_bits else "other"


def losses_chart(runs: Sequence[Curves], unit: str) -> Figure:
    """Training (thin, smoothed) and validation (strong, marked) loss of several runs over tokens; the best first."""
    figure = empty_figure("How they learned: loss over the tokens read")
    axes = figure.add_subplot()
    style(axes, f"{unit} (lower is better)", "tokens read")
    ranked = sorted((compared(run, unit) for run in runs), key=lambda run: float(run.val.y.min(initial=np.inf)))
    for number, run in enumerate(ranked):
        colour = RUN_COLOURS[number % len(RUN_COLOURS)]
        axes.plot(run.train.x, run.train.y, color=colour, linewidth=1.1, alpha=0.7)
        lowest = f"{run.val.y.min():.3f}" if run.val else "not evaluated"
        axes.plot(
            run.val.x, run.val.y, label=f"{shown_name(run.name)}: {lowest}", linewidth=2.2, markersize=7,
            marker=RUN_MARKERS[number % len(RUN_MARKERS)], markeredgecolor="white", zorder=3,
            color=colour, linestyle=RUN_DASHES[number % len(RUN_DASHES)],
        )  # fmt: skip
    axes.set_xlim(0, max(x_end(run) for run in ranked))
    axes.set_ylim(visible_losses(ranked))
    words = "thick: validation, with its lowest value below; thin: training, smoothed"
    if len({run.facts.get("val_bytes", run.facts.get("n_val")) for run in ranked}) > 1:
        words += "\ntheir validation texts differ, so their heights say little about each other"
    axes.set_title(words, loc="left", fontsize=WORDS, color=DARK)
    legend(figure, axes)
    settle(figure)
    return figure


def visible_losses(runs: Sequence[Curves]) -> tuple[float, float]:
    """Limits around all losses but the few high ones with which a fresh model begins."""
    losses = np.concatenate([np.concatenate([run.train.y, run.val.y]) for run in runs])
    return y_limits(losses[losses <= np.quantile(losses, TOP_SHARE)])


def compared(run: Curves, unit: str) -> Curves:
    """The run with its training loss smoothed, and both losses in bits per byte where that is the unit."""
    train = smoothed(run.train, memory=MEMORY_SHARE * run.last_x)
    if unit != UNITS["base"] or run.val.y[-1] <= 0:
        return replace(run, train=train)
    ratio = float(run.val_bits.y[-1] / run.val.y[-1])  # bits per byte for each nat per token
    return replace(run, train=Line(train.x, train.y * ratio), val=run.val_bits)
