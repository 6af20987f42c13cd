"""Pretraining: from a text and settings to a run directory. Wires the rooms together; decides nothing itself.

    text ─ split ─ tokenizer ─ shards ─ plan ─ model, optimizer, task, keeper ─ loop ─ full evaluation ─ record, plots

Three ways in: `pretrain` (a new run, perhaps from another run's model), `resume` (go on with a stopped one, exactly)
and `resume(more=…)` (a longer horizon for a finished one). Read before: `loop`. Not here: names and flags (`api`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vidro.checkpoint.huggingface import from_hf_config, read_model, write_model
from vidro.checkpoint.run import (
    OpenedRun,
    check_place,
    create_run,
    lock_run,
    safe_stem,
)
from vidro.checkpoint.training_state import Checkpoint, drop_after
from vidro.config.load import from_dict, read_settings, the_budget, to_dict, to_toml
from vidro.config.schema import BudgetOptions, DataOptions, PretrainOptions
from vidro.core.errors import CheckpointError, RunError
from vidro.core.events import EventStream, Sink
from vidro.core.files import read_json, sha256_file, write_text_atomic
from vidro.data.documents import STDIN
from vidro.data.foreign import is_shards
from vidro.data.prepare import Prepared, prepare
from vidro.data.report import ReadReport
from vidro.data.sources import find_inputs
from vidro.data.survey import TextSource, digest, open_source
from vidro.infer.decode import check_prompt
from vidro.model.device import choose_device, choose_precision
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.train.assemble import RunFacts, assemble
from vidro.train.conclude import conclude
from vidro.train.continuing import check_unchanged, checkpoint_to_continue, prolong
from vidro.train.defaults import Plan, TextFacts, make_plan, resolved, trains_bpe
from vidro.train.facts import announce
from vidro.train.log import run_log
from vidro.train.machine import settled
from vidro.train.parent import inherited, measure, parents_text
from vidro.train.plan import Outlook
from vidro.train.planning import Planner, Reason, make_planner
from vidro.train.speed import Speed
from vidro.train.stop import StopSignal
from vidro.train.vocabulary import make_tokenizer, tokenizer_of_shards
from vidro.train.yardsticks import known_yardsticks

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """The run, how it ended ("budget", "patience", "landed") and by which signal, and its figures."""

    path: Path
    reason: str
    signum: int | None
    results: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that is decided before training; what ``--dry-run`` shows."""

    source: str
    options: PretrainOptions
    plan: Plan
    tokenizer: Tokenizer
    prepared: Prepared
    notes: tuple[str, ...]
    outlook: Outlook | None = None
    """What to expect, for a budget in minutes on a text."""

    reasons: tuple[Reason, ...] = ()
    """What the planner chose, and why."""

    planner: Planner | None = None
    """Who chose, for a budget in minutes; knows the text and the machine's speed."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a run touches beside its own directory: the cache, the listeners, the clock.

    `started_s` is when the budget in minutes began, on the clock. More than one of `processes` cut a large text into
    tokens; the default is 1, because a script without a main guard cannot be started anew by them. Without a `speed`
    a budget in minutes measures it.
    """

    cache_dir: Path
    started_s: float
    sinks: tuple[Sink, ...] = ()
    clock: Clock = time.monotonic
    processes: int = 1
    plots: bool = True
    speed: Speed | None = None
    on_landing: Callable[[], None] | None = None


def set_up(
    source: str,
    options: PretrainOptions,
    *,
    cache_dir: Path,
    processes: int = 1,
    parent: OpenedRun | None = None,
    say: Callable[[str], object] = lambda message: None,
    speed: Speed | None = None,
    used_s: Callable[[], float] = lambda: 0.0,
) -> Setup:
    """Read, split and tokenize the text and make the plan; writes nothing but the cache.

    For a budget in minutes, of which `used_s()` are gone, the planner chooses what is not said. Raises DataError for a
    text and UsageError for settings that cannot be used.
    """
    the_budget(options.budget)
    choose_precision(options.train.precision, choose_device(options.train.device))
    options = replace(options, data=lasting_val(options.data))
    text = source if is_shards(source) else open_source(source, options.data, cache_dir=cache_dir)
    notes: list[str] = []
    given = None if parent is None else inherited(parent, options)
    shape = None if given is None else given[1]
    planner = make_planner(
        text, options, speed=speed, used_s=used_s, cache_dir=cache_dir, say=say, fresh=parent is None
    )
    if given is not None:
        tokenizer = given[0]
    elif isinstance(text, TextSource):
        tokenizer, notes = make_tokenizer(text, options.data, say=say)  # its size: by the text alone
    else:
        tokenizer = tokenizer_of_shards(Path(source), options.data)
    say("Cutting the text into tokens.")
    prepared = prepare(text, tokenizer, cache_dir=cache_dir, options=options.data, processes=processes)
    notes = [*prepared.notes, *notes]
    facts = TextFacts(prepared.name, prepared.train.n_tokens, tokenizer.vocab_size)
    if planner is not None:  # before the seconds are divided; the run finds them in the cache
        val_sha256 = val_checksum(options.data, cache_dir=cache_dir)
        known_yardsticks(prepared, options.data, val_sha256=val_sha256, cache_dir=cache_dir)
    blueprint = None if planner is None else planner.choose(prepared, tokenizer.vocab_size, shape)
    plan = make_plan(options, facts, shape=shape, blueprint=blueprint)
    outlook, reasons = (None, ()) if planner is None else planner.explain(plan)
    for prompt in options.train.sample_prompts:
        check_prompt([tokenizer.start_id, *tokenizer.encode(prompt)], plan.model.context_length)
    return Setup(
        source=lasting(source, text),
        options=resolved(
            options,
            plan,
            own_vocabulary=parent is None and isinstance(text, TextSource) and trains_bpe(options.data),
        ),
        plan=plan,
        tokenizer=tokenizer,
        prepared=prepared,
        notes=tuple(notes),
        outlook=outlook,
        reasons=reasons,
        planner=planner,
    )


