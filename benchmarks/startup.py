"""How long a person waits before anything happens: help, import, first token. Whole processes, taking turns.

vidro --help        against   python -c pass          (law: at most 0.3 s more)
import vidro        against   python -c pass          (law: at most 0.1 s more)
first token of RUN  against   python -c "import torch"  (aim: at most 1.5 times)

python benchmarks/startup.py --run runs/book-1
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from common import VIDRO, interleave, machine_line, ratio, report, run, table

BARE = "bare Python"
TORCH = "import torch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--run", help="a run to generate one token from (left out: not measured)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    options = parser.parse_args()
    waiting = contestants(options.run, options.threads)
    interleave(waiting, rounds=1)  # files into memory, modules compiled
    seconds = interleave(waiting, rounds=options.rounds)
    lines = [machine_line(options.threads), "", *summary(seconds), "", f"Medians of {options.rounds} rounds."]
    report("Start-up", lines, data=seconds, json_path=options.json)


def contestants(model: str | None, threads: int) -> dict[str, Callable[[], float]]:
    """What is timed. `-X importtime` would be finer but slows what it measures; so whole processes it is."""
    commands: dict[str, list[str]] = {
        BARE: [sys.executable, "-c", "pass"],
        "import vidro": [sys.executable, "-c", "import vidro"],
        "vidro --help": [*VIDRO, "--help"],
        TORCH: [sys.executable, "-c", "import torch"],
    }
    if model is not None:
        commands["first token"] = [*VIDRO, "generate", model, "Once", "--max-tokens", "1", "--seed", "1"]
    return {name: (lambda command=command: run(command, threads=threads).seconds) for name, command in commands.items()}


def summary(seconds: dict[str, list[float]]) -> list[str]:
    """Medians, what each takes over bare Python, and the ratio to importing torch."""
    bare = statistics.median(seconds[BARE])
    rows = []
    for name, values in seconds.items():
        middle = statistics.median(values)
        rows.append([name, f"{middle:.3f}", f"{middle - bare:+.3f}", f"{ratio(values, seconds[TORCH]):.2f}"])
    return [table(["", "seconds", "over bare Python", "over import torch"], rows)]


if __name__ == "__main__":
    main()
