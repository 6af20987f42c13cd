"""Exports into places that cannot be written, on disks that are full: one line, and nothing half-written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from tests.faults.commands import Refused, contents

from vidro.cli.main import main


def test_a_part_of_the_path_is_a_file(refused: Refused) -> None:
    line = refused("export", "s", "book.txt/out")
    assert line.startswith(f"{Path('book.txt/out')}: a part of this path is a file, not a folder.")


@pytest.mark.parametrize("at", ["checkpoint.huggingface.save_tensors", "checkpoint.verify_hf.subprocess.run"])
def test_no_space_left(
    at: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = contents(desk)
    monkeypatch.setattr(f"vidro.{at}", full)
    assert main(["export", "s", "out"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vidro: ")]
    assert len(errors) == 1
    assert "no space left on the disk" in errors[0]
    assert contents(desk) == before


def test_the_other_process_is_killed(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the system when memory is short, say: nothing that was not compared is left."""
    import sys

    before = contents(desk)
    (desk.parent / "killed.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", encoding="utf-8"
    )
    (desk.parent / "stands-in").write_text(f"#!/bin/sh\nexec {sys.executable} {desk.parent / 'killed.py'}\n")
    (desk.parent / "stands-in").chmod(0o755)
    monkeypatch.setattr("vidro.checkpoint.verify_hf.sys.executable", str(desk.parent / "stands-in"))
    assert main(["export", "s", "out"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(
        "vidro: error: the process that opened the export again did not finish (it was stopped by signal 9)"
    )
    assert contents(desk) == before
