"""The planner at work: what it needs is measured here, its choice explained in words, its forecast kept up to date.

`plan` is pure and decides; this is the wire between it, the text, the machine and a run. Read before: `plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vidro.config.load import the_budget
from vidro.config.schema import BudgetOptions, ModelConfig, PretrainOptions
from vidro.core.errors import DataError, TrainingError
from vidro.data.prepare import Prepared
from vidro.data.survey import TextSource
from vidro.model.count import count
from vidro.model.device import choose_device, choose_precision
from vidro.train import pilot
from vidro.train.defaults import Blueprint, Plan, TextFacts, default_vocab_size, make_plan, model_shape
from vidro.train.law import Forecast, forecast
from vidro.train.machine import settled
from vidro.train.plan import (
    Outlook,
    TextProfile,
    choose,
    memory_bytes,
    outlook,
    stepping_seconds,
    training_seconds,
)
from vidro.train.speed import Speed, measure_speed

if TYPE_CHECKING:
    from vidro.train.assemble import RunFacts
    from vidro.train.pretrain import Setup

TRIAL_FROM_S = 45.0  # a shorter budget has no seconds to spare for a trial, and gets no forecast
MEASURE_SHARE = 0.02  # of the budget, for measuring the machine; at most a second
CHANGED = 0.3  # the speed must differ so much from the planned one before anything is said
SMALL_BYTES = 3_000_000  # of training text: less is soon read too often


class Reason(NamedTuple):
    """One choice: what it is about, what was chosen, and why."""

    what: str
    chosen: str
    why: str


def measure(options: PretrainOptions, *, within_s: float = 1.2) -> Speed:
    """The speed of this machine with the threads, device and precision of `options`."""
    device = choose_device(options.train.device)
    with settled(options.train.threads):
        return measure_speed(device, choose_precision(options.train.precision, device), within_s=within_s)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A budget and what would be made of it."""

    seconds: float
    blueprint: Blueprint
    n_parameters: int
    outlook: Outlook
    reasons: tuple[Reason, ...]


def planned(
    text: TextProfile,
    options: PretrainOptions,
    speed: Speed,
    seconds: float,
    *,
    used_s: float = 0.0,
    name: str = "text",
) -> Planned:
    """The plan for `seconds` of a text that no tokenizer has cut yet: what `vidro plan` shows.

    `used_s` of them pass before training: starting, looking at the text and measuring the machine.
    """
    size = options.data.vocab_size or default_vocab_size(text.train_bytes)
    trial = text.trial if seconds >= TRIAL_FROM_S else None  # the run will not make one
    text = replace(text, bytes_per_token=text.cut(size), trial=trial)
    facts = TextFacts(name, int(text.train_bytes / text.cut(size)), size)
    planner = Planner(text=text, options=options, speed=speed, used_s=lambda: used_s)
    budget = replace(options, budget=BudgetOptions(minutes=seconds / 60))
    blueprint = planner.blueprint(training_seconds(seconds - used_s), size, None)
    plan = make_plan(budget, facts, blueprint=blueprint)
    expected, why = planner.explain(plan)
    chosen = replace(blueprint, model=plan.model, batch_tokens=plan.tokens_per_step)
    size_of = count(plan.model).n_parameters
    return Planned(seconds=seconds, blueprint=chosen, n_parameters=size_of, outlook=expected, reasons=why)


def small_text_notes(text: TextProfile, rows: tuple[Planned, ...]) -> list[str]:
    """What a text is too small for."""
    if text.train_bytes >= SMALL_BYTES or not any(row.outlook.early for row in rows):
        return []
    size = f"{text.train_bytes / 1e3:.0f} kB" if text.train_bytes < 1e6 else f"{text.train_bytes / 1e6:.1f} MB"
    early = next(row for row in rows if row.outlook.early)
    law, minutes = early.outlook.forecast, f"{rounded(early.outlook.seconds / 60, 2)} minutes of training"
    gives = f"training ends after {minutes}"
    if law is not None:
        gives = f"about {law.bits_per_byte:.2f} bits per byte, reached after {minutes}, is what they give"
    return [
        f"{size} alone will mostly be memorised: {gives}; more time adds nothing. A model that has read more comes "
        f"farther: vidro plan FILE --from RUN says how far (vidro pretrain tinyworld --minutes 10 makes one)."
    ]


