"""What `vidro.pretrain` and ``vidro pretrain`` accept: the settings of the schema, and where the run goes.

Both are made from here, so that names and defaults are the same in Python and on the command line. Not here: what a
setting of the model or the training means (`config/schema`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from vidro.config.load import build, leaves, resolve
from vidro.config.schema import BudgetOptions, PretrainOptions, SamplingOptions, Settings, setting
from vidro.core.errors import UsageError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class RunOptions(Settings):
    """Which run to make or to go on with. In Python `from_run` is what the command line calls ``--from``."""

    out: str | None = setting(None, "Where to put the run; otherwise the first free runs/NAME-N.")
    resume: str | None = setting(None, "Go on with a stopped run, exactly: its path, its name, or last.")
    more: float | None = setting(None, "With --resume: prolong a finished run, in the unit of its budget.", gt=0)
    from_run: str | None = setting(None, "Start from another run's model and tokenizer instead of from nothing.")
    overwrite: bool = setting(False, "Replace the run that --out names.")
    log: tuple[str, ...] = setting((), "Also log to tensorboard or wandb (extras); repeat the flag for both.")
    config: str | None = setting(None, "A TOML file with settings, such as another run's run.toml; flags win.")


def split(keywords: Mapping[str, Any]) -> tuple[RunOptions, dict[str, Any]]:
    """Where the run goes, and the rest: names of the schema. Raises UsageError for a name nobody knows."""
    placing = leaves(RunOptions)
    known = {**placing, **leaves(PretrainOptions)}
    for name in keywords:
        if name not in known:
            raise UsageError(f"there is no setting {name!r}", hint=did_you_mean(name, known))
    where = {k: str(v) if isinstance(v, Path) else v for k, v in keywords.items() if k in placing and v is not None}
    said = {k: str(v) if isinstance(v, Path) else v for k, v in keywords.items() if k not in placing}
    return build(RunOptions, where), said


def pretrain_options(where: RunOptions, said: dict[str, Any]) -> PretrainOptions:
    """Defaults < the --config file < what was said. A budget that was said replaces the file's, of whatever kind."""
    options = resolve(PretrainOptions, file=None if where.config is None else Path(where.config), flags=said)
    budget = {item.name: said[item.name] for item in fields(BudgetOptions) if said.get(item.name) is not None}
    return replace(options, budget=build(BudgetOptions, budget)) if budget else options


def sampling_options(said: Mapping[str, Any]) -> SamplingOptions:
    """SamplingOptions from keywords. A single `stop` text may be a plain string."""
    values = dict(said)
    if isinstance(values.get("stop"), str):
        values["stop"] = (values["stop"],)
    return resolve(SamplingOptions, flags=values)


def signature(first: list[inspect.Parameter], *schemas: type[Settings]) -> inspect.Signature:
    """What ``help()`` and editors show for a function that takes the settings of `schemas` as keywords."""
    parameters = list(first)
    for schema in schemas:
        for name, (_, item) in leaves(schema).items():
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=item.default))
    return inspect.Signature(parameters)
