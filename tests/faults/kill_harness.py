"""Train, `kill -9` at random moments, resume, until done; print what the finished runs hold.

A program of its own, started by `test_kill.py`: it imports everything once and forks a child for every attempt, so
that fifty kills take a minute. The parent never computes, so the children's thread pools start fresh.

    python kill_harness.py TEXT DIRECTORY KILLS SEED
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from vidro.checkpoint.run import read_record
from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.core.errors import RunError
from vidro.core.files import sha256_file
from vidro.train.pretrain import Surroundings, pretrain, resume

FLAGS = {
    "steps": 24, "vocab_size": 320, "context_length": 16, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_head": 16,
    "batch_tokens": 64, "dropout": 0.1, "evals": 6, "checkpoint_steps": 2, "threads": 1, "sample_tokens": 4,
}  # fmt: skip


def attempt(text: Path, cache: Path, out: Path) -> None:
    """One child: begin the run, or go on with it; what a kill before the first checkpoint left is begun again."""
    around = Surroundings(cache_dir=cache, started_s=time.monotonic(), plots=False)
    try:
        resume(out, around=around)
    except RunError as problem:
        if "finished" in problem.what:
            return
        options = resolve(PretrainOptions, flags=FLAGS)
        pretrain(str(text), options, around=around, out=out, overwrite=out.exists())


def run_child(text: Path, cache: Path, out: Path, *, kill_after_s: float | None) -> bool:
    """Fork, wait or kill; True when the child came to its end by itself."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            attempt(text, cache, out)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"a child failed with {os.WEXITSTATUS(status)}")
    return True


def contents(out: Path) -> dict[str, object]:
    """All that must be the same however often the run was killed."""
    from vidro.core.events import read_events

    events = read_events(out / "metrics.jsonl")
    last = out / "checkpoints" / "step-24"
    return {
        "root": sha256_file(out / "model.safetensors"),
        "weights": sha256_file(last / "model.safetensors"),
        "optimizer": sha256_file(last / "optimizer.safetensors"),
        "train": [(e["step"], e["loss_nats"], e["grad_norm"]) for e in events if e["event"] == "train"],
        "eval": [(e["step"], e["nats_per_token"]) for e in events if e["event"] == "eval"],
        "samples": [(e["step"], e["text"]) for e in read_events(out / "samples.jsonl") if e["event"] == "sample"],
        "probes": {p.name: sha256_file(p) for p in sorted((out / "probes").iterdir())},
        "status": read_record(out)["status"],
    }


def main() -> None:
    """Run the harness and print one JSON object."""
    text, directory, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    cache, dice = directory / "cache", random.Random(seed)
    run_child(text, cache, directory / "warm", kill_after_s=None)  # fills the cache
    started = time.monotonic()
    run_child(text, cache, directory / "whole", kill_after_s=None)
    whole_s = time.monotonic() - started
    done, finished, different = 0, 0, []
    expected = contents(directory / "whole")
    while done < kills:
        out = directory / f"killed-{finished}"
        while True:
            kill_after_s = dice.uniform(0.05, 1.0) * whole_s if done < kills else None
            if run_child(text, cache, out, kill_after_s=kill_after_s):
                break
            done += 1
        finished += 1
        found = contents(out)
        different += [f"{out.name}: {key}" for key in expected if found[key] != expected[key]]
    print(json.dumps({"kills": done, "finished": finished, "whole_s": whole_s, "different": different}))


if __name__ == "__main__":
    main()