def look_at(text: str | TextSource, *, cache_dir: Path | None, threads: int | None, afford: bool = True) -> TextProfile:
    """Size of a text and what a tiny model makes of it; of a folder of tokens nothing is known yet.

    Without `afford` the trial is not made: a budget of seconds has none to spare.
    """
    if not isinstance(text, TextSource):
        return TextProfile(train_bytes=0, trial=None)
    result = text.result
    counted = result.train_bytes if text.val_files else result.train_bytes + result.val_bytes
    profile = TextProfile(train_bytes=result.train_bytes, trial=None, document_bytes=counted / result.n_documents)
    if not afford:
        return profile
    train, val = pilot.samples(text)
    if pilot.repeats_itself(train):
        return profile
    try:
        with settled(threads):
            return replace(profile, trial=pilot.known_trial(train, val, cache_dir=cache_dir))
    except DataError:  # too small even for that: whoever trains on it is told more exactly
        return profile


def make_planner(
    text: str | TextSource,
    options: PretrainOptions,
    *,
    speed: Speed | None,
    used_s: Callable[[], float],
    cache_dir: Path,
    say: Callable[[str], object],
    fresh: bool = True,
) -> Planner | None:
    """The planner of a budget in minutes; None for the others, into whose plan nothing measured enters.

    Only a `fresh` model gets a trial: the shape of another run's is known, and the law does not speak of it.
    """
    minutes = options.budget.minutes
    if the_budget(options.budget) != "minutes" or minutes is None:
        return None
    if speed is None:
        say("Measuring this machine.")
        speed = measure(options, within_s=MEASURE_SHARE * 60.0 * minutes)
    afford = fresh and isinstance(text, TextSource) and 60.0 * minutes >= TRIAL_FROM_S
    if afford:
        say("Trying a tiny model on the text.")
    looked = look_at(text, cache_dir=cache_dir, threads=options.train.threads, afford=afford)
    return Planner(text=looked, options=options, speed=speed, used_s=used_s)


@dataclass
class Planner:
    """Chooses once tokens are there, and explains the plan that came of it."""

    text: TextProfile
    options: PretrainOptions
    speed: Speed
    used_s: Callable[[], float]
    seconds: float = 0.0
    _kept: bool = field(default=False, repr=False)

    def choose(self, prepared: Prepared, vocab_size: int, shape: ModelConfig | None) -> Blueprint:
        """The blueprint for what is left of the minutes. Raises TrainingError when nothing fits into the memory."""
        minutes = self.options.budget.minutes
        assert minutes is not None
        self.text = known(self.text, prepared)
        return self.blueprint(training_seconds(60.0 * minutes - self.used_s()), vocab_size, shape)

    def blueprint(self, seconds: float, vocab_size: int, shape: ModelConfig | None) -> Blueprint:
        """The blueprint for `seconds` of training; `shape` is a parent's, which is kept."""
        self.seconds = seconds
        self._kept = shape is not None

        def kept(base: ModelConfig) -> ModelConfig:
            return shape if shape is not None else model_shape(self.options.model, vocab_size, base=base)

        batch = self.options.train.batch_tokens
        return choose(self.text, self.seconds, self.speed, kept=kept, vocab_size=vocab_size, batch_tokens=batch)

    def explain(self, plan: Plan, seconds: float | None = None) -> tuple[Outlook, tuple[Reason, ...]]:
        """What to expect of `plan`, and its choices in words. Raises TrainingError when it needs too much memory.

        `seconds` of training, where they are known better than when the plan was made.
        """
        seconds = self.seconds if seconds is None else seconds
        epochs = float("inf") if plan.most_steps is None else plan.most_steps * plan.tokens_per_step / plan.epoch_tokens
        blueprint = Blueprint(model=plan.model, batch_tokens=plan.tokens_per_step, most_epochs=epochs)
        expected = outlook(blueprint, self.text, seconds, self.speed, muon=plan.optimizer.kind == "muon")
        at_once = plan.micro_batch * plan.model.context_length
        expected = replace(expected, memory_bytes=memory_bytes(plan.model, at_once, self.text.train_bytes))
        if expected.memory_bytes > self.speed.memory_bytes:
            need, have = expected.memory_bytes / 1e9, self.speed.memory_bytes / 1e9
            what = f"this plan needs about {need:.1f} GB of memory, and {have:.1f} GB are free"
            raise TrainingError(what, hint="Choose a smaller model (--d-model, --n-layers) or a smaller --micro-batch.")
        if self._kept or plan.optimizer.kind != "muon" or plan.model.family != "qwen3":
            expected = replace(expected, forecast=None)  # the law was fitted to fresh models of the default recipe
        return expected, reasons(plan, self.text, self.speed, expected)


