"""Fine-tuning: a pretrained model learns a task from rows. What all kinds share: the place, the loop, the end.

    run + rows ─ job (model, task, how it ends) ─ loop ─ scores ─ record, plots

A kind (`classify`, `instruct`) makes a `Job` and hands it in; the loop, its checkpoints, its landing on Ctrl-C and its
exact resume are those of pretraining. Here a step is some rows, an epoch all of them in an order that seed and epoch
decide. Read before: `loop`. Read next: `classify`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from vidro.checkpoint.huggingface import read_model, write_model
from vidro.checkpoint.run import OpenedRun, check_place, create_run, lock_run, safe_stem, versions
from vidro.checkpoint.training_state import Checkpoint, drop_after
from vidro.config.load import COMMANDS, RUN_SCHEMAS, from_dict, kind_of, read_toml, to_dict, to_toml
from vidro.config.schema import BudgetOptions
from vidro.core.errors import RunError, UsageError
from vidro.core.events import EventStream
from vidro.core.files import write_text_atomic
from vidro.evals.plots import plot_run
from vidro.infer.answering import TEMPLATE
from vidro.model.count import count
from vidro.model.device import autocast, choose_device, choose_precision
from vidro.model.transformer import Transformer
from vidro.text.conversation import PromptStyle
from vidro.text.tokenizer import Tokenizer
from vidro.train.assemble import make_ready, speed_facts
from vidro.train.conclude import STATUS
from vidro.train.continuing import checkpoint_to_continue
from vidro.train.defaults import optimizer_settings
from vidro.train.facts import FORMAT_VERSION, made_of
from vidro.train.keeper import RunKeeper
from vidro.train.log import run_log
from vidro.train.looks import (
    LEAST_ROWS,
    PartlySeen,
    look_notes,
    rows_by_seconds,
    rows_by_steps,
    seconds_per_row,
    whole_look,
)
from vidro.train.loop import Budget, Loop, LoopSettings, LoopState, Task
from vidro.train.machine import MatmulPeak, denormals_are_flushed, memory_peak_bytes, settled
from vidro.train.optim import Optimizer
from vidro.train.pretrain import PretrainResult, Surroundings
from vidro.train.schedule import Schedule
from vidro.train.step import LossScaler, StepSettings
from vidro.train.stop import StopSignal
from vidro.train.tuning import TuneSettings, check_settings
from vidro.train.watch import Watch

TURN_FRAC = 0.1  # few rows to check with make the validation loss wobble: only so much above the lowest is said
CLOSING_S = 3.0  # of a budget in minutes: for drawing and writing at the end


class RowTask(Task, Protocol):
    """A task whose batches are rows of a table, on `device`."""

    device: torch.device

    @property
    def n_rows(self) -> int: ...
    @property
    def row_tokens(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """One kind of fine-tuning, ready for the loop.

    `finish` scores the model that is kept and may write files into the run's folder; its dict becomes the results.
    `facts` are what a resume must find unchanged, `style` how it is taught to answer, if it is.
    """

    kind: str
    options: TuneSettings
    model: Transformer
    tokenizer: Tokenizer
    task: RowTask
    record: dict[str, Any]
    start: dict[str, Any]
    facts: dict[str, Any]
    finish: Callable[[Transformer, Path], dict[str, Any]]
    notes: tuple[str, ...] = ()
    style: PromptStyle | None = None
    rows_each: int = 1  # rows of a batch for each row of the table: a pair of answers is two


@dataclass(frozen=True, kw_only=True)
class TuneFacts:
    """What a resume must know beside the settings; travels inside every checkpoint."""

    kind: str
    parent: str | None
    training_s: float | None
    threads: int
    data: dict[str, Any]
    base: str | None = None  # where the model was that it started from …
    parent_step: int | None = None  # … and of which step of the parent
    look_rows: int | None = None  # validation rows of a look; None: all


MakeJob = Callable[[TuneSettings, OpenedRun | None, Checkpoint | None, Path], Job]
"""(options, the parent of a new run or None, the checkpoint of one that goes on or None, its folder) → the job."""


def finetune(
    make_job: MakeJob,
    options: TuneSettings,
    parent: OpenedRun,
    *,
    stem: str,
    around: Surroundings,
    out: Path | None = None,
    runs_dir: Path = Path("runs"),
    overwrite: bool = False,
) -> PretrainResult:
    """Make a new run from `parent`'s model. Raises VidroError for what is wrong, before training begins."""
    if out is not None:
        check_place(out, overwrite=overwrite)
    check_settings(options)
    with settled(options.train.threads) as threads:  # before the first tensor: threads inherit what they find
        torch.manual_seed(options.train.seed)
        job = make_job(options, parent, None, parent.path)
        training_s, look_rows = measure_budget(job, around)
        path = create_run(runs_dir, safe_stem(stem), out=out, overwrite=overwrite)
        with lock_run(path):
            facts = TuneFacts(
                kind=job.kind, parent=str(parent.path.resolve()), training_s=training_s, threads=threads,
                data=job.facts,
                base=str(parent.model_dir.resolve()), parent_step=parent.step, look_rows=look_rows,
            )  # fmt: skip
            write_text_atomic(path / "run.toml", settings_text(job))
            return _train(path, job, facts, around=around)


