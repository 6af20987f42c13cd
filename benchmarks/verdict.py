"""The Verdict: the book's first pretraining, the moment it starts to memorise, and what helps against it.

*Build a Large Language Model (From Scratch)* trains a GPT-2 of 124M parameters on a story of 20 kB: context 256,
batch 2, stride 256, AdamW with rate 4e-4 and weight decay 0.1, dropout 0.1, 10 epochs, the first 90 % of the
characters. Its validation loss falls to about 6.1 and then rises while the training loss goes to nothing. This runs
the same settings here, prints the curve beside the published figures, says whether it turned, and then what each
counter-measure gains on the same split, in bits per byte, which do not depend on the tokenizer.

    python benchmarks/verdict.py --text the-verdict.txt --gpt2 DIR_WITH_ENCODER_JSON_AND_VOCAB_BPE
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import VIDRO, machine_line, report, run, table
from vidro.core.events import read_events
from vidro.evals.curves import turned_up

# Printed by the book's notebooks (nats per token, GPT-2 tokenizer): where, training loss, validation loss.
PUBLISHED = (
    ("before the first step", 10.988, 10.981),
    ("step 0", 9.817, 9.924),
    ("step 50, the best", None, 6.123),
    ("step 85, the last look", 0.569, 6.373),
    ("15 epochs with warm-up, cosine, clipping: the best", None, 6.122),
    ("15 epochs with warm-up, cosine, clipping: the end", 1.312, 6.158),
)

BOOK = (
    "--family gpt2 --context-length 256 --batch-tokens 512 --micro-batch 2 --optimizer adamw --lr 4e-4 "
    "--weight-decay 0.1 --beta2 0.999 --schedule constant --warmup 0 --clip 0 --no-tie-embeddings --init pytorch "
    "--evals 18 --patience 0"
)
FULL = "--preset gpt2"
SCALED = "--d-model 256 --n-layers 4 --n-heads 8"
SMALLER = {FULL: SCALED, SCALED: "--d-model 128 --n-layers 2 --n-heads 4"}


@dataclass(frozen=True)
class Variant:
    """One run: its name, its flags, and whether it cuts the text with GPT-2's tokenizer."""

    name: str
    flags: str
    gpt2_tokenizer: bool = True


@dataclass(frozen=True)
class Curve:
    """What a run's `metrics.jsonl` says. Losses in nats per token, by step; `turned` by the rule of Vidro's plots."""

    name: str
    n_parameters: int
    train: dict[int, float]
    val: dict[int, float]
    val_bits_per_byte: dict[int, float]
    turned: bool
    overfit: str | None
    seconds: float = field(default=0.0)

    @property
    def best_step(self) -> int:
        return min(self.val, key=self.val.__getitem__)

    @property
    def last_step(self) -> int:
        return max(self.val)


def main() -> None:
    options = arguments()
    work = Path(options.work or tempfile.mkdtemp(prefix="vidro-verdict-"))
    shape = SCALED if options.scaled else FULL
    curves = []
    for variant in variants(shape):
        if not options.only or variant.name in options.only:
            curves.append(train(variant, options, work / variant.name.replace(" ", "-")))
            print(f"{variant.name}: {curves[-1].seconds:.0f} s", flush=True)
    report("The Verdict", [machine_line(options.threads), "", *lines(curves)],
           data=[asdict(curve) for curve in curves], json_path=options.json)  # fmt: skip


def variants(shape: str) -> list[Variant]:
    """The book's run first; then one change at a time; then Vidro's own choice."""
    return [
        Variant("book", f"{BOOK} {shape} --dropout 0.1"),
        Variant("more dropout", f"{BOOK} {shape} --dropout 0.3"),
        Variant("smaller model", f"{BOOK} {SMALLER[shape]} --dropout 0.1"),
        Variant("own BPE", f"{BOOK} {shape} --dropout 0.1 --vocab-size 1024", gpt2_tokenizer=False),
        Variant("all three", f"{BOOK} {SMALLER[shape]} --dropout 0.3 --vocab-size 1024",
                gpt2_tokenizer=False),
        Variant("vidro", "--evals 18 --dropout 0.2", gpt2_tokenizer=False),
    ]  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--text", type=Path, required=True, help="the-verdict.txt, 20,479 characters")
    parser.add_argument("--gpt2", type=Path, required=True, help="the folder with GPT-2's encoder.json and vocab.bpe")
    parser.add_argument("--scaled", action="store_true", help="a scaled gpt2 shape (256 wide, 4 layers), not 124M")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--only", nargs="+", help="these variants only, by name; the book's run is called book")
    parser.add_argument("--seed", type=int, default=123)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="where the runs go (default: a temporary folder, kept)")
    parser.add_argument("--json", type=Path, help="write the raw curves here")
    return parser.parse_args()


