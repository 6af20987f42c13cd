"""Tiny Shakespeare against nanoGPT's published CPU recipe, on this machine, taking turns.

The peer is karpathy/nanoGPT's own `train.py`, unchanged, from a checkout of yours, with the flags that its README gives
for a CPU (4 layers, 4 heads, 128 wide, context 64, batch 12, 2,000 iterations). t is its stepping time: evaluation and
saving are taken out, in its favour. Ours is `vidro pretrain FILE --minutes` at fractions of t, counted from process
start to exit. Both see the same 90 % of the characters and are judged on all of the last 10 %, in nats per character.

    python benchmarks/nanogpt_shakespeare.py --nanogpt ../nanoGPT --text tinyshakespeare.txt
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import statistics
import sys
import tempfile
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path

from common import NANOGPT_JUDGE, VIDRO, machine_line, mean_and_spread, report, run, table

# The README of nanoGPT, "I only have a macbook"; the last flag is ours: keep the weights after the last iteration.
RECIPE = [
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1",
    "--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--dropout=0.0",
    "--always_save_checkpoint=True",
]  # fmt: skip

# Runs their script as it stands, only with another seed; a shift of 0 is the published run.
RUN_WITH_SEED = """
import runpy, sys, torch
set_seed, shift = torch.manual_seed, int(sys.argv[1])
torch.manual_seed = lambda seed: set_seed(seed + shift)
sys.argv = ["train.py", *sys.argv[2:]]
runpy.run_path("train.py", run_name="__main__")
"""


@dataclass(frozen=True)
class Result:
    """One finished run, judged on the full validation split."""

    who: str
    seed: int
    fraction: float
    seconds: float
    nats_per_char: float


def main() -> None:
    options = arguments()
    text = options.text.read_text(encoding="utf-8")
    work = Path(options.work or tempfile.mkdtemp(prefix="vidro-nanogpt-"))
    data = prepare(text, work / "data")
    results: list[Result] = []
    for seed in range(options.seeds):
        peer = run_nanogpt(options, data, work / f"nanogpt-{seed}", seed)
        results.append(peer)
        say(peer)
        fractions = options.fractions if seed % 2 == 0 else options.fractions[::-1]
        for fraction in fractions:
            results.append(run_vidro(options, data, work / f"vidro-{seed}-{fraction}", seed, fraction * peer.seconds))
            say(results[-1])
    lines = [machine_line(options.threads), "", *summary(results, options)]
    report("Tiny Shakespeare", lines, data=[asdict(one) for one in results], json_path=options.json)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--text", type=Path, required=True, help="tinyshakespeare.txt, 1,115,394 characters")
    parser.add_argument("--fractions", type=float, nargs="+", default=[1.0, 0.25, 0.2, 0.1], help="shares of t")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=2000, help="other than 2000 only to try the script out")
    parser.add_argument("--flags", default="", help="further flags for vidro pretrain, in one string")
    parser.add_argument("--work", type=Path, help="where the runs go (default: a temporary folder, kept)")
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    return parser.parse_args()


def prepare(text: str, folder: Path) -> Path:
    """Their data format (uint16 ids of characters, a pickled alphabet), and the two halves as text."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(set(text))
    number = {character: index for index, character in enumerate(alphabet)}
    cut = int(0.9 * len(text))
    for name, part in (("train", text[:cut]), ("val", text[cut:])):
        ids = array("H", (number[character] for character in part))
        if sys.byteorder == "big":
            ids.byteswap()
        (folder / f"{name}.bin").write_bytes(ids.tobytes())
        (folder / f"{name}.txt").write_text(part, encoding="utf-8", newline="")
    (folder / "all.txt").write_text(text, encoding="utf-8", newline="")
    meta = {"vocab_size": len(alphabet), "stoi": number, "itos": dict(enumerate(alphabet))}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
    return folder.resolve()


