from __future__ import annotations

import contextlib

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.core.errors import TrainingError
from vidro.model.loss import lm_loss
from vidro.model.transformer import Transformer
from vidro.train.optim import Optimizer, OptimizerSettings
from vidro.train.step import Batch, LossScaler, StepSettings, train_step

TINY = ModelConfig(vocab_size=64, context_length=8, d_model=32, n_layers=2, n_heads=2, n_kv_heads=2, d_head=16, d_ff=64)
ADAMW = OptimizerSettings(kind="adamw", lr=0.01, muon_lr=0.02, weight_decay=0.1, beta1=0.9, beta2=0.95)


def loss(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(model, Transformer)
    return lm_loss(model, batch.ids, batch.targets)


def settings(micro_batch: int, clip: float = 1.0) -> StepSettings:
    return StepSettings(micro_batch=micro_batch, clip=clip, autocast=contextlib.nullcontext)


def random_batch(rows: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(64, (rows, 8), generator=generator)
    targets = torch.randint(64, (rows, 8), generator=generator)
    targets[0, 3:] = -100  # unequal numbers of counted tokens: means of means would be wrong
    targets[4] = -100
    return Batch(ids, targets)


@pytest.mark.parametrize("micro_batch", [1, 2, 4, 5])
def test_accumulation_equals_the_full_batch(micro_batch: int) -> None:
    gradients, reports = [], []
    for size in (6, micro_batch):
        model = Transformer(TINY)
        reports.append(
            train_step(
                model, Optimizer(model, ADAMW), random_batch(), loss=loss, multiplier=0.0, settings=settings(size)
            )
        )
        gradients.append([p.grad for p in model.parameters()])
    assert reports[0].loss_nats == pytest.approx(reports[1].loss_nats, rel=1e-6)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_clipping_limits_the_norm_and_says_so() -> None:
    model = Transformer(TINY)
    report = train_step(
        model, Optimizer(model, ADAMW), random_batch(), loss=loss, multiplier=0.0, settings=settings(6, clip=1e-3)
    )
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert report.clipped
    assert norm == pytest.approx(1e-3, rel=1e-4)
    assert report.grad_norm > 1e-3


def test_a_loss_that_is_not_finite_moves_nothing() -> None:
    model = Transformer(TINY)
    before = [p.detach().clone() for p in model.parameters()]
    bad = lambda m, b: tuple(part * float("nan") for part in loss(m, b))  # noqa: E731
    with pytest.raises(TrainingError, match="the loss became nan"):
        train_step(model, Optimizer(model, ADAMW), random_batch(), loss=bad, multiplier=1.0, settings=settings(6))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_batch_without_a_counted_token_is_refused() -> None:
    model = Transformer(TINY)
    empty = Batch(torch.zeros(2, 8, dtype=torch.long), torch.full((2, 8), -100))
    with pytest.raises(TrainingError, match="no token to learn from"):
        train_step(model, Optimizer(model, ADAMW), empty, loss=loss, multiplier=1.0, settings=settings(2))


def test_loss_scaling_changes_nothing_but_skips_an_overflow() -> None:
    plain, scaled = Transformer(TINY), Transformer(TINY)
    scaler = LossScaler(scale=1024.0)
    train_step(plain, Optimizer(plain, ADAMW), random_batch(), loss=loss, multiplier=1.0, settings=settings(6))
    train_step(
        scaled, Optimizer(scaled, ADAMW), random_batch(), loss=loss, multiplier=1.0, settings=settings(6), scaler=scaler
    )
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    before = [p.detach().clone() for p in scaled.parameters()]
    scaler.scale = 1e42  # overflows fp32 in the backward pass
    train_step(
        scaled, Optimizer(scaled, ADAMW), random_batch(), loss=loss, multiplier=1.0, settings=settings(6), scaler=scaler
    )
    assert all(torch.equal(a, b) for a, b in zip(before, scaled.parameters(), strict=True))
    assert scaler.scale == 5e41


def test_a_model_learns_one_batch_by_heart() -> None:
    for kind in ("adamw", "muon"):
        model = Transformer(TINY)
        optimizer = Optimizer(model, OptimizerSettings(**{**vars(ADAMW), "kind": kind}))
        for _ in range(60):
            report = train_step(model, optimizer, random_batch(), loss=loss, multiplier=1.0, settings=settings(6))
        assert report.loss_nats < 0.5, kind
