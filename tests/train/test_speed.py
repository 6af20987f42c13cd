"""The machine is measured with real steps; what follows from the two numbers is arithmetic."""

from __future__ import annotations

import torch

from vidro.config.schema import ModelConfig
from vidro.model.count import count
from vidro.model.device import choose_precision
from vidro.train.optim import muon_flops
from vidro.train.speed import WIDTHS, fit, measure_speed, probe_model, time_steps

CPU = torch.device("cpu")


def test_fit_gives_back_the_two_measurements() -> None:
    speed = fit(2.0e-11, 1.2e-11, memory_bytes=1)
    for width, per_flop in zip(WIDTHS, (2.0e-11, 1.2e-11), strict=True):
        assert abs(1 / speed.flops_per_s + speed.width_cost_s / width - per_flop) < 1e-16


def test_noise_cannot_make_a_machine_endlessly_fast_or_slower_with_width() -> None:
    upside_down = fit(1.0e-11, 1.5e-11, memory_bytes=1)
    assert upside_down.width_cost_s == 0
    wild = fit(9.0e-11, 1.0e-11, memory_bytes=1)
    assert wild.flops_per_s <= 4 / 1.0e-11


def test_a_step_takes_longer_with_more_tokens_and_with_muon() -> None:
    speed = fit(1.5e-11, 1.25e-11, memory_bytes=1)
    model = ModelConfig()
    assert speed.step_s(model, 8192) > 1.9 * speed.step_s(model, 4096, muon=False)
    extra = speed.step_s(model, 4096) - speed.step_s(model, 4096, muon=False)
    share = muon_flops(model) / (4096 * count(model).flops_per_token_train)
    assert abs(extra / speed.step_s(model, 4096, muon=False) - share) < 1e-9


def test_steps_are_timed_on_the_given_clock() -> None:
    ticks = iter(range(1000))
    found = time_steps(
        probe_model(128), CPU, choose_precision("fp32", CPU), most_s=1.0, clock=lambda: 0.1 * next(ticks)
    )
    assert 0.09 < found < 0.11


def test_this_machine_is_measured() -> None:
    speed = measure_speed(CPU, choose_precision("fp32", CPU))
    assert speed.flops_per_s > 0
    assert speed.width_cost_s >= 0
    assert speed.memory_bytes > 0
