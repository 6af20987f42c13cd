"""Runs in which LoRA and the head learn: what moved, what adapter and root hold, and that they go on to the bit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.conftest import Halt, TuneBench, halt_at

from vidro.api.run import Run
from vidro.checkpoint.run import OpenedRun, RunRef, load_model, open_run
from vidro.text.styles import special_id

ADAPTER = "adapter/adapter_model.safetensors"
HEAD = "base_model.model.lm_head.weight"


def opened(path: Path) -> OpenedRun:
    return open_run(RunRef(path))


def test_the_head_and_the_targets_learn_and_nothing_else(tuner: TuneBench) -> None:
    path = tuner.instruct("a", trainable="lora", lora_targets=("q_proj",)).path
    before, after = load_model(tuner.base).state_dict(), load_model(opened(path)).state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "blocks.0.attention.q_proj.weight", "blocks.1.attention.q_proj.weight"}
    assert torch.equal(load_file(path / ADAPTER)[HEAD], after["head.weight"])  # of the best step, as the root
    (start,) = tuner.log("a", "start")
    assert start["n_learning"] == 512 * 32 + 2 * 8 * (32 + 32)
    assert f"the thin matrices (1,024 numbers) and the head ({512 * 32:,}) learn" in tuner.notes("a")


@pytest.mark.parametrize("step", [4, 8])
def test_broken_off_it_goes_on_to_the_bit_and_so_does_the_adapter(tuner: TuneBench, step: int) -> None:
    whole = tuner.known("whole", "instruct", trainable="lora")
    with pytest.raises(Halt):
        tuner.instruct("broken", halt_at(step), trainable="lora")
    broken = tuner.go_on("instruct", "broken").path
    tuner.alike("whole", "broken")
    assert (whole / ADAPTER).read_bytes() == (broken / ADAPTER).read_bytes()


def test_a_later_best_does_not_stay_in_the_adapter_of_a_resume(tuner: TuneBench) -> None:
    """Broken off after a look that no checkpoint knows, and gone on with: the adapter is that of the root."""
    flags = {"trainable": "lora", "checkpoint_steps": 5, "evals": 6, "lr": 3e-4, "dropout": 0.0}
    with pytest.raises(Halt):
        tuner.instruct("broken", halt_at(9), **flags)
    assert [event["step"] for event in tuner.log("broken", "best")] == [2, 4, 6, 8]  # the last checkpoint: 6
    later = load_file(tuner.folder / "broken" / ADAPTER)[HEAD]
    with pytest.raises(Halt):
        tuner.go_on("instruct", "broken", halt_at(7))
    path = tuner.folder / "broken"
    back = load_file(path / ADAPTER)[HEAD]
    assert torch.equal(back, load_model(opened(path)).state_dict()["head.weight"])
    assert not torch.equal(back, later)


def test_the_end_token_is_learned_that_the_base_never_read(tuner: TuneBench) -> None:
    """The reason for all this: a frozen head goes on holding the end token down."""
    data = str(tuner.folder / "asked.jsonl")
    flags = {"data": data, "trainable": "lora", "steps": 60, "lr": 0.003, "dropout": 0.0, "evals": 1}
    run = Run(tuner.instruct("a", **flags).path)
    base = Run(tuner.base.path)
    end = special_id(run.tokenizer, "<|im_end|>")
    ids = torch.tensor([run.tokenizer.encode("The answer is red.")])
    with torch.no_grad():
        was, now = (one.model(ids)[0, -1].log_softmax(-1)[end].item() for one in (base, run))
    assert now > was + math.log(2)
