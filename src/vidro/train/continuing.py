"""Where a run goes on: from which checkpoint, under which settings, and how a finished one is prolonged.

Called while the run's lock is held. Not here: the resume itself (`pretrain`), the checkpoints' form (`checkpoint`).
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vidro.checkpoint.run import read_record, write_record
from vidro.checkpoint.training_state import (
    Checkpoint,
    drop_after,
    load_checkpoint,
    newest_complete,
    rewrite_state,
    sweep,
)
from vidro.config.load import leaves, the_budget
from vidro.config.schema import PretrainOptions
from vidro.core.errors import CheckpointError, RunError, UsageError
from vidro.core.files import read_json, remove_leftovers
from vidro.train.assemble import RunFacts


def check_unchanged(path: Path, options: PretrainOptions, said: dict[str, Any]) -> None:
    """Raise RunError for a setting that the user repeats with another value than the run was made with."""
    known = leaves(PretrainOptions)
    for name, value in said.items():
        section = known[name][0]
        before = getattr(getattr(options, section), name) if section else getattr(options, name)
        same = tuple(value) == before if isinstance(value, list | tuple) else value == before
        if value is not None and not same:
            flag = name.replace("_", "-")
            hint = "Leave the flag out, or start a new run with --from."
            made = f"without {flag}" if before is None else f"with {flag} {before}, not {value}"
            raise RunError(f"this run was made {made}", where=path, hint=hint)


def checkpoint_to_continue(
    path: Path, *, more: bool, anew: str = "Prolong it with --more, or start a new run with --from."
) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint (for `more`: the one before the decay), and what was wrong with newer ones."""
    try:
        finished = read_record(path).get("status") == "finished"
    except CheckpointError:  # torn or altered: the checkpoints, which are whole or not there, decide
        finished = False
    directory = path / "checkpoints"
    sweep(directory)
    for folder in (path, path / "probes"):
        remove_leftovers(folder)
    if more and not finished:
        raise RunError("--more prolongs a finished run", where=path, hint="This one is not: continue it with --resume.")
    if finished and not more:
        raise RunError("this run is finished", where=path, hint=anew)
    newest, notes = newest_complete(directory)
    if newest is None:
        hint = "It was stopped before its first checkpoint; start it again with --overwrite."
        raise RunError("there is no complete checkpoint to continue from", where=path, hint=hint)
    checkpoint = load_checkpoint(newest)
    loop = checkpoint.state["loop"]
    if loop["reason"] == "landed":  # the landing is undone: go on from before its quick decay
        before, more_notes = newest_complete(directory, at_most=loop["landing_step"])
        if before is None:
            raise RunError("the checkpoint before the landing is damaged", where=path, hint="Start from it: --from.")
        return load_checkpoint(before), notes + more_notes
    if more:
        step = loop["pre_decay_step"]
        if step is None:
            hint = "Only the schedule wsd keeps one; start a new run with --from."
            raise RunError("this run kept no checkpoint from before its decay", where=path, hint=hint)
        return load_checkpoint(directory / f"step-{step}"), notes
    return checkpoint, notes


def prolong(path: Path, checkpoint: Checkpoint, options: PretrainOptions, more: float) -> Checkpoint:
    """Move the end of a finished run: its checkpoint from before the decay gets the new budget.

    The order makes a kill harmless: first the record says that the run goes on, last the checkpoint carries the new
    budget; between the two, a resume ends the run again as it was.
    """
    kind = the_budget(options.budget)
    before = getattr(options.budget, kind)
    if isinstance(before, int) and more != int(more):
        raise UsageError(f"{more} is not a whole number of {kind}", where="more")
    facts = RunFacts(**checkpoint.state["facts"])
    longer = replace(
        facts,
        budget={kind: type(before)(before + more)},
        training_s=None if facts.training_s is None else facts.training_s + 60 * more,
        most_steps=None,  # more was asked for, whatever the planner thought of it
        forecast=None,  # that was for the budget before
        warmup=0.0,  # it is over, and must not begin anew because the whole has become longer
    )
    record = {name: value for name, value in read_record(path).items() if name not in ("files", "format_version")}
    write_record(path, {**record, "status": "training"})
    drop_after(path / "checkpoints", checkpoint.state["loop"]["step"])
    config = read_json(checkpoint.path / "config.json", error=CheckpointError)
    return rewrite_state(checkpoint, config, {**checkpoint.state, "facts": asdict(longer)})