def train(variant: Variant, options: argparse.Namespace, out: Path) -> Curve:
    """Run `vidro pretrain` and read its curve back."""
    flags = variant.flags.split()
    if variant.gpt2_tokenizer:
        flags += ["--tokenizer", str(options.gpt2)]
    flags += ["--epochs", str(options.epochs), "--seed", str(options.seed), "--threads", str(options.threads)]
    done = run([*VIDRO, "pretrain", options.text, *flags, "--out", out], threads=options.threads)
    return read_curve(variant.name, read_events(out / "metrics.jsonl"), seconds=done.seconds)


def read_curve(name: str, events: list[dict[str, Any]], *, seconds: float = 0.0) -> Curve:
    """The curve in the events of a run; the full evaluation at the end is of the best weights, so it is left out."""
    looks = [event for event in events if event["event"] == "eval" and not event["full"]]
    trained = [event for event in events if event["event"] == "train"]
    overfit = [event["message"] for event in events if event["event"] == "overfit"]
    return Curve(
        name=name,
        n_parameters=next(event["n_parameters"] for event in events if event["event"] == "start"),
        train={event["step"]: event["loss_nats"] for event in trained},
        val={event["step"]: event["nats_per_token"] for event in looks},
        val_bits_per_byte={event["step"]: event["bits_per_byte"] for event in looks},
        turned=turned_up(trained, looks),
        overfit=overfit[0] if overfit else None,
        seconds=seconds,
    )


def lines(curves: list[Curve]) -> list[str]:
    """The published figures, the book's curve here, the verdict on it, and the table of gains."""
    published = [[where, _number(train), _number(val)] for where, train, val in PUBLISHED]
    out = ["Published (nats per token):", "", table(["", "training", "validation"], published), ""]
    book = next((curve for curve in curves if curve.name == "book"), None)
    if book is not None:
        rows = [[f"step {step}", _number(_nearest(book.train, step)), _number(val)] for step, val in book.val.items()]
        out += [f"Here ({book.n_parameters:,} parameters):", "", table(["", "training", "validation"], rows), ""]
        turn = (
            f"Validation turned: best {book.val[book.best_step]:.3f} at step {book.best_step}, "
            f"{book.val[book.last_step]:.3f} at the end."
            if book.turned
            else f"Validation did not turn within {book.last_step} steps."
        )
        out += [turn, f'Vidro said: "{book.overfit}"' if book.overfit else "Vidro said nothing about it.", ""]
    if curves:
        out += ["Counter-measures (bits per byte of the same validation text; lower is better):", "", gains(curves)]
    return out


def gains(curves: list[Curve]) -> str:
    """Each run at its end and at its best checkpoint, against the end of the first run."""
    first = curves[0].val_bits_per_byte[curves[0].last_step]
    rows = []
    for curve in curves:
        end, best = (curve.val_bits_per_byte[step] for step in (curve.last_step, curve.best_step))
        rows.append([curve.name, f"{curve.n_parameters:,}", f"{end:.3f}", f"{best:.3f}", curve.best_step,
                     f"{100 * (first - best) / first:+.1f} %"])  # fmt: skip
    header = [
        "run",
        "parameters",
        "at the end",
        "best checkpoint",
        "its step",
        f"gain over the end of {curves[0].name}",
    ]
    return table(header, rows)


def _nearest(losses: dict[int, float], step: int) -> float | None:
    """The training loss reported last before the look at `step` (or the first one)."""
    before = [known for known in losses if known <= step]
    return losses[max(before)] if before else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
