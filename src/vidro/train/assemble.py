"""Puts a pretraining loop together: devices, state (fresh or restored), how often to look, listeners told.

Not here: what is decided before (`pretrain.set_up`, `defaults`), the loop (`loop`), its end (`conclude`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vidro.checkpoint.training_state import Checkpoint
from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.events import EventStream
from vidro.data.shards import TokenShards
from vidro.data.windows import TokenStream
from vidro.evals.memorisation import CopyIndex
from vidro.evals.perplexity import BATCH_TOKENS
from vidro.evals.subset import ValSubset
from vidro.evals.yardsticks import token_counts, unigram_nats
from vidro.inspect.probes import ProbeRecorder
from vidro.model.count import count
from vidro.model.device import Precision, autocast, choose_device, choose_precision
from vidro.model.transformer import Transformer
from vidro.train.facts import record_facts
from vidro.train.keeper import RunKeeper
from vidro.train.loop import Budget, Loop, LoopSettings, LoopState
from vidro.train.machine import MatmulPeak, memory_bytes
from vidro.train.optim import Optimizer
from vidro.train.plan import CLOSING_S, CLOSING_SHARE, COPY_CHARS, FULL_SHARE
from vidro.train.planning import Replanner, foreseen
from vidro.train.schedule import Schedule
from vidro.train.step import LossScaler, StepSettings
from vidro.train.stop import StopSignal
from vidro.train.text_task import TextTask
from vidro.train.yardsticks import FLOOR, known_yardsticks

if TYPE_CHECKING:
    from vidro.text.tokenizer import Tokenizer
    from vidro.train.pretrain import Setup, Surroundings

LOOKS_SHARE = 0.02  # all looks at the validation text together cost at most this share of the run (design, section 4)
FORWARD_SHARE = 1 / 3  # … a look only goes forward; training also goes backward, which is twice as much
LEAST_WINDOWS = 8  # a look at fewer says nothing, whatever it costs
PROMPT_CHARS = 40
LONG_CHARS = 5_000  # a text longer than this begins with a title page, say
LOOK_CHARS = 2_000_000  # of the validation text, from which prompts and the sentences of the probes are chosen


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a resume must know beside the settings; travels inside every checkpoint."""

    source: str
    source_sha256: str
    parent: str | None = None
    training_s: float | None = None
    val_windows: int = 0
    final_windows: int | None = None
    threads: int | None = None
    before: dict[str, float] | None = None
    before_s: float = 0.0
    val_sha256: str | None = None
    tokenizer: str | None = None
    budget: dict[str, float] | None = None
    warmup: float | None = None
    most_steps: int | None = None
    forecast: dict[str, float] | None = None
    tokens_per_s: float | None = None


@dataclass(kw_only=True)
class AssembledRun:
    """The loop and what `conclude` needs beside it."""

    path: Path
    setup: Setup
    facts: RunFacts
    loop: Loop
    keeper: RunKeeper
    events: EventStream
    around: Surroundings
    notes: tuple[str, ...]
    unigram_nats: float
    yardsticks: dict[str, float]
    precision: str
    trained_before_s: float


def assemble(
    path: Path,
    setup: Setup,
    facts: RunFacts,
    *,
    model: Transformer,
    events: EventStream,
    around: Surroundings,
    stop: StopSignal,
    checkpoint: Checkpoint | None,
) -> AssembledRun:
    """Everything in place for `Loop.run`: devices, state (fresh or restored), time, listeners told."""
    options, plan = setup.options, setup.plan
    device = choose_device(options.train.device)
    precision = choose_precision(options.train.precision, device)
    make_ready(model, device, compiled=options.train.compile)
    keeper = make_keeper(path, setup, facts, model=model, events=events)
    state = LoopState(scaler=LossScaler() if precision.scaled else None)
    if checkpoint is not None:
        state = keeper.restore(checkpoint)
    task = make_task(path, setup, device=device, precisely=lambda: autocast(device, precision))
    task.probes.drop_after(state.step)
    yardsticks = known_yardsticks(setup.prepared, options.data, val_sha256=facts.val_sha256, cache_dir=around.cache_dir)
    unigram = unigram_line(setup.prepared.train, setup.prepared.val, plan.model.vocab_size)
    if checkpoint is None:  # measured last, when all that costs time before the first step is done
        facts = replace(facts, threads=torch.get_num_threads(), **measure_budget(setup, facts, task, model, around))
        if setup.planner is not None:
            expected, why = setup.planner.explain(plan, facts.training_s)
            setup, facts = replace(setup, outlook=expected, reasons=why), replace(facts, **foreseen(expected))
    task.val = val_subset(setup, facts.val_windows, device)
    keeper.facts = asdict(facts)
    loop = Loop(
        model=model,
        optimizer=keeper.optimizer,
        task=task,
        keeper=keeper,
        settings=loop_settings(setup, facts, task.autocast, yardsticks),
        state=state,
        events=events,
        clock=around.clock,
        stop=stop,
        facts=speed_facts(plan.model, MatmulPeak(device, precision.dtype)),
        replan=Replanner(setup, facts),
    )
    return AssembledRun(
        path=path,
        setup=setup,
        facts=facts,
        loop=loop,
        keeper=keeper,
        events=events,
        around=around,
        notes=all_notes(setup, precision),
        unigram_nats=unigram,
        yardsticks=yardsticks,
        precision=precision.name,
        trained_before_s=state.elapsed_s,
    )


