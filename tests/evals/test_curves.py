from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidro.core.events import Event
from vidro.evals.curves import Line, curves, smoothed, turned_up
from vidro.train.watch import Watch


def train(step: int, loss: float, multipliers: list[float] | None = None, lr: float = 0.01) -> Event:
    return {
        "event": "train", "step": step, "tokens": step * 10, "epoch": step / 5, "loss_nats": loss, "lr": lr,
        "multipliers": [1.0] if multipliers is None else multipliers, "tokens_per_s": 5.0, "peak_frac": None,
    }  # fmt: skip


def look(step: int, nats: float, *, full: bool = False) -> Event:
    return {"event": "eval", "step": step, "tokens": step * 10, "epoch": step / 5, "full": full,
            "nats_per_token": nats, "bits_per_byte": nats / 2}  # fmt: skip


def line(*y: float, x: Any = None) -> Line:
    return Line(np.arange(100, 100 + len(y), dtype=float) if x is None else np.array(x, dtype=float), np.array(y))


def test_smoothing_keeps_a_level_and_never_looks_ahead() -> None:
    assert smoothed(line(*[3.0] * 10), memory=4.0).y == pytest.approx([3.0] * 10)
    bent = smoothed(line(*[1.0] * 9, 9.0), memory=4.0)
    assert bent.y[:9] == pytest.approx([1.0] * 9)
    assert 1.0 < bent.y[9] < 9.0


def test_the_first_point_is_not_pulled_to_zero_and_is_by_hand_right() -> None:
    y = smoothed(line(*[8.0, 4.0] * 5), memory=1.0).y
    keep = np.exp(-1.0)
    assert y[0] == 8.0
    assert y[1] == pytest.approx((8 * keep + 4) / (keep + 1))


def test_a_point_far_away_weighs_less() -> None:
    near = smoothed(line(*[1.0] * 8, 5.0, x=[*range(100, 108), 108]), memory=3.0).y[-1]
    far = smoothed(line(*[1.0] * 8, 5.0, x=[*range(100, 108), 200]), memory=3.0).y[-1]
    assert near < far
    assert far == pytest.approx(5.0, abs=1e-6)


def test_few_points_are_not_smoothed() -> None:
    few = line(1.0, 5.0, 1.0)
    assert smoothed(few, memory=3.0) is few


def test_the_best_is_the_first_of_the_lowest_looks() -> None:
    run = curves([look(1, 3.0), look(2, 2.0), look(3, 2.0), look(2, 1.9, full=True)], name="r")
    assert run.best == (20.0, 2.0)
    assert run.best_step == 2
    assert run.full.y.tolist() == [1.9]


def test_the_evaluation_of_the_best_step_at_the_end_is_no_point_of_the_line() -> None:
    run = curves([look(1, 3.0), look(2, 2.0), look(3, 2.5), look(2, 2.1)], name="r")
    assert run.val.x.tolist() == [10.0, 20.0, 30.0]
    assert curves([look(1, 3.0, full=True)], name="r").val.y.tolist() == [3.0]


def test_learning_rates_of_every_step() -> None:
    events = [train(1, 9.0, [0.25], lr=0.0025), train(4, 8.0, [0.5, 0.75, 1.0]), train(5, 7.0, [0.0], lr=0.0)]
    run = curves(events, name="r")
    assert run.lr.x.tolist() == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert run.lr.y == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.0])


def test_many_learning_rates_are_thinned_with_both_ends_kept() -> None:
    run = curves([train(100_000, 9.0, [1.0] * 99_999 + [0.5], lr=0.005)], name="r")
    assert 3000 < run.lr.x.size < 4200
    assert (run.lr.x[0], run.lr.x[-1], run.lr.y[-1]) == (10.0, 1_000_000.0, pytest.approx(0.005))


def test_phases_follow_each_other_up_to_the_end() -> None:
    names = ((0, "warmup"), (2, "stable"), (2, "stable"))
    marks: list[Event] = [{"event": "phase", "step": step, "name": name} for step, name in names]
    run = curves([*marks, train(4, 9.0)], name="r")
    assert [(p.name, p.start, p.end) for p in run.phases] == [("warmup", 0.0, 20.0), ("stable", 20.0, 40.0)]


def test_turning_up_needs_two_looks_and_a_falling_training_loss() -> None:
    falling = [train(step, 9.0 - step) for step in range(1, 6)]
    looks = [look(1, 5.0), look(2, 4.0), look(4, 4.3), look(5, 4.5)]
    assert turned_up(falling, looks)
    assert not turned_up(falling, looks[:-1])
    assert not turned_up(falling, [*looks[:-1], look(5, 4.01)])
    assert not turned_up([train(step, 9.0 + step) for step in range(1, 6)], looks)
    assert curves([*falling, *looks], name="r").overfits
    assert curves([*falling, {"event": "overfit", "step": 4}], name="r").overfits


def test_the_plots_and_the_running_watch_call_the_same_thing_a_turn() -> None:
    turns = 0
    for seed in range(60):
        losses = (4.0 + 0.05 * np.random.default_rng(seed).standard_normal((12, 2)).cumsum(axis=0)).tolist()
        watch, trained, looks = Watch(), [], []
        for step, (nats, train_nats) in enumerate(losses, start=1):
            trained.append(train(step, train_nats))
            looks.append(look(step, nats))
            watch.observe(step, nats, train_nats)
            watch.overfit_said = False
            said = watch.turn(step, nats, train_nats, helps="") is not None
            assert said == turned_up(trained, looks), (seed, step)
            turns += said
    assert turns > 50


def test_epochs_come_from_the_start_or_from_the_events() -> None:
    assert curves([{"event": "start", "train_tokens": 70}, train(1, 9.0)], name="r").tokens_per_epoch == 70
    assert curves([train(1, 9.0)], name="r").tokens_per_epoch == pytest.approx(50)
    assert curves([], name="r").tokens_per_epoch is None
