"""A trial on the text itself: what a tiny model makes of it in a fixed number of steps, as bits per byte.

Packers and n-grams say little about what a transformer will learn from a text; a small transformer says much. Steps,
samples and seed are fixed, so the figure belongs to the text, not to the machine, and the cache keeps it. `continued`
is another trial: how far another run's model comes with the text.

Not here: what is predicted from it (`law`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidro.config.schema import ModelConfig, OptimOptions
from vidro.core.errors import DataError
from vidro.core.files import read_json, sha256_bytes, write_json_atomic
from vidro.data.survey import TextSource
from vidro.data.windows import TokenStream
from vidro.evals.perplexity import TextScore, evaluate_tokens
from vidro.evals.yardsticks import COMPRESSORS
from vidro.model.init import initialise
from vidro.model.loss import lm_loss
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import train_bpe
from vidro.train.defaults import optimizer_settings
from vidro.train.law import Trial
from vidro.train.optim import Optimizer
from vidro.train.schedule import Schedule
from vidro.train.step import Batch, StepSettings, train_step

TRAIN_BYTES, VAL_BYTES = 1 << 20, 1 << 17  # samples of both sides,
READ_BYTES = 1 << 26  # … from so much of the text,
PIECE = 2048  # … in pieces of so many characters
VOCAB_SIZE, WIDTH, CONTEXT, STEPS, ROWS = 1024, 64, 64, 120, 16
STEP_TOKENS, PASSES, MOST_STEPS = 2048, 2.0, 150  # of a trial that goes on from another model
LEAST_BITS = 1.0
VERSION = 2  # of the trial: one higher when the same text would give another figure
SCHEDULE = Schedule(kind="wsd", warmup=0.02, decay=0.5, final=0.0)


def sample(texts: Iterable[str], most: int, total: int) -> list[str]:
    """Pieces that hold about `most` bytes, evenly spread over texts of `total` bytes; all of them where that is less.

    A document of up to `PIECE` characters is a piece, a longer one is cut into such. Of a large corpus only the first
    `READ_BYTES` are looked at.
    """
    share = min(1.0, most / max(1, min(total, READ_BYTES)))
    found: list[str] = []
    number = read = 0
    for text in texts:
        if share == 1.0:
            found.append(text)
            continue
        for start in range(0, len(text), PIECE):
            number += 1
            if int(number * share) > int((number - 1) * share):
                found.append(text[start : start + PIECE])
        read += len(text.encode())
        if read >= READ_BYTES:
            break
    return found


def samples(text: TextSource) -> tuple[list[str], list[str]]:
    """Samples of the training and of the validation side."""
    size = text.result
    return (
        sample(text.train_texts(), TRAIN_BYTES, size.train_bytes),
        sample(text.val_texts(), VAL_BYTES, size.val_bytes),
    )


def repeats_itself(texts: list[str]) -> bool:
    """Whether bzip2 needs less than a bit for a byte: text from a grammar, logs, tables; the law knows nothing of it.

    >>> repeats_itself(["the same line again\\n" * 500]), repeats_itself(["Call me Ishmael."])
    (True, False)
    """
    data = "".join(texts).encode()
    return bool(data) and 8 * COMPRESSORS["bzip2"](data) < LEAST_BITS * len(data)


def trial(train: list[str], val: list[str]) -> Trial:
    """Bits per byte of `val` after `STEPS` steps on `train`, and after half of them.

    Raises DataError for a text that is too small for that.
    """
    tokenizer = train_bpe(train, VOCAB_SIZE)
    ids = _ids(tokenizer, train)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, context_length=CONTEXT, d_model=WIDTH, n_layers=2, n_heads=1, n_kv_heads=1,
        d_head=64, d_ff=192,
    )  # fmt: skip
    if len(ids) < CONTEXT + 1 or not any(val):
        raise DataError("the text is too small to try a model on")
    model = Transformer(shape)
    initialise(model, seed=0)
    halfway: list[float] = []
    _learn(
        model, ids, eot_id=tokenizer.eot_id, steps=STEPS, rows=ROWS,
        at_half=lambda: halfway.append(_bits(model, tokenizer, val)),
    )  # fmt: skip
    return Trial(bits=_bits(model, tokenizer, val), halfway=halfway[0])


class Continued(NamedTuple):
    """What another run's model makes of a text: bits per byte as it comes, and after so many passes over it."""

    before: float
    after: float
    passes: float


