"""What every benchmark here shares: turns taken in rounds, medians, ratios, seeds, and a line about the machine.

Two things measured one after the other on a shared or throttled machine measure the machine. So contestants take turns,
the order turns with every round, and what is quoted is a ratio of medians from one run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

VIDRO = (sys.executable, "-m", "vidro")

# Run in a checkout of nanoGPT: the nats of all tokens but the first of a .bin file, each predicted once in windows of
# the model's context without overlap, and how many they are.
NANOGPT_JUDGE = """
import sys, numpy, torch
from model import GPT, GPTConfig
saved = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
model = GPT(GPTConfig(**saved["model_args"])).eval()
model.load_state_dict(saved["model"])
ids = torch.from_numpy(numpy.fromfile(sys.argv[2], dtype="<u2").astype("int64"))
length, total = model.config.block_size, 0.0
with torch.no_grad():
    for start in range(0, len(ids) - 1, length):
        stop = min(start + length, len(ids) - 1)
        _, loss = model(ids[None, start:stop], ids[None, start + 1 : stop + 1])
        total += loss.item() * (stop - start)
print("nats and tokens:", total, len(ids) - 1)
"""


@dataclass(frozen=True)
class Done:
    """A finished process: wall-clock seconds from start to exit, and what it wrote."""

    seconds: float
    stdout: str
    stderr: str


def run(command: Sequence[str | Path], *, threads: int, cwd: Path | None = None) -> Done:
    """Run a command on `threads` threads; stop the benchmark, with its last lines, when it fails.

    In a folder of somebody else's (`cwd`) Python leaves no compiled files behind.
    """
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    tidy = {} if cwd is None else {"PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **limits, **tidy}
    started = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SystemExit(f"{' '.join(str(part) for part in command)}\nended with {done.returncode}:\n{tail}")
    return Done(seconds, done.stdout, done.stderr)


def interleave(contestants: dict[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Call each contestant once a round and collect what it returns; the first of a round is the last of the next.

    On stderr it says how far it is.

    >>> interleave({"a": lambda: 1.0, "b": lambda: 2.0}, rounds=2)
    {'a': [1.0, 1.0], 'b': [2.0, 2.0]}
    """
    names = list(contestants)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(contestants[name]())
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
    return found


def ratio(ours: Sequence[float], peer: Sequence[float]) -> float:
    """Median of ours over median of the peer's.

    >>> ratio([2.0, 100.0, 2.0], [4.0, 4.0, 5.0])
    0.5
    """
    return statistics.median(ours) / statistics.median(peer)


def mean_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean over seeds, and half the distance between the largest and the smallest.

    >>> mean_and_spread([1.0, 1.2, 1.4])
    '1.200 ± 0.200'
    >>> mean_and_spread([1.5])
    '1.500'
    """
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {(max(values) - min(values)) / 2:.{digits}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right.

    >>> print(table(["what", "s"], [["a", 1.5]]))
    | what | s |
    |---|---:|
    | a | 1.5 |
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    cells = [" | ".join(str(cell) for cell in line) for line in lines]
    return "\n".join(
        f"|{line.replace(' ', '')}|" if number == 1 else f"| {line} |" for number, line in enumerate(cells)
    )


def machine_line(threads: int) -> str:
    """Processor, cores, threads used, memory, system and versions, in one line."""
    import psutil

    memory_gib = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {_version(name)}" for name in ("vidro", "torch"))
    return (
        f"{_processor()}, {os.cpu_count()} logical cores, {threads} threads used, {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}"
    )


def report(title: str, lines: Sequence[str], *, data: object, json_path: Path | None) -> None:
    """Print a Markdown section, and write the raw figures when a path is given."""
    print(f"\n## {title}\n\n" + "\n".join(lines))
    if json_path is not None:
        json_path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
