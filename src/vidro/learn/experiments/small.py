"""Small models trained on tiny world, one beside the other: the text, a shape, so many steps, and what came of it.

All experiments that train go through `train`, which is the production optimizer, step and batches without a run
directory: nothing is saved. Text, seeds and steps are fixed, so a slower machine finds the same. Not here: what is
compared (`parts`, `sizes`, `scaling`, `overfitting`); training for real (`train/loop`).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidro.config.schema import ModelConfig, OptimOptions
from vidro.core.errors import TrainingError
from vidro.data.tinyworld import stories
from vidro.data.windows import TokenStream
from vidro.evals.perplexity import evaluate_tokens
from vidro.model.init import initialise
from vidro.model.loss import lm_loss
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import train_bpe
from vidro.train.defaults import optimizer_settings
from vidro.train.optim import Optimizer
from vidro.train.schedule import Schedule
from vidro.train.step import Batch, StepSettings, train_step

TRAIN_SEED, VAL_SEED = 1, 2  # of the stories: those of validation are others
LATEST = 20  # steps over which the training loss is averaged
USUAL = Schedule(kind="wsd", warmup=0.02, decay=0.5, final=0.0)
Documents = list[NDArray[np.int64]]


@dataclass(frozen=True)
class Material:
    """Stories to learn and others to check with, as text and as ids."""

    tokenizer: Tokenizer
    train_texts: list[str]
    val_texts: list[str]
    train: Documents
    val: Documents

    @property
    def stream(self) -> NDArray[np.int64]:
        """The training stories one behind the other, each closed by the end mark."""
        return np.concatenate([np.append(ids, self.tokenizer.eot_id) for ids in self.train])

    @property
    def val_bytes(self) -> int:
        """UTF-8 bytes of the validation stories."""
        return sum(len(text.encode()) for text in self.val_texts)

    @property
    def bytes_per_token(self) -> float:
        """Of the validation stories."""
        return self.val_bytes / sum(len(ids) for ids in self.val)

    def bits_per_byte(self, nats_per_token: float) -> float:
        """The validation loss in the unit that does not depend on the tokenizer."""
        return nats_per_token / math.log(2) / self.bytes_per_token


def tiny_world(n_bytes: int, *, val_bytes: int, vocab_size: int, tokenizer: Tokenizer | None = None) -> Material:
    """At least so many bytes of stories; a tokenizer is trained on them unless one is given."""
    train, val = list(stories(seed=TRAIN_SEED, n_bytes=n_bytes)), list(stories(seed=VAL_SEED, n_bytes=val_bytes))
    tokenizer = train_bpe(train, vocab_size) if tokenizer is None else tokenizer
    as_ids = [[np.asarray(ids, dtype=np.int64) for ids in tokenizer.encode_batch(texts)] for texts in (train, val)]
    return Material(tokenizer, train, val, *as_ids)


def shape(vocab_size: int, *, width: int, layers: int, heads: int, context: int, dropout: float = 0.0) -> ModelConfig:
    """A model of the default family: heads share the width, the feed-forward is about 8/3 as wide."""
    return ModelConfig(
        vocab_size=vocab_size, context_length=context, d_model=width, n_layers=layers, n_heads=heads, n_kv_heads=heads,
        d_head=width // heads, d_ff=math.ceil(8 * width / 3 / 16) * 16, dropout=dropout,
    )  # fmt: skip


def fresh(config: ModelConfig, seed: int) -> Transformer:
    """A model that has learned nothing, from this seed."""
    model = Transformer(config)
    initialise(model, seed=seed)
    return model


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. A look reads all validation stories; there is always one after the last step."""

    steps: int
    rows: int = 16
    seed: int = 1
    looks: int = 1
    optim: OptimOptions = field(default_factory=OptimOptions)
    schedule: Schedule = USUAL


@dataclass(frozen=True)
class Look:
    """Nats per token after `step` steps: the mean of the latest training batches, and of the validation stories."""

    step: int
    train_nats: float
    val_nats: float


@dataclass(frozen=True)
class Outcome:
    """What came of a training."""

    looks: list[Look]
    step_s: float
    """Median seconds of a step; the only figure that belongs to the machine."""

    broke: str | None = None
    """Why it ended before its time, where loss or gradient became infinite."""

    @property
    def last(self) -> Look:
        """The look after the last step."""
        return self.looks[-1]

    @property
    def best(self) -> Look:
        """The look with the lowest validation loss."""
        return min(self.looks, key=lambda look: look.val_nats)


def train(
    model: Transformer, material: Material, recipe: Recipe, *, at_look: Callable[[Look], None] | None = None
) -> Outcome:
    """Train `model` in place; `at_look` hears each look while the model stands there."""
    with torch.random.fork_rng(devices=[]):  # dropout draws from PyTorch's own generator, which is given back
        torch.manual_seed(recipe.seed)
        return _train(model, material, recipe, at_look)


def _train(model: Transformer, material: Material, recipe: Recipe, at_look: Callable[[Look], None] | None) -> Outcome:
    optimizer = Optimizer(model.train(), optimizer_settings(recipe.optim, model.config))
    stream = TokenStream(material.stream, context_length=model.config.context_length, seed=recipe.seed)
    settings = StepSettings(micro_batch=recipe.rows, clip=1.0, autocast=nullcontext)
    looks: list[Look] = []
    nats: list[float] = []
    seconds: list[float] = []
    for step in range(recipe.steps):
        began = time.perf_counter()
        ids, targets = (torch.from_numpy(array) for array in stream.batch(step * recipe.rows, recipe.rows))
        multiplier = recipe.schedule.multiplier((step + 0.5) / recipe.steps)
        try:
            report = train_step(
                model, optimizer, Batch(ids, targets), loss=_loss, multiplier=multiplier, settings=settings
            )
        except TrainingError as problem:
            return Outcome(looks, statistics.median(seconds or [0.0]), f"{problem.what} at step {step + 1}")
        seconds.append(time.perf_counter() - began)
        nats.append(report.loss_nats)
        if (step + 1) * recipe.looks // recipe.steps > step * recipe.looks // recipe.steps:
            val_nats = nats_per_token(model, material, material.val)
            looks.append(Look(step + 1, statistics.fmean(nats[-LATEST:]), val_nats))
            if at_look is not None:
                at_look(looks[-1])
    return Outcome(looks, statistics.median(seconds))


def nats_per_token(model: Transformer, material: Material, documents: Documents) -> float:
    """The mean loss over all tokens of these documents, each from its start."""
    nats, n_tokens = evaluate_tokens(model, documents, eot_id=material.tokenizer.eot_id)
    return nats / n_tokens


def _loss(module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    assert isinstance(module, Transformer)
    return lm_loss(module, batch.ids, batch.targets)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The mean of what the seeds gave, and half of the distance between the lowest and the highest.

    >>> spread([1.0, 1.5], 2), spread([1.0], 2)
    ('1.25 ± 0.25', '1.00')
    """
    apart = f" ± {(max(values) - min(values)) / 2:.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{apart}"