def continued(model: Transformer, tokenizer: Tokenizer, train: list[str], val: list[str]) -> Continued:
    """Let `model` go on with the text, for at most `PASSES` over it and `MOST_STEPS` steps; it is changed thereby.

    No forecast but a trial: a small text is soon read, and then such a model has learned from it what it can.
    Raises DataError for a text of less than a window.
    """
    ids = _ids(tokenizer, train)
    context = model.config.context_length
    if len(ids) < context + 1 or not any(val):
        raise DataError("the text is too small to try a model on")
    rows = max(1, min(STEP_TOKENS // context, len(ids) // (4 * context)))
    steps = min(MOST_STEPS, math.ceil(PASSES * len(ids) / (rows * context)))
    before = _bits(model, tokenizer, val)
    _learn(model, ids, eot_id=tokenizer.eot_id, steps=steps, rows=rows)
    return Continued(before, _bits(model, tokenizer, val), steps * rows * context / len(ids))


def _ids(tokenizer: Tokenizer, texts: list[str]) -> NDArray[np.int64]:
    return np.array([i for text in texts for i in (*tokenizer.encode(text), tokenizer.eot_id)], dtype=np.int64)


def _learn(
    model: Transformer,
    ids: NDArray[np.int64],
    *,
    eot_id: int,
    steps: int,
    rows: int,
    at_half: Callable[[], None] = lambda: None,
) -> None:
    """Train by the recipe of a whole run: the rate decays to nothing over the second half of the steps."""
    model.train()
    optimizer = Optimizer(model, optimizer_settings(OptimOptions(), model.config))
    stream = TokenStream(ids, context_length=model.config.context_length, seed=0, eot_id=eot_id)
    settings = StepSettings(micro_batch=rows, clip=1.0, autocast=nullcontext)

    def loss(module: nn.Module, part: Batch) -> tuple[Tensor, Tensor]:
        assert isinstance(module, Transformer)
        return lm_loss(module, part.ids, part.targets)

    for step in range(steps):
        if step == steps // 2:
            at_half()
        drawn, targets = (torch.from_numpy(array) for array in stream.batch(step * rows, rows))
        multiplier = SCHEDULE.multiplier((step + 0.5) / steps)
        train_step(model, optimizer, Batch(drawn, targets), loss=loss, multiplier=multiplier, settings=settings)


def _bits(model: Transformer, tokenizer: Tokenizer, texts: list[str]) -> float:
    """Bits per byte of the texts, whole."""
    pieces = [np.array(tokenizer.encode(text), dtype=np.int64) for text in texts if text]
    nats, n_tokens = evaluate_tokens(model, pieces, eot_id=tokenizer.start_id)
    return TextScore.of(nats, n_tokens=n_tokens, n_bytes=sum(len(text.encode()) for text in texts)).bits_per_byte


def known_trial(train: list[str], val: list[str], *, cache_dir: Path | None) -> Trial:
    """`trial`, from the cache where these samples were tried before."""
    if cache_dir is None:
        return trial(train, val)
    key = sha256_bytes(json.dumps([VERSION, train, val]).encode())
    path = cache_dir / "trials" / f"{key[:32]}.json"
    with suppress(DataError):  # none yet, or damaged: it is made again
        known = read_json(path, error=DataError)
        if isinstance(known, list) and len(known) == 2 and all(isinstance(bits, float) for bits in known):
            return Trial(*known)
    found = trial(train, val)
    write_json_atomic(path, found)
    return found
