"""``vidro plan``: the table, one budget with reasons, JSON, and what cannot be planned."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

import vidro
from vidro.cli.main import main
from vidro.cli.progress import LiveProgress
from vidro.train import pilot, planning
from vidro.train.speed import Speed

SPEED = Speed(flops_per_s=5e10, width_cost_s=1e-9, memory_bytes=8_000_000_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "measure", lambda *_, **__: SPEED)
    monkeypatch.setattr(pilot, "STEPS", 4)
    monkeypatch.setattr(pilot, "VOCAB_SIZE", 320)
    monkeypatch.setattr(pilot, "LEAST_BITS", 0.0)  # the test's book is made by a grammar


def test_a_line_for_each_budget(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "book.txt"]) == 0
    out, err = capsys.readouterr()
    assert [line.split("  ")[0].rstrip(" *") for line in out.splitlines()[2:6]] == ["1 min", "10 min", "60 min", "8 h"]
    assert "would be used." in out
    assert "alone will mostly be memorised: about " in err
    assert max(map(len, out.splitlines())) <= 80


def test_one_budget_with_its_reasons(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "book.txt", "--minutes", "2", "--d-model", "64", "--n-layers", "1"]) == 0
    out = capsys.readouterr().out
    assert "64 wide, 1 block," in out
    for what in ("vocabulary", "context", "step", "rates", "dropout", "memory"):
        assert f"\n{what} " in f"\n{out}"
    assert "Expected: " in out
    assert out.rstrip().endswith("Now: vidro pretrain book.txt --minutes 2 --d-model 64 --n-layers 1")


def test_the_line_that_carries_it_out_says_all_that_was_said(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "my book.txt").write_bytes((desk / "book.txt").read_bytes())
    said = ["--minutes", "2", "--skip-bad", "--val", "book.txt", "--threads", "1", "--dropout", "0.0"]
    assert main(["plan", "my book.txt", *said]) == 0
    line = capsys.readouterr().out.rstrip().splitlines()[-1].removeprefix("Now: ")
    words = shlex.split(line)
    assert words[:5] == ["vidro", "pretrain", "my book.txt", "--minutes", "2"]
    assert sorted(words[5:]) == sorted(said[2:])


def test_a_terminal_shows_the_plan_of_a_training() -> None:
    console = Console(file=io.StringIO(), width=100)
    live = LiveProgress(console)
    live({"event": "plan", "choices": [["model", "64 wide", "it fits"]], "message": "Expected: 2.10 bits per byte."})
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "model:      64 wide (it fits)" in shown
    assert "Expected: 2.10 bits per byte." in shown


def test_json_is_one_object(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "book.txt", "--minutes", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert row["seconds"] == 180
    assert row["outlook"]["forecast"]["low"] < row["outlook"]["forecast"]["high"]
    assert found["speed"]["flops_per_s"] == SPEED.flops_per_s


def test_a_run_to_start_from_is_tried_out(desk: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained / "runs" / "book-1"
    before = (run / "model.safetensors").read_bytes()
    assert main(["plan", "book.txt", "--minutes", "2", "--from", str(run)]) == 0
    err = capsys.readouterr().err
    found = re.search(r"Starting --from \S+ reaches about ([\d.]+) bits per byte: ([\d.]+) as it comes", err)
    assert found is not None, err
    assert float(found[1]) < float(found[2])
    assert (run / "model.safetensors").read_bytes() == before


def test_python_says_the_same(desk: Path) -> None:
    table = vidro.plan("book.txt", minutes=[1, 2], cache_dir=desk / "cache")
    assert [row.seconds for row in table.rows] == [60, 120]
    with pytest.raises(vidro.VidroError, match="plans are for budgets in minutes"):
        vidro.plan("book.txt", steps=5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.txt"], "there is no such file"),
        (["book.txt", "--minutes", "0"], "there is no time to plan for"),
        (["tiny.txt"], "tiny.txt: the training part has"),
        (["book.txt", "--steps", "5"], "--steps"),
        (["book.txt", "--from", "nobody"], "nobody"),
        (["book.txt", "--tokenizer", "words"], "tokenizer: plans are for a vocabulary of the text's own"),
    ],
)
def test_what_cannot_be_planned(words: list[str], message: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "tiny.txt").write_text("Too little.\n", encoding="utf-8")
    assert main(["plan", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
