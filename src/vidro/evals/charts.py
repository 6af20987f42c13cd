"""The four charts of a run, and the one that lays several runs over each other.

Each function takes `Curves` and gives a Figure; lines are told apart by width, dash and marker as well as by colour,
so that grey print and colour-blind eyes lose nothing (colours: Okabe and Ito 2008). Not here: the numbers
(`curves`), axes and titles (`frames`), where words may stand (`labels`), files (`plots`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from vidro.evals.curves import FEWEST_SMOOTHED, SMOOTHING_SHARE, Curves, Line, smoothed
from vidro.evals.frames import (
    DARK,
    GREY,
    WORDS,
    alone,
    empty_figure,
    frame,
    legend,
    round_numbers,
    short_count,
    shown_name,
    style,
    times,
    x_end,
    y_limits,
)
from vidro.evals.labels import Labeller, Place, settle

BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#222222"
RUN_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", BLACK, "#E69F00", "#56B4E9", GREY)
RUN_DASHES = ("-", "--", "-.", ":")
RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PHASE_WORDS = {"warmup": "warm-up"}
BIGGEST_EXPONENT = 700.0
DRAWN = ("5-gram", "gzip", "bzip2", "floor")  # of the yardsticks per byte; more would crowd the picture
ACROSS = ((0.99, "right"), (0.02, "left"), (0.5, "center"), (0.7, "center"), (0.3, "center"))


def loss_chart(run: Curves) -> Figure:
    """Training and validation loss in nats per token, with what knowing nothing costs and where overfitting starts."""
    what, unit = ("right class", "nats per text") if run.accuracy else ("next token", "nats per token")
    figure, (axes,) = frame(run, f"Loss: how surprised the model is by the {what}", unit)
    means = _draw_losses(axes, run)
    inside, above = _levels(run)
    for _, height, dash in inside:
        axes.axhline(height, color=GREY, linewidth=1.4, linestyle=dash, zorder=1)
    axes.set_ylim(y_limits(run.train.y, run.val.y, run.full.y, np.array([height for _, height, _ in inside])))
    if run.overfits and run.best is not None:
        _shade_gap(axes, run, means)
    legend(figure, axes)
    settle(figure)
    labels = _labeller(axes, run.train, run.val)
    for _, height, _ in inside:
        labels.avoid_line(axes.get_xlim(), (height, height))
    if run.best is not None:
        _say_lowest(axes, labels, run)
    for words, height, _ in inside:
        labels.put(words, _along(axes, height), color=DARK, fontsize=WORDS)
    for words, _, _ in above:
        labels.put(f"↑ {words}", [Place(x, 0.98 - 0.06 * row, ha, "top") for row in range(8) for x, ha in ACROSS],
                   color=DARK, fontsize=WORDS)  # fmt: skip
    return figure


def perplexity_chart(run: Curves) -> Figure:
    """Perplexity on a logarithmic axis, which is bits per byte on an even one (right)."""
    title = "Perplexity: between how many tokens the model hesitates"
    figure, (axes,) = frame(run, title, "perplexity (logarithmic)")
    _draw_losses(axes, run)
    low, high = y_limits(run.train.y, run.val.y, run.full.y)
    low, high = max(low, 0.0), min(high, BIGGEST_EXPONENT)
    ticks = round_numbers(math.exp(low), math.exp(high))
    axes.set_yticks([math.log(tick) for tick in ticks], [f"{tick:,.4g}" for tick in ticks])
    axes.set_ylim(low, high)
    if run.val_bits and run.val.y[-1] > 0:
        ratio = float(run.val_bits.y[-1] / run.val.y[-1])  # bits per byte for each nat per token
        right = axes.secondary_yaxis("right", functions=(times(ratio), times(1 / ratio)))
        right.set_ylabel("bits per byte", fontsize=WORDS + 1)
        right.tick_params(labelsize=WORDS)
    legend(figure, axes)
    settle(figure)
    if run.best is not None:
        words = f"lowest validation: {math.exp(min(run.best[1], BIGGEST_EXPONENT)):,.4g}"
        bits = f"\n{run.val_bits.y.min():.3f} bits per byte" if run.val_bits else ""
        _point_at(axes, _labeller(axes, run.train, run.val), run.best, words + bits)
    return figure


def accuracy_chart(run: Curves) -> Figure:
    """The share of validation texts that a classifier gets right, and what always the same class would."""
    figure, (axes,) = frame(run, "Accuracy: how many validation texts get their own class", "% right")
    line = Line(run.accuracy.x, 100 * run.accuracy.y)
    axes.plot(
        line.x, line.y, color=ORANGE, linewidth=2.2, linestyle="--", marker="o", markersize=6, markeredgecolor="white",
        label="validation", zorder=3,
    )  # fmt: skip
    usual = run.facts.get("majority_frac")
    heights = line.y if usual is None else np.append(line.y, 100 * usual)
    room = max(1.0, 0.12 * float(np.ptp(heights)))
    axes.set_ylim(max(0.0, float(heights.min()) - room), min(100.0, float(heights.max()) + room) + 0.2 * room)
    if usual is not None:
        axes.axhline(100 * usual, color=GREY, linewidth=1.4, linestyle="--", zorder=1)
    settle(figure)
    labels = _labeller(axes, line)
    if usual is not None:
        labels.avoid_line(axes.get_xlim(), (100 * usual, 100 * usual))
        labels.put(f"always the same class: {100 * usual:.1f} %", _along(axes, 100 * usual), fontsize=WORDS, color=DARK)
    best = int(np.argmax(line.y))
    _point_at(axes, labels, (float(line.x[best]), float(line.y[best])), f"highest: {line.y[best]:.1f} %")
    return figure


def learning_rate_chart(run: Curves) -> Figure:
    """The learning rate of every step, with the phases of its schedule."""
    figure, (axes,) = frame(run, "Learning rate: how far each step goes", "learning rate")
    axes.plot(run.lr.x, run.lr.y, color=BLUE, linewidth=2.2, **alone(run.lr))
    top = float(run.lr.y.max(initial=0.0))
    axes.set_ylim(0, 1.2 * top if top > 0 else 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for number, phase in enumerate(run.phases):
        if number % 2 == 0:
            axes.axvspan(phase.start, phase.end, color="#efefef", linewidth=0, zorder=0)
    settle(figure)
    labels = _labeller(axes, run.lr)
    for phase in run.phases:
        start, end = phase.start / x_end(run), phase.end / x_end(run)
        narrow = end - start < 0.1
        heights = (0.98, 0.7, 0.4)
        inside = [Place((start + end) / 2, y, "center", "top") for y in heights]
        beside = [Place(end, y, "left", "top") for y in heights] + [Place(start, y, "right", "top") for y in heights]
        words = PHASE_WORDS.get(phase.name, phase.name)
        labels.put(words, inside + beside, fontsize=WORDS, color=DARK, rotation=90 if narrow else 0)
    return figure


def speed_chart(run: Curves) -> Figure:
    """Tokens per second and, where the machine's peak was measured, the share of it that is used."""
    figure, parts = frame(run, "Speed: how fast the model reads", "tokens per second", rows=2 if run.peak else 1)
    parts[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    shown = [(parts[0], run.speed, "typical (median): {}")]
    if run.peak:
        parts[1].set_ylabel("% of matmul peak", fontsize=WORDS + 1)
        shown.append((parts[1], Line(run.peak.x, 100 * run.peak.y), "typical (median): {} %"))
    for axes, line, _ in shown:
        means = smoothed(line, memory=SMOOTHING_SHARE * run.last_x)
        if means is not line:
            axes.plot(line.x, line.y, color=GREEN, linewidth=1, alpha=0.4)
        axes.plot(means.x, means.y, color=GREEN, linewidth=2.2, **alone(line))
        axes.axhline(_middle(line), color=GREY, linewidth=1.4, linestyle="--", zorder=1)
        axes.set_ylim(0, 1.2 * max(float(line.y.max(initial=0.0)), 1e-9))
    settle(figure)
    for axes, line, words in shown:
        labels = _labeller(axes, line)
        labels.put(words.format(short_count(_middle(line))), _along(axes, _middle(line)), fontsize=WORDS, color=DARK)
    return figure


def comparison_chart(runs: Sequence[Curves]) -> Figure:
    """Validation curves of several runs in bits per byte, which all tokenizers share; the best run first."""
    figure = empty_figure("Runs compared: how many bits each byte of the validation text costs")
    axes = figure.add_subplot()
    style(axes, "bits per byte (lower is better)", "tokens read")
    for number, run in enumerate(sorted(runs, key=lambda run: float(run.val_bits.y.min(initial=math.inf)))):
        lowest = f"{run.val_bits.y.min():.3f}" if run.val_bits else "not evaluated"
        axes.plot(
            run.val_bits.x, run.val_bits.y, label=f"{shown_name(run.name)}: {lowest}", linewidth=2, markersize=7,
            markeredgecolor="white", color=RUN_COLOURS[number % 8], linestyle=RUN_DASHES[number % 4],
            marker=RUN_MARKERS[number % 8], clip_on=False, zorder=3,
        )  # fmt: skip
    axes.set_xlim(0, max((x_end(run) for run in runs), default=1.0))
    if len({run.facts.get("val_bytes", 0) for run in runs}) > 1:
        words = "These runs have different validation texts: their heights say little about each other."
        axes.set_title(words, loc="left", fontsize=WORDS, color=DARK)
    legend(figure, axes)
    settle(figure)
    return figure


# -- parts of the charts -----------------------------------------------------------------------------------------


def _draw_losses(axes: Axes, run: Curves) -> Line:
    """Training (raw faint, smoothed strong), validation (as measured), the final evaluation; the smoothed line."""
    means = smoothed(run.train, memory=SMOOTHING_SHARE * run.last_x)
    if means is not run.train:
        axes.plot(run.train.x, run.train.y, color=BLUE, linewidth=1, alpha=0.35, label="training (raw)")
    words = "training" if means is run.train else f"training (smoothed, {SMOOTHING_SHARE:.0%} of the run)"
    if run.train:
        axes.plot(means.x, means.y, color=BLUE, linewidth=2.4, label=words, **alone(means))
    if run.val:
        axes.plot(
            run.val.x, run.val.y, color=ORANGE, linewidth=2.2, linestyle="--", marker="o", markersize=6,
            markeredgecolor="white", label="validation", zorder=3,
        )  # fmt: skip
    if run.full and run.full.x.tolist() != run.val.x.tolist():
        axes.plot(
            run.full.x, run.full.y, linestyle="none", marker="D", markersize=8, markerfacecolor="white",
            markeredgecolor=BLACK, markeredgewidth=1.6, label="kept model, all of validation", zorder=4,
        )  # fmt: skip
    return means


Level = tuple[str, float, str]  # words, nats per token, dash


def _levels(run: Curves) -> tuple[list[Level], list[Level]]:
    """Heights to beat, inside the picture and above it.

    A run that continues from a good model would be a flat line if the picture reached up to where others begin.
    """
    levels: list[Level] = []
    vocab_size, unigram = run.facts.get("vocab_size"), run.facts.get("unigram_nats_per_token")
    if run.accuracy:
        n = len(run.facts.get("labels", ()))
        levels += [(f"knows nothing: ln {n} = {math.log(n):.2f}", math.log(n), "--")] if n else []
    elif vocab_size is not None:
        height = math.log(vocab_size)
        levels.append((f"knows nothing: ln {vocab_size} = {height:.2f}", height, "--"))
    if unigram is not None:
        levels.append((f"knows only how frequent each token is: {unigram:.2f}", unigram, ":"))
    if run.val_bits and run.val_bits.y[-1] > 0:
        nats_per_bit = float(run.val.y[-1] / run.val_bits.y[-1])  # nats per token for each bit per byte
        known = run.facts.get("yardsticks_bits_per_byte", {})
        levels += [(f"{name}: {bits * nats_per_bit:.2f}", bits * nats_per_bit, "-.") for name, bits in known.items()
                   if name in DRAWN]  # fmt: skip
    if run.train.x.size < FEWEST_SMOOTHED:
        return levels, []
    low, high = y_limits(run.train.y, run.val.y)
    limit = high + 0.5 * (high - low)
    return [level for level in levels if level[1] <= limit], [level for level in levels if level[1] > limit]


def _say_lowest(axes: Axes, labels: Labeller, run: Curves) -> None:
    """Mark the lowest validation loss; where it is followed by overfitting, say so."""
    assert run.best is not None
    words = f"lowest validation: {run.best[1]:.3f}, step {run.best_step}"
    if run.overfits:
        labels.avoid_line((run.best[0], run.best[0]), axes.get_ylim())
        words = "overfitting starts here\n" + words
    _point_at(axes, labels, run.best, words)


def _shade_gap(axes: Axes, run: Curves, means: Line) -> None:
    """The distance between training and validation after the lowest validation loss."""
    assert run.best is not None
    after = run.val.x >= run.best[0]
    at = np.union1d(run.val.x[after], means.x[means.x >= run.best[0]])
    upper, lower = np.interp(at, run.val.x, run.val.y), np.interp(at, means.x, means.y)
    label = "gap: known by heart, not understood"
    axes.fill_between(at, lower, upper, where=list(upper >= lower), color=ORANGE, alpha=0.14, linewidth=0, label=label)
    axes.axvline(run.best[0], color=ORANGE, linewidth=1.4, linestyle=":", zorder=1)


def _point_at(axes: Axes, labels: Labeller, point: tuple[float, float], words: str) -> None:
    """A ring around a point and words nearby, where there is room, with a thin line between."""
    axes.plot(*point, marker="o", markersize=14, markerfacecolor="none", markeredgecolor=BLACK, markeredgewidth=1.6)
    x, y = axes.transAxes.inverted().transform(axes.transData.transform(point))
    places = [
        Place(x + dx, y + dy, ha, va)
        for distance in (0.07, 0.14, 0.22, 0.3, 0.4)
        for dy, va in ((distance, "bottom"), (-distance, "top"))
        for dx, ha in ((0.0, "center"), (-distance / 2, "right"), (distance / 2, "left"))
    ]
    text = labels.put(words, places, fontsize=WORDS + 1, color=BLACK, multialignment="center")
    box = text.get_window_extent().transformed(axes.transAxes.inverted())
    near = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
    axes.plot([x, near[0]], [y, near[1]], transform=axes.transAxes, color=BLACK, linewidth=0.9, zorder=1)


def _labeller(axes: Axes, *lines: Line) -> Labeller:
    labels = Labeller(axes)
    for line in lines:
        labels.avoid_line(line.x, line.y)
    return labels


def _along(axes: Axes, height: float) -> list[Place]:
    """Places for words about a level line: right, left and middle; just above it, else just below."""
    y = axes.transAxes.inverted().transform(axes.transData.transform((0.0, height)))[1]
    sides = ((0.012, "bottom"), (-0.012, "top"), (0.07, "bottom"), (-0.07, "top"), (0.13, "bottom"), (-0.13, "top"))
    return [Place(x, y + shift, ha, va) for shift, va in sides for x, ha in ACROSS]


def _middle(line: Line) -> float:
    return float(np.median(line.y)) if line else 0.0