def with_old_rates(options: PretrainOptions) -> PretrainOptions:
    """Settings of a run from before the embedding had a rate of its own: it goes on with the head's."""
    optim = options.optim
    if optim.embedding_lr is not None or options.model.tie_embeddings:
        return options
    return replace(options, optim=replace(optim, embedding_lr=optim.lr))


def lasting(source: str, text: str | TextSource) -> str:
    """The source as a resume can find it: absolute, and the cached copy of what came through standard input."""
    if source == STDIN and isinstance(text, TextSource):
        return str(text.files[0].path.resolve())
    return str(Path(source).resolve()) if Path(source).exists() else source


def lasting_val(data: DataOptions) -> DataOptions:
    """The validation text as a resume from another folder can find it."""
    if data.val is None or not Path(data.val).exists():
        return data
    return replace(data, val=str(Path(data.val).resolve()))


def val_checksum(data: DataOptions, *, cache_dir: Path) -> str | None:
    """SHA-256 of a validation text of its own (``--val``): of the file, or of all files' checksums."""
    if data.val is None:
        return None
    files = find_inputs(data.val, report=ReadReport(), cache_dir=cache_dir)
    checksums = [sha256_file(item.path) for item in files]
    return checksums[0] if len(checksums) == 1 else digest(checksums)


def pretrain(
    source: str,
    options: PretrainOptions,
    *,
    around: Surroundings,
    out: Path | None = None,
    runs_dir: Path = Path("runs"),
    overwrite: bool = False,
    parent: OpenedRun | None = None,
) -> PretrainResult:
    """Train a new model on `source`; with `parent`, start from that run's model and tokenizer.

    Raises VidroError for anything that is wrong with the text, the settings or the place, before training begins,
    and TrainingError when the loss is not finite.
    """
    if out is not None:
        check_place(out, overwrite=overwrite)
    listeners = EventStream(around.sinks, clock=around.clock)
    setup = set_up(
        source,
        options,
        cache_dir=around.cache_dir,
        processes=around.processes,
        parent=parent,
        say=lambda message: listeners.emit("note", message=message),
        speed=around.speed,
        used_s=lambda: around.clock() - around.started_s,
    )
    path = create_run(runs_dir, safe_stem(setup.prepared.name), out=out, overwrite=overwrite)
    with lock_run(path), settled(options.train.threads):  # before the first tensor: threads inherit what they find
        torch.manual_seed(options.train.seed)
        facts = RunFacts(
            source=setup.source,
            source_sha256=setup.prepared.source_sha256,
            val_sha256=val_checksum(setup.options.data, cache_dir=around.cache_dir),
            tokenizer=setup.tokenizer.fingerprint,
            budget=to_dict(options.budget),
            most_steps=setup.plan.most_steps,
        )
        model = fresh_model(setup) if parent is None else _parent_model(parent, setup.plan)
        if parent is not None:
            setup = replace(setup, notes=(*parent.notes, *setup.notes))
            began = around.clock()
            texts, note = parents_text(parent.path, setup.tokenizer, cache_dir=around.cache_dir)
            setup = setup if note is None else replace(setup, notes=(*setup.notes, note))
            before = measure(model, setup.prepared, texts, setup.tokenizer)
            facts = replace(facts, parent=str(parent.path.resolve()), before=before, before_s=around.clock() - began)
        write_text_atomic(path / "run.toml", _toml_text(setup.source, setup.options))
        return _train(path, setup, facts, model=model, around=around)