def resume(make_job: MakeJob, schema: type[TuneSettings], path: Path, *, around: Surroundings) -> PretrainResult:
    """Go on with a stopped run from its newest whole checkpoint, bit for bit."""
    if not (path / "run.toml").is_file():
        raise RunError("there is no run to go on with", where=path, hint="Start it with vidro finetune.")
    table = read_toml(path / "run.toml")
    if RUN_SCHEMAS[kind_of(table)] is not schema:
        hint = f"Go on with {COMMANDS[kind_of(table)]} --resume."
        raise RunError(f"this run is of another kind ({kind_of(table)})", where=path, hint=hint)
    options = from_dict(schema, table, where=path / "run.toml")
    with lock_run(path):
        checkpoint, notes = checkpoint_to_continue(path, more=False, anew="Start a new run.")
        facts = TuneFacts(**checkpoint.state["facts"])
        drop_after(path / "checkpoints", checkpoint.state["loop"]["step"])
        with settled(facts.threads):
            job = make_job(options, None, checkpoint, path)
            for name, then in facts.data.items():
                if job.facts[name] != then:
                    hint = "Put it back as it was, or start a new run."
                    raise RunError(f"{name} has changed since this run began", where=path, hint=hint)
            job = replace(job, notes=(*notes, *job.notes))
            return _train(path, job, facts, around=around, checkpoint=checkpoint)


def settings_text(job: Job) -> str:
    """All settings, resolved; the file can be given to --config."""
    return f"# vidro finetune: a {job.kind}, every setting resolved\n{to_toml(to_dict(job.options))}"


def _train(
    path: Path, job: Job, facts: TuneFacts, *, around: Surroundings, checkpoint: Checkpoint | None = None
) -> PretrainResult:
    if isinstance(job.task, PartlySeen):
        job.task.look_rows = facts.look_rows
    with run_log(path, around.sinks, clock=around.clock) as events, StopSignal(around.on_landing) as stop:
        if checkpoint is None:
            write_model(path, job.model, job.tokenizer, end_token=None if job.style is None else job.style.end_token)
            if job.style is not None:
                write_text_atomic(path / TEMPLATE, job.style.jinja)
        loop, keeper = assemble(path, job, facts, events=events, around=around, stop=stop, at=checkpoint)
        before_s = loop.state.elapsed_s
        announce(path, job, loop, events, resumed=checkpoint is not None)
        state = loop.run()
        results = conclude(path, job, loop, keeper, state, around=around, before_s=before_s)
    assert state.reason is not None
    signum = stop.signum if state.reason == "landed" else None
    return PretrainResult(path=path, reason=state.reason, signum=signum, results=results)