def make_ready(model: Transformer, device: torch.device, *, compiled: bool) -> None:
    """Where it is to be trained, and its blocks compiled where that is asked for."""
    model.to(device).train()
    if compiled:
        for block in model.blocks:
            block.compile()  # in place: names and files stay the same


def make_keeper(path: Path, setup: Setup, facts: RunFacts, *, model: Transformer, events: EventStream) -> RunKeeper:
    """The keeper of this run, with a fresh optimizer."""
    return RunKeeper(
        path=path,
        model=model,
        tokenizer=setup.tokenizer,
        optimizer=Optimizer(model, setup.plan.optimizer),
        events=events,
        keep=setup.options.train.keep,
        record=record_facts(setup, facts),
    )


def all_notes(setup: Setup, precision: Precision) -> tuple[str, ...]:
    """What the user should know before it begins."""
    notes = setup.notes if precision.note is None else (*setup.notes, precision.note)
    if setup.prepared.train_bytes > COPY_CHARS:
        notes += (f"Copies of the training text are looked for in its first {COPY_CHARS:,} characters.",)
    return notes


def speed_facts(model: ModelConfig, peak: MatmulPeak) -> Callable[[float, float], dict[str, Any]]:
    """What a train event says beside its speed: (tokens/s, elapsed s) → memory in use and share of the peak."""
    flops = count(model).flops_per_token_train

    def facts(tokens_per_s: float, elapsed_s: float) -> dict[str, Any]:
        best = peak.measure_seldom(elapsed_s)
        frac = None if best is None else round(tokens_per_s * flops / best, 4)
        return {"memory_bytes": memory_bytes(peak.device), "peak_frac": frac}

    return facts


def loop_settings(
    setup: Setup, facts: RunFacts, context: Callable[[], AbstractContextManager], yardsticks: dict[str, float]
) -> LoopSettings:
    """The loop's numbers from the plan and the options. The floor is no yardstick that a look could pass."""
    options, plan = setup.options, setup.plan
    optim, train = options.optim, options.train
    short = facts.training_s is not None and facts.training_s < 120
    return LoopSettings(
        budget=Budget(steps=plan.steps if plan.steps is not None else facts.most_steps, seconds=facts.training_s),
        schedule=Schedule(
            kind=optim.schedule,
            warmup=optim.warmup if facts.warmup is None else facts.warmup,
            decay=optim.decay,
            final=optim.final_lr,
        ),
        step=StepSettings(micro_batch=plan.micro_batch, clip=optim.clip, autocast=context),
        lr=plan.optimizer.lr,
        tokens_per_step=plan.tokens_per_step,
        tokens_per_epoch=plan.epoch_tokens,
        looks=train.evals,
        sample_looks=min(train.evals, 5 if short else 10),
        checkpoint_every_s=train.checkpoint_every,
        checkpoint_every_steps=train.checkpoint_steps,
        patience=train.patience,
        muon=plan.optimizer.kind == "muon",
        dropout=plan.model.dropout,
        yardsticks={name: bits for name, bits in yardsticks.items() if name != FLOOR},
    )


