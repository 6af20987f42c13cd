"""Importing a directory of GPT-2's shape (124M): seconds and memory, beside reading the file.

    python benchmarks/import_speed.py [--layers 12]

Each figure is of a fresh process. Memory is the peak of the resident set (`ru_maxrss`) less what it was before the
directory was opened, everything imported; file pages that are mapped count in it, those of the system's cache do not.
"read" reads the file into one buffer with plain read calls and hashes nothing. "open" makes the model in memory
(`read_model`); "write" makes a run's files from the source, tensor by tensor. The comparison that `vidro import` then
makes in another process is not in these figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WORKS = {
    "read": "buffer = bytearray(file.stat().st_size)\nwith file.open('rb', buffering=0) as s:\n"
    "    view, at = memoryview(buffer), 0\n    while at < len(buffer): at += s.readinto(view[at:])",
    "open": "model = read_model(folder)",
    "write": "write_foreign(out, read(folder, tokenizer=tokenizer))",
}
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
import torch
from vidro.checkpoint.foreign.directory import read
from vidro.checkpoint.foreign.write import write_foreign
from vidro.checkpoint.huggingface import read_model
from vidro.text.train import build_bytes
torch.set_num_threads(1)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
file, tokenizer = folder / "model.safetensors", build_bytes()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, start = peak(), time.perf_counter()
{work}
print(json.dumps([time.perf_counter() - start, peak() - before]))
"""


MAKE = """
import sys
from dataclasses import replace
from pathlib import Path
from vidro.checkpoint.huggingface import write_model
from vidro.config.presets import PRESETS
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes
write_model(Path(sys.argv[1]), Transformer(replace(PRESETS["gpt2"], n_layers=int(sys.argv[2]))), build_bytes())
"""


def make(folder: Path, layers: int) -> int:
    """A random model of GPT-2's shape with `layers` blocks; the bytes of its weights.

    In another process: those that are measured inherit this one's peak.
    """
    subprocess.run([sys.executable, "-c", MAKE, str(folder), str(layers)], check=True)
    return (folder / "model.safetensors").stat().st_size


def measure(work: str, folder: Path, out: Path) -> tuple[float, int]:
    """(seconds, bytes at the peak) of one piece of work in a fresh process."""
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-c", PROGRAM.format(work=WORKS[work]), str(folder), str(out)]
    seconds, n_bytes = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return seconds, n_bytes


def main() -> None:
    """Interleave the three, and print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "source"
        folder.mkdir()
        size = make(folder, chosen.layers)
        found: dict[str, list[tuple[float, int]]] = {name: [] for name in WORKS}
        for number in range(chosen.rounds):
            for name in WORKS:
                found[name].append(measure(name, folder, Path(made) / f"out-{number}"))
    seconds = {name: statistics.median(each[0] for each in rounds) for name, rounds in found.items()}
    print(f"{size / 1e6:.0f} MB of weights, medians of {chosen.rounds}")
    for name, rounds in found.items():
        peak = max(each[1] for each in rounds)
        ratio = seconds[name] / seconds["read"]
        print(f"{name:6} {seconds[name]:6.2f} s ({ratio:.2f} × read)   memory {peak / size:.2f} × the weights")


if __name__ == "__main__":
    main()
