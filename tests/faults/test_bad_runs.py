"""Damaged or busy files through the real command line: made again, fallen back from, or refused in one line.

Shards and their tokenizer, checkpoints, run directories, two processes, a full disk. Texts, numbers and names:
`test_bad_input.py`. What damage does further down is tested in `tests/data`, `tests/checkpoint`, `tests/train`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.faults.commands import TINY, TRAIN, Refused, Works, contents

from vidro.checkpoint.run import read_record
from vidro.cli.main import main


def cut(path: Path, *, n_bytes: int = 5) -> None:
    path.write_bytes(path.read_bytes()[:-n_bytes])


def alter(path: Path) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


# Shards and their tokenizer


@pytest.mark.parametrize("damage", [cut, alter])
@pytest.mark.parametrize("kind", ["tokens", "ends", "json"])
def test_a_damaged_cache_is_made_again_and_said(
    kind: str, damage: Callable[[Path], None], desk: Path, works: Works
) -> None:
    command = ["pretrain", "book.txt", *TRAIN, "--dry-run"]
    assert "again" not in works(*command)
    names = {"tokens": "*.train.tokens", "ends": "*.val.ends", "json": "*.shard.json"}
    (file,) = Path(os.environ["VIDRO_CACHE"]).joinpath("tokens").rglob(names[kind])
    whole = file.read_bytes()
    damage(file)
    if kind == "json" and damage is alter:
        file.write_text("{", encoding="utf-8")
    err = works(*command)
    assert "they were made again" in err
    assert "book.txt" in err
    assert file.read_bytes() == whole
    assert "again" not in works(*command)


@pytest.fixture
def shards(desk: Path, works: Works) -> Path:
    """A folder of tokens that the user made: bytes of book.txt."""
    works("data", "prepare", "book.txt", "--tokenizer", "bytes", "--out", "tokens")
    return desk / "tokens"


@pytest.mark.parametrize(
    ("damage", "expected"), [(cut, "these tokens are cut short"), (alter, "these tokens were altered")]
)
def test_damaged_shards(damage: Callable[[Path], None], expected: str, shards: Path, refused: Refused) -> None:
    (file,) = shards.glob("*.train.tokens")
    damage(file)
    line = refused("pretrain", "tokens", "--steps", "3", *TINY)
    assert line.startswith(f"{Path('tokens') / file.name}: {expected}")
    assert line.endswith("Make the tokens again: vidro data prepare")


def test_a_shard_without_its_record(shards: Path, refused: Refused) -> None:
    (file,) = shards.glob("*.shard.json")
    cut(file, n_bytes=200)
    assert "The file is cut short or altered." in refused("pretrain", "tokens", "--steps", "3", *TINY)


def test_a_tokenizer_that_does_not_match_the_shards(desk: Path, shards: Path, refused: Refused, works: Works) -> None:
    works("tokenizer", "train", "book.txt", "--kind", "chars", "--out", "other")
    line = refused("pretrain", "tokens", "--tokenizer", "other", "--steps", "3", *TINY)
    assert "these tokens were made by another tokenizer" in line
    assert "Use the tokenizer they were made with" in line
    assert "these tokens were made by another tokenizer" in refused(
        "pretrain", "tokens", "--from", "s", "--steps", "3", "--batch-tokens", "64"
    )
    line = refused("data", "prepare", "book.txt", "--tokenizer", "other", "--out", "tokens")
    assert line == "tokens: there are tokens of another tokenizer here. Choose another folder, or remove this one."


def test_a_damaged_tokenizer_file(desk: Path, refused: Refused) -> None:
    shutil.copy(desk / "runs" / "s" / "tokenizer.json", desk / "mine.json")
    cut(desk / "mine.json", n_bytes=300)
    assert refused("pretrain", "book.txt", "--tokenizer", "mine.json", "--steps", "3", *TINY).startswith("mine.json: ")
    (desk / "mine.json").write_text("{}", encoding="utf-8")
    line = refused("pretrain", "book.txt", "--tokenizer", "mine.json", "--steps", "3", *TINY)
    assert line.startswith("mine.json: this is JSON, but not a tokenizer.json")


# Runs and checkpoints


@pytest.mark.parametrize("damage", [cut, alter])
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_resume_falls_back_to_the_last_whole_checkpoint_and_says_so(
    file: str, damage: Callable[[Path], None], desk: Path, works: Works
) -> None:
    damage(desk / "runs" / "s" / "checkpoints" / "step-6" / file)
    if file == "manifest.json" and damage is alter:
        (desk / "runs" / "s" / "checkpoints" / "step-6" / file).unlink()
    err = works("pretrain", "--resume", "s")
    assert "; falling back to an earlier checkpoint" in err
    assert ".;" not in err
    assert "going on from step 3" in err
    assert read_record(desk / "runs" / "s")["status"] == "finished"


def test_nothing_whole_to_go_on_from(desk: Path, refused: Refused) -> None:
    for step in (3, 6):
        cut(desk / "runs" / "s" / "checkpoints" / f"step-{step}" / "model.safetensors")
    line = refused("pretrain", "--resume", "s")
    assert line.startswith(f"{Path('runs/s')}: there is no complete checkpoint to continue from")


@pytest.mark.parametrize("damage", [cut, alter, Path.unlink])
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vidro.json"])
def test_a_damaged_root_is_said_and_a_checkpoint_used(
    file: str, damage: Callable[[Path], None], desk: Path, works: Works
) -> None:
    path = desk / "runs" / "s" / file
    damage(path)
    if file == "vidro.json" and damage is alter:
        path.write_bytes(b"\0" * 100)
    before = contents(desk)
    err = works("generate", "s", "Once", "--greedy", "--max-tokens", "2")
    remark = err.splitlines()[0]
    assert remark.startswith(str(Path("runs/s")))
    assert "using the checkpoint of step 6" in remark
    assert ".;" not in remark
    assert contents(desk) == before


def test_a_damaged_step_that_is_asked_for_by_name(desk: Path, refused: Refused) -> None:
    alter(desk / "runs" / "s" / "checkpoints" / "step-3" / "model.safetensors")
    line = refused("evaluate", "s@3", "--text", "book.txt")
    assert (
        line == f"{Path('runs/s/checkpoints/step-3')}: model.safetensors does not match its checksum. It was altered."
    )
    assert "there is no checkpoint at step 5. Kept steps: 3, 6." in refused("evaluate", "s@5", "--text", "book.txt")


def test_an_altered_tokenizer_is_never_used(desk: Path, refused: Refused) -> None:
    path = desk / "runs" / "s" / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    vocab = stored["model"]["vocab"]
    one, other = sorted(vocab, key=vocab.__getitem__)[100:102]
    vocab[one], vocab[other] = vocab[other], vocab[one]
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert "tokenizer.json" in refused("evaluate", "s", "--text", "book.txt")
    assert "tokenizer.json" in refused("pretrain", "--resume", "s")


def test_a_resume_does_not_need_the_roots_config(desk: Path, works: Works) -> None:
    cut(desk / "runs" / "s" / "config.json")
    works("pretrain", "--resume", "s")


def test_from_a_damaged_run_says_what_it_uses(desk: Path, works: Works) -> None:
    alter(desk / "runs" / "s" / "model.safetensors")
    err = works("pretrain", "book.txt", "--from", "s", "--steps", "1", "--batch-tokens", "64", "--threads", "1")
    assert "using the checkpoint of step 6" in err


def test_one_damaged_run_does_not_hide_the_others(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(desk / "runs" / "s", desk / "runs" / "t")
    cut(desk / "runs" / "s" / "vidro.json")
    assert main(["runs", "list"]) == 0
    assert re.search(r"^t +stopped|^t +landed|^t +finished", capsys.readouterr().out, re.MULTILINE)


def test_an_existing_run_directory(desk: Path, refused: Refused) -> None:
    line = refused("pretrain", "book.txt", *TRAIN, "--out", "runs/s")
    assert line == (
        f"{Path('runs/s')}: this run directory exists already. "
        "Continue it with --resume, replace it with --overwrite, or choose another --out."
    )
    assert "this is a file, not a folder" in refused("pretrain", "book.txt", *TRAIN, "--out", "book.txt")
    (desk / "mine").mkdir()
    (desk / "mine" / "thesis.txt").write_text("do not lose this", encoding="utf-8")
    line = refused("pretrain", "book.txt", *TRAIN, "--out", "mine", "--overwrite")
    assert line == "mine: --overwrite removes runs only, and this is not one. Choose another --out."


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--lr 0.1", "with lr 0.003, not 0.1"),
        ("--d-model 64", "with d-model 32, not 64"),
        ("--steps 20", "with steps 12, not 20"),
        ("--seed 7", "with seed 1337, not 7"),
        ("--optimizer adamw", "with optimizer muon, not adamw"),
        ("--minutes 20", "without minutes"),
        ("--val book.txt", "without val"),
    ],
)
def test_a_resume_with_changed_settings_names_them(flags: str, expected: str, refused: Refused) -> None:
    line = refused("pretrain", "--resume", "s", *flags.split())
    assert f"this run was made {expected}. Leave the flag out, or start a new run with --from." in line


def test_a_run_that_is_not_there(desk: Path, refused: Refused) -> None:
    (desk / "empty").mkdir()
    for command in (
        ["pretrain", "--resume"],
        ["evaluate", "--text", "book.txt"],
        ["runs", "show"],
        ["runs", "rm", "--yes"],
    ):
        assert refused(*command, "t") == "there is no run 't' here or in runs. Known: s."
        assert refused(*command, "empty").startswith("empty: this folder is not a run")


def test_two_processes_on_one_run(desk: Path, refused_again: Refused, environment: dict[str, str]) -> None:
    arguments = ["--steps", "1000000", "--vocab-size", "320", *TINY, "--checkpoint-steps", "3", "--out", "runs/t"]
    command = [sys.executable, "-m", "vidro", "pretrain", "book.txt", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        try:
            wait_for(desk / "runs" / "t" / "checkpoints", other)
            busy = "another process is training this run. Wait for it, stop it, or train into another --out."
            for wish in (
                ["pretrain", "--resume", "t"],
                ["pretrain", "book.txt", *TRAIN, "--out", "runs/t", "--overwrite"],
                ["runs", "rm", "t", "--yes"],
            ):
                assert refused_again(*wish) == f"{Path('runs/t')}: {busy}"
            assert other.poll() is None, "the first process goes on undisturbed"
        finally:
            other.kill()


def wait_for(checkpoints: Path, process: subprocess.Popen[Any]) -> None:
    """Until there is a whole checkpoint; a certain one may be gone again before it is seen."""
    for _ in range(1200):
        if any(checkpoints.glob("step-*/manifest.json")):
            return
        assert process.poll() is None, "the process ended early"
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint came in {checkpoints}")


def test_no_space_left(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], works: Works
) -> None:
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    saved = contents(desk / "runs" / "s" / "checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr("vidro.checkpoint.training_state.save_tensors", full)
        assert main(["pretrain", "--resume", "s"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vidro: ")]
    assert len(errors) == 1
    assert "no space left on the disk" in errors[0]
    after = contents(desk / "runs" / "s" / "checkpoints")
    assert {path: data for path, data in after.items() if path in saved} == saved, "a saved checkpoint was lost"
    works("pretrain", "--resume", "s")