def assemble(
    path: Path,
    job: Job,
    facts: TuneFacts,
    *,
    events: EventStream,
    around: Surroundings,
    stop: StopSignal,
    at: Checkpoint | None,
) -> tuple[Loop, RunKeeper]:
    """The loop with everything in place, fresh or restored."""
    device = place(job)
    precision = choose_precision(job.options.train.precision, device)
    keeper = make_keeper(path, job, facts, events)
    state = LoopState(scaler=LossScaler() if precision.scaled else None, watch=Watch(turn_frac=TURN_FRAC))
    if at is not None:
        state = keeper.restore(at)
    loop = Loop(
        model=job.model,
        optimizer=keeper.optimizer,
        task=job.task,
        keeper=keeper,
        settings=loop_settings(job, facts, keeper.optimizer.adamw.settings.lr, lambda: autocast(device, precision)),
        state=state,
        events=events,
        clock=around.clock,
        stop=stop,
        facts=speed_facts(job.model.config, MatmulPeak(device, precision.dtype)),
    )
    return loop, keeper


def make_keeper(path: Path, job: Job, facts: TuneFacts, events: EventStream) -> RunKeeper:
    """The keeper of this run, with a fresh optimizer; the job's own record wins over what all kinds have."""
    return RunKeeper(
        path=path,
        model=job.model,
        tokenizer=job.tokenizer,
        optimizer=Optimizer(job.model, optimizer_settings(job.options.optim, job.model.config)),
        events=events,
        keep=job.options.train.keep,
        record={
            "kind": job.kind,
            "parent": facts.parent,
            "parent_step": facts.parent_step,
            "prompt_style": None,
            **made_of(job.tokenizer, job.model.config),
            **job.record,
        },
        facts=asdict(facts),
    )


def loop_settings(
    job: Job, facts: TuneFacts, lr: float, precisely: Callable[[], AbstractContextManager]
) -> LoopSettings:
    """The loop's numbers from the options. A step counts as its rows' mean length times the rows.

    Packed rows are at most as many as those of the table, so a micro-batch that is not said holds a whole step.
    """
    optim, train = job.options.optim, job.options.train
    return LoopSettings(
        budget=Budget(steps=budget_steps(job.options.budget, job), seconds=facts.training_s),
        schedule=Schedule(kind=optim.schedule, warmup=optim.warmup, decay=optim.decay, final=optim.final_lr),
        step=StepSettings(
            micro_batch=(train.micro_batch or train.batch_rows) * job.rows_each, clip=optim.clip, autocast=precisely
        ),
        lr=lr,
        tokens_per_step=max(1, round(train.batch_rows * job.task.row_tokens)),
        tokens_per_epoch=max(1, round(job.task.n_rows * job.task.row_tokens)),
        looks=train.evals,
        sample_looks=min(train.evals, 5),
        checkpoint_every_s=train.checkpoint_every,
        checkpoint_every_steps=train.checkpoint_steps,
        patience=train.patience,
        muon=optim.optimizer == "muon",
        dropout=job.model.config.dropout,
        not_finite="Begin anew with a lower",
    )


def budget_steps(budget: BudgetOptions, job: Job) -> int | None:
    """Steps of a budget that is not in minutes."""
    per_epoch = math.ceil(job.task.n_rows / job.options.train.batch_rows)
    if budget.steps is not None:
        return budget.steps
    if budget.epochs is not None:
        return max(1, math.ceil(budget.epochs * per_epoch))
    if budget.tokens is not None:
        return max(1, math.ceil(budget.tokens / (job.options.train.batch_rows * job.task.row_tokens)))
    return None


def place(job: Job) -> torch.device:
    """Put model and batches on the device that the options choose."""
    device = choose_device(job.options.train.device)
    make_ready(job.model, device, compiled=False)
    job.task.device = device
    return device


