"""One optimizer step: gradients of a batch in micro-batches, clipped, refused when not finite, applied.

The loss is a sum of nats divided once by all counted tokens of the step (law 6), so k micro-batches give the same
gradient as one big batch. Not here: where batches come from and when steps end (`loop`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidro.core.errors import TrainingError
from vidro.core.shapes import Float, Int, Shaped
from vidro.train.optim import Optimizer


class Batch(NamedTuple):
    """Rows of ids and what is to be predicted; targets of −100 are not counted.

    `n_counted`: by how many the sum of nats is divided where it is not the targets that count (pairs of rows, say).
    `known`: a number known of each row before (what a reference model says of it).
    `pieces`: which text each token belongs to, where several share a row.
    """

    ids: Int[Tensor, "B T"]
    targets: Shaped[Tensor, "B *rest"]
    n_counted: int | None = None
    known: Float[Tensor, "B"] | None = None
    pieces: Int[Tensor, "B T"] | None = None


LossFunction = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]


@dataclass
class LossScaler:
    """Dynamic loss scaling for fp16 (Micikevicius et al. 2018): halve on overflow, double after quiet steps."""

    scale: float = 65536.0
    quiet_steps: int = 0
    interval: int = 2000

    def update(self, overflow: bool) -> None:
        """Learn from one step."""
        self.quiet_steps = 0 if overflow else self.quiet_steps + 1
        if overflow:
            self.scale = max(self.scale / 2, 1.0)
        elif self.quiet_steps % self.interval == 0:
            self.scale *= 2


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How a step is computed; none of it changes what is learned, up to rounding."""

    micro_batch: int
    clip: float
    autocast: Callable[[], AbstractContextManager]


class StepReport(NamedTuple):
    """Mean nats per token of the batch before the update, the gradient's norm, and whether it was clipped."""

    loss_nats: float
    grad_norm: float
    clipped: bool


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Batch,
    *,
    loss: LossFunction,
    multiplier: float,
    settings: StepSettings,
    scaler: LossScaler | None = None,
) -> StepReport:
    """Compute the gradient of `batch` and move the weights once.

    Raises TrainingError before touching the weights when the loss or the gradient is not finite (with a `scaler`,
    an overflowing gradient skips the move instead).
    """
    optimizer.zero_grad()
    counted = int((batch.targets != -100).sum()) if batch.n_counted is None else batch.n_counted
    if counted == 0:
        raise TrainingError("this batch has no token to learn from")
    scale = 1.0 if scaler is None else scaler.scale
    total = 0.0
    for first in range(0, len(batch.ids), settings.micro_batch):
        rows = slice(first, first + settings.micro_batch)
        with settings.autocast():
            known, pieces = (None if each is None else each[rows] for each in (batch.known, batch.pieces))
            nats, _ = loss(model, Batch(batch.ids[rows], batch.targets[rows], known=known, pieces=pieces))
        (nats * (scale / counted)).backward()
        total += nats.item()
    mean = total / counted
    if not math.isfinite(mean):
        raise TrainingError(f"the loss became {mean}")
    if scale != 1.0:
        multiply(gradients(optimizer.parameters), 1 / scale)
    norm = torch.nn.utils.get_total_norm(gradients(optimizer.parameters)).item()
    if scaler is not None:
        overflow = not math.isfinite(norm)
        scaler.update(overflow)
        if overflow:
            return StepReport(mean, 0.0, False)
    if not math.isfinite(norm):
        raise TrainingError(f"the gradient became {norm}")
    clipped = 0 < settings.clip < norm
    if clipped:
        multiply(gradients(optimizer.parameters), settings.clip / norm)
    optimizer.step(multiplier)
    return StepReport(mean, norm, clipped)


def gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    """The gradients that are there."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def multiply(tensors: list[Tensor], factor: float) -> None:
    """Scale all of them in place."""
    for tensor in tensors:
        tensor.mul_(factor)
