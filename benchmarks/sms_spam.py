"""Spam: a small model of one's own against a bag of words, on the same folds.

    python benchmarks/sms_spam.py RUN --data SMSSpamCollection.tsv

The messages without repetitions, as many of each class, divided five times anew into five folds. Each fold is scored by
a classifier that `vidro finetune classify` made of RUN from the other four, and by a logistic regression over word
counts that learned from the same four. A message counts once: by the share of the five divisions in which it was right.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np

from common import machine_line, report, table
from vidro.api.finetune import finetune
from vidro.data.duplicates import deduplicate
from vidro.data.labelled import LabelledRow, balance, read_labelled
from vidro.evals.accuracy import class_scores, natural_rate, paired_interval, wilson
from vidro.evals.baselines import BagOfWords

FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("run", help="the language model to start from")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=float, help="otherwise the default")
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    options = parser.parse_args()
    all_rows = read_labelled(options.data).rows
    different, n_copies = deduplicate(all_rows)
    rows, n_left_out = balance(different, seed=0)
    labels = sorted({row.label for row in rows})
    shares = {label: sum(row.label == label for row in different) / len(different) for label in labels}
    right = {who: np.zeros((options.repeats, len(rows))) for who in ("vidro", "bag of words")}
    true: list[str] = []
    said: list[str] = []
    for repeat in range(options.repeats):
        order = np.random.default_rng(repeat).permutation(len(rows))
        for fold in range(FOLDS):
            places = order[fold::FOLDS]
            test = [rows[place] for place in places]
            train = [rows[place] for place in np.setdiff1d(order, places)]
            found = ours(options, train, test, seed=FOLDS * repeat + fold)
            words = BagOfWords().fit([row.text for row in train], [row.label for row in train])
            theirs = words.predict([row.text for row in test])
            truth = [row.label for row in test]
            right["vidro"][repeat, places] = np.array(found) == np.array(truth)
            right["bag of words"][repeat, places] = np.array(theirs) == np.array(truth)
            true, said = true + truth, said + found
            means = {who: values[repeat, places].mean() for who, values in right.items()}
            print(f"{repeat}.{fold}  vidro {means['vidro']:.4f}  bag of words {means['bag of words']:.4f}", flush=True)
    difference = paired_interval(right["vidro"].mean(axis=0), right["bag of words"].mean(axis=0), seed=0)
    lines = [machine_line(options.threads), ""]
    lines.append(f"{len(all_rows):,} messages, {n_copies:,} of them repetitions, {n_left_out:,} left out to balance.")
    body = []
    for who, values in right.items():
        by_division = values.mean(axis=1)
        low, high = wilson(round(values.mean() * len(rows)), len(rows))
        spread = statistics.stdev(by_division) if len(by_division) > 1 else 0.0
        body.append([who, f"{values.mean():.2%}", f"{low:.2%} to {high:.2%}", f"{spread:.2%}"])
    lines += ["", table(["", "accuracy", "95 % interval", "spread of the divisions"], body), ""]
    lines.append(
        f"vidro minus bag of words: {100 * difference.value:+.2f} points "
        f"(95 %, paired: {100 * difference.low:+.2f} to {100 * difference.high:+.2f})."
    )
    natural = natural_rate(class_scores(true, said, labels), shares)
    for name, precision, recall in zip(natural.names, natural.precision, natural.recall, strict=True):
        lines.append(
            f"At the natural rate ({shares[name]:.1%} {name}): precision {precision:.3f}, recall {recall:.3f}."
        )
    report("SMS spam", lines, data={who: values.tolist() for who, values in right.items()}, json_path=options.json)


def ours(options: argparse.Namespace, train: list[LabelledRow], test: list[LabelledRow], *, seed: int) -> list[str]:
    """What a classifier says of the test rows that learned from the others."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, rows in (("train", train), ("test", test)):
            paths.append(Path(folder) / f"{name}.jsonl")
            text = "".join(json.dumps({"text": row.text, "label": row.label}) + "\n" for row in rows)
            paths[-1].write_text(text, encoding="utf-8")
        run = finetune(
            "classify", options.run, data=paths[0], test=paths[1], out=Path(folder) / "run", seed=seed,
            epochs=options.epochs, evals=4, keep_duplicates=True, threads=options.threads, progress=False,
        )  # fmt: skip
        lines = (run.path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["predicted"] for line in lines]


if __name__ == "__main__":
    main()
