"""How many validation rows a look takes while fine-tuning: a fixed, evenly spaced part; all of them once, at the end.

All looks together cost at most 2 % of the run, as in pretraining, but a look at fewer than `LEAST_ROWS` says nothing,
whatever it costs. Not here: which rows those are and what is measured (`instruct`), when to look (`loop`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch

from vidro.train.assemble import FORWARD_SHARE, LOOKS_SHARE
from vidro.train.loop import Loop, LoopState

LEAST_ROWS = 64


@runtime_checkable
class PartlySeen(Protocol):
    """A task whose looks take `look_rows` of its `n_val` validation rows (None: all)."""

    look_rows: int | None

    @property
    def n_val(self) -> int: ...
    def evaluate(self, model: torch.nn.Module) -> dict[str, float]: ...
    def evaluate_all(self, model: torch.nn.Module) -> dict[str, float]: ...


def rows_by_steps(n_val: int, *, steps: int, batch_rows: int, looks: int) -> int:
    """Rows of a look in a run of so many steps. A look only goes forward, a third of what a step costs a row.

    >>> rows_by_steps(2_397, steps=2_700, batch_rows=16, looks=20)  # of Alpaca, an epoch
    130
    >>> rows_by_steps(55, steps=177, batch_rows=16, looks=20)  # of the book's, three epochs: too few to leave any out
    55
    """
    return between(LOOKS_SHARE / FORWARD_SHARE * steps * batch_rows / looks, n_val)


def rows_by_seconds(n_val: int, *, seconds: float, row_s: float, looks: int) -> int:
    """Rows of a look in a run of so many seconds, where a row of a look takes `row_s`.

    >>> rows_by_seconds(2_397, seconds=600.0, row_s=0.003, looks=20)
    200
    """
    return between(LOOKS_SHARE * seconds / looks / row_s, n_val)


def between(rows: float, n_val: int) -> int:
    """At least so many that a look says something, at most all."""
    return min(n_val, max(LEAST_ROWS, math.ceil(rows - 1e-9)))


def seconds_per_row(task: PartlySeen, model: torch.nn.Module, clock: Callable[[], float]) -> float:
    """What a validation row costs, by a trial look at the least rows; the first look, which allocates, is not timed."""
    before, task.look_rows = task.look_rows, min(task.n_val, LEAST_ROWS)
    task.evaluate(model)
    began = clock()
    task.evaluate(model)
    row_s = max(clock() - began, 1e-6) / task.look_rows
    task.look_rows = before
    return row_s


def look_notes(task: object, looks: int) -> list[str]:
    """In words, which part of the validation rows is looked at; nothing where it is all of them."""
    if not isinstance(task, PartlySeen) or task.look_rows is None or task.look_rows >= task.n_val:
        return []
    return [
        f"Each of {looks} looks takes the same {task.look_rows:,} of {task.n_val:,} validation rows, evenly spaced; "
        "all of them are read once, at the end."
    ]


def whole_look(task: object, model: torch.nn.Module, loop: Loop, state: LoopState) -> dict[str, Any]:
    """The kept model on all validation rows, where looks took a part: said, and as ``vidro.json`` has it."""
    if not isinstance(task, PartlySeen):
        return {}
    found = task.evaluate_all(model)
    step, settings = state.watch.best_step, loop.settings
    tokens = step * settings.tokens_per_step
    epoch = round(tokens / settings.tokens_per_epoch, 4)
    where = {"step": step, "tokens": tokens, "epoch": epoch, "elapsed_s": round(state.elapsed_s, 3)}
    loop.events.emit("eval", **where, split="val", full=True, **found)
    return {**{f"val_{name}": value for name, value in found.items()}, "full": True}
