"""`vidro check`: what is printed, the one JSON object, and the exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.learn.checker import models

from vidro.cli.main import main

LOST = ("scores.masked_fill_(self.hidden(scores), -torch.inf)", "scores.masked_fill(self.hidden(scores), -torch.inf)")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A right model, and one whose mask is never applied, which also prints."""
    right = Path(models.__file__).read_text(encoding="utf-8")
    shutil.copy(Path(models.__file__), tmp_path / "right.py")
    assert LOST[0] in right
    (tmp_path / "leaky.py").write_text(right.replace(*LOST) + "\nprint('hello')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_a_sound_model_ends_with_0(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "right.py:BookGPT", "--config", "n_layers=1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("BookGPT: built with vocab_size=97")
    assert "✓  future" in out
    assert out.rstrip().endswith("No fault; 19 of 23 probes passed, 4 not applicable.")
    assert max(map(len, out.splitlines())) <= 100


def test_a_fault_is_the_readers_and_ends_with_2(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "leaky.py:BookGPT", "--config", "n_layers=1"]) == 2
    out, err = capsys.readouterr()
    assert "✗ mask-never-applied in trf_blocks.0.att (BookAttention)" in out
    assert "✗ future-leak in trf_blocks.0.att (BookAttention)" in out
    assert "do: Use its result: scores = scores.masked_fill(mask, -inf)" in out
    assert "2 faults;" in out
    assert "error" not in err


def test_json_is_one_object(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "leaky.py:BookGPT", "--config", "n_layers=1", "--json"]) == 2
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert "hello" in err
    assert report["sound"] is False
    faults = [f for f in report["findings"] if f["outcome"] == "fault"]
    assert [f["fault"] for f in faults] == ["mask-never-applied", "future-leak"]
    assert all(f["where"] and f["seen"] and f["todo"] for f in faults)
    assert all(f["todo"] is None for f in report["findings"] if f not in faults)


def test_a_wrong_name_is_one_line(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "right.py:BookGTP"]) == 2
    assert "there is no BookGTP. Did you mean BookGPT?" in capsys.readouterr().err
