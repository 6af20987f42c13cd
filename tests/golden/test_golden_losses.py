"""Twenty training steps of fixed settings give these losses: a change in arithmetic is never an accident.

The tolerance (a ten-thousandth) leaves room for other processors and BLAS builds, not for another initialisation, order
of the text, optimizer or schedule. Where such a change is meant: run this file as a program and say why in the commit.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.core.events import Event
from vidro.train.pretrain import Surroundings, pretrain

FLAGS: dict[str, Any] = {
    "steps": 20, "vocab_size": 320, "context_length": 16, "d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1,
    "d_head": 16, "d_ff": 64, "batch_tokens": 128, "micro_batch": 4, "warmup": 0.2, "decay": 0.4, "evals": 1,
    "sample_tokens": 1, "seed": 3, "threads": 1, "checkpoint_steps": 20, "device": "cpu", "precision": "fp32",
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "qwen3, muon": {"family": "qwen3", "optimizer": "muon", "muon_lr": 0.02, "lr": 0.003},
    "gpt2, adamw": {"family": "gpt2", "optimizer": "adamw", "lr": 0.01, "n_kv_heads": 2, "tie_embeddings": True},
}
LOSSES: dict[str, list[float]] = {
    "qwen3, muon": [
        5.768322, 5.760404, 5.731080, 5.674187, 5.558669, 5.412629, 5.270732, 5.137292, 4.999191, 4.860474,
        4.724904, 4.583212, 4.489623, 4.322293, 4.216505, 4.128775, 4.056330, 3.989600, 3.950403, 3.927606,
    ],
    "gpt2, adamw": [
        5.754653, 5.666820, 5.456031, 5.212701, 4.868365, 4.431446, 4.032031, 3.682820, 3.395597, 3.221056,
        3.078592, 2.970177, 2.959165, 2.836295, 2.667835, 2.664328, 2.553262, 2.373589, 2.373292, 2.330065,
    ],
}  # fmt: skip


def losses(folder: Path, flags: dict[str, Any]) -> list[float]:
    """Nats per token of each step."""
    source = folder / "stories.txt"
    days = (f"On day {n} the fox took {n * 7 % 31} hens. {n * n % 97} nights were calm!" for n in range(400))
    source.write_text(" ".join(days), encoding="utf-8")  # a text that never grows, as tiny world does
    heard: list[Event] = []
    around = Surroundings(cache_dir=folder / "cache", started_s=time.monotonic(), sinks=(heard.append,), plots=False)
    pretrain(str(source), resolve(PretrainOptions, flags={**FLAGS, **flags}), around=around, out=folder / "run")
    return [event["loss_nats"] for event in heard if event["event"] == "train"]


@pytest.mark.parametrize("case", CASES)
def test_the_same_losses_as_ever(case: str, tmp_path: Path) -> None:
    found = losses(tmp_path, CASES[case])
    assert found == pytest.approx(LOSSES[case], rel=1e-4)
    assert found[-1] < found[0] - 0.3, "a loss that does not fall would hide most mistakes"


if __name__ == "__main__":
    for name, flags in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            values = ", ".join(f"{loss:.6f}" for loss in losses(Path(place), flags))
        sys.stdout.write(f'    "{name}": [{values}],\n')
