"""Devices and precisions: what is absent is said, what has a price is noted."""

from __future__ import annotations

import pytest
import torch

from vidro.core.errors import UsageError
from vidro.model import device
from vidro.model.device import autocast, choose_device, choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without any accelerator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int, *, bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)


def test_auto_takes_what_is_there(bare: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == CPU
    bare.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device() == torch.device("mps")
    with_gpus(bare, 2, bf16=True)
    assert choose_device() == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "auto:1", "mps:1", "", "cuda:-1"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UsageError) as error:
        choose_device(name)
    assert str(error.value) == f"device: {name!r} is not a device. Choose auto, cpu, cuda, cuda:N or mps."


def test_absent_devices_are_said(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^device: there is no Apple GPU \(mps\) here\. Choose auto or cpu\.$"):
        choose_device("mps")
    bare.setattr(torch.version, "cuda", None)
    bare.setattr(torch.version, "hip", None)
    with pytest.raises(UsageError, match=r"there is no CUDA GPU here\. This PyTorch is the CPU build"):
        choose_device("cuda")
    bare.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(UsageError, match=r"^device: there is no CUDA GPU here\. Choose auto or cpu\.$"):
        choose_device("cuda:0")
    with_gpus(bare, 2, bf16=True)
    with pytest.raises(UsageError, match=r"^device: there is no cuda:7\. GPUs here: cuda:0 to cuda:1\.$"):
        choose_device("cuda:7")


def test_precision_by_device(bare: pytest.MonkeyPatch) -> None:
    assert choose_precision("auto", CPU).name == "fp32"
    assert choose_precision("auto", torch.device("mps")).name == "fp32"
    with_gpus(bare, 1, bf16=True)
    assert choose_precision("auto", torch.device("cuda")).dtype == torch.bfloat16
    with_gpus(bare, 1, bf16=False)
    assert choose_precision("auto", torch.device("cuda")).dtype == torch.float32
    note = choose_precision("bf16", torch.device("cuda")).note
    assert note == "This GPU has no bf16 units: bf16 is emulated and slower than fp32 or fp16."
    assert choose_precision("fp16", torch.device("cuda")).scaled
    assert not choose_precision("bf16", torch.device("cuda")).scaled


def test_bf16_on_a_cpu_says_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: False)
    precision = choose_precision("bf16", CPU)
    assert precision.dtype == torch.bfloat16
    assert precision.note == "This CPU has no bf16 units: bf16 is emulated and slower than fp32."
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: True)
    assert choose_precision("bf16", CPU).note is None


def test_impossible_precisions() -> None:
    with pytest.raises(UsageError, match=r"^precision: fp16 needs a GPU\. Choose fp32 \(or bf16\)\.$"):
        choose_precision("fp16", CPU)
    with pytest.raises(UsageError, match="'int4' is not a precision"):
        choose_precision("int4", CPU)


def test_autocast_is_what_was_chosen() -> None:
    product = torch.ones(2, 2)
    with autocast(CPU, choose_precision("fp32", CPU)):
        assert (product @ product).dtype == torch.float32
    with autocast(CPU, choose_precision("bf16", CPU)):
        assert (product @ product).dtype == torch.bfloat16