def make_task(
    path: Path, setup: Setup, *, device: torch.device, precisely: Callable[[], AbstractContextManager]
) -> TextTask:
    """The text as the loop sees it; how much of the validation text a look takes is decided afterwards."""
    prepared, options, context = setup.prepared, setup.options, setup.plan.model.context_length
    prompts, val_texts = options.train.sample_prompts, list(up_to(LOOK_CHARS, prepared.val_texts()))
    return TextTask(
        stream=TokenStream(
            prepared.train.tokens, context_length=context, seed=options.train.seed, eot_id=setup.tokenizer.eot_id
        ),
        rows=setup.plan.rows,
        device=device,
        tokenizer=setup.tokenizer,
        val=val_subset(setup, max(1, BATCH_TOKENS // context), device),  # one full batch: what it costs is measured
        prompts=prompts if prompts else default_prompts(val_texts, setup.tokenizer, context_length=context),
        sampling=SamplingOptions(max_tokens=options.train.sample_tokens, seed=options.train.seed),
        copies=CopyIndex(up_to(COPY_CHARS, prepared.train_texts())),
        probes=ProbeRecorder(path / "probes", setup.tokenizer, val_texts, context_length=context),
        compiled=options.train.compile,
        autocast=precisely,
    )


def up_to(n_chars: int, texts: Iterable[str]) -> Iterator[str]:
    """The first texts that hold `n_chars` together, the last one cut."""
    for text in texts:
        yield text[:n_chars]
        n_chars -= len(text)
        if n_chars <= 0:
            return


def val_subset(setup: Setup, n_windows: int, device: torch.device) -> ValSubset:
    """A fixed, evenly spaced part of the validation text."""
    val = setup.prepared.val
    return ValSubset(
        val.tokens,
        val.document_ends,
        setup.tokenizer.token_byte_lengths(),
        eot_id=setup.tokenizer.start_id,
        context_length=setup.plan.model.context_length,
        n_windows=n_windows,
        device=device,
    )


def default_prompts(val_texts: list[str], tokenizer: Tokenizer, *, context_length: int) -> tuple[str, ...]:
    """Two prompts where the user gave none: nothing at all, and words from the middle of the validation text.

    They fill at most half of the context.
    """
    text = val_texts[len(val_texts) // 2] if val_texts else ""
    if len(val_texts) == 1 or len(text) > LONG_CHARS:
        text = text[len(text) // 2 :]
    words = text[: 10 * PROMPT_CHARS].split()[1:]  # the first word may be half a word
    opening = ""
    for word in words:
        longer = f"{opening} {word}".strip()
        if len(longer) > PROMPT_CHARS or len(tokenizer.encode(longer)) > context_length // 2:
            break
        opening = longer
    return ("", opening) if opening else ("",)


def measure_budget(
    setup: Setup, facts: RunFacts, task: TextTask, model: Transformer, around: Surroundings
) -> dict[str, Any]:
    """How many validation windows a look takes and, for a budget in minutes, how many seconds there are to train.

    With a budget in steps nothing measured enters; with minutes a trial look tells what looks will cost.
    """
    total = n_windows(setup)
    looks = setup.options.train.evals
    if setup.plan.steps is not None:
        tokens = setup.plan.steps * setup.plan.tokens_per_step
        windows = LOOKS_SHARE / FORWARD_SHARE * tokens / looks / setup.plan.model.context_length
        return {"val_windows": _between(windows, total)}
    task.evaluate(model)  # the first pass allocates
    before = around.clock()
    task.evaluate(model)
    window_s = max(around.clock() - before, 1e-6) / task.val.n_windows
    minutes = setup.options.budget.minutes
    assert minutes is not None
    left = 60.0 * minutes - (around.clock() - around.started_s) - facts.before_s
    full_s = min(total * window_s, FULL_SHARE * max(left, 0.0))
    seconds = max(left - full_s - min(CLOSING_S, CLOSING_SHARE * max(left, 0.0)), 1.0)
    windows = LOOKS_SHARE * seconds / looks / window_s
    final = None if full_s >= total * window_s else max(1, int(full_s / window_s))
    return {"val_windows": _between(windows, total), "training_s": seconds, "final_windows": final}


def n_windows(setup: Setup) -> int:
    """Windows of the whole validation text."""
    ends = np.asarray(setup.prepared.val.document_ends).astype(np.int64)
    lengths = np.diff(ends, prepend=0) - 1
    return int((-(-lengths // setup.plan.model.context_length)).sum())


def _between(windows: float, total: int) -> int:
    return max(1, min(total, max(LEAST_WINDOWS, math.ceil(windows))))


def unigram_line(train: TokenShards, val: TokenShards, vocab_size: int) -> float:
    """Nats per validation token of a model that knows the token frequencies of the training text, no more."""
    return unigram_nats(token_counts([train.tokens], vocab_size), token_counts([val.tokens], vocab_size))
