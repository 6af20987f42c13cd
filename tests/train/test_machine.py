"""What is said about the machine; no test here asserts how fast it is."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.model.count import count
from vidro.train import assemble, machine
from vidro.train.machine import MatmulPeak, denormals_are_flushed, memory_bytes, physical_threads, settled

CPU = torch.device("cpu")


def peak(monkeypatch: pytest.MonkeyPatch, *took_s: float) -> MatmulPeak:
    """A peak whose products take so many seconds, one after the other, and an eighth of one to get ready."""
    monkeypatch.setattr(machine, "PEAK_SIZE", 8)
    times = iter([time for took in took_s for time in (100.0, 100.125, 100.125 + took)])
    return MatmulPeak(CPU, clock=lambda: next(times))


def test_the_peak_is_the_median_of_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    found = peak(monkeypatch, 0.5, 4.0, 1.0)
    assert found.flops_per_s is None
    assert [found.measure() for _ in range(3)] == pytest.approx([2048, (2048 + 256) / 2, 1024])
    assert found.flops_per_s == pytest.approx(2 * 8**3 / 1.0)
    assert found.spent_s == pytest.approx(5.5 + 3 * 0.125)


def test_measuring_takes_at_most_a_hundredth_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = peak(monkeypatch, 0.5, 0.5)
    assert found.measure_seldom(20.0) is None
    assert found.measure_seldom(26.0) == pytest.approx(2048)
    assert found.measure_seldom(87.0) == pytest.approx(2048)
    assert len(found.samples) == 1
    found.measure_seldom(88.0)
    assert len(found.samples) == 2


def test_the_share_of_the_peak_counts_what_training_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelConfig(vocab_size=64, context_length=16, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, d_head=16)
    facts = assemble.speed_facts(model, peak(monkeypatch, 1.0))
    assert facts(500.0, 1.0)["peak_frac"] is None
    said = facts(0.01, 100.0)
    assert said["peak_frac"] == pytest.approx(0.01 * count(model).flops_per_token_train / 1024, abs=1e-4)
    assert said["peak_frac"] > 0.1
    assert said["memory_bytes"] > 1_000_000


def test_inside_the_threads_are_fixed_and_afterwards_as_before() -> None:
    before = torch.get_num_threads()
    assert not denormals_are_flushed()
    with pytest.raises(ZeroDivisionError), settled(before + 1) as chosen:
        assert chosen == torch.get_num_threads() == before + 1
        assert denormals_are_flushed()
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
    assert not denormals_are_flushed()
    with settled(None) as chosen:
        assert chosen == torch.get_num_threads() == physical_threads()


def test_memory_is_what_is_held_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 11)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 12)
    assert memory_bytes(torch.device("cuda", 0)) == 11
    assert memory_bytes(torch.device("mps")) == 12
    block = bytearray(b"x") * 200_000_000
    held = memory_bytes(CPU)
    del block
    assert held - memory_bytes(CPU) > 100_000_000


def test_the_age_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < machine.process_age_s() <= time.time() - psutil.Process().create_time()
    born: Any = SimpleNamespace(create_time=lambda: time.time() - 40)
    monkeypatch.setattr(psutil, "Process", lambda: born)
    assert machine.process_age_s() == pytest.approx(40, abs=5)
    born.create_time = lambda: time.time() + 40  # the clock was put back meanwhile
    assert machine.process_age_s() == 0.0


FAULTS = """
import resource
import torch
from vidro.train.machine import settled

def pages_asked_for():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**25)  # 128 MB, more than malloc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with settled(1):
    for _ in range(8):  # until small things have found their places between the large ones
        pages_asked_for()
    print(sorted(pages_asked_for() for _ in range(5))[2])  # one may be odd: where small things lie is chance
print(pages_asked_for())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have no such setting")
def test_a_step_finds_the_memory_that_the_last_one_freed() -> None:
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    inside, afterwards = map(int, ran.stdout.split())
    assert inside < 50 < afterwards  # 32,768 pages of 4 KiB, 64 where the system has huge ones
