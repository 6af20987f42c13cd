"""``vidro learn experiment``: the list, and the mistakes. The experiments themselves: tests/learn/experiments."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

import vidro
from vidro.cli.experiment import drawn
from vidro.cli.main import main
from vidro.cli.terminal import show
from vidro.learn.experiments import facts
from vidro.learn.experiments.rank_one import Effort
from vidro.learn.experiments.registry import EXPERIMENTS, Table


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "experiment"]) == 0
    out, err = capsys.readouterr()
    assert all(name in out for name in EXPERIMENTS)
    assert err.endswith("Next: vidro learn experiment facts\n")
    assert main(["learn", "experiment", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["experiments"]
    assert [one["name"] for one in listed] == list(EXPERIMENTS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fact"], "there is no experiment 'fact'. Did you mean facts?"),
        (["facts"], "runs: no run here has learned tiny world. Make one: vidro quickstart."),
        (["--run", "last"], "--run belongs to an experiment. Name one: vidro learn experiment facts."),
    ],
)
def test_a_mistake_is_one_line(desk: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "experiment", *words]) == 2
    assert capsys.readouterr().err == f"vidro: error: {said}\n"


def test_facts_of_a_run_that_knows_nothing_yet(
    run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = partial(
        facts.FactSettings, n_edits=1, key_bytes=3_000, held_out_bytes=500, corpus_bytes=20_000, effort=Effort(steps=2)
    )
    monkeypatch.setattr(facts, "FactSettings", few)
    assert main(["learn", "experiment", "facts", "--run", str(run.path), "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["experiment"] == "facts"
    assert found["tables"][0]["rows"][-1]["facts"] == 199
    assert "facts are recalled" in found["findings"][0]
    for path in found["figures"]:
        assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_wide_tables_lose_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = tuple(f"right tokens of {number}" for number in range(6))
    show(drawn(Table("", ("times", *names), [("64", *(f"4.86 ± 0.{number}7" for number in range(6)))])))
    said = capsys.readouterr().out
    assert all(f"0.{number}7" in said for number in range(6))
    assert max(map(len, said.splitlines())) <= 80
