"""How long writing a GGUF file takes, and how much memory: a GPT-2 of 124 million random weights, whole processes.

vidro writes F16 / Q8_0 / Q4_0   against   the same number of bytes, simply written   (aims: F16 5 s, Q8_0 15 s)

What is timed is `write_gguf`, from the safetensors file of a run; the comparison in llama.cpp is not. Beside the
clock's seconds stand those that a processor spent on it: on a machine that does other work only these say something.

python benchmarks/gguf_export.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from common import interleave, machine_line, ratio, report, run, table

KINDS = ("f16", "q8_0", "q4_0")

# In a process of its own: what it prints are the seconds of writing, the largest memory before and after, in bytes, and
# the processor's seconds.
WRITER = """
import json, re, sys, time
from pathlib import Path
from vidro.checkpoint.gguf.vocabulary import vocabulary
from vidro.checkpoint.gguf.write import import_gguf, write_gguf
from vidro.checkpoint.huggingface import from_hf_config
from vidro.checkpoint.names import from_foreign_lazily
from vidro.checkpoint.weights import open_weights
from vidro.text.train import build_bytes
place, out, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def peak():  # Linux only; getrusage would begin with the peak of whoever started this process
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
config = from_hf_config(json.loads((place / "config.json").read_text()))
words = vocabulary(build_bytes(), config.vocab_size)
import_gguf()
before, started, worked = peak(), time.perf_counter(), time.process_time()
write_gguf(out, config, from_foreign_lazily(open_weights(place), config), words, kind, "gpt2")
print(json.dumps([time.perf_counter() - started, before, peak(), time.process_time() - worked]))
"""

PLAIN = """
import sys, time
data, started = bytes(1 << 24), time.perf_counter()
with open(sys.argv[1], "wb") as stream:
    left = int(sys.argv[2])
    while left:
        left -= stream.write(data[:left])
print(time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_gpt2(place)
        notes = {kind: Notes() for kind in KINDS}
        contestants = {kind: writer(place, kind, notes[kind], options.threads) for kind in KINDS}
        for contestant in contestants.values():
            contestant()  # files into memory, modules compiled
        plain = {f"plain {kind}": plain_writer(place, notes[kind].size, options.threads) for kind in KINDS}
        seconds = interleave({**contestants, **plain}, rounds=options.rounds)
    rows = [
        [
            kind,
            f"{notes[kind].size / 1e6:.0f} MB",
            f"{statistics.median(seconds[kind]):.2f}",
            f"{statistics.median(notes[kind].worked_s[1:]):.2f}",
            f"{ratio(seconds[kind], seconds[f'plain {kind}']):.1f}",
            f"{notes[kind].grown / 1e6:.0f} MB",
        ]
        for kind in KINDS
    ]
    heads = ["", "file", "seconds", "of a processor", "over plainly writing", "memory beside Python and torch"]
    note = f"Medians of {options.rounds} rounds. The largest tensor has 154 MB as 32-bit floats."
    lines = [machine_line(options.threads), "", table(heads, rows), "", note]
    worked = {f"{kind}, of a processor": notes[kind].worked_s for kind in KINDS}
    report("GGUF export", lines, data={**seconds, **worked}, json_path=options.json)


def make_gpt2(place: Path) -> None:
    """A directory with random weights in GPT-2's shape."""
    import torch

    from vidro.checkpoint.huggingface import write_model
    from vidro.config.presets import PRESETS
    from vidro.model.transformer import Transformer

    torch.manual_seed(1)
    write_model(place, Transformer(PRESETS["gpt2"]))


@dataclass
class Notes:
    """Of one kind of file: its bytes, the most memory it took, and a processor's seconds each time."""

    size: int = 0
    grown: int = 0
    worked_s: list[float] = field(default_factory=list)


def writer(place: Path, kind: str, notes: Notes, threads: int) -> Callable[[], float]:
    """Write the file in another process; its seconds. The rest is noted on the way."""
    out = place / f"{kind}.gguf"

    def once() -> float:
        found = json.loads(run([sys.executable, "-c", WRITER, place, out, kind], threads=threads).stdout)
        notes.size = out.stat().st_size
        notes.grown = max(notes.grown, found[2] - found[1])
        notes.worked_s.append(found[3])
        return found[0]

    return once


def plain_writer(place: Path, size: int, threads: int) -> Callable[[], float]:
    """Write as many zeros in another process; its seconds."""
    command = [sys.executable, "-c", PLAIN, str(place / "plain"), str(size)]
    return lambda: float(run(command, threads=threads).stdout)


if __name__ == "__main__":
    main()
