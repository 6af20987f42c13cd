"""Which validation rows a look takes while fine-tuning: a fixed, even part, and all of them once, at the end."""

from __future__ import annotations

import json

import pytest
from tests.train.conftest import Halt, TuneBench, halt_at
from tests.train.test_minutes import Clock

from vidro.checkpoint.run import verify_root
from vidro.train.instruct import InstructTask
from vidro.train.looks import LEAST_ROWS, PartlySeen, between, rows_by_steps

MANY = {"val_share": 0.5, "test_share": 0.1, "test_rows": 2}


@pytest.fixture
def many(tuner: TuneBench) -> TuneBench:
    """Rows of which more are left to check with than a look takes."""
    asked = [{"instruction": f"Say {n}.", "output": f"It is {n}."} for n in range(160)]
    (tuner.folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    return tuner


def test_looks_cost_two_percent_of_the_steps() -> None:
    for steps, looks in ((3000, 20), (10_000, 10), (50_000, 40)):
        rows = rows_by_steps(10**9, steps=steps, batch_rows=16, looks=looks)
        assert rows * looks / 3 == pytest.approx(0.02 * steps * 16, rel=0.02)
    assert between(0.1, 1000) == LEAST_ROWS
    assert between(0.1, 10) == between(1e9, 10) == 10


def test_looks_take_a_part_and_the_end_takes_all(many: TuneBench) -> None:
    path = many.instruct("a", **MANY).path
    n_val = many.log("a", "start")[0]["n_val"]
    assert n_val > LEAST_ROWS
    looks = many.log("a", "eval")
    assert [look["n_rows"] for look in looks] == [LEAST_ROWS] * 4 + [n_val]
    assert [look["full"] for look in looks] == [False] * 4 + [True]
    assert f"Each of 4 looks takes the same 64 of {n_val} validation rows" in many.notes("a")
    results = verify_root(path)["results"]
    assert (results["val_nats_per_token"], results["val_n_rows"]) == (looks[-1]["nats_per_token"], n_val)
    assert results["full"] is True
    best = min(looks[:-1], key=lambda look: look["nats_per_token"])
    assert looks[-1]["step"] == best["step"]
    assert looks[-1]["nats_per_token"] != best["nats_per_token"]


def test_the_part_is_the_same_after_a_resume(many: TuneBench) -> None:
    many.instruct("whole", **MANY)
    with pytest.raises(Halt):
        many.instruct("broken", halt_at(8), **MANY)
    many.go_on("instruct", "broken")
    many.alike("whole", "broken")


def test_few_rows_are_all_looked_at_and_nothing_is_said(tuner: TuneBench) -> None:
    tuner.known("a", "instruct")
    n_val = tuner.log("a", "start")[0]["n_val"]
    assert n_val < LEAST_ROWS
    assert {look["n_rows"] for look in tuner.log("a", "eval")} == {n_val}
    assert "looks takes" not in tuner.notes("a")


def test_with_minutes_a_trial_look_tells(many: TuneBench) -> None:
    many.clock = Clock()
    many.instruct("a", steps=None, minutes=0.3, evals=2, **MANY)
    looks = many.log("a", "eval")
    assert all(LEAST_ROWS <= look["n_rows"] <= looks[-1]["n_rows"] for look in looks)
    assert looks[-1]["full"]


def test_the_task_is_one_of_those() -> None:
    assert {"evaluate", "evaluate_all", "n_val"} <= set(dir(InstructTask))
    assert not isinstance(object(), PartlySeen)