def measure_budget(job: Job, around: Surroundings) -> tuple[float | None, int | None]:
    """(seconds to train of a budget in minutes, validation rows of a look where it takes a part).

    With a budget in steps nothing measured enters. Of minutes there is left what is not used already and what the end
    will not cost.
    """
    budget, train, task = job.options.budget, job.options.train, job.task
    if budget.minutes is None:
        steps = budget_steps(budget, job)
        if steps is None or not isinstance(task, PartlySeen):
            return None, None
        return None, rows_by_steps(task.n_val, steps=steps, batch_rows=train.batch_rows, looks=train.evals)
    place(job)
    if isinstance(task, PartlySeen):
        row_s = seconds_per_row(task, job.model, around.clock)
        left = seconds_left(budget.minutes, around, closing_s=row_s * (task.n_val + 2 * LEAST_ROWS))
        return left, rows_by_seconds(task.n_val, seconds=left, row_s=row_s, looks=train.evals)
    before = around.clock()
    task.evaluate(job.model)
    return seconds_left(budget.minutes, around, closing_s=3 * (around.clock() - before)), None


def seconds_left(minutes: float, around: Surroundings, *, closing_s: float) -> float:
    """What is left of the minutes for steps, where the end costs `closing_s`. Raises UsageError for too little."""
    left = 60 * minutes - (around.clock() - around.started_s) - closing_s - CLOSING_S
    if left < 1.0:
        raise UsageError(f"{minutes:g} minutes are too short", where="minutes", hint="Reading and scoring take longer.")
    return left


def announce(path: Path, job: Job, loop: Loop, events: EventStream, *, resumed: bool) -> None:
    """The event that opens a run or its continuation, and what the user should know before it begins."""
    config, train = job.model.config, job.options.train
    learning = sum(parameter.numel() for parameter in job.model.parameters() if parameter.requires_grad)
    if resumed:
        events.emit("resumed", step=loop.state.step)
    else:
        events.emit(
            "start",
            step=0,
            format_version=FORMAT_VERSION,
            run=path.name,
            kind=job.kind,
            family=config.family,
            n_parameters=count(config).n_parameters,
            n_learning=learning,
            vocab_size=config.vocab_size,
            context_length=config.context_length,
            batch_tokens=loop.settings.tokens_per_step,
            batch_rows=train.batch_rows,
            budget={name: value for name, value in vars(job.options.budget).items() if value is not None},
            seed=train.seed,
            threads=torch.get_num_threads(),
            device=str(job.model.head.weight.device),
            precision=choose_precision(train.precision, choose_device(train.device)).name,
            flush_denormal=denormals_are_flushed(),
            train_tokens=loop.settings.tokens_per_epoch,
            versions=versions(),
            **job.start,
        )
    for message in (*job.notes, *look_notes(job.task, train.evals)):
        events.emit("note", step=loop.state.step, message=message)


def conclude(
    path: Path, job: Job, loop: Loop, keeper: RunKeeper, state: LoopState, *, around: Surroundings, before_s: float
) -> dict[str, Any]:
    """Score the model that is kept, write the record, draw the curves."""
    assert state.reason is not None
    model = job.model
    if state.watch.best_step != state.step:
        model = read_model(path, device=model.head.weight.device)
    whole = whole_look(job.task, model, loop, state)
    results = job.finish(model.eval(), path)
    seconds = around.clock() - around.started_s + before_s
    tokens = state.step * loop.settings.tokens_per_step
    results |= {
        "elapsed_s": round(state.elapsed_s, 3),
        "minutes": round(seconds / 60, 4),
        "tokens": tokens,
        "steps": state.step,
        "epochs": round(tokens / loop.settings.tokens_per_epoch, 4),
        "memory_peak_bytes": memory_peak_bytes(model.head.weight.device),
    }
    keeper.write(state, status=STATUS[state.reason], results=results | whole)
    reasons = {
        "budget": "The budget is used up.",
        "patience": f"Stopped early: no better validation loss for {state.watch.looks_since_best} looks.",
        "landed": f"Landed as you asked; --resume {path} goes on exactly from before the landing.",
    }
    words = [reasons[state.reason]]
    if state.watch.best_step != state.step:
        words.append(f"The result is the model of step {state.watch.best_step}, the best on the validation rows.")
    loop.events.emit(
        "end",
        step=state.step,
        reason=state.reason,
        best_step=state.watch.best_step,
        message=" ".join(words),
        **results,
    )
    if around.plots:
        plot_run(path)
    return results | whole
