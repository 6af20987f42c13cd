"""`pretrain`: from a text to a `Run`, with the settings of the schema as keywords.

`Request` is what was asked for, checked before anything heavy is imported; the command line makes one too, shows it
with ``--dry-run`` and gives its own display to `carry_out`. Not here: the work itself (`train/pretrain`).
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.api.loggers import Loggers, check_loggers
from vidro.api.places import RUNS_DIR, default_cache_dir
from vidro.api.progress import LineProgress
from vidro.api.run import Run
from vidro.api.settings import RunOptions, pretrain_options, signature, split
from vidro.config.load import read_settings, the_budget
from vidro.config.schema import PretrainOptions
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.core.events import Sink
    from vidro.train.pretrain import PretrainResult, Setup
    from vidro.train.speed import Speed


@dataclass(frozen=True)
class Request:
    """One wish to train: a new run on `source`, or (``where.resume``) going on with one. `said`: what the user said."""

    source: str | None
    where: RunOptions
    options: PretrainOptions
    said: Mapping[str, Any]
    runs_dir: Path = RUNS_DIR


def pretrain(
    source: str | Path | None = None,
    *,
    progress: bool = True,
    runs_dir: str | Path = RUNS_DIR,
    cache_dir: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Make a language model from the text in `source` and return its run.

    `source`: a file, a folder, a glob pattern, or ``-`` (stdin). Exactly one of `minutes`, `tokens`, `steps` and
    `epochs` says for how long; the other keywords are the flags of ``vidro pretrain`` (``--from`` is `from_run`).
    The first Ctrl-C lands the run: a short decay, saved, usable. Raises VidroError for what is wrong with the text or
    the settings, and names the nearest setting for one that does not exist.

        run = vidro.pretrain("book.txt", minutes=10)
        run = vidro.pretrain(resume="last")
    """
    wish = request(None if source is None else str(source), settings, runs_dir=Path(runs_dir))
    result = carry_out(
        wish,
        cache_dir=default_cache_dir() if cache_dir is None else Path(cache_dir),
        sinks=(LineProgress(_say),) if progress else (),
        on_landing=(lambda: _say("Landing: a short decay, then saving; interrupt again to stop at once.")),
    )
    return Run(result.path, device=read_settings(result.path / "run.toml").train.device)


pretrain.__signature__ = signature(  # pyright: ignore[reportFunctionMemberAccess]
    [p for p in inspect.signature(pretrain).parameters.values() if p.kind is not p.VAR_KEYWORD],
    RunOptions,
    PretrainOptions,
)


def request(source: str | None, keywords: Mapping[str, Any], *, runs_dir: Path = RUNS_DIR) -> Request:
    """The checked wish. Raises UsageError for unknown names, values out of range and wishes that contradict."""
    where, said = split(keywords)
    check_loggers(where.log)
    if where.resume is not None:
        _check_resume(source, where)
    options = pretrain_options(where, said)
    if where.resume is None:
        _check_new(source, where, options)
    return Request(source=source, where=where, options=options, said=said, runs_dir=runs_dir)


def _check_resume(source: str | None, where: RunOptions) -> None:
    if source is not None:
        raise UsageError("a resumed run knows its text", where=source, hint="Leave the file out.")
    for name, flag in (("out", "out"), ("from_run", "from"), ("config", "config"), ("overwrite", "overwrite")):
        if getattr(where, name):
            raise UsageError(f"--{flag} does not go with --resume", hint="A resumed run keeps its place and settings.")


def _check_new(source: str | None, where: RunOptions, options: PretrainOptions) -> None:
    if where.more is not None:
        raise UsageError("--more prolongs a finished run", hint="Name it with --resume; for example --resume last.")
    if source is None:
        raise UsageError("no text is named", hint="For example vidro pretrain book.txt --minutes 10.")
    if where.overwrite and where.out is None:
        raise UsageError("--overwrite replaces the run that --out names", hint="Say --out too.")
    the_budget(options.budget)


def look_ahead(
    wish: Request,
    *,
    cache_dir: Path,
    say: Callable[[str], None],
    processes: int = 1,
    speed: Speed | None = None,
    used_s: Callable[[], float] = lambda: 0.0,
) -> Setup:
    """Everything that is decided before training, without training: text read, tokenizer and plan made.

    A `speed` that was measured is not measured again; `used_s()` of the minutes are gone.
    """
    from vidro.train.pretrain import set_up

    if wish.source is None:
        raise UsageError("a resumed run has nothing left to plan", hint="Look at it with vidro runs show.")
    parent = _parent(wish)
    return set_up(
        wish.source, wish.options, cache_dir=cache_dir, processes=processes, parent=parent, say=say, speed=speed,
        used_s=used_s,
    )  # fmt: skip


def carry_out(
    wish: Request,
    *,
    cache_dir: Path,
    sinks: tuple[Sink, ...] = (),
    on_landing: Callable[[], None] | None = None,
    age_s: float = 0.0,
    processes: int = 1,
    speed: Speed | None = None,
) -> PretrainResult:
    """Train. `age_s` seconds of a budget in minutes are used already (the imports of this process, say); a `speed` that
    was measured is not measured again.

    `processes` may cut a large text into tokens; more than one only in a program that can be started anew.
    """
    from vidro.checkpoint.run import resolve_run
    from vidro.train import pretrain as training

    where, path = wish.where, None
    if where.resume is not None:
        path = resolve_run(where.resume, runs_dir=wish.runs_dir).path
    elif where.out is not None:
        path = Path(where.out)
    with Loggers(where.log, path=path, runs_dir=wish.runs_dir) as loggers:
        around = training.Surroundings(
            cache_dir=cache_dir,
            sinks=(*sinks, loggers),
            started_s=time.monotonic() - age_s,
            on_landing=on_landing,
            processes=processes,
            speed=speed,
        )
        if where.resume is not None:
            assert path is not None
            return training.resume(path, around=around, said=dict(wish.said), more=where.more)
        assert wish.source is not None
        return training.pretrain(
            wish.source,
            wish.options,
            around=around,
            out=path,
            runs_dir=wish.runs_dir,
            overwrite=where.overwrite,
            parent=_parent(wish),
        )


def _parent(wish: Request) -> Any:
    """The run of ``--from``, opened and checked."""
    if wish.where.from_run is None:
        return None
    from vidro.checkpoint.run import open_run, resolve_run

    return open_run(resolve_run(wish.where.from_run, runs_dir=wish.runs_dir))


def _say(line: str) -> None:
    """Progress: on stderr, or where a notebook does not paint it red."""
    stream = sys.stdout if "ipykernel" in sys.modules else sys.stderr
    print(line, file=stream, flush=True)
