"""A run opened with int8 matrices, and what that costs: perplexity before and after, on a little text, in one line.

The figure is measured when a model is first opened so and kept in the user's cache by the weights' checksum. Not
here: the arithmetic (`vidro.model.quantized`), the full figure (``vidro evaluate RUN --text FILE --quantize int8``).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.core.errors import DataError, StorageError, UsageError, VidroError, did_you_mean
from vidro.core.files import read_json, sha256_bytes, sha256_file, write_json_atomic

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.model.transformer import Transformer

QUANTIZED = ("int8",)
"""What `quantize` may say."""

SAMPLE_TOKENS = 2048
SAMPLE_FLOPS = 1.2e11
"""The sample is at most so many tokens, and of a large model as many as cost this (256 at least): a few seconds."""

READABLE_BYTES = 20_000_000
"""A training text up to this size is read again for its validation part; a longer one would keep you waiting."""

TIMED_STEPS = 12
_CHARS = 8 * SAMPLE_TOKENS  # of text that is tokenized, for any tokenizer that makes a token of up to 8 characters
_VERSION = 1  # of the figures in the cache; change it with the sample or the arithmetic


@dataclass(frozen=True)
class Int8Effect:
    """Perplexity of one model in fp32 and in int8, on the first `n_tokens` of a text."""

    fp32: float
    int8: float
    n_tokens: int
    text: str

    def __str__(self) -> str:
        change = self.int8 / self.fp32 - 1
        words = f"{self.fp32:,.2f} → {self.int8:,.2f} ({change:+.1%})".replace("%", " %")
        return f"perplexity {words} on {self.n_tokens:,} tokens of {self.text}"


@dataclass(frozen=True)
class Sample:
    """Ids to measure with, and what text they are of."""

    ids: Any
    text: str


def check_quantize(quantize: str | None, device: str) -> None:
    """Raise UsageError for a word nobody knows, and for a GPU that was asked for by name."""
    if quantize is None:
        return
    if quantize not in QUANTIZED:
        hint = did_you_mean(quantize, QUANTIZED) or f"Possible: {', '.join(QUANTIZED)}."
        raise UsageError(f"{quantize!r} is not possible", where="quantize", hint=hint)
    if device not in ("auto", "cpu"):
        hint = "Say --device cpu, or leave --quantize out."
        raise UsageError(f"int8 runs on the CPU only, not on {device}", where="quantize", hint=hint)


def open_int8(run: Run, *, compare: bool = True) -> Transformer:
    """The run's model with int8 matrices, on the CPU; with `compare` the run's `say` hears what that costs.

    Raises UsageError where this machine has no kernels for it.
    """
    from vidro.checkpoint.run import load_model
    from vidro.model.quantized import choose_engine, matrix_bytes, quantize_int8

    choose_engine()
    model = load_model(run.opened, "cpu")
    if not compare:
        return quantize_int8(model)
    if model.config.labels:
        run.say("int8: what it costs a classifier: vidro evaluate RUN --labels FILE --quantize int8")
        return quantize_int8(model)
    kept = figure_path(run, model)
    known = None if not kept.is_file() else Int8Effect(**read_json(kept, error=DataError))
    if known is not None:
        model = quantize_int8(model)
        run.say(f"int8: {known}, measured before")
        return model
    before = matrix_bytes(model)
    try:
        sample = sample_of(run, model)
    except VidroError as problem:
        run.say(f"int8: perplexity was not measured: {problem}")
        return quantize_int8(model)
    fp32, slow = perplexity(run, model, sample), tokens_per_s(model, sample.ids)
    model = quantize_int8(model)
    int8, fast = perplexity(run, model, sample), tokens_per_s(model, sample.ids)
    effect = Int8Effect(fp32, int8, len(sample.ids), sample.text)
    run.say(f"int8: {effect}; {sizes(before, matrix_bytes(model))}; {slow:,.0f} → {fast:,.0f} tokens/s")
    if math.isfinite(fp32) and math.isfinite(int8):
        with contextlib.suppress(StorageError):  # without it the same is measured again, no more
            write_json_atomic(kept, asdict(effect))
    return model


def quantized_twin(run: Run) -> Run:
    """The same run with int8 matrices, for a comparison: nothing is measured here, nor said twice."""
    from vidro.api.run import Run

    twin = Run(run.path, at=run.at, device="cpu", quantize="int8", cache_dir=run.cache_dir, say=run.say)
    twin.opened = run.opened
    twin.model = open_int8(twin, compare=False)
    return twin


def sizes(before: int, after: int) -> str:
    """Bytes of the weights in memory, in words."""
    from vidro.api.words import human_bytes

    return f"{human_bytes(before)} → {human_bytes(after)} in memory"


def figure_path(run: Run, model: Transformer) -> Path:
    """Where the figure of these weights is kept."""
    from vidro.api.places import default_cache_dir
    from vidro.model.quantized import choose_engine

    weights = sorted(run.opened.model_dir.glob("model*.safetensors"))
    key = [_VERSION, choose_engine(), sample_tokens(model), [sha256_file(each) for each in weights]]
    cache = default_cache_dir() if run.cache_dir is None else run.cache_dir
    return cache / "int8" / f"{sha256_bytes(json.dumps(key).encode())[:32]}.json"


def sample_tokens(model: Transformer) -> int:
    """How many tokens are measured."""
    from vidro.model.count import count

    return min(SAMPLE_TOKENS, max(256, int(SAMPLE_FLOPS / (2 * count(model.config).n_matmul))))


def sample_of(run: Run, model: Transformer) -> Sample:
    """The beginning of the run's validation text, or of Vidro's own stories where that text is far or gone.

    Raises TokenizerError for a tokenizer that cannot read the stories either.
    """
    import numpy as np

    from vidro.data.tinyworld import text

    wanted = sample_tokens(model)
    with contextlib.suppress(VidroError):  # gone, changed, not a run of a text
        texts, name = validation_texts(run)
        ids = np.concatenate([run.tokenizer.encode(each) for each in texts])[:wanted]
        if len(ids):
            return Sample(ids, name)
    ids = run.tokenizer.encode(text(1, _CHARS))[:wanted]
    return Sample(np.asarray(ids), "Vidro's stories (its own validation text is not at hand)")


def validation_texts(run: Run) -> tuple[list[str], str]:
    """The first characters that the last pretraining kept back, and their name. Raises DataError when they are gone."""
    from vidro.api.places import default_cache_dir
    from vidro.api.texts import kind_of, recorded_data, text_source

    bases = [each for each in run.ancestry() if kind_of(each) == "base"]
    if not bases:
        raise DataError("no run before it learned from a text of its own", where=run.path)
    data = recorded_data(bases[-1])
    if data.get("train_bytes", math.inf) + data.get("val_bytes", 0) > READABLE_BYTES:
        raise DataError("the text is long", where=data["source"])
    cache = default_cache_dir() if run.cache_dir is None else run.cache_dir
    found, left = [], _CHARS
    for each in text_source(bases[-1], cache_dir=cache).val_texts():
        found.append(each[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    if not found:
        raise DataError("nothing was kept back", where=data["source"])
    return found, f"the validation text of {data['name']}"


def perplexity(run: Run, model: Transformer, sample: Sample) -> float:
    """By the protocol of all figures; the sample is one document."""
    from vidro.evals.perplexity import evaluate_tokens

    nats, n_tokens = evaluate_tokens(model, [sample.ids], eot_id=run.tokenizer.start_id)
    return math.exp(nats / n_tokens) if nats / n_tokens < 709 else math.inf


def tokens_per_s(model: Transformer, ids: Sequence[int]) -> float:
    """How fast one text grows, by the median of some steps behind a short prompt."""
    import torch

    from vidro.infer.decode import prefill, step
    from vidro.model.cache import KVCache

    context = model.config.context_length
    prompt = [int(each) for each in ids[: max(1, min(32, context - TIMED_STEPS - 2))]]
    cache = KVCache(model.config, 1, context, torch.device("cpu"), torch.float32, fixed=False)
    spent: list[float] = []
    prefill(model, cache, prompt)
    for _ in itertools.repeat(None, min(TIMED_STEPS, context - len(prompt))):
        started = time.perf_counter()
        step(model, cache, prompt[-1:], [True])
        spent.append(time.perf_counter() - started)
    return 1 / statistics.median(spent) if spent else math.nan
