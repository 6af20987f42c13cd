"""Measuring a run on a text: in Python and on the command line, with yardsticks beside."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import vidro
from vidro.cli.main import main
from vidro.core.errors import DataError
from vidro.data.tinyworld import text


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_evaluate(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.txt"
    other.write_text(text(9, 2000), encoding="utf-8")
    score = run.evaluate(other)
    found = out_of(capsys, "evaluate", "last", "--text", str(other))
    assert set(found) == {
        "text", "run", "nats_per_byte", "bits_per_byte", "nats_per_token", "perplexity", "n_bytes", "n_tokens",
        "yardsticks_bits_per_byte",
    }  # fmt: skip
    assert found["yardsticks_bits_per_byte"] == run.yardsticks(other)
    assert found["nats_per_byte"] == score.nats_per_byte
    assert found["n_bytes"] == other.stat().st_size
    sliding = out_of(capsys, "evaluate", "last", "--text", str(other), "--stride", "64")
    assert sliding["stride"] == 64
    assert sliding["n_tokens"] == found["n_tokens"]


def test_several_runs_side_by_side(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = out_of(capsys, "evaluate", "book-1", "book-1@3", "--text", "book.txt")
    assert [each["run"] for each in found["results"]] == ["book-1", "book-1@3"]
    assert main(["evaluate", "book-1", "book-1@3", "--text", "book.txt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "book.txt: 31 kB"
    rows = [line.split() for line in lines if line.strip().startswith("book-1")]
    assert float(rows[0][1]) <= float(rows[1][1]), "the best stands first"
    assert re.fullmatch(r"Bits/byte without a model, after the training text of book-1: uniform 8.000, .*", lines[-1])


def test_without_its_training_text_there_are_scores_but_no_yardsticks(
    run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.txt").write_text(text(9, 2000), encoding="utf-8")
    monkeypatch.setattr(vidro.Run, "training_texts", lambda self, cache_dir=None: raise_gone())
    assert main(["evaluate", "last", "--text", str(tmp_path / "other.txt"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "yardsticks_bits_per_byte" not in json.loads(out)
    assert "No yardsticks: the training text has changed since" in err


@pytest.mark.parametrize("damage", ["vidro.json", "run.toml"])
def test_a_damaged_run_keeps_its_score_and_loses_the_yardsticks(
    damage: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "runs/book-1", tmp_path / "runs/book-1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDRO_CACHE", str(trained / "cache"))
    (tmp_path / "other.txt").write_text(text(9, 2000), encoding="utf-8")
    evaluate = vidro.Run.evaluate

    def then_damage(self: vidro.Run, *arguments: Any, **keywords: Any) -> Any:
        score = evaluate(self, *arguments, **keywords)
        if damage == "run.toml":
            (self.path / damage).unlink()
        else:
            (self.path / damage).write_text('{"torn', encoding="utf-8")
        return score

    monkeypatch.setattr(vidro.Run, "evaluate", then_damage)
    found = out_of(capsys, "evaluate", "runs/book-1", "--text", "other.txt")
    assert found["n_bytes"] == (tmp_path / "other.txt").stat().st_size
    assert "yardsticks_bits_per_byte" not in found


def test_standard_input_is_read_once_for_all_runs(
    run: vidro.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = text(9, 2000).encode()
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stream)
    found = out_of(capsys, "evaluate", "book-1", "book-1@3", "--text", "-")
    assert found["text"] == "-"
    assert [each["n_bytes"] for each in found["results"]] == [len(data), len(data)]
    assert found["yardsticks_bits_per_byte"]["uniform"] == 8


def test_what_reading_changed_is_said_once(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "One windy morning."}\n{"text": " "}\nnot json\n', encoding="utf-8")
    rows = str(tmp_path / "rows.jsonl")
    assert main(["evaluate", "last", "--text", rows]) == 2
    assert "use --skip-bad" in capsys.readouterr().err
    assert main(["evaluate", "book-1", "book-1@3", "--text", rows, "--skip-bad"]) == 0
    out, err = capsys.readouterr()
    assert err.count("1 empty document left out.") == 1
    assert err.count("Skipped as bad: ") == 1
    assert "Bits/byte without a model" in out
    said: list[str] = []
    run.say = said.append
    run.evaluate(rows, skip_bad=True)
    assert said[0] == "1 empty document left out."
    assert said[1].startswith("Skipped as bad: ")


def raise_gone() -> None:
    raise DataError("the training text has changed since")
