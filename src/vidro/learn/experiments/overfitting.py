"""What helps against overfitting? A small text is read many times until the validation loss turns; five remedies.

Beside the plain model: dropout, ten times the weight decay, a smaller model, more text for as many steps, and stopping
early, which is the plain model as it was at its best look. How much each has learned by heart is read from samples:
what of them stands word for word in its text, beside other stories cut to the same lengths, since these stories share
phrases with each other. Not here: training (`small`), the same search in a run of one's own (`vidro evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator

from vidro.config.schema import OptimOptions, SamplingOptions
from vidro.evals.copying import CopyFigures, copied_text, copy_index, held_out_passages
from vidro.infer.session import Session
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.experiments.small import Look, Material, Recipe, fresh, nats_per_token, shape, tiny_world, train
from vidro.learn.figures import curves
from vidro.model.transformer import Transformer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAIN, EARLY = "plain", "early stop"


@dataclass(frozen=True)
class OverfittingSettings:
    """How much of everything."""

    seed: int = 1
    train_bytes: int = 8_000
    more_bytes: int = 32_000
    val_bytes: int = 5_000
    vocab_size: int = 512
    width: int = 64
    small_width: int = 24
    layers: int = 2
    heads: int = 2
    context: int = 64
    steps: int = 120
    rows: int = 8
    looks: int = 8
    dropout: float = 0.3
    weight_decay: float = 1.0
    """The plain model has a tenth of it."""

    samples: int = 12
    sample_tokens: int = 80
    min_chars: int = 30
    """From here on a passage counts as copied."""


@dataclass(frozen=True)
class Remedy:
    """What one of them is: the model, what is read, and the optimizer."""

    name: str
    width: int
    dropout: float = 0.0
    weight_decay: float | None = None
    more: bool = False


@dataclass(frozen=True)
class Fitted:
    """What came of one remedy."""

    name: str
    n_parameters: int
    epochs: float
    looks: list[Look]
    learned_nats: float
    """Of the stories that it learned from, without dropout."""

    wrote: CopyFigures
    unseen: CopyFigures
    """Of other stories, cut to the same lengths and searched in the same text."""

    @property
    def val_nats(self) -> float:
        """At the end."""
        return self.looks[-1].val_nats

    @property
    def best(self) -> Look:
        """The look with the lowest validation loss."""
        return min(self.looks, key=lambda look: look.val_nats)


def run(request: Request) -> Report:
    """The plain model and all remedies."""
    return study(OverfittingSettings(), request.say)


def study(settings: OverfittingSettings, say: Callable[[str], None]) -> Report:
    """The report: losses, curves, and what was learned by heart."""
    small = tiny_world(settings.train_bytes, val_bytes=settings.val_bytes, vocab_size=settings.vocab_size)
    more = tiny_world(settings.more_bytes, val_bytes=settings.val_bytes, vocab_size=settings.vocab_size,
                      tokenizer=small.tokenizer)  # fmt: skip
    remedies = (
        Remedy(PLAIN, settings.width),
        Remedy("dropout", settings.width, dropout=settings.dropout),
        Remedy("weight decay", settings.width, weight_decay=settings.weight_decay),
        Remedy("smaller model", settings.small_width),
        Remedy("more text", settings.width, more=True),
    )
    fitted: list[Fitted] = []
    for remedy in remedies:
        say(f"{remedy.name} …")
        fitted += fit(remedy, more if remedy.more else small, settings)
    shown = {"seed": settings.seed, "steps": settings.steps, "tokens_per_step": settings.rows * settings.context,
             "text_bytes": settings.train_bytes, "more_text_bytes": settings.more_bytes, "dropout": settings.dropout,
             "weight_decay": settings.weight_decay, "samples": settings.samples}  # fmt: skip
    tables = [loss_table(fitted), copy_table(fitted, settings.min_chars)]
    return Report(tables, findings(fitted), {"overfitting": figure(fitted, settings)}, shown)


def fit(remedy: Remedy, material: Material, settings: OverfittingSettings) -> list[Fitted]:
    """Train by this remedy; of the plain one also the model that was best on the way, as a remedy of its own."""
    config = shape(material.tokenizer.vocab_size, width=remedy.width, layers=settings.layers, heads=settings.heads,
                   context=settings.context, dropout=remedy.dropout)  # fmt: skip
    recipe = Recipe(steps=settings.steps, rows=settings.rows, seed=settings.seed, looks=settings.looks,
                    optim=OptimOptions(weight_decay=remedy.weight_decay))  # fmt: skip
    model = fresh(config, settings.seed)
    looks: list[Look] = []
    best: dict[str, torch.Tensor] = {}

    def at_look(look: Look) -> None:
        if not looks or look.val_nats < min(one.val_nats for one in looks):
            best.update({name: value.detach().clone() for name, value in model.state_dict().items()})
        looks.append(look)

    train(model, material, recipe, at_look=at_look)
    found = [fitted(remedy.name, model, material, looks, settings)]
    if remedy.name == PLAIN:
        model.load_state_dict(best)
        until = looks.index(min(looks, key=lambda look: look.val_nats)) + 1
        found.append(fitted(EARLY, model, material, looks[:until], settings))
    return found


def fitted(
    name: str, model: Transformer, material: Material, looks: list[Look], settings: OverfittingSettings
) -> Fitted:
    """The model as it stands, with its samples searched in the text that it learned from."""
    options = SamplingOptions(max_tokens=settings.sample_tokens, temperature=0.8, seed=settings.seed)
    samples = [one.text for one in Session(model, material.tokenizer).generate([""], options, n=settings.samples)]
    passages = held_out_passages(
        material.val_texts, [len(one) for one in samples], np.random.default_rng(settings.seed)
    )
    tokens = looks[-1].step * settings.rows * settings.context
    return Fitted(
        name,
        sum(weights.numel() for weights in model.parameters()),
        tokens / len(material.stream),
        looks,
        nats_per_token(model, material, material.train[: len(material.val)]),
        *(copies(material, texts, settings.min_chars) for texts in (samples, passages)),
    )


def copies(material: Material, texts: Sequence[str], min_chars: int) -> CopyFigures:
    """How much of these texts stands in the stories of `material`."""
    index = copy_index(material.train_texts)
    return CopyFigures.of([copied_text(index, text, min_chars=min_chars) for text in texts])


def loss_table(fitted: Sequence[Fitted]) -> Table:
    """Losses at the end, and where they were lowest."""
    rows: list[tuple[Any, ...]] = [
        (one.name, one.n_parameters, round(one.epochs, 1), round(one.learned_nats, 3), round(one.val_nats, 3),
         round(one.val_nats - one.learned_nats, 3), round(one.best.val_nats, 3), one.best.step)
        for one in fitted
    ]  # fmt: skip
    columns = ("remedy", "parameters", "times read", "learned stories", "other stories", "gap", "lowest", "at step")
    return Table("Nats per token at the end", columns, rows)


def copy_table(fitted: Sequence[Fitted], min_chars: int) -> Table:
    """What the samples have word for word from the text, beside other stories."""
    rows: list[tuple[Any, ...]] = [
        (one.name, round(100 * one.wrote.copied_frac), one.wrote.median_longest_chars, one.wrote.longest_chars,
         round(100 * one.unseen.copied_frac), one.unseen.median_longest_chars)
        for one in fitted
    ]  # fmt: skip
    columns = ("remedy", "copied, %", "longest passage", "longest of all", "other stories, %", "their longest passage")
    title = f"Word for word from the text, passages of {min_chars} characters and more (longest: median of the samples)"
    return Table(title, columns, rows)


def figure(fitted: Sequence[Fitted], settings: OverfittingSettings) -> Figure:
    """Validation loss by step; stopping early is the lowest point of the plain curve, so it has no curve."""
    lines = {one.name: ([look.step for look in one.looks], [look.val_nats for look in one.looks])
             for one in fitted if one.name != EARLY}  # fmt: skip
    plain = next(one for one in fitted if one.name == PLAIN)
    lines["plain, on what it learns"] = ([look.step for look in plain.looks], [look.train_nats for look in plain.looks])
    drawn = curves(lines, x="step", y="nats per token", title="Loss on stories that were not learned from")
    drawn.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    drawn.axes[0].set_xlim(0, settings.steps * 1.02)
    return drawn


def findings(fitted: Sequence[Fitted]) -> list[str]:
    """The sentences that the numbers allow."""
    by_name = {one.name: one for one in fitted}
    plain = by_name[PLAIN]
    turned = plain.best.step < plain.looks[-1].step
    said = [
        f"The plain model is best at step {plain.best.step} with {plain.best.val_nats:.2f} nats"
        + (f" and ends at {plain.val_nats:.2f}, while it has {plain.learned_nats:.2f} on what it learned." if turned
           else f": its loss has not turned by then; it has {plain.learned_nats:.2f} on what it learned.")
    ]  # fmt: skip
    ordered = sorted((one for one in fitted if one is not plain), key=lambda one: one.val_nats)
    said.append("At the end, from the best: " + ", ".join(f"{one.name} {one.val_nats:.2f}" for one in ordered) + ".")
    beyond = [one for one in fitted if one.wrote.copied_frac > one.unseen.copied_frac]
    for one in sorted(beyond, key=lambda one: one.unseen.copied_frac - one.wrote.copied_frac):
        said.append(f"By heart: {one.name} copies {100 * one.wrote.copied_frac:.0f} % of its samples, where other "
                    f"stories share {100 * one.unseen.copied_frac:.0f} % with its text.")  # fmt: skip
    if not beyond:
        said.append("No model copies more of its text than other stories share with it.")
    return said
