"""Where the model computes, and in which precision. Asked for by name; what is absent is said, never replaced.

Not here: threads and the machine's speed (`vidro.train.machine`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from vidro.core.errors import UsageError


@dataclass(frozen=True)
class Precision:
    """How numbers are held while computing; weights and optimizer stay fp32."""

    name: str
    """fp32, bf16 or fp16."""

    dtype: torch.dtype
    """What matrix products are computed in."""

    scaled: bool = False
    """fp16 underflows: the loss is scaled up before the backward pass (`vidro.train.step`)."""

    note: str | None = None
    """A sentence for the user, where the choice has a price."""


def choose_device(name: str = "auto") -> torch.device:
    """The device called auto, cpu, cuda, cuda:N or mps; auto takes the first GPU, then Apple's, then the CPU.

    Raises UsageError when it is not on this machine.
    """
    kind, _, number = name.partition(":")
    if kind == "auto" and not number:
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdecimal())):
        raise UsageError(f"{name!r} is not a device", where="device", hint="Choose auto, cpu, cuda, cuda:N or mps.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("there is no Apple GPU (mps) here", where="device", hint="Choose auto or cpu.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            built = torch.version.cuda is not None or torch.version.hip is not None
            hint = "Choose auto or cpu." if built else "This PyTorch is the CPU build; choose auto or cpu."
            raise UsageError("there is no CUDA GPU here", where="device", hint=hint)
        if int(number or 0) >= count:
            raise UsageError(f"there is no {name}", where="device", hint=f"GPUs here: cuda:0 to cuda:{count - 1}.")
        return torch.device("cuda", int(number or 0))
    return torch.device(kind)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision called auto, fp32, bf16 or fp16 on `device`; auto is bf16 on GPUs with bf16 units, else fp32.

    Raises UsageError for fp16 on a CPU. bf16 on a CPU without bf16 units works, slowly: `note` says so.
    """
    if name == "auto":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if name == "fp32":
        return Precision("fp32", torch.float32)
    if name == "fp16":
        if device.type == "cpu":
            raise UsageError("fp16 needs a GPU", where="precision", hint="Choose fp32 (or bf16).")
        return Precision("fp16", torch.float16, scaled=True)
    if name != "bf16":
        raise UsageError(f"{name!r} is not a precision", where="precision", hint="Choose auto, fp32, bf16 or fp16.")
    return Precision("bf16", torch.bfloat16, note=_bf16_note(device))


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[None]:
    """A context in which matrix products run in `precision`; does nothing for fp32."""
    if precision.dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision.dtype)  # pyright: ignore[reportReturnType]


def _bf16_note(device: torch.device) -> str | None:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "This GPU has no bf16 units: bf16 is emulated and slower than fp32 or fp16."
    if device.type == "cpu" and not _cpu_has_bf16():
        return "This CPU has no bf16 units: bf16 is emulated and slower than fp32."
    return None


def _cpu_has_bf16() -> bool:
    """Whether products of bf16 matrices run on units of their own (AVX512-BF16 or AMX; Arm: as oneDNN reports)."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(unit) for unit in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16", "sve_bf16"))
