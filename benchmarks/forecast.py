"""What the planner says beforehand against what comes of it: bits per byte, minutes and memory.

Trains on each text for each budget, two runs at a time with one thread each, and counts how often the result lies in
the interval that should hold eight of ten, how far it is off, how punctual the run was, and how right its memory.

    python benchmarks/forecast.py book.txt novels.jsonl.gz --minutes 1 2
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from common import VIDRO, machine_line, report, run, table


@dataclass(frozen=True)
class Result:
    """One run: what was expected, what came."""

    text: str
    minutes: float
    expected: float
    low: float
    high: float
    got: float
    seconds: float
    early: bool
    expected_bytes: int
    peak_bytes: int

    @property
    def error(self) -> float:
        """ln(expected / got): 0.04 is four percent too high."""
        return math.log(self.expected / self.got)

    @property
    def late_s(self) -> float | None:
        """Seconds past the budget; None where the plan itself ended before."""
        return None if self.early else self.seconds - 60 * self.minutes


def main() -> None:
    options = arguments()
    work = Path(options.work or tempfile.mkdtemp(prefix="vidro-forecast-"))
    work.mkdir(parents=True, exist_ok=True)
    wanted = [(text, minutes) for minutes in sorted(options.minutes, reverse=True) for text in options.texts]
    with ThreadPoolExecutor(options.at_once) as pool:
        tried = list(pool.map(lambda one: train(*one, work), wanted))
    results = [one for one in tried if one is not None]
    without = f"{len(tried) - len(results)} runs got no forecast (too short, or a text that repeats itself)."
    lines = [machine_line(1), "", *summary(results), *([without] if len(results) < len(tried) else [])]
    report("Forecasts", lines, data=[asdict(one) for one in results], json_path=options.json)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0])
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time, each on one thread")
    parser.add_argument("--work", type=Path, help="where the runs go (default: a temporary folder, kept)")
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    return parser.parse_args()


def train(text: Path, minutes: float, work: Path) -> Result | None:
    """One run with everything chosen by the planner; None where the planner makes no forecast."""
    out = work / f"{text.name}-{minutes:g}"
    command = [*VIDRO, "pretrain", text, "--minutes", f"{minutes:g}", "--threads", "1", "--out", out, "--json"]
    done = run([*command, "--overwrite"], threads=1)
    results = json.loads(done.stdout)
    events = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    plan = next(event for event in events if event["event"] == "plan")
    law = results["forecast"]
    if law is None:
        print(f"{text.name:28} {minutes:4g} min  no forecast", flush=True)
        return None
    result = Result(
        text=text.name,
        minutes=minutes,
        expected=law["bits_per_byte"],
        low=law["low"],
        high=law["high"],
        got=results["val_bits_per_byte"],
        seconds=done.seconds,
        early=done.seconds < 54 * minutes and plan["seconds"] < 54 * minutes,
        expected_bytes=plan["memory_bytes"],
        peak_bytes=results["memory_peak_bytes"],
    )
    print(f"{result.text:28} {minutes:4g} min  expected {result.expected:.3f}  got {result.got:.3f}", flush=True)
    return result


def summary(results: list[Result]) -> list[str]:
    """A row a run, and the three figures that count."""
    rows = [
        [
            one.text, f"{one.minutes:g}", f"{one.expected:.3f}", f"{one.low:.2f}-{one.high:.2f}", f"{one.got:.3f}",
            f"{one.error:+.1%}", "early" if one.late_s is None else f"{one.late_s:+.1f}",
            f"{one.expected_bytes / one.peak_bytes:.2f}" if one.peak_bytes else "",
        ]
        for one in results
    ]  # fmt: skip
    inside = sum(one.low <= one.got <= one.high for one in results)
    median = statistics.median(abs(one.error) for one in results)
    late = [one.late_s for one in results if one.late_s is not None]
    words = (
        f"{inside} of {len(results)} inside the interval ({inside / len(results):.0%}); median error {median:.1%}; "
        f"ends {min(late, default=0):+.1f} to {max(late, default=0):+.1f} s off its minutes."
    )
    head = ["text", "minutes", "expected", "8 of 10", "got", "error", "s late", "memory, expected/peak"]
    return [table(head, rows), "", words]


if __name__ == "__main__":
    main()
