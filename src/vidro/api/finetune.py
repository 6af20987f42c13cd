"""`finetune`: from a run and rows to a new run that has learned a task, with the settings of the schema as keywords.

Not here: the work itself (`train/finetune`, `train/classify`), what the keywords mean (`config/schema`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.api.loggers import Loggers, check_loggers
from vidro.api.places import RUNS_DIR, default_cache_dir
from vidro.api.pretrain import _say
from vidro.api.progress import LineProgress
from vidro.api.run import Run
from vidro.config.load import build, leaves, resolve
from vidro.config.schema import (
    BudgetOptions,
    ClassifyOptions,
    InstructionOptions,
    InstructOptions,
    LabelOptions,
    PreferenceOptions,
    PreferOptions,
    Settings,
    setting,
)
from vidro.core.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from vidro.core.events import Sink
    from vidro.train.pretrain import PretrainResult


@dataclass(frozen=True, kw_only=True)
class TuneRunOptions(Settings):
    """Which run to make, or to go on with."""

    out: str | None = setting(None, "Where to put the run; otherwise the first free runs/NAME-N.")
    resume: str | None = setting(None, "Go on with a stopped run, exactly: its path, its name, or last.")
    overwrite: bool = setting(False, "Replace the run that --out names.")
    log: tuple[str, ...] = setting((), "Also log to tensorboard or wandb (extras); repeat the flag for both.")
    config: str | None = setting(None, "A TOML file with settings, such as another run's run.toml; flags win.")


Options = ClassifyOptions | InstructOptions | PreferOptions
SCHEMAS: dict[str, type[Options]] = {"classify": ClassifyOptions, "instruct": InstructOptions, "prefer": PreferOptions}
"""The settings of each kind of fine-tuning."""


@dataclass(frozen=True)
class TuneRequest:
    """One wish to fine-tune: `base` names the run to start from, or ``where.resume`` the one to go on with."""

    kind: str
    base: str | None
    where: TuneRunOptions
    options: Options
    runs_dir: Path = RUNS_DIR


def finetune(
    kind: str,
    run: str | Path | Run | None = None,
    *,
    progress: bool = True,
    runs_dir: str | Path = RUNS_DIR,
    cache_dir: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Fine-tune a run's model and return the new run. `kind`: classify, instruct or prefer.

        spam = vidro.finetune("classify", "last", data="messages.tsv", epochs=5)
        spam.predict("You have won a prize!").label

    The keywords are the flags of ``vidro finetune``. Raises VidroError for what is wrong with rows or settings.
    """
    base = None if run is None else run.reference if isinstance(run, Run) else str(run)
    wish = tune_request(kind, base, settings, runs_dir=Path(runs_dir))
    result = tune(
        wish,
        cache_dir=default_cache_dir() if cache_dir is None else Path(cache_dir),
        sinks=(LineProgress(_say),) if progress else (),
    )
    return Run(result.path)


def tune_request(kind: str, base: str | None, keywords: Mapping[str, Any], *, runs_dir: Path = RUNS_DIR) -> TuneRequest:
    """The checked wish. Raises UsageError for unknown names, values out of range and wishes that contradict."""
    if kind not in SCHEMAS:
        raise UsageError(f"there is no fine-tuning called {kind!r}", hint=did_you_mean(kind, SCHEMAS))
    schema = SCHEMAS[kind]
    placing = leaves(TuneRunOptions)
    known = {**placing, **leaves(schema)}
    for name in keywords:
        if name not in known:
            raise UsageError(f"there is no setting {name!r}", hint=did_you_mean(name, known))
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in keywords.items()}
    where = build(TuneRunOptions, {name: v for name, v in plain.items() if name in placing and v is not None})
    said = {name: value for name, value in plain.items() if name not in placing}
    check_loggers(where.log)
    if where.resume is not None:
        _check_resume(base, where, said)
    elif base is None:
        raise UsageError("RUN is missing", hint=f"For example vidro finetune {kind} last --data FILE.")
    elif where.overwrite and where.out is None:
        raise UsageError("--overwrite replaces the run that --out names", hint="Say --out too.")
    options = resolve(schema, file=None if where.config is None else Path(where.config), flags=said)
    budget = {item.name: said[item.name] for item in fields(BudgetOptions) if said.get(item.name) is not None}
    options = replace(options, budget=build(BudgetOptions, budget)) if budget else options
    return TuneRequest(kind, base, where, options, runs_dir)


