"""The planner: from a text, a time and a machine's speed to a model, its batch, and what to expect of it.

Pure: everything measured comes in as arguments (`speed`, `trial`), so the same numbers give the same plan. Of a
ladder of shapes it takes the one whose predicted bits per byte are lowest (`law`): a larger model learns more from each
token, a smaller one sees more of them. What the user says is kept; the planner fills the rest.

Not here: fixed defaults and the resolved plan (`defaults`), what the prediction rests on (`law`, `docs/diary.md`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from vidro.config.schema import ModelConfig
from vidro.core.errors import UsageError
from vidro.evals.yardsticks import TRAIN_BYTES as YARDSTICK_BYTES
from vidro.model.count import count
from vidro.train.defaults import MICRO_TOKENS, Blueprint
from vidro.train.law import USUAL_FALL, Forecast, Trial, forecast
from vidro.train.speed import Speed

# Width and blocks, by rising cost. Heads are 64 wide: two fewer, wider heads learn as well as four and cost less time.
LADDER = (
    (64, 1), (64, 2), (128, 2), (128, 3), (192, 2), (192, 3), (256, 3), (256, 4), (320, 4), (384, 4), (448, 5),
    (512, 6), (640, 6), (768, 8), (768, 12), (1024, 12), (1024, 16), (1280, 20),
)  # fmt: skip
SMALLEST = 2  # so many rungs stay for texts too small for any, and for machines too slow
D_HEAD = 64
# Tokens of a step, by tokens seen in all.
BATCHES = ((1.5e5, 512), (1e6, 1024), (3e6, 2048), (2e7, 4096), (1e8, 8192), (1e9, 16384), (math.inf, 32768))
CONTEXTS = ((3e6, 128), (5e7, 256), (math.inf, 512))  # … likewise
WHOLE = 1.25  # of the mean document: a context of that length holds most of them whole, and up to twice as long pays
DROPOUTS = ((6.0, 0.0), (9.0, 0.1), (13.0, 0.2), (math.inf, 0.3))  # by epochs
MOST_EPOCHS = 20.0  # from 14 to 29 epochs a small book gained a thousandth
MOST_WEIGHTS = 2.5  # for each byte of text; more would learn it by heart
COPY_CHARS = 200_000_000  # of the training text, in which copies are looked for; the index is as large as its text
PROCESS_BYTES = 480_000_000  # Python, torch and the libraries
LEAST_STEPS = 60  # fewer updates than this teach nothing, however large each is
USUAL = Trial(bits=2.6, halfway=2.6 * USUAL_FALL)  # of a trial that was not made; it ranks shapes, nothing more
FULL_SHARE = 0.05  # of a budget in minutes, for the evaluation at the end; a longer text is evaluated in part
CLOSING_S = 4.0  # … for drawing the plots and leaving,
CLOSING_SHARE = 0.25  # but of a short budget only this share
LOST_S, LOST_SHARE = 2.0, 0.05  # of the seconds of training: looks, samples, checkpoints, the machine's peak
STEPPING_SHARE = 0.6  # … but of a few seconds so much is left
MEMORY_SHARE = 0.8  # of what is free, that a plan may take


@dataclass(frozen=True, kw_only=True)
class TextProfile:
    """What the planner knows of a text. `bytes_per_token` is None until a tokenizer has cut it, `trial` where none was
    made (`pilot`). `document_bytes` is the mean of its documents, infinite where it is not known."""

    train_bytes: int
    trial: Trial | None
    bytes_per_token: float | None = None
    document_bytes: float = math.inf

    def cut(self, vocab_size: int) -> float:
        """Bytes per token: measured, or guessed from the size of the vocabulary."""
        return guess_bytes_per_token(vocab_size) if self.bytes_per_token is None else self.bytes_per_token

    def document_tokens(self, vocab_size: int) -> float:
        """Tokens of a document, on average."""
        return self.document_bytes / self.cut(vocab_size)


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What to expect of a plan: how far it comes, what it holds, and how well it will predict the validation text."""

    seconds: float
    tokens: int
    steps: int
    epochs: float
    memory_bytes: int
    forecast: Forecast | None
    early: bool
    """Training ends before the time is used, because more passes over the text would only be learned by heart."""

    tokens_per_s: float
    """Of the steps alone."""


def choose(
    text: TextProfile,
    seconds: float,
    speed: Speed,
    *,
    vocab_size: int,
    kept: Callable[[ModelConfig], ModelConfig] = lambda base: base,
    batch_tokens: int | None = None,
) -> Blueprint:
    """The model and batch for `seconds` of training.

    `kept` puts what the user said into a shape of the ladder, `batch_tokens` is what they said of the step. Where no
    rung fits text, time and memory, one of the smallest is returned; who asks checks the memory. Raises UsageError for
    sizes that go with no rung.
    """
    room, most = MEMORY_SHARE * speed.memory_bytes, MOST_WEIGHTS * text.train_bytes

    def usable(plan: Blueprint) -> bool:
        expected = outlook(plan, text, seconds, speed)
        enough = expected.early or expected.steps >= LEAST_STEPS
        return enough and count(plan.model).n_matmul <= most and expected.memory_bytes <= room

    plans: list[Blueprint] = []
    refused: UsageError | None = None
    for rung in LADDER:
        try:  # three heads, say, go with some widths only
            plans.append(settle(ladder_shape(*rung, vocab_size), text, seconds, speed, kept, batch_tokens))
        except UsageError as problem:
            refused = refused or problem
    if refused is not None and not plans:
        raise refused
    plans = [plan for plan in plans if usable(plan)] or plans[:SMALLEST]
    return min(plans, key=lambda plan: plan_bits(plan, text, seconds, speed))


