"""The planner inside a run: what it measures, what it says, and what it says anew when the machine changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidro.checkpoint.run import RunRef, open_run
from vidro.config.load import resolve
from vidro.config.schema import DataOptions, PretrainOptions
from vidro.data.survey import open_source
from vidro.train import pilot, planning
from vidro.train.assemble import RunFacts
from vidro.train.plan import TextProfile
from vidro.train.planning import Replanner, compared, planned
from vidro.train.pretrain import set_up
from vidro.train.speed import Speed
from vidro.train.text_task import TextTask

SPEED = Speed(flops_per_s=5e10, width_cost_s=1e-9, memory_bytes=8_000_000_000)


class Clock:
    """Seconds that pass only when asked for."""

    def __init__(self) -> None:
        self.now, self.tick = 0.0, 0.05

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "TRIAL_FROM_S", 0.0)
    monkeypatch.setattr(pilot, "STEPS", 5)
    monkeypatch.setattr(pilot, "VOCAB_SIZE", 320)


def a_setup(bench: Any, **flags: Any) -> Any:
    options = resolve(PretrainOptions, flags={"minutes": 2.0, "threads": 1, **flags})
    return set_up(str(bench.source), options, cache_dir=bench.folder / "cache", speed=SPEED)


def test_minutes_are_planned_and_resolved(bench: Any) -> None:
    setup = a_setup(bench)
    assert setup.outlook is not None
    assert setup.options.model.d_model == setup.plan.model.d_model
    assert setup.options.train.batch_tokens == setup.plan.tokens_per_step
    assert setup.options.optim.embedding_lr == pytest.approx(20 * setup.options.optim.lr)
    assert [reason.what for reason in setup.reasons][:3] == ["vocabulary", "model", "context"]
    assert setup.outlook.forecast is not None


def test_nothing_measured_enters_the_other_budgets(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "measure", lambda *_, **__: pytest.fail("the machine was measured"))
    options = resolve(PretrainOptions, flags={"steps": 5})
    setup = set_up(str(bench.source), options, cache_dir=bench.folder / "cache")
    assert (setup.outlook, setup.reasons, setup.plan.most_steps) == (None, (), None)


def test_a_small_text_ends_the_run_before_its_minutes(bench: Any) -> None:
    bench.clock = Clock()
    result = bench.train("a", steps=None, minutes=60.0, batch_tokens=2048, context_length=32)
    assert result.reason == "budget"
    assert result.results["minutes"] < 30
    assert result.results["epochs"] == pytest.approx(20, rel=0.2)
    end = bench.log("a", "end")[0]
    assert end["message"].startswith("Ended before the time was up: more passes over this text")
    assert bench.log("a", "train")[-1]["multipliers"][-1] < 0.05, "the decay is part of it"


def test_a_machine_that_slows_down_is_said_once_with_a_new_forecast(bench: Any) -> None:
    setup = a_setup(bench)
    planner = Replanner(
        setup, RunFacts(source="", source_sha256="", forecast={"bits_per_byte": 2.0}, tokens_per_s=1000.0)
    )
    assert [planner(10_000, 900.0, 60.0) for _ in range(5)] == [None] * 5
    said = [planner(10_000, 400.0, 60.0) for _ in range(6)]
    assert [message is not None for message in said] == [False, False, True, False, False, False]
    assert said[2] is not None
    assert said[2].startswith(
        "The machine trains at 40% of the planned speed; planned anew: 0.032M tokens in all, expec"
    )
    assert Replanner(setup, RunFacts(source="", source_sha256=""))(1, 1.0, 1.0) is None


def test_a_run_on_a_machine_that_collapses_ends_decayed_and_in_time(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    bench.clock = clock
    real = TextTask.batch

    def slower(self: TextTask, step: int) -> Any:
        clock.tick = 0.01 if step < 150 else 0.2
        return real(self, step)

    monkeypatch.setattr(TextTask, "batch", slower)
    result = bench.train("a", steps=None, minutes=1.0)
    assert 60 * result.results["minutes"] < 60 + 5
    assert bench.log("a", "train")[-1]["multipliers"][-1] < 0.1
    assert any("planned anew" in event["message"] for event in bench.log("a", "note"))


def test_a_slow_machine_evaluates_less_in_the_end(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    bench.clock = clock
    real = TextTask.evaluate
    looks = iter(range(100))

    def slow(self: TextTask, model: Any) -> dict[str, float]:
        clock.now += 0.0 if next(looks) < 3 else 2.0 * self.val.n_windows  # it collapses after the first looks
        return real(self, model)

    monkeypatch.setattr(TextTask, "evaluate", slow)
    bench.train("a", steps=None, minutes=1.0)
    assert bench.log("a", "eval")[-1]["full"] is False


def test_old_settings_keep_the_heads_rate_for_the_embedding() -> None:
    from vidro.train.pretrain import with_old_rates

    old = resolve(PretrainOptions, flags={"steps": 1, "lr": 0.003})
    assert with_old_rates(old).optim.embedding_lr == 0.003
    new = replace(old, optim=replace(old.optim, embedding_lr=0.06))
    assert with_old_rates(new) == new


def test_a_forecast_that_misses_is_called_so() -> None:
    law = {"bits_per_byte": 2.0, "low": 1.9, "high": 2.1}
    assert compared(law, 2.0).endswith("got 2.00.")
    assert "outside" in compared(law, 1.5)


def test_a_folder_of_tokens_is_planned_without_a_forecast() -> None:
    text = TextProfile(train_bytes=4_000_000, trial=None, bytes_per_token=4.0)
    found = planned(text, resolve(PretrainOptions, flags={}), SPEED, 600.0)
    assert found.outlook.forecast is None
    assert found.outlook.tokens > 0


def test_seconds_before_training_are_not_planned_with() -> None:
    text = TextProfile(train_bytes=4_000_000, trial=None, bytes_per_token=4.0)
    options = resolve(PretrainOptions, flags={"d_model": 128, "n_layers": 2, "batch_tokens": 1024})
    quick = planned(text, options, SPEED, 60.0)
    slow = planned(text, options, SPEED, 60.0, used_s=20.0)
    assert slow.seconds == quick.seconds == 60.0
    assert slow.outlook.tokens == pytest.approx(planned(text, options, SPEED, 40.0).outlook.tokens)
    assert slow.outlook.tokens < 0.75 * quick.outlook.tokens


def test_a_new_plan_ends_where_the_text_has_been_read_often_enough(bench: Any) -> None:
    setup = a_setup(bench)
    facts = RunFacts(source="", source_sha256="", tokens_per_s=1000.0, most_steps=3)
    planner = Replanner(setup, facts)
    said = [planner(100, 400.0, 3600.0) for _ in range(3)]
    assert said[2] == (
        f"The machine trains at 40% of the planned speed; planned anew: {3 * setup.plan.tokens_per_step / 1e6:.3g}M "
        "tokens in all."
    )


def test_a_run_from_another_makes_no_trial(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = open_run(RunRef(bench.train("parent").path, None))
    monkeypatch.setattr(pilot, "known_trial", lambda *_, **__: pytest.fail("nothing asks for its figure"))
    options = resolve(PretrainOptions, flags={"minutes": 2.0, "threads": 1})
    setup = set_up(str(bench.source), options, cache_dir=bench.folder / "cache", speed=SPEED, parent=parent)
    assert setup.plan.model.d_model == 32
    assert setup.outlook is not None
    assert setup.outlook.forecast is None


def test_documents_are_those_of_the_training_side(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "twelve bytes"}\n' * 50)
    (tmp_path / "val.jsonl").write_text('{"text": "twelve bytes"}\n' * 50)
    options = DataOptions(val=str(tmp_path / "val.jsonl"))
    text = open_source(str(tmp_path / "train.jsonl"), options, cache_dir=tmp_path / "cache")
    assert planning.look_at(text, cache_dir=None, threads=1, afford=False).document_bytes == 12


def test_a_prolonged_run_is_not_compared_with_the_forecast_of_the_shorter_one(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "LEAST_BITS", 0.0)  # the stories come from a grammar
    bench.clock = Clock()
    shorter = bench.train("a", steps=None, minutes=0.5)
    assert shorter.results["forecast"] is not None
    longer = bench.resume("a", more=0.5)
    assert longer.results["forecast"] is None
    assert "Expected" not in bench.log("a", "end")[-1]["message"]
