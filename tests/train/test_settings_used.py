"""Settings of real runs do what they say: precision, compile, micro-batches; and advice that fits them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from tests.train.conftest import Halt, halt_at
from torch import nn

from vidro.checkpoint.run import RunRef, load_model, open_run
from vidro.core.errors import TrainingError, UsageError
from vidro.model.transformer import Block
from vidro.train import loop
from vidro.train.text_task import TextTask


def test_advice_fits_the_settings(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([3.0, 4.0, 5.0])
    losses = itertools.count(9, -1)
    real, step = TextTask.evaluate, loop.train_step
    monkeypatch.setattr(TextTask, "evaluate", lambda *given: {**real(*given), "nats_per_token": next(looks)})
    monkeypatch.setattr(loop, "train_step", lambda *a, **k: step(*a, **k)._replace(loss_nats=float(next(losses))))
    with pytest.raises(Halt):
        bench.train("a", halt_at(0, "overfit"), dropout=0.3, patience=9)
    helps = "more text, a smaller model, more --dropout than 0.3, or fewer epochs."
    assert bench.log("a", "overfit")[0]["message"].endswith(helps)
    monkeypatch.setattr(TextTask, "evaluate", lambda *given: {**real(*given), "nats_per_token": math.nan})
    with pytest.raises(TrainingError, match=r"a lower --lr and --muon-lr\.$"):
        bench.train("b", optimizer="muon")


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(bench: Any) -> None:
    flags = {"steps": 3, "evals": 1, "checkpoint_steps": 3, "dropout": 0.0, "device": "cpu"}
    bench.train("fine", precision="fp32", **flags)
    bench.train("rough", precision="bf16", **flags)
    assert [bench.log(name, "start")[0]["precision"] for name in ("fine", "rough")] == ["fp32", "bf16"]
    fine, rough = ([loss for _, loss in bench.losses(name)] for name in ("fine", "rough"))
    assert fine != rough
    assert rough == pytest.approx(fine, rel=0.02)
    weights = load_model(open_run(RunRef(bench.folder / "rough"))).state_dict().values()
    assert {tensor.dtype for tensor in weights} == {torch.float32}


def test_compile_compiles_each_block_and_changes_no_number(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(Block, "compile", lambda self: compiled.append(self), raising=False)
    bench.train("plain")
    assert compiled == []
    bench.train("compiled", compile=True)
    assert len(set(compiled)) == len(compiled) == 2
    bench.same("plain", "compiled")


def test_whether_denormals_are_flushed_is_found_out(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.train("a", steps=1, evals=1)
    assert bench.log("a", "start")[0]["flush_denormal"] is True
    monkeypatch.setattr(torch, "set_flush_denormal", lambda wanted: False)  # a processor that cannot
    bench.train("b", steps=1, evals=1)
    assert bench.log("b", "start")[0]["flush_denormal"] is False


def test_another_micro_batch_gives_the_same_losses(bench: Any) -> None:
    bench.train("a", dropout=0.0)
    bench.train("b", dropout=0.0, micro_batch=1)
    for (_, one), (_, other) in zip(bench.losses("a"), bench.losses("b"), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"optimizer": "adamw", "muon_lr": 0.1}, "muon-lr: it means nothing beside --optimizer adamw"),
        ({"schedule": "cosine", "decay": 0.2}, "decay: it means nothing beside --schedule cosine"),
        ({"schedule": "constant", "final_lr": 0.2}, "final-lr: it means nothing beside --schedule constant"),
        ({"checkpoint_every": 5.0}, "checkpoint-every: it means nothing beside --checkpoint-steps"),
        ({"micro_batch": 99}, "micro-batch: 99 sequences are more than the 4 of a whole step"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(bench: Any, flags: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench.train("a", **flags)
    assert not (bench.folder / "a").exists()
