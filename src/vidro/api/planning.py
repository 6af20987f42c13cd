"""`plan`: what to expect of a text in 1, 10, 60 minutes and a night, before anything is trained.

Not here: how it is decided (`train/plan`), training (`pretrain`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.api.places import default_cache_dir
from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.train.planning import Planned
    from vidro.train.speed import Speed

MINUTES = (1.0, 10.0, 60.0, 480.0)  # the last is a night


@dataclass(frozen=True, kw_only=True)
class PlanTable:
    """The plans of one text on this machine, by rising budget, and what there is to say of the text."""

    source: str
    train_bytes: int
    speed: Speed
    rows: tuple[Planned, ...]
    notes: tuple[str, ...]


def plan(
    source: str | Path,
    *,
    minutes: float | Sequence[float] = MINUTES,
    from_run: str | Path | None = None,
    runs_dir: str | Path = "runs",
    cache_dir: str | Path | None = None,
    speed: Speed | None = None,
    age_s: float = 0.0,
    **settings: Any,
) -> PlanTable:
    """Plans for `source` in each of `minutes`; the other keywords are settings of `vidro.pretrain`, which are kept.

    Reads the text and trains two models of random numbers for a second to know this machine (or takes its `speed`).
    What that takes, and the `age_s` of the process before, training will not have either.
    `from_run` is another run, whose model is tried out on the text for some seconds; the last of the notes says how far
    it came. Raises VidroError for a text that cannot be read and for settings that cannot be used.

        vidro.plan("book.txt").rows[1].outlook.forecast.bits_per_byte
    """
    from vidro.checkpoint.run import open_run, resolve_run
    from vidro.data.survey import open_source
    from vidro.train.parent import start_note
    from vidro.train.planning import look_at, measure, planned, small_text_notes

    budgets = sorted([minutes] if isinstance(minutes, int | float) else minutes)
    if not budgets or budgets[0] <= 0:
        raise UsageError("there is no time to plan for", where="minutes", hint="For example --minutes 10.")
    for name in ("steps", "tokens", "epochs"):
        if settings.get(name) is not None:
            raise UsageError("plans are for budgets in minutes", where=name, hint="Leave it out.")
    options = resolve(PretrainOptions, flags=settings)
    if options.data.tokenizer not in (None, "bpe"):
        hint = "Leave it out; vidro pretrain FILE --minutes N --dry-run plans with it."
        raise UsageError("plans are for a vocabulary of the text's own", where="tokenizer", hint=hint)
    cache = default_cache_dir() if cache_dir is None else Path(cache_dir)
    began = time.monotonic()
    text = open_source(str(source), options.data, cache_dir=cache)
    speed = measure(options) if speed is None else speed
    used_s = age_s + time.monotonic() - began
    looked = look_at(text, cache_dir=cache, threads=options.train.threads)  # the run will find this in the cache
    rows = tuple(planned(looked, options, speed, 60.0 * budget, used_s=used_s, name=text.name) for budget in budgets)
    notes = [*text.notes, *small_text_notes(looked, rows)]
    if from_run is not None:
        notes.append(start_note(text, open_run(resolve_run(str(from_run), runs_dir=Path(runs_dir))), options))
    return PlanTable(source=str(source), train_bytes=looked.train_bytes, speed=speed, rows=rows, notes=tuple(notes))