def run_nanogpt(options: argparse.Namespace, data: Path, out: Path, seed: int) -> Result:
    """Their training and the loss of the weights after the last counted iteration."""
    last = [f"--max_iters={options.iterations}", f"--lr_decay_iters={options.iterations}"]
    if options.iterations < 250:
        last += [f"--eval_interval={options.iterations}", f"--warmup_iters={options.iterations // 20}"]
    command = [sys.executable, "-c", RUN_WITH_SEED, str(seed), *RECIPE, *last, f"--dataset={data}", f"--out_dir={out}"]
    trained = run(command, threads=options.threads, cwd=options.nanogpt)
    judge = [sys.executable, "-c", NANOGPT_JUDGE, out / "ckpt.pt", data / "val.bin"]
    judged = run(judge, threads=options.threads, cwd=options.nanogpt)
    interval = min(250, options.iterations)
    seconds = stepping_seconds(trained.stdout, iterations=options.iterations, eval_interval=interval)
    nats, n_chars = map(float, judged.stdout.split()[-2:])
    return Result("nanoGPT", seed, 1.0, seconds, nats / n_chars)


def stepping_seconds(log: str, *, iterations: int, eval_interval: int) -> float:
    """t: iterations times the mean of those that hold no evaluation.

    >>> log = "iter 0: loss 4.2, time 900.00ms, mfu 0%\\niter 1: loss 4.1, time 50.00ms, mfu 0%"
    >>> stepping_seconds(log, iterations=4, eval_interval=2)
    0.2
    """
    times = {int(number): float(ms) / 1000 for number, ms in re.findall(r"iter (\d+): .*?time ([\d.]+)ms", log)}
    clean = [seconds for number, seconds in times.items() if number % eval_interval]
    return iterations * statistics.fmean(clean)


def run_vidro(options: argparse.Namespace, data: Path, out: Path, seed: int, budget_s: float) -> Result:
    """Our training within `budget_s` seconds, process start to exit, and its loss on the same characters."""
    given = ["--minutes", f"{budget_s / 60:.4f}", "--seed", str(seed), "--threads", str(options.threads), "--out", out]
    trained = run([*VIDRO, "pretrain", data / "all.txt", *given, *options.flags.split()], threads=options.threads)
    judge = [*VIDRO, "evaluate", out, "--text", data / "val.txt", "--json"]
    judged = json.loads(run(judge, threads=options.threads).stdout)
    n_chars = len((data / "val.txt").read_text(encoding="utf-8"))
    nats_per_char = judged["nats_per_byte"] * judged["n_bytes"] / n_chars
    fraction = float(out.name.rsplit("-", 1)[1])
    return Result("vidro", seed, fraction, trained.seconds, nats_per_char)


def say(result: Result) -> None:
    print(
        f"{result.who:8} seed {result.seed}  {result.fraction:g} t  {result.seconds:7.1f} s  "
        f"{result.nats_per_char:.4f} nats/char",
        flush=True,
    )


def summary(results: list[Result], options: argparse.Namespace) -> list[str]:
    """The table of means, and in words how much of t it takes to be as good."""
    groups: dict[tuple[str, float], list[Result]] = {}
    for result in results:
        groups.setdefault((result.who, result.fraction), []).append(result)
    peer = groups["nanoGPT", 1.0]
    peer_nats = statistics.fmean(one.nats_per_char for one in peer)
    rows = []
    for (who, fraction), group in sorted(groups.items(), key=lambda item: (item[0][0], -item[0][1])):
        nats = [one.nats_per_char for one in group]
        seconds = statistics.median(one.seconds for one in group)
        rows.append(
            [
                who,
                f"{fraction:g} t",
                f"{seconds:.1f}",
                mean_and_spread(nats, 4),
                f"{statistics.fmean(nats) / peer_nats:.3f}",
            ]
        )
    as_good = [fraction for (who, fraction), group in groups.items() if who == "vidro"
               and statistics.fmean(one.nats_per_char for one in group) <= peer_nats]  # fmt: skip
    words = (
        f"As good as nanoGPT within {min(as_good):g} t."
        if as_good
        else "Not as good as nanoGPT at any of these budgets."
    )
    t = statistics.median(one.seconds for one in peer)
    return [
        table(["", "budget", "seconds", "nats/char, full validation", "over nanoGPT"], rows), "",
        f"t = {t:.1f} s ({options.iterations} iterations of nanoGPT, median of {len(peer)}). {words}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
