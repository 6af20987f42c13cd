"""``vidro info``: what this machine has and how fast it is, in a form to put into a bug report."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from vidro.cli.apps import make_app
from vidro.cli.options import FLAGS, Json, takes
from vidro.cli.terminal import facts, note, print_json, show

app = make_app(
    "info",
    "What this machine has and how fast it is.",
    usage="vidro info [FLAGS]",
    examples=("vidro info", "vidro info --no-measure     without the two seconds of measuring"),
)

EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "documents": ("reading PDF and DOCX", ("pypdf", "docx")),
    "parquet": ("reading Parquet tables", ("pyarrow",)),
    "hf": ("checking runs with Transformers", ("transformers",)),
    "tensorboard": ("logging to TensorBoard", ("tensorboard",)),
    "wandb": ("logging to Weights & Biases", ("wandb",)),
}
PRODUCTS = 5  # the peak is the median of so many matrix products

Measure = Annotated[bool, Parameter(help="Measure the peak of matrix multiplication (about two seconds).", group=FLAGS)]


@app.default
@takes()
def info(*, measure: Measure = True, json: Json = False) -> int:
    """Print what this machine has."""
    if not json:
        note("loading torch …")
    found = gather(measure=measure)
    if json:
        print_json(found)
    else:
        show(facts(describe(found)))
    return 0


def gather(*, measure: bool) -> dict[str, Any]:
    """Everything as plain values; sizes in bytes, the peak in FLOP/s."""
    import psutil
    import torch

    import vidro
    from vidro.cli.places import cache_dir
    from vidro.core.files import free_bytes
    from vidro.model.device import choose_device
    from vidro.train.machine import physical_threads

    device = choose_device("auto")
    cache = cache_dir()
    return {
        "vidro": vidro.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "torch": str(torch.__version__),
        "device": str(device),
        "device_name": _device_name(device),
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "blas": _blas(torch.__config__.show()),
        "cpus": os.cpu_count(),
        "threads": physical_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_free_bytes": psutil.virtual_memory().available,
        "disk_free_bytes": free_bytes(Path.cwd()),
        "cache_dir": str(cache),
        "cache_bytes": sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) if cache.is_dir() else 0,
        "peak_flops_per_s": _peak(device, physical_threads()) if measure else None,
        "extras": {name: _installed(modules) for name, (_, modules) in EXTRAS.items()},
        "libraries": {name: _version(name) for name in ("tokenizers", "tiktoken", "rustbpe", "safetensors", "numpy")},
    }


def describe(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The same, for people."""
    from vidro.api.words import human_bytes

    peak = found["peak_flops_per_s"]
    extras = [f"{name} ({what})" for name, (what, _) in EXTRAS.items() if not found["extras"][name]]
    return [
        ("Vidro", f"{found['vidro']}, Python {found['python']}, torch {found['torch']}"),
        ("System", found["system"]),
        ("Processor", f"{found['cpu']}, {found['cpu_capability']}, {found['blas']}"),
        ("Threads", f"{found['threads']} are used of {found['cpus']} logical processors"),
        ("Memory", f"{human_bytes(found['memory_bytes'])}, {human_bytes(found['memory_free_bytes'])} free"),
        ("Disk here", f"{human_bytes(found['disk_free_bytes'])} free"),
        ("Device", f"{found['device']} ({found['device_name']})"),
        ("Measured peak", "not measured" if peak is None else f"{peak / 1e9:,.0f} GFLOP/s in fp32 matrix products"),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in found["libraries"].items())),
        ("Cache", f"{found['cache_dir']} ({human_bytes(found['cache_bytes'])})"),
        ("Extras here", ", ".join(name for name, there in found["extras"].items() if there) or "none"),
        ("Not installed", "; ".join(extras) + ": pip install 'vidro[NAME]'" if extras else "–"),
    ]


def _peak(device: Any, threads: int) -> float:
    import torch

    from vidro.train.machine import MatmulPeak

    torch.set_num_threads(threads)
    meter = MatmulPeak(device)
    return [meter.measure() for _ in range(PRODUCTS)][-1]


def _installed(modules: tuple[str, ...]) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device_name(device: Any) -> str:
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return "Apple GPU" if device.type == "mps" else "no GPU is used"


def _blas(configuration: str) -> str:
    """The linear-algebra library torch was built with."""
    known = {"BLAS_INFO=mkl": "MKL", "BLAS_INFO=open": "OpenBLAS", "BLAS_INFO=accelerate": "Accelerate"}
    return next((name for mark, name in known.items() if mark in configuration), "another BLAS")
