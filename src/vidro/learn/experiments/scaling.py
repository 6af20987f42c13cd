"""How does the loss fall as models grow? From 0.1 to 5 million parameters on the same tokens, a line on log axes.

Every model reads the same text in the same order, less than once. Kaplan et al. 2020 ("Scaling Laws for Neural Language
Models") found straight lines on log axes over seven orders of magnitude; here are less than two, and a text whose loss
has a floor. Also: how fast training is as heads and width grow. Not here: training (`small`), what to do with equal
parameters (`sizes`), how a run's own size is planned (`train/law`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import NullFormatter

from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.experiments.small import Look, Material, Recipe, fresh, shape, tiny_world, train
from vidro.learn.figures import WORDS, curves
from vidro.model.count import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ScalingSettings:
    """How much of everything."""

    seed: int = 1
    models: tuple[tuple[int, int], ...] = ((48, 2), (80, 3), (128, 4), (192, 5), (256, 6))
    """(width, blocks), small ones first."""

    d_head: int = 16
    steps: int = 40
    rows: int = 4
    context: int = 128
    looks: int = 4
    vocab_size: int = 512
    train_bytes: int = 400_000
    val_bytes: int = 6_000
    timed_steps: int = 4
    timed_widths: tuple[int, ...] = (64, 128, 192, 256)
    timed_heads: tuple[int, ...] = (1, 2, 4, 8, 16)
    heads_width: int = 128


@dataclass(frozen=True)
class Grown:
    """One model and its looks."""

    n_parameters: int
    flops_per_token: float
    looks: list[Look]
    tokens_per_s: float

    @property
    def name(self) -> str:
        """The size in words."""
        return f"{self.n_parameters / 1e6:.1f}M"


@dataclass(frozen=True)
class PowerLaw:
    """loss = `factor` × parameters ^ `exponent`; `off` is the largest deviation of a point, as a share of its loss."""

    factor: float
    exponent: float
    off: float


def power_law(n_parameters: Sequence[int], losses: Sequence[float]) -> PowerLaw:
    """The line through the points on log axes, by least squares.

    >>> law = power_law([100, 10_000], [4.0, 2.0])
    >>> round(law.exponent, 4), round(law.factor, 2), law.off < 1e-9
    (-0.1505, 8.0, True)
    """
    exponent, constant = np.polyfit(np.log(n_parameters), np.log(losses), 1)
    said = np.exp(constant) * np.asarray(n_parameters, float) ** exponent
    off = np.abs(said / np.asarray(losses) - 1).max()
    return PowerLaw(math.exp(constant), float(exponent), float(off))


def run(request: Request) -> Report:
    """All sizes, then the speeds."""
    return study(ScalingSettings(), request.say)


def study(settings: ScalingSettings, say: Callable[[str], None]) -> Report:
    """The report: loss by size and by compute, the line, and tokens per second."""
    material = tiny_world(settings.train_bytes, val_bytes=settings.val_bytes, vocab_size=settings.vocab_size)
    grown = [grow(material, width, layers, settings, say) for width, layers in settings.models]
    law = power_law([one.n_parameters for one in grown], [one.looks[-1].val_nats for one in grown])
    tokens_per_step = settings.rows * settings.context
    say("timing …")
    tables = [size_table(grown, material, tokens_per_step), compute_table(grown, tokens_per_step),
              *speed_tables(material, settings)]  # fmt: skip
    figures = {"parameters": size_figure(grown, law), "compute": compute_figure(grown, tokens_per_step)}
    shown = {"seed": settings.seed, "steps": settings.steps, "tokens_per_step": tokens_per_step,
             "context": settings.context, "vocab_size": settings.vocab_size}  # fmt: skip
    return Report(tables, findings(grown, law, tables), figures, shown)


def grow(material: Material, width: int, layers: int, settings: ScalingSettings, say: Callable[[str], None]) -> Grown:
    """Train the model of this width and depth."""
    config = shape(material.tokenizer.vocab_size, width=width, layers=layers, heads=width // settings.d_head,
                   context=settings.context)  # fmt: skip
    sizes = count(config)
    say(f"{sizes.n_parameters:,} parameters …")
    recipe = Recipe(steps=settings.steps, rows=settings.rows, seed=settings.seed, looks=settings.looks)
    outcome = train(fresh(config, settings.seed), material, recipe)
    speed = settings.rows * settings.context / outcome.step_s
    return Grown(sizes.n_parameters, sizes.flops_per_token_train, outcome.looks, speed)


def tens(speed: float) -> int:
    """A speed without the digits that mean nothing.

    >>> tens(1234.5)
    1230
    """
    return 10 * round(speed / 10)


def size_table(grown: Sequence[Grown], material: Material, tokens_per_step: int) -> Table:
    """Each model at the end of its training."""
    rows: list[tuple[Any, ...]] = [
        (one.n_parameters, round(one.looks[-1].step * tokens_per_step * one.flops_per_token / 1e12, 3),
         round(one.looks[-1].val_nats, 3), round(material.bits_per_byte(one.looks[-1].val_nats), 3),
         tens(one.tokens_per_s))
        for one in grown
    ]  # fmt: skip
    columns = ("parameters", "TFLOP", "nats per token", "bits per byte", "tokens/s")
    return Table(f"After {grown[0].looks[-1].step * tokens_per_step:,} tokens", columns, rows)


def best_within(grown: Sequence[Grown], tokens_per_step: int, flops: float) -> tuple[Grown, Look] | None:
    """The model and look with the lowest loss that took at most so much work; None where none took so little."""
    within = [(one, look) for one in grown for look in one.looks
              if look.step * tokens_per_step * one.flops_per_token <= flops * (1 + 1e-9)]  # fmt: skip
    return min(within, key=lambda pair: pair[1].val_nats) if within else None


def compute_table(grown: Sequence[Grown], tokens_per_step: int) -> Table:
    """For as much work as each model took: which one is furthest with it."""
    rows: list[tuple[Any, ...]] = []
    for one in grown:
        flops = one.looks[-1].step * tokens_per_step * one.flops_per_token
        found = best_within(grown, tokens_per_step, flops)
        assert found is not None
        rows.append((f"{flops / 1e12:.3f}", found[0].name, found[1].step, round(found[1].val_nats, 3)))
    return Table("Which model is furthest with so much work", ("TFLOP", "best", "at step", "nats per token"), rows)


def speed_tables(material: Material, settings: ScalingSettings) -> list[Table]:
    """Tokens per second in training: as the width grows, and as the width is cut into more heads."""
    vocabulary, recipe = material.tokenizer.vocab_size, Recipe(steps=settings.timed_steps, rows=settings.rows)

    def speed(width: int, heads: int) -> tuple[int, int]:
        config = shape(vocabulary, width=width, layers=2, heads=heads, context=settings.context)
        step_s = train(fresh(config, settings.seed), material, recipe).step_s
        return count(config).n_parameters, tens(settings.rows * settings.context / step_s)

    widths: list[tuple[Any, ...]] = [(n, *speed(n, n // settings.d_head)) for n in settings.timed_widths]
    heads: list[tuple[Any, ...]] = [(n, *speed(settings.heads_width, n)) for n in settings.timed_heads]
    return [
        Table("Speed as the width grows (2 blocks)", ("width", "parameters", "tokens/s"), widths),
        Table(
            f"Speed as a width of {settings.heads_width} is cut into heads", ("heads", "parameters", "tokens/s"), heads
        ),
    ]


def size_figure(grown: Sequence[Grown], law: PowerLaw) -> Figure:
    """Loss by parameters with the fitted line, both axes logarithmic."""
    sizes = np.array([one.n_parameters for one in grown], float)
    line = np.geomspace(sizes.min() * 0.85, sizes.max() * 1.15, 40)
    losses = [one.looks[-1].val_nats for one in grown]
    figure = curves(
        {"measured": (sizes / 1e6, losses),
         f"{law.factor:.2f} × parameters^{law.exponent:.3f}": (line / 1e6, law.factor * line**law.exponent)},
        x="million parameters", y="nats per validation token", title="Loss by size, the same tokens for all",
    )  # fmt: skip
    figure.axes[0].lines[0].set_linestyle("none")
    figure.axes[0].legend(frameon=False, fontsize=WORDS)  # drawn anew, now that the points have no line
    return logarithmic(figure, [round(size / 1e6, 1) for size in sizes], losses)


def compute_figure(grown: Sequence[Grown], tokens_per_step: int) -> Figure:
    """Loss by work, a line a model, both axes logarithmic."""
    lines = {
        one.name: ([look.step * tokens_per_step * one.flops_per_token / 1e12 for look in one.looks],
                   [look.val_nats for look in one.looks])
        for one in grown
    }  # fmt: skip
    figure = curves(lines, x="TFLOP of training", y="nats per validation token", title="Loss by work")
    every = [value for xs, _ in lines.values() for value in xs]
    first, last = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    marks = [base * 10.0**power for power in range(first, last + 1) for base in (1, 3)]
    inside = [mark for mark in marks if min(every) * 0.8 <= mark <= max(every) * 1.2]
    return logarithmic(figure, inside, [value for _, ys in lines.values() for value in ys])


def logarithmic(figure: Figure, x_marks: Sequence[float], ys: Sequence[float]) -> Figure:
    """Both axes logarithmic; marks at these places across, and at round numbers up."""
    axes = figure.axes[0]
    axes.set_xscale("log")
    axes.set_yscale("log")
    step = next(size for size in (0.1, 0.2, 0.5, 1.0, 2.0) if (max(ys) - min(ys)) / size <= 8)
    y_marks = np.arange(math.floor(min(ys) / step), math.ceil(max(ys) / step) + 1) * step
    axes.set_xticks(list(x_marks), [f"{mark:g}" for mark in x_marks])
    axes.set_yticks(list(y_marks), [f"{mark:.1f}" for mark in y_marks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def findings(grown: Sequence[Grown], law: PowerLaw, tables: Sequence[Table]) -> list[str]:
    """The sentences that the numbers allow."""
    _, by_work, widths, heads = tables
    less = 100 * (1 - 10**law.exponent)
    return [
        f"Ten times the parameters: {less:.0f} % less loss. The line loss = {law.factor:.2f} × "
        f"parameters^{law.exponent:.3f} misses no model by more than {100 * law.off:.1f} %.",
        f"With the work that the smallest model takes in all, {by_work.rows[0][1]} is furthest; with that of the "
        f"largest, {by_work.rows[-1][1]}.",
        f"From width {widths.rows[0][0]} to {widths.rows[-1][0]} training becomes "
        f"{widths.rows[0][2] / widths.rows[-1][2]:.1f} times slower for {widths.rows[-1][1] / widths.rows[0][1]:.1f} "
        f"times the parameters; from {heads.rows[0][0]} to {heads.rows[-1][0]} heads "
        f"{heads.rows[0][2] / heads.rows[-1][2]:.1f} times slower for the same.",
    ]
