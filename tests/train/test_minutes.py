from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from vidro.core.events import Event


class Clock:
    """Seconds that pass only when asked for: each call is a twentieth."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.05
        return self.now


class Gone(Exception):
    """The process is gone, as far as the run can tell."""


def gone_at(share: float) -> Callable[[Event], None]:
    """A listener that breaks off once so much of the budget is used."""

    def listener(event: Event) -> None:
        if event["event"] == "train" and event["progress"] > share:
            raise Gone

    return listener


@pytest.fixture
def timed(bench: Any) -> Any:
    bench.clock = Clock()
    return bench


def test_minutes_are_kept_on_the_clock(timed: Any) -> None:
    result = timed.train("a", steps=None, minutes=0.5)
    assert result.reason == "budget"
    assert 0.5 * 60 * 0.7 < timed.clock.now < 0.5 * 60 + 5
    multipliers = [m for e in timed.log("a", "train") for m in e["multipliers"]]
    assert len(multipliers) == result.results["steps"]
    top = multipliers.index(max(multipliers))
    assert multipliers[: top + 1] == sorted(multipliers[: top + 1])
    assert multipliers[-1] < 0.05
    assert 0.45 < sum(m > 0.999 for m in multipliers) / len(multipliers) < 0.55


def test_the_minutes_said_are_those_since_the_process_began(timed: Any) -> None:
    timed.age_s = 30.0
    with pytest.raises(Gone):
        timed.train("a", gone_at(0.4))
    first = timed.log("a", "checkpoint")[-1]
    trained = next(event["elapsed_s"] for event in timed.log("a", "train") if event["step"] == first["step"])
    before = timed.clock.now
    timed.resume("a")
    end = timed.log("a", "end")[0]
    assert 60 * end["minutes"] == pytest.approx(30 + trained + timed.clock.now - before, abs=0.5)
    assert 60 * end["minutes"] > end["elapsed_s"] + 29
    assert json.loads((timed.folder / "a" / "vidro.json").read_text())["results"]["minutes"] == end["minutes"]


def test_a_resume_goes_on_with_the_time_left(timed: Any) -> None:
    with pytest.raises(Gone):
        timed.train("a", gone_at(0.4), steps=None, minutes=0.5)
    used = timed.log("a", "train")[-1]["elapsed_s"]
    before = timed.clock.now
    result = timed.resume("a")
    rest = timed.clock.now - before
    assert result.reason == "budget"
    assert used + rest < 0.5 * 60 + 5
    assert timed.log("a", "train")[-1]["progress"] == 1.0


def test_more_minutes_move_the_end(timed: Any) -> None:
    timed.train("a", steps=None, minutes=0.5)
    steps = timed.log("a", "end")[0]["steps"]
    result = timed.resume("a", more=0.5)
    assert result.results["steps"] > 1.5 * steps


def test_checkpoints_come_by_the_clock(timed: Any) -> None:
    timed.train("a", steps=60, checkpoint_steps=None, checkpoint_every=1.0, keep=99)
    elapsed = {event["step"]: event["elapsed_s"] for event in timed.log("a", "train")}
    saved = [elapsed[event["step"]] for event in timed.log("a", "checkpoint") if event["kind"] != "final"]
    step_s = elapsed[60] / 60
    gaps = [after - before for before, after in itertools.pairwise([0.0, *saved])]
    assert len(gaps) > 5
    assert all(gap < 1.0 + 3 * step_s for gap in gaps)
    regular = [event["kind"] for event in timed.log("a", "checkpoint")].count("regular")
    assert regular == pytest.approx(elapsed[60] / 1.0, rel=0.35)
    timed.train("b", steps=60, checkpoint_steps=None, checkpoint_every=10_000.0)
    assert [event["kind"] for event in timed.log("b", "checkpoint")] == ["pre-decay", "final"]