def ladder_shape(width: int, blocks: int, vocab_size: int) -> ModelConfig:
    """A qwen3 model of the ladder."""
    heads = width // D_HEAD
    return ModelConfig(
        vocab_size=vocab_size, context_length=CONTEXTS[0][1], d_model=width, n_layers=blocks, n_heads=heads,
        n_kv_heads=heads, d_head=D_HEAD, d_ff=-(-8 * width // 3 // 32) * 32,
    )  # fmt: skip


def settle(
    model: ModelConfig,
    text: TextProfile,
    seconds: float,
    speed: Speed,
    kept: Callable[[ModelConfig], ModelConfig],
    batch_tokens: int | None,
) -> Blueprint:
    """Batch, context, dropout and end for one shape: each follows from how many tokens it will see."""
    first = kept(model)
    tokens = seconds * BATCHES[0][1] / speed.step_s(first, BATCHES[0][1])
    batch = batch_tokens or next(size for limit, size in BATCHES if tokens < limit)
    tokens = seconds * batch / speed.step_s(first, batch)
    unique = text.train_bytes / text.cut(first.vocab_size)
    length = next(length for limit, length in CONTEXTS if tokens < limit)
    if length < WHOLE * text.document_tokens(first.vocab_size) <= 2 * length:
        length *= 2  # a story's end is easy for who remembers its beginning
    while length > 32 and unique < 16 * length:
        length //= 2
    dropout = next(share for limit, share in DROPOUTS if tokens < limit * unique)
    settled = kept(replace(model, context_length=length, dropout=dropout))
    return Blueprint(model=settled, batch_tokens=max(batch, settled.context_length), most_epochs=MOST_EPOCHS)


def outlook(plan: Blueprint, text: TextProfile, seconds: float, speed: Speed, *, muon: bool = True) -> Outlook:
    """What comes of `plan` in `seconds` of training on this machine."""
    step_s = speed.step_s(plan.model, plan.batch_tokens, muon=muon)
    cut = text.cut(plan.model.vocab_size)
    unique = max(text.train_bytes / cut, 1.0)
    steps, most = max(1, int(stepping_seconds(seconds) / step_s)), plan.most_epochs * unique / plan.batch_tokens
    early = steps > most
    steps = max(1, math.ceil(most)) if early else steps
    tokens = steps * plan.batch_tokens
    expected = None
    if text.trial is not None:
        expected = forecast(text.trial, plan.model, tokens * cut, text.train_bytes)
    return Outlook(
        seconds=min(seconds, steps * step_s) if early else seconds,
        tokens=tokens,
        steps=steps,
        epochs=tokens / unique,
        memory_bytes=memory_bytes(plan.model, step_tokens(plan), text.train_bytes),
        forecast=expected,
        early=early,
        tokens_per_s=plan.batch_tokens / step_s,
    )


def plan_bits(plan: Blueprint, text: TextProfile, seconds: float, speed: Speed) -> float:
    """Predicted bits per byte, by which plans are ranked."""
    expected = outlook(plan, replace(text, trial=text.trial or USUAL), seconds, speed)
    assert expected.forecast is not None
    return expected.forecast.bits_per_byte


def training_seconds(left_s: float) -> float:
    """Of the seconds left, those that go into training; the rest into the last evaluation and the curves."""
    return max(1.0, left_s - FULL_SHARE * left_s - min(CLOSING_S, CLOSING_SHARE * left_s))


def stepping_seconds(seconds: float) -> float:
    """Of the seconds of training, those in which the weights move.

    >>> round(stepping_seconds(30.0), 2), round(stepping_seconds(600.0), 2), stepping_seconds(1.0)
    (26.5, 568.0, 0.6)
    """
    return max(seconds - LOST_S - LOST_SHARE * seconds, STEPPING_SHARE * seconds)


def guess_bytes_per_token(vocab_size: int) -> float:
    """Before there is a tokenizer: what byte-level BPE reaches on the texts of the diary.

    >>> [round(guess_bytes_per_token(size), 1) for size in (512, 1024, 4096)]
    [2.1, 2.6, 3.6]
    """
    return max(1.0, 2.1 + 0.5 * (math.log2(vocab_size) - 9))


def step_tokens(plan: Blueprint) -> int:
    """Tokens computed at once."""
    return min(plan.batch_tokens, max(plan.model.context_length, MICRO_TOKENS))


def memory_bytes(model: ModelConfig, tokens: int, text_bytes: int) -> int:
    """Peak memory of a run that computes `tokens` at once: the process, the text, and the larger of two guests.

    Each block keeps for its backward pass some 13 vectors of the width and 4 of the feed-forward width per token. The
    search for copies holds the text (`evals/memorisation`); before training begins, the 5-gram sorts some of it
    (`evals/yardsticks`). Measured: `benchmarks/RESULTS.md`.
    """
    states = 4 * 4 * count(model).n_parameters  # weights, gradients, two of the optimizer
    kept = 13 * model.d_model + 4 * model.d_ff
    activations = 4 * tokens * (model.n_layers * kept + 6 * model.d_model)
    sorting = 32 * min(text_bytes, YARDSTICK_BYTES)
    held = 1.5 * min(text_bytes, COPY_CHARS)
    return int(PROCESS_BYTES + held + max(sorting, states + activations))