def resume(
    path: Path,
    *,
    around: Surroundings,
    said: dict[str, Any] | None = None,
    more: float | None = None,
) -> PretrainResult:
    """Go on with a stopped run from its newest whole checkpoint, bit for bit; `more` prolongs a finished one.

    `more` has the unit of the run's own budget and moves its end that far: training goes on from the checkpoint
    before the decay. `said` are settings the user repeats; one that differs is an error that names it.
    """
    if not (path / "run.toml").is_file():
        raise RunError("there is no run to go on with", where=path, hint="Start it with vidro pretrain FILE.")
    options = with_old_rates(read_settings(path / "run.toml"))
    choose_precision(options.train.precision, choose_device(options.train.device))
    said = dict(said or {})
    if said.get("val") is not None:
        said["val"] = lasting_val(DataOptions(val=said["val"])).val
    check_unchanged(path, options, said)
    with lock_run(path):
        checkpoint, notes = checkpoint_to_continue(path, more=more is not None)
        if more is not None:
            checkpoint = prolong(path, checkpoint, options, more)
        facts = RunFacts(**checkpoint.state["facts"])
        budget = from_dict(BudgetOptions, facts.budget if facts.budget is not None else {})
        if budget != options.budget:  # the checkpoint decides; a kill may have come before run.toml was written
            options = replace(options, budget=budget)
            write_text_atomic(path / "run.toml", _toml_text(facts.source, options))
        drop_after(path / "checkpoints", checkpoint.state["loop"]["step"])
        with settled(facts.threads):
            setup = _setup_again(path, options, facts, checkpoint, around=around, notes=notes)
            model = Transformer(setup.plan.model)
            return _train(path, setup, facts, model=model, around=around, checkpoint=checkpoint)


def _setup_again(
    path: Path,
    options: PretrainOptions,
    facts: RunFacts,
    checkpoint: Checkpoint,
    *,
    around: Surroundings,
    notes: list[str],
) -> Setup:
    """The setup of a run that goes on; raises RunError when its text or its tokenizer is not what it was."""
    tokenizer = Tokenizer.load(path)
    if tokenizer.fingerprint != facts.tokenizer:
        hint = "Put the old tokenizer.json back."
        raise RunError("its tokenizer has changed since this run began", where=path, hint=hint)
    prepared = prepare(
        facts.source, tokenizer, cache_dir=around.cache_dir, options=options.data, processes=around.processes
    )
    for name, now, then in (
        (facts.source, prepared.source_sha256, facts.source_sha256),
        (options.data.val, val_checksum(options.data, cache_dir=around.cache_dir), facts.val_sha256),
    ):
        if now != then:
            hint = "Put the old text back, or start a new run with --from."
            raise RunError(f"{name} has changed since this run began", where=path, hint=hint)
    shape = from_hf_config(read_json(checkpoint.path / "config.json", error=CheckpointError))
    text = TextFacts(prepared.name, prepared.train.n_tokens, tokenizer.vocab_size)
    return Setup(
        source=facts.source,
        options=options,
        plan=make_plan(options, text, shape=replace(shape, dropout=options.model.dropout)),
        tokenizer=tokenizer,
        prepared=prepared,
        notes=tuple(notes),
    )


def _train(
    path: Path,
    setup: Setup,
    facts: RunFacts,
    *,
    model: Transformer,
    around: Surroundings,
    checkpoint: Checkpoint | None = None,
) -> PretrainResult:
    """The part that every way in shares: assemble the loop, run it, evaluate in full, write the record."""
    with run_log(path, around.sinks, clock=around.clock) as events, StopSignal(around.on_landing) as stop:
        if checkpoint is None:
            write_model(path, model, setup.tokenizer)
        run = assemble(path, setup, facts, model=model, events=events, around=around, stop=stop, checkpoint=checkpoint)
        announce(run, resumed=checkpoint is not None)
        state = run.loop.run()
        results = conclude(run, state)
    assert state.reason is not None
    signum = stop.signum if state.reason == "landed" else None  # a signal after the last step stopped nothing
    return PretrainResult(path=path, reason=state.reason, signum=signum, results=results)


def fresh_model(setup: Setup) -> Transformer:
    """A model that knows nothing; which nothing, the seed decides."""
    model = Transformer(setup.plan.model)
    initialise(model, setup.options.train.seed, scheme=setup.options.train.init)
    return model


def _parent_model(parent: OpenedRun, plan: Plan) -> Transformer:
    model = read_model(parent.model_dir)
    if model.config == plan.model:
        return model
    other = Transformer(plan.model)  # the same shape with another dropout
    other.load_state_dict(model.state_dict())
    return other


def _toml_text(source: str, options: PretrainOptions) -> str:
    """All settings, resolved; the file can be given to --config."""
    return f"# vidro pretrain {source}: every setting, resolved; usable with --config\n{to_toml(to_dict(options))}"


def exit_code(result: PretrainResult) -> int:
    """0, or 128 + the signal that landed the run."""
    if result.signum is None:
        return 0
    return 128 + (result.signum if result.signum in (signal.SIGINT, signal.SIGTERM) else signal.SIGINT)
