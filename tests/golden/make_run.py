"""Makes `run-v1/`: a small finished run in format version 1, kept so that every later Vidro proves it still opens it.

    python tests/golden/make_run.py DIRECTORY

Run it only to make a golden run of a NEW format version (`run-v2`, beside this one); `run-v1` is never made again,
because what it holds was written by the Vidro of its day. Everything that is not needed to open the run is left out:
checkpoints, probes, plots, the lock. `run-v1.json` beside the run keeps what it must go on saying: a prompt, its greedy
continuations, the ids of a sentence, and how many events of each kind it has.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import vidro
from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.data.tinyworld import text
from vidro.train import assemble
from vidro.train.loop import LoopSettings
from vidro.train.pretrain import Surroundings, pretrain

PROMPT = "The fox"
SENTENCE = "The otter said: “Olá!” and swam 12 miles.\n"
FLAGS: dict[str, Any] = {
    "steps": 300, "vocab_size": 320, "context_length": 32, "d_model": 16, "n_layers": 1, "n_heads": 2, "d_head": 8,
    "d_ff": 24, "tie_embeddings": True, "batch_tokens": 128, "evals": 3, "checkpoint_steps": 300, "threads": 1,
    "sample_tokens": 8, "seed": 11, "schedule": "constant",
    "warmup": 0.0,
}  # fmt: skip
LEFT_OUT = ("checkpoints", "probes", "plots", "run.lock")


def make(target: Path) -> None:
    """Train, strip, and write down what the run says."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "stories.txt"
        source.write_text(text(seed=5, n_bytes=12_000), encoding="utf-8")
        around = Surroundings(cache_dir=Path(folder) / "cache", started_s=time.monotonic(), plots=False)
        sparse = functools.partial(LoopSettings, logs=6)  # a short metrics.jsonl
        with mock.patch.object(assemble, "LoopSettings", sparse):
            path = pretrain(
                str(source), resolve(PretrainOptions, flags=FLAGS), around=around, out=Path(folder) / "run"
            ).path
        for name in LEFT_OUT:
            left_out = path / name
            if left_out.is_dir():
                shutil.rmtree(left_out)
            elif left_out.exists():
                left_out.unlink()
        forget_place(path, folder)
        shutil.copytree(path, target)
    said = golden(target)
    target.with_name(f"{target.name}.json").write_text(
        json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def forget_place(path: Path, folder: str) -> None:
    """Take the folder it was made in out of the texts of the run; none of them has a checksum."""
    for name in ("run.toml", "vidro.json", "metrics.jsonl"):
        file = path / name
        stored = file.read_text(encoding="utf-8")
        plain = stored.replace(str(Path(folder).resolve()) + "/", "").replace(folder + "/", "")
        file.write_text(plain, encoding="utf-8")


def golden(path: Path) -> dict[str, Any]:
    """What must stay the same."""
    run = vidro.Run(path, device="cpu")
    return {
        "prompt": PROMPT,
        "greedy": run.generate(PROMPT, greedy=True, max_tokens=24),
        "greedy, repetition_penalty=1.5": run.generate(PROMPT, greedy=True, repetition_penalty=1.5, max_tokens=24),
        "sentence": SENTENCE,
        "ids": " ".join(str(number) for number in run.tokenizer.encode(SENTENCE)),
        "n_parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "events": dict(Counter(event["event"] for event in run.events())),
        "samples": len(run.samples()),
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]))
