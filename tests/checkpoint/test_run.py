from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from vidro.checkpoint.run import (
    RunRef,
    create_run,
    list_runs,
    lock_run,
    open_run,
    prune_checkpoints,
    read_record,
    resolve_run,
    write_record,
)
from vidro.checkpoint.training_state import checkpoint_steps, save_checkpoint
from vidro.core.errors import CheckpointError, RunError


def checkpoint(run: Path, step: int) -> None:
    tensors = {"w": torch.zeros(2)}
    save_checkpoint(run / "checkpoints", step, config={}, model=tensors, optimizer=tensors, state={})


def make_run(runs: Path, name: str, *, finished: bool = True) -> Path:
    run = create_run(runs, name, out=runs / name, overwrite=False)
    (run / "run.toml").write_text("")
    checkpoint(run, 10)
    if finished:
        (run / "model.safetensors").write_bytes(b"weights")
        write_record(run, {"kind": "base", "step": 10})
    return run


def test_runs_are_numbered_and_never_overwritten_unasked(tmp_path: Path) -> None:
    assert [create_run(tmp_path, "a b.txt", out=None, overwrite=False).name for _ in range(2)] == ["a-b-1", "a-b-2"]
    run = make_run(tmp_path, "mine")
    with pytest.raises(RunError, match=r"exists already. Continue it with --resume, replace it with --overwrite"):
        create_run(tmp_path, "x", out=run, overwrite=False)
    assert create_run(tmp_path, "x", out=run, overwrite=True) == run
    assert list(run.iterdir()) == []


def test_overwrite_removes_nothing_that_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="--overwrite removes runs only"):
        create_run(tmp_path, "x", out=tmp_path / "home", overwrite=True)
    with pytest.raises(RunError, match="this is a file, not a folder"):
        create_run(tmp_path, "x", out=tmp_path / "home" / "letter.txt", overwrite=True)
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_names(tmp_path: Path) -> None:
    first, second = make_run(tmp_path, "first"), make_run(tmp_path, "second")
    os.utime(first / "vidro.json", ns=(2**61, 2**61))
    assert list_runs(tmp_path) == [second, first]
    assert resolve_run("last", runs_dir=tmp_path) == RunRef(first)
    assert resolve_run("second@best", runs_dir=tmp_path) == RunRef(second, "best")
    assert resolve_run("second@10", runs_dir=tmp_path) == RunRef(second, "10")
    assert resolve_run(second, runs_dir=tmp_path) == RunRef(second)
    for spec, message in [
        ("secnd", "there is no run 'secnd' .* Did you mean second?"),
        ("second@x", "after @ stands 'best' or a step"),
        (tmp_path, "this folder is not a run"),
    ]:
        with pytest.raises(RunError, match=message):
            resolve_run(spec, runs_dir=tmp_path)
    with pytest.raises(RunError, match=r"there are no runs yet. Make one: vidro quickstart."):
        resolve_run("last", runs_dir=tmp_path / "none")


def test_opening_checks_the_root_and_falls_back_saying_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r")
    assert open_run(RunRef(run)).model_dir == run
    assert open_run(RunRef(run, "10")).model_dir == run / "checkpoints" / "step-10"
    (run / "model.safetensors").write_bytes(b"weightz")
    opened = open_run(RunRef(run))
    assert opened.model_dir == run / "checkpoints" / "step-10"
    assert "model.safetensors was cut short or altered; using the checkpoint of step 10 instead" in opened.notes[0]
    with pytest.raises(RunError, match=r"there is no checkpoint at step 11. Kept steps: 10."):
        open_run(RunRef(run, "11"))


def test_an_unfinished_run_opens_at_its_newest_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r", finished=False)
    opened = open_run(RunRef(run))
    assert opened.step == 10
    assert "the run is not finished; using the checkpoint of step 10" in opened.notes[0]
    (run / "checkpoints" / "step-10" / "manifest.json").unlink()
    with pytest.raises(RunError, match="there is no complete model in this run yet"):
        open_run(RunRef(run))


def test_damaged_and_newer_records(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r")
    text = (run / "vidro.json").read_text()
    (run / "vidro.json").write_text(text[:-9])
    with pytest.raises(CheckpointError, match="this is not valid JSON"):
        read_record(run)
    assert "using the checkpoint of step 10" in open_run(RunRef(run)).notes[0]
    (run / "vidro.json").write_text(text.replace('"format_version": 1', '"format_version": 7'))
    with pytest.raises(RunError, match="written by a newer Vidro"):
        open_run(RunRef(run))


def test_keep_the_newest_and_the_protected(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r")
    for step in (20, 30, 40, 50):
        checkpoint(run, step)
    prune_checkpoints(run, keep=2, protect={20})
    assert checkpoint_steps(run / "checkpoints") == [20, 40, 50]


def hold(path: str, held: object, release: object) -> None:
    with lock_run(Path(path)):
        held.set()  # type: ignore[attr-defined]
        release.wait(30)  # type: ignore[attr-defined]


def test_two_processes_cannot_train_one_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(str(tmp_path), held, release))
    process.start()
    assert held.wait(60)
    with pytest.raises(RunError, match="another process is training this run"):
        lock_run(tmp_path)
    release.set()
    process.join()
    with lock_run(tmp_path):
        pass