def _check_resume(base: str | None, where: TuneRunOptions, said: Mapping[str, Any]) -> None:
    if base is not None:
        raise UsageError("a resumed run knows what it started from", where=base, hint="Leave RUN out.")
    others = [name for name in ("out", "config", "overwrite") if getattr(where, name)]
    others += [name for name, value in said.items() if value is not None]
    if others:
        flag = others[0].replace("_", "-")
        raise UsageError(f"--{flag} does not go with --resume", hint="A resumed run keeps its place and settings.")


def rows_of(options: Options) -> LabelOptions | InstructionOptions | PreferenceOptions:
    """The section that names the rows."""
    return options.labels if isinstance(options, ClassifyOptions) else options.rows


def with_corpus(options: Options, *, cache_dir: Path) -> Options:
    """The files of a named corpus in place of its name; its own test rows, where it has some and none were named.

    Raises DataError for a corpus of another kind, and for one that must be fetched first.
    """
    from vidro.data.corpora import CORPORA, corpus_file

    rows = rows_of(options)
    if isinstance(rows, PreferenceOptions):
        return options
    if rows.data is None or rows.data not in CORPORA or Path(rows.data).exists():
        return options
    corpus, section = CORPORA[rows.data], "labels" if isinstance(options, ClassifyOptions) else "rows"
    kind = "labels" if section == "labels" else "instructions"
    if corpus.kind != kind:
        raise DataError(f"this corpus has no {kind}", where=rows.data, hint="See vidro data list.")
    test = rows.test
    if test is None and corpus.file("test") is not None:
        test = str(corpus_file(corpus.name, "test", cache_dir=cache_dir))
    data = str(corpus_file(corpus.name, "train", cache_dir=cache_dir))
    return replace(options, **{section: replace(rows, data=data, test=test)})


def tune(
    wish: TuneRequest,
    *,
    cache_dir: Path,
    sinks: tuple[Sink, ...] = (),
    on_landing: Callable[[], None] | None = None,
    age_s: float = 0.0,
) -> PretrainResult:
    """Fine-tune. `age_s` seconds of a budget in minutes are used already."""
    from vidro.checkpoint.run import open_run, resolve_run
    from vidro.train import finetune as training
    from vidro.train.classify import classify_job
    from vidro.train.instruct import instruct_job
    from vidro.train.prefer import prefer_job
    from vidro.train.pretrain import Surroundings

    make_job = {"classify": classify_job, "instruct": instruct_job, "prefer": prefer_job}[wish.kind]
    path = None
    if wish.where.resume is not None:
        path = resolve_run(wish.where.resume, runs_dir=wish.runs_dir).path
    elif wish.where.out is not None:
        path = Path(wish.where.out)
    with Loggers(wish.where.log, path=path, runs_dir=wish.runs_dir) as loggers:
        around = Surroundings(
            cache_dir=cache_dir,
            sinks=(*sinks, loggers),
            started_s=time.monotonic() - age_s,
            on_landing=on_landing,
        )
        if wish.where.resume is not None:
            assert path is not None
            return training.resume(make_job, SCHEMAS[wish.kind], path, around=around)
        assert wish.base is not None
        parent = open_run(resolve_run(wish.base, runs_dir=wish.runs_dir))
        data = rows_of(wish.options).data
        stem = f"{parent.path.name}-{wish.kind}" if data is None else Path(data).name
        return training.finetune(
            make_job,
            with_corpus(wish.options, cache_dir=cache_dir),
            parent,
            stem=stem,
            around=around,
            out=path,
            runs_dir=wish.runs_dir,
            overwrite=wish.where.overwrite,
        )