def known(text: TextProfile, prepared: Prepared) -> TextProfile:
    """The profile with what the tokens say."""
    n_tokens = prepared.train.n_tokens
    if not prepared.train_bytes:  # tokens without a text: about four bytes each
        return replace(text, train_bytes=4 * n_tokens, bytes_per_token=4.0)
    return replace(text, train_bytes=prepared.train_bytes, bytes_per_token=prepared.train_bytes / n_tokens)


def reasons(plan: Plan, text: TextProfile, speed: Speed, expected: Outlook) -> tuple[Reason, ...]:
    """Each choice with its reason, for people."""
    model, rates = plan.model, plan.optimizer
    size = f"{rounded(count(model).n_parameters / 1e6, 3)}M parameters"
    muon = f"{rates.muon_lr:g} (Muon, matrices), " if rates.kind == "muon" else ""
    embedding = f"{rates.embedding_lr:g} (embedding), " if rates.embedding_lr not in (None, rates.lr) else ""
    found = [
        Reason(
            "vocabulary",
            f"{model.vocab_size:,} tokens",
            f"{rounded(text.train_bytes / 1e6, 3)} MB to learn from: more tokens would each be seen too seldom",
        ),
        Reason(
            "model",
            f"{model.d_model} wide, {counted_blocks(model.n_layers)}, {size}",
            f"about {expected.tokens_per_s:,.0f} tokens/s here: a larger one would see too little, a smaller one hold "
            "too little",
        ),
        Reason("context", f"{model.context_length} tokens", context_words(text, model)),
        Reason(
            "step",
            f"{plan.tokens_per_step:,} tokens",
            f"about {expected.steps:,} updates of the weights, {expected.epochs:.3g} times through the text",
        ),
        Reason(
            "rates",
            f"{muon}{embedding}{rates.lr:g} (the rest)",
            "warm-up, then constant, then down to zero over the second half",
        ),
        Reason(
            "dropout",
            f"{model.dropout:g}",
            "the text is read too seldom to be learned by heart" if not model.dropout
            else "the text is read so often that the model must be kept from learning it by heart",
        ),
        Reason(
            "memory",
            f"{rounded(expected.memory_bytes / 1e9, 2)} GB",
            f"{rounded(speed.memory_bytes / 1e9, 2)} GB are free",
        ),
    ]  # fmt: skip
    if expected.early:
        why = "more passes over this text would only be learned by heart"
        found.append(Reason("end", f"after {rounded(expected.seconds / 60, 2)} minutes", why))
    return tuple(found)


def context_words(text: TextProfile, model: ModelConfig) -> str:
    """Why the context has its length."""
    whole = text.document_tokens(model.vocab_size)
    if model.context_length / 4 < whole < model.context_length:
        return f"a document has {whole:.0f} on average: most are seen whole"
    return "long enough to learn from, short enough to be cheap"


def rounded(number: float, digits: int) -> str:
    """So many digits that count, and all those before the point: never an exponent.

    >>> rounded(0.9256, 3), rounded(23.96, 2), rounded(104.6, 2), rounded(1500.0, 3)
    ('0.926', '24', '105', '1500')
    """
    return f"{number:.{digits}g}" if abs(number) < 10**digits - 0.5 else f"{number:.0f}"


def counted_blocks(number: int) -> str:
    """How many blocks, in words.

    >>> counted_blocks(1), counted_blocks(4)
    ('1 block', '4 blocks')
    """
    return f"{number} block{'' if number == 1 else 's'}"


