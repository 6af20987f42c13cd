"""A desk to make mistakes at: a text, a run that was broken off, and commands whose end is checked all over."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.faults.commands import Refused, Works, contents

import vidro
from vidro.cli.main import main
from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.data.tinyworld import text
from vidro.train import pretrain as training

PREFIX = "vidro: error: "
REMARKS = ("Making a vocabulary of ", "Cutting the text into tokens.")  # said while it works, before it finds a fault


class Halt(BaseException):
    """Breaks a run off like a power cut would."""


# One run that was broken off, made once; each test has a desk of its own


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with book.txt, a cache, and a run of 12 steps that was broken off at step 8, checkpoints at 3 and 6."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "book.txt").write_text(text(1, 20_000), encoding="utf-8")

    def halt(event: dict[str, Any]) -> None:
        if event["event"] == "train" and event["step"] == 8:
            raise Halt

    flags = {
        "steps": 12, "vocab_size": 320, "context_length": 16, "d_model": 32, "n_layers": 1, "n_heads": 2, "d_head": 16,
        "batch_tokens": 64, "evals": 4, "checkpoint_steps": 3, "threads": 1, "sample_tokens": 4,
    }  # fmt: skip
    options = resolve(PretrainOptions, flags=flags)
    around = training.Surroundings(cache_dir=folder / "cache", started_s=time.monotonic(), sinks=(halt,), plots=False)
    with pytest.raises(Halt):
        training.pretrain(str(folder / "book.txt"), options, around=around, out=folder / "run")
    return folder


@pytest.fixture
def desk(tmp_path: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to be in: book.txt, runs/s (broken off). The cache lies elsewhere. No pictures are drawn."""
    folder = tmp_path / "desk"
    folder.mkdir()
    shutil.copy(stopped / "book.txt", folder / "book.txt")
    shutil.copytree(stopped / "run", folder / "runs" / "s")
    shutil.copytree(stopped / "cache", tmp_path / "cache")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VIDRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("vidro.train.conclude.plot_run", lambda path: [])
    return folder


def the_one_line(err: str) -> str:
    """The error without its prefix, after checking that it is the only one, the last line, and no traceback."""
    *before, line = err.splitlines()
    assert line.startswith(PREFIX), err
    assert all(remark.startswith(REMARKS) for remark in before), err
    return line.removeprefix(PREFIX)


@pytest.fixture
def refused(desk: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must fail: exit code 2, one line, nothing on stdout, the desk as before."""

    def run(*arguments: str) -> str:
        before = contents(desk)
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        assert code == 2, err
        assert out == ""
        assert contents(desk) == before, "something was written or lost"
        return the_one_line(err)

    return run


@pytest.fixture
def works(desk: Path, capsys: pytest.CaptureFixture[str]) -> Works:
    """Run a command that must succeed, and return what it said on stderr."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        code = main(list(arguments))
        err = capsys.readouterr().err
        assert code == 0, err
        return err

    return run


@pytest.fixture
def refused_again(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Like `refused`, where the desk changes for other reasons."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == 2
        return the_one_line(capsys.readouterr().err)

    return run


@pytest.fixture
def environment(desk: Path) -> dict[str, str]:
    """For another process: this one's, with the package under test first on the path."""
    return {**os.environ, "PYTHONPATH": str(Path(vidro.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
