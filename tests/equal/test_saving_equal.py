"""The rung `saving` keeps the numbers that a production checkpoint keeps, and going on from either is exact."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import torch
from torch import nn

from vidro.checkpoint.training_state import load_checkpoint, save_checkpoint
from vidro.learn import saving, training
from vidro.train.optim import Optimizer, OptimizerSettings
from vidro.train.step import Batch, StepSettings, train_step

V, T, LR = 11, 6, 0.02


class Pairs(nn.Module):
    """A model that both sides take."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(V, 8)
        self.head = nn.Linear(8, V, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(ids))


def fresh() -> Pairs:
    torch.manual_seed(3)
    return Pairs()


def batches(dice: torch.Generator, n: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rows = [torch.randint(V, (4, T + 1), generator=dice) for _ in range(n)]
    return [(row[:, :-1], row[:, 1:]) for row in rows]


def production(model: nn.Module) -> Optimizer:
    return Optimizer(
        model, OptimizerSettings(kind="adamw", lr=LR, muon_lr=0.0, weight_decay=0.0, beta1=0.9, beta2=0.95)
    )


def nats(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    each = nn.functional.cross_entropy(model(batch.ids).transpose(1, 2), batch.targets, reduction="sum")
    return each, torch.tensor(batch.targets.numel())


def test_the_same_numbers_are_kept(tmp_path: Path) -> None:
    model = fresh()
    ours, theirs = copy.deepcopy(model), model
    rung, optimizer = training.AdamW(ours.parameters(), lr=LR, weight_decay=0.0), production(theirs)
    dice = torch.Generator().manual_seed(1)
    settings = StepSettings(micro_batch=4, clip=0.0, autocast=contextlib.nullcontext)
    for ids, targets in batches(dice, 5):
        training.train(ours, rung, [(ids, targets)])
        train_step(theirs, optimizer, Batch(ids, targets), loss=nats, multiplier=1.0, settings=settings)
    saved = save_checkpoint(tmp_path, 5, config={}, model=theirs.state_dict(), optimizer=optimizer.tensors(), state={})
    back = load_checkpoint(saved)
    kept = saving.state_of(ours, rung, dice)
    for name, numbers in back.model.items():
        torch.testing.assert_close(kept[f"weights.{name}"], numbers)
    means = {name: numbers for name, numbers in kept.items() if name.startswith(("mean", "square"))}
    assert len(means) == 4
    for name, numbers in means.items():
        close = [
            torch.allclose(numbers, each, atol=1e-7) for each in back.optimizer.values() if each.shape == numbers.shape
        ]
        assert any(close), f"{name} is not in the checkpoint"
    assert int(kept["steps"]) == 5
    assert any(each.numel() == 1 and int(each) == 5 for each in back.optimizer.values())


def test_going_on_is_exact(tmp_path: Path) -> None:
    def start() -> tuple[nn.Module, training.AdamW, torch.Generator]:
        model = fresh()
        return model, training.AdamW(model.parameters(), lr=LR), torch.Generator().manual_seed(1)

    model, optimizer, dice = start()
    whole = training.train(model, optimizer, batches(dice, 9))
    other = start()
    first = training.train(other[0], other[1], batches(other[2], 4))
    saving.write(tmp_path / "checkpoint", saving.state_of(*other))
    again = start()
    saving.put_back(saving.read(tmp_path / "checkpoint"), *again)
    assert first + training.train(again[0], again[1], batches(again[2], 5)) == whole
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again[0].parameters(), strict=True))