def forecast_words(law: Forecast | None) -> str | None:
    """The forecast in a sentence.

    >>> forecast_words(Forecast(bits_per_byte=2.1, low=2.0, high=2.2))
    'Expected: 2.10 bits per byte on the validation text, with 80 % between 2.00 and 2.20.'
    """
    if law is None:
        return None
    return (
        f"Expected: {law.bits_per_byte:.2f} bits per byte on the validation text, with 80 % between {law.low:.2f} and "
        f"{law.high:.2f}."
    )


def plan_fields(expected: Outlook, why: tuple[Reason, ...]) -> dict[str, Any]:
    """The ``plan`` event: the choices, what is expected of them, and the forecast in a sentence."""
    return {
        "choices": [list(reason) for reason in why],
        "seconds": round(expected.seconds, 1),
        "tokens": expected.tokens,
        "steps": expected.steps,
        "epochs": round(expected.epochs, 4),
        "memory_bytes": expected.memory_bytes,
        "forecast": foreseen(expected)["forecast"],
        "message": forecast_words(expected.forecast),
    }


def foreseen(expected: Outlook | None) -> dict[str, Any]:
    """What a run must keep of its outlook to compare with in the end: fields of `RunFacts`."""
    if expected is None:
        return {}
    law = expected.forecast
    return {
        "forecast": None if law is None else {"bits_per_byte": law.bits_per_byte, "low": law.low, "high": law.high},
        "tokens_per_s": expected.tokens_per_s,
    }


def compared(predicted: dict[str, float], got: float) -> str:
    """What became of a forecast, in words.

    >>> compared({"bits_per_byte": 2.1, "low": 2.0, "high": 2.2}, 2.08)
    'Expected 2.10 bits per byte (2.00 to 2.20), got 2.08.'
    >>> compared({"bits_per_byte": 2.1, "low": 2.0, "high": 2.2}, 2.31)
    'Expected 2.10 bits per byte (2.00 to 2.20), got 2.31: outside, as two of ten are.'
    """
    bits, low, high = predicted["bits_per_byte"], predicted["low"], predicted["high"]
    odd = "" if low <= got <= high else ": outside, as two of ten are"
    return f"Expected {bits:.2f} bits per byte ({low:.2f} to {high:.2f}), got {got:.2f}{odd}."


class Replanner:
    """Watches the speed of a run in minutes; says when it is not the planned one, and what that means.

    The learning rate follows the share of time used, so a slower machine makes fewer steps and still ends decayed and
    in time: what must be planned anew is what to expect.
    """

    def __init__(self, setup: Setup, facts: RunFacts) -> None:
        self._setup = setup
        self._planned = facts.tokens_per_s
        self._predicts = facts.forecast is not None
        self._most = facts.most_steps
        self._trial = None if setup.planner is None else setup.planner.text.trial
        self._odd = 0

    def __call__(self, tokens: int, tokens_per_s: float, left_s: float) -> str | None:
        """Called with each log line; a sentence when the speed has been another for three of them."""
        if self._planned is None:
            return None
        ratio = tokens_per_s / self._planned
        self._odd = self._odd + 1 if abs(ratio - 1) > CHANGED else 0
        if self._odd < 3:
            return None
        self._odd, self._planned = 0, tokens_per_s  # from now on this is the plan
        plan, prepared = self._setup.plan, self._setup.prepared
        total = tokens + int(stepping_seconds(max(left_s, 0.0)) * tokens_per_s)
        if self._most is not None:
            total = min(total, self._most * plan.tokens_per_step)
        in_all = f"{rounded(total / 1e6, 3)}M tokens in all"
        words = f"The machine trains at {ratio:.0%} of the planned speed; planned anew: {in_all}"
        if not self._predicts or not prepared.train_bytes or self._trial is None:
            return f"{words}."
        seen = total * prepared.train_bytes / prepared.train.n_tokens
        law = forecast(self._trial, plan.model, seen, prepared.train_bytes)
        return f"{words}, expecting {law.bits_per_byte:.2f} bits per byte ({law.low:.2f} to {law.high:.2f})."
