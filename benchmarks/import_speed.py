"""Importing a directory of GPT-2's shape (124M): seconds and memory, beside reading and copying the file.

    python benchmarks/import_speed.py [--layers 12] [--rounds 5] [--json FILE]

    read     the file into one new buffer, with plain read calls: the yardstick of what ends in memory
    copy     the file read in pieces, written and flushed to the disk: the yardstick of what ends on the disk
    open     the model in memory (`read_model`); GPT-2 keeps two thirds of its numbers transposed, and they are turned
    write    a run's files from the source, tensor by tensor, flushed
    import   all of `vidro import`: first the conversion (write, and SHA-256 of the source), then the proof (another
             process, with what it imports, compares every tensor, and logits with Transformers where that is there)
             and the record (SHA-256 of what was written)

Each figure is of a fresh process on one thread, everything imported; the file is in the system's cache. CPU seconds
(user and system, the processes it starts included) say what the work costs where others use the machine too; the clock
says it on a quiet one. Memory is the peak of the resident set (`ru_maxrss`) less what it was before. No file is mapped
here, so all of it is memory of the process; what the system caches of files is in no figure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import interleave, machine_line, report, run, table

Figures = dict[str, float]

WORKS = {
    "read": "buffer = bytearray(file.stat().st_size)\nwith file.open('rb', buffering=0) as s:\n"
    "    view, at = memoryview(buffer), 0\n    while at < len(buffer): at += s.readinto(view[at:])",
    "copy": "with file.open('rb', buffering=0) as s, (out / 'copy').open('wb', buffering=0) as t:\n"
    "    while piece := s.read(2**20): t.write(piece)\n    os.fsync(t.fileno())",
    "open": "model = read_model(folder)",
    "write": "write_foreign(out, read(folder, tokenizer=tokenizer))",
    "import": "import_model(folder, runs_dir=out, say=lambda line: marks.append(now()))",
}
YARDSTICK = {"open": "read", "write": "copy", "conversion": "copy"}
PROGRAM = """
import json, os, resource, sys, time
from pathlib import Path
import torch
from vidro.api.importing import import_model
from vidro.checkpoint.foreign.directory import read
from vidro.checkpoint.foreign.write import write_foreign
from vidro.checkpoint.huggingface import read_model
from vidro.text.train import build_bytes
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
file, tokenizer = folder / "model.safetensors", build_bytes()
def peak(who=resource.RUSAGE_SELF):
    return resource.getrusage(who).ru_maxrss * 1024
def now():
    used = os.times()
    return time.perf_counter(), used.user + used.system + used.children_user + used.children_system
before, marks = peak(), [now()]
{work}
marks.append(now())
print(json.dumps([marks, peak() - before, peak(resource.RUSAGE_CHILDREN)]))
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


def measure(work: str, folder: Path, found: dict[str, list[Figures]]) -> float:
    """Do one piece of work in a fresh process and add its figures to `found`; its seconds."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        done = run([sys.executable, "-c", PROGRAM.format(work=WORKS[work]), folder, out], threads=1)
    marks, n_bytes, n_bytes_other = json.loads(done.stdout.splitlines()[-1])
    names = [work] if work != "import" else ["conversion", "proof and record"]
    assert len(marks) >= len(names) + 1
    ends = [marks[0], *marks[1 : len(names)], marks[-1]]
    for name, start, end in zip(names, ends, ends[1:], strict=False):
        memory = n_bytes_other if name == "proof and record" else n_bytes
        figures = {"seconds": end[0] - start[0], "cpu_s": end[1] - start[1], "bytes": memory}
        found.setdefault(name, []).append(figures)
    return marks[-1][0] - marks[0][0]


def rows(found: dict[str, list[Figures]], size: int) -> list[list[str]]:
    """A line of the table for each piece of work: medians, ratios to its yardstick, the largest peak."""

    def median(name: str, key: str) -> float:
        return statistics.median(each[key] for each in found[name])

    lines = []
    for name in ("read", "open", "copy", "write", "conversion", "proof and record"):
        peer = YARDSTICK.get(name)
        ratios = [f"{median(name, key) / median(peer, key):.2f}" if peer else "" for key in ("cpu_s", "seconds")]
        cells = [f"{median(name, 'cpu_s'):.2f}", ratios[0], f"{median(name, 'seconds'):.2f}", ratios[1]]
        memory = max(each["bytes"] for each in found[name])
        label = f"{name}, over {peer}" if peer else name
        lines.append([label, *cells, f"{memory / size:.2f}"])
    return lines


def main() -> None:
    """Take turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "source"
        folder.mkdir()
        size, found = make(folder, chosen.layers), {}
        interleave({name: partial(measure, name, folder, found) for name in WORKS}, rounds=chosen.rounds)
    header = ["", "CPU s", "ratio", "s by the clock", "ratio", "peak memory, × the weights"]
    said = f"{size / 1e6:.0f} MB of weights, {chosen.rounds} rounds, medians. {machine_line(1)}"
    report("Importing", [said, "", table(header, rows(found, size))], data=found, json_path=chosen.json)


if __name__ == "__main__":
    main()
