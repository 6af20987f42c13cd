"""What of a budget goes into looks, the last evaluation and leaving; measured by clocks that the tests turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.train.conftest import FLAGS, SPEED

from vidro.api.pretrain import Request, carry_out
from vidro.api.settings import RunOptions
from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.text.train import build_bytes
from vidro.train import pretrain as training
from vidro.train.assemble import LEAST_WINDOWS, RunFacts, default_prompts, measure_budget
from vidro.train.text_task import TextTask

Budget = Callable[..., dict[str, Any]]
CONTEXT = 16
AGE_S = 10.0  # how old the process is when the budget is measured


@pytest.fixture
def budget(bench: Any) -> Budget:
    """What `measure_budget` decides where a window takes `window_s`; a look at the trial has 50 of them."""

    def measured(window_s: float = 0.0, *, before_s: float = 0.0, n_looks: int = 4, **flags: Any) -> dict[str, Any]:
        now = AGE_S
        flags = {**FLAGS, "steps": None, "tokenizer": "bytes", "vocab_size": None, "evals": n_looks, **flags}
        options = resolve(PretrainOptions, flags=flags)
        setup = training.set_up(str(bench.source), options, cache_dir=bench.folder / "cache", speed=SPEED)

        def evaluate(model: Any) -> None:
            nonlocal now
            now += 50 * window_s

        task: Any = SimpleNamespace(evaluate=evaluate, val=SimpleNamespace(n_windows=50))
        around = training.Surroundings(cache_dir=bench.folder, started_s=0.0, clock=lambda: now)
        facts = RunFacts(source="x", source_sha256="x", before_s=before_s)
        model: Any = None
        found = measure_budget(setup, facts, task, model, around)
        n_windows = -(-setup.prepared.val.n_tokens // CONTEXT)
        return {**found, "total": n_windows, "left": 60 * flags.get("minutes", 0.0) - now - before_s}

    return measured


def test_looks_cost_at_most_a_fiftieth_of_the_minutes(budget: Budget) -> None:
    found = budget(0.01, minutes=1.0)
    assert LEAST_WINDOWS < found["val_windows"] < found["total"]
    spent = 4 * found["val_windows"] * 0.01
    assert 0.015 * found["training_s"] < spent <= 0.02 * found["training_s"] + 4 * 0.01
    assert budget(0.01, minutes=1.0, n_looks=2)["val_windows"] == pytest.approx(2 * found["val_windows"], abs=1)


def test_looks_cost_at_most_a_fiftieth_of_the_steps(budget: Budget) -> None:
    found = budget(steps=200)
    assert set(found) == {"val_windows", "total", "left"}, "nothing that is measured enters"
    forward = 4 * found["val_windows"] * CONTEXT / 3
    assert 0.015 * 200 * 64 < forward <= 0.02 * 200 * 64 + 4 * CONTEXT / 3


def test_a_look_has_a_few_windows_and_not_more_than_there_are(budget: Budget) -> None:
    assert budget(steps=1)["val_windows"] == LEAST_WINDOWS
    found = budget(steps=100_000)
    assert found["val_windows"] == pytest.approx(found["total"], abs=1)


def test_a_short_validation_text_is_evaluated_whole_and_its_time_set_aside(budget: Budget) -> None:
    found = budget(0.01, minutes=1.0)
    assert found["final_windows"] is None
    rest = found["left"] - found["training_s"]
    assert rest == pytest.approx(found["total"] * 0.01 + 4.0, abs=0.05)


def test_a_long_validation_text_gets_a_twentieth_of_what_is_left(budget: Budget) -> None:
    found = budget(0.1, minutes=1.0)
    assert 0.04 * found["left"] < found["final_windows"] * 0.1 <= 0.05 * found["left"]
    assert found["training_s"] == pytest.approx(0.95 * found["left"] - 4.0, abs=0.1)


def test_what_was_used_before_is_not_there_to_train(budget: Budget) -> None:
    first, second = budget(0.01, minutes=1.0), budget(0.01, minutes=1.0, before_s=20.0)
    assert first["training_s"] - second["training_s"] == pytest.approx(20.0)
    assert budget(0.01, minutes=0.01)["training_s"] == 1.0, "too late, but something is trained"


def test_a_run_whose_validation_text_is_too_long_says_so(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.01
        return now

    def slow(self: TextTask, model: Any) -> dict[str, float]:
        nonlocal now
        now += 0.1 * self.val.n_windows
        return real(self, model)

    real = TextTask.evaluate
    monkeypatch.setattr(TextTask, "evaluate", slow)
    bench.clock = clock
    bench.train("a", steps=None, minutes=0.7)
    final = bench.log("a", "eval")[-1]
    assert final["full"] is False
    assert 0 < final["n_tokens"] <= 0.05 * 42 / 0.1 * CONTEXT
    note = "The validation text is too long for this budget; a fixed, even part of it was evaluated."
    assert bench.log("a", "end")[0]["message"].endswith(note)


def test_the_age_of_the_process_is_used_already(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[training.Surroundings] = []
    monkeypatch.setattr(training, "pretrain", lambda source, options, *, around, **_: seen.append(around))
    wish = Request(source="x", where=RunOptions(), options=PretrainOptions(), said={}, runs_dir=tmp_path)
    for age_s in (0.0, 500.0):
        carry_out(wish, cache_dir=tmp_path, age_s=age_s)
    assert seen[0].started_s - seen[1].started_s == pytest.approx(500, abs=10)
    assert seen[0].started_s == pytest.approx(time.monotonic(), abs=10)


# The prompts of the samples, where none are said


def prompts(*texts: str, context: int = 64) -> tuple[str, ...]:
    return default_prompts(list(texts), build_bytes(), context_length=context)


def test_the_default_prompts_are_nothing_and_the_middle_of_the_text() -> None:
    first, second = "one two three four five six", "seven eight nine"
    assert prompts(first, second, "ten eleven") == ("", "eight nine")
    assert prompts(f"{first} {second} ten eleven twelve") == ("", "eight nine ten eleven twelve")
    assert prompts("a b " * 2000, "c d " * 2000)[1].startswith("d c d")


def test_the_default_prompt_is_short() -> None:
    long = "word " * 300
    assert prompts(long, context=1000)[1] == " ".join(["word"] * 8)  # 40 characters hold eight words and their spaces
    assert prompts(long, context=32)[1] == "word word word"  # 14 of at most 16 tokens


@pytest.mark.parametrize("texts", [(), ("",), ("onlyoneword",), ("x " + "y" * 100,)])
def test_without_a_usable_word_there_is_only_the_empty_prompt(texts: tuple[str, ...]) -> None:
    assert prompts(*texts) == ("",)
