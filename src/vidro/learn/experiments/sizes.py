"""What do heads, depth, width and the vocabulary do? One of them is changed at a time, everything else stays.

Heads share the width, so their number changes no parameter. Depth is bought with width: each depth has the width that
gives about the same parameters in its blocks. Vocabularies are compared in bits per byte, since a loss per token says
nothing across tokenizers. Not here: training (`small`), one size after another until a law shows (`scaling`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vidro.config.schema import ModelConfig
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.experiments.small import Material, Recipe, fresh, shape, tiny_world, train
from vidro.learn.figures import bars
from vidro.model.count import count

COLUMNS = ("parameters", "TFLOP", "bits per byte", "tokens/s")


@dataclass(frozen=True)
class SizeSettings:
    """How much of everything; `width`, `layers`, `heads` and `vocab_size` are those of the model that is changed."""

    seeds: tuple[int, ...] = (1,)
    steps: int = 80
    rows: int = 8
    context: int = 128
    width: int = 64
    layers: int = 2
    heads: int = 2
    vocab_size: int = 512
    all_heads: tuple[int, ...] = (1, 2, 4, 8)
    depths: tuple[tuple[int, int], ...] = ((1, 96), (2, 64), (4, 48), (6, 40))
    """(blocks, width): the blocks hold about the same parameters."""

    depth_d_head: int = 8
    """Width of a head where the depth changes: the only one that divides all these widths."""

    widths: tuple[int, ...] = (16, 32, 64, 96)
    vocabularies: tuple[int, ...] = (320, 512, 1024, 2048)
    train_bytes: int = 600_000
    val_bytes: int = 10_000


@dataclass(frozen=True)
class Measured:
    """One size, with the mean of its seeds."""

    name: str
    n_parameters: int
    tflop: float
    bits_per_byte: float
    apart: float
    """The largest distance between two seeds, in bits per byte; 0 of a single one."""

    tokens_per_s: float

    @property
    def row(self) -> tuple[Any, ...]:
        """As a table has it."""
        return (self.name, self.n_parameters, round(self.tflop, 2), f"{self.bits_per_byte:.3f}",
                round(self.tokens_per_s / 100) * 100)  # fmt: skip


def run(request: Request) -> Report:
    """All four questions."""
    return study(SizeSettings(), request.say)


def study(settings: SizeSettings, say: Callable[[str], None]) -> Report:
    """The report: a table and a figure each for heads, depth, width and vocabulary."""
    material = tiny_world(settings.train_bytes, val_bytes=settings.val_bytes, vocab_size=settings.vocab_size)
    vocabulary = material.tokenizer.vocab_size
    done: dict[ModelConfig, Measured] = {}  # the usual sizes stand in several tables and are trained once

    def measured(name: str, config: ModelConfig, text: Material = material) -> Measured:
        if config not in done:
            say(f"{name} …")
            done[config] = measure(name, config, text, settings)
        return replace(done[config], name=name)

    def made(*, size: int = vocabulary, **said: int) -> ModelConfig:
        usual = {"width": settings.width, "layers": settings.layers, "heads": settings.heads}
        return shape(size, context=settings.context, **{**usual, **said})

    heads = [measured(f"{n} heads" if n > 1 else "1 head", made(heads=n)) for n in settings.all_heads]
    widths = [measured(f"width {n}", made(width=n)) for n in settings.widths]
    depths = [
        measured(f"{n} × {width}", made(layers=n, width=width, heads=width // settings.depth_d_head))
        for n, width in settings.depths
    ]
    vocabularies = []
    for size in settings.vocabularies:
        text = material
        if size != settings.vocab_size:
            text = tiny_world(settings.train_bytes, val_bytes=settings.val_bytes, vocab_size=size)
        name = f"{text.tokenizer.vocab_size} ({text.bytes_per_token:.2f} bytes a token)"
        vocabularies.append(measured(name, made(size=text.tokenizer.vocab_size), text))
    return report({"heads": heads, "depth": depths, "width": widths, "vocabulary": vocabularies}, settings)


def measure(name: str, config: ModelConfig, material: Material, settings: SizeSettings) -> Measured:
    """Train a model of this shape, once a seed."""
    sizes, tokens = count(config), settings.steps * settings.rows * settings.context
    bits, seconds = [], []
    for seed in settings.seeds:
        outcome = train(fresh(config, seed), material, Recipe(steps=settings.steps, rows=settings.rows, seed=seed))
        bits.append(material.bits_per_byte(outcome.last.val_nats))
        seconds.append(outcome.step_s)
    speed = settings.rows * settings.context / statistics.median(seconds)
    return Measured(name, sizes.n_parameters, tokens * sizes.flops_per_token_train / 1e12, statistics.fmean(bits),
                    max(bits) - min(bits), speed)  # fmt: skip


TITLES = {
    "heads": "Heads at equal width: parameters and work stay the same",
    "depth": "Depth (blocks × width) at about equal parameters in the blocks",
    "width": "Width at equal depth",
    "vocabulary": "Vocabulary at equal steps (longer tokens: more text read)",
}


def report(found: dict[str, list[Measured]], settings: SizeSettings) -> Report:
    """Tables, figures and sentences of the four questions."""
    tables = [Table(TITLES[kind], (kind, *COLUMNS), [one.row for one in some]) for kind, some in found.items()]
    figures = {
        kind: bars({one.name.split(" (")[0]: one.bits_per_byte for one in some}, y="bits per byte", title=TITLES[kind],
                   digits=3)
        for kind, some in found.items()
    }  # fmt: skip
    shown = {"seeds": settings.seeds, "steps": settings.steps, "tokens_per_step": settings.rows * settings.context,
             "width": settings.width, "layers": settings.layers, "heads": settings.heads,
             "vocab_size": settings.vocab_size}  # fmt: skip
    return Report(tables, [sentence(kind, some) for kind, some in found.items()], figures, shown)


def sentence(kind: str, some: list[Measured]) -> str:
    """Which size is best and which worst, and what a best one costs.

    >>> sentence("heads", [Measured("1 head", 9, 1.0, 2.0, 0.0, 8.0), Measured("2 heads", 9, 1.0, 1.5, 0.0, 4.0)])
    'heads: best is 2 heads with 1.500 bits per byte, last is 1 head with 2.000 (33 % more).'
    """
    best, worst = min(some, key=lambda one: one.bits_per_byte), max(some, key=lambda one: one.bits_per_byte)
    more = 100 * (worst.bits_per_byte / best.bits_per_byte - 1)
    said = (f"{kind}: best is {best.name} with {best.bits_per_byte:.3f} bits per byte, last is {worst.name} with "
            f"{worst.bits_per_byte:.3f} ({more:.0f} % more).")  # fmt: skip
    if best.tflop > 1.2 * worst.tflop:
        said += f" The best needs {best.tflop / worst.tflop:.1f} times the work."
    apart = max(one.apart for one in some)
    return f"{said} Two seeds lie at most {apart:.3f} apart." if apart else said
