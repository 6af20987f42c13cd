"""How fast this machine trains: two small models timed for a second, and from them the time of a step of any model.

Work per token in a block grows with the square of the width, what is not a matrix product (norms, rotations, sums) only
with the width. So the time per FLOP is 1/r + k/d, and two widths give both r and k. Timing real steps of the real loop
takes the processor, its threads, the allocator and Python's share with it, on any device.

Not here: what is chosen with it (`plan`), the peak of one large product (`machine`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidro.config.schema import ModelConfig, OptimOptions
from vidro.model.count import count
from vidro.model.device import Precision, autocast
from vidro.model.loss import lm_loss
from vidro.model.transformer import Transformer
from vidro.train.defaults import optimizer_settings
from vidro.train.machine import memory_free_bytes
from vidro.train.optim import Optimizer, muon_flops
from vidro.train.step import Batch, StepSettings, train_step

WIDTHS = (64, 256)  # of the two models, which are two blocks deep: between them lie those of a few minutes
PROBE_TOKENS = 1024  # of a step: a processor is busy with them,
CARD_TOKENS = 2048  # … a card needs more
MOST_S = 0.6  # for each of the two, after its first step
MOST_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds of a training step by its size, and the memory there is."""

    flops_per_s: float
    """r: what an endlessly wide model would reach."""

    width_cost_s: float
    """k: seconds per FLOP at width 1, beyond 1/r."""

    memory_bytes: int
    """Free for training, on the card where there is one."""

    def step_s(self, model: ModelConfig, tokens: int, *, muon: bool = True) -> float:
        """Seconds of one optimizer step on `tokens` tokens."""
        flops = tokens * count(model).flops_per_token_train + (muon_flops(model) if muon else 0.0)
        return flops * (1 / self.flops_per_s + self.width_cost_s / model.d_model)

    def scaled(self, share: float) -> Speed:
        """The same machine at `share` of its speed: busy, or throttled."""
        return Speed(
            flops_per_s=self.flops_per_s * share,
            width_cost_s=self.width_cost_s / share,
            memory_bytes=self.memory_bytes,
        )


def measure_speed(
    device: torch.device,
    precision: Precision,
    *,
    within_s: float = 1.2,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Train two models of random numbers for about `within_s` in all (three steps each at least)."""
    shapes = [probe_model(width) for width in WIDTHS]
    per_flop = []
    for shape in shapes:
        took_s = time_steps(shape, device, precision, most_s=min(MOST_S, within_s / 2), clock=clock)
        flops = probe_tokens(device) * count(shape).flops_per_token_train + muon_flops(shape)
        per_flop.append(took_s / flops)
    return fit(per_flop[0], per_flop[1], memory_bytes=memory_free_bytes(device))


def fit(narrow_s: float, wide_s: float, *, memory_bytes: int) -> Speed:
    """From seconds per FLOP at the two widths to r and k. A wider model is never taken to be slower per FLOP.

    >>> speed = fit(2.0e-11, 1.25e-11, memory_bytes=0)
    >>> round(1 / speed.flops_per_s * 1e11, 6), round(speed.width_cost_s * 1e11, 6)
    (1.0, 64.0)
    """
    narrow, wide = WIDTHS
    cost = max(0.0, (narrow_s - wide_s) / (1 / narrow - 1 / wide))
    endless = wide_s - cost / wide
    if endless < 0.25 * wide_s:  # noise: no machine gains that much from more width
        endless = 0.25 * wide_s
        cost = 0.75 * wide_s * wide
    return Speed(flops_per_s=1 / endless, width_cost_s=cost, memory_bytes=memory_bytes)


def probe_model(width: int) -> ModelConfig:
    """A model of this width, two blocks deep, as the planner shapes them."""
    n_heads = width // 64
    return ModelConfig(
        vocab_size=512, context_length=128, d_model=width, n_layers=2, n_heads=n_heads, n_kv_heads=n_heads, d_head=64,
        d_ff=-(-8 * width // 3 // 32) * 32,
    )  # fmt: skip


def probe_tokens(device: torch.device) -> int:
    """Tokens of a step that is timed."""
    return PROBE_TOKENS if device.type == "cpu" else CARD_TOKENS


def time_steps(
    shape: ModelConfig, device: torch.device, precision: Precision, *, most_s: float, clock: Callable[[], float]
) -> float:
    """Median seconds of a training step of `shape`, of as many as fit; the first one, which wakes everything, apart."""
    model = Transformer(shape).to(device).train()
    optimizer = Optimizer(model, optimizer_settings(OptimOptions(), shape))
    generator = torch.Generator().manual_seed(0)
    rows = probe_tokens(device) // shape.context_length
    ids = torch.randint(shape.vocab_size, (rows, shape.context_length + 1), generator=generator).to(device)
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    context = nullcontext if precision.name == "fp32" else lambda: autocast(device, precision)
    settings = StepSettings(micro_batch=rows, clip=1.0, autocast=context)

    def loss(module: nn.Module, part: Batch) -> tuple[Tensor, Tensor]:
        assert isinstance(module, Transformer)
        return lm_loss(module, part.ids, part.targets)

    def step() -> float:
        started = clock()
        train_step(model, optimizer, batch, loss=loss, multiplier=0.0, settings=settings)
        return clock() - started

    step()
    times = [step(), step()]
    while len(times) < MOST_STEPS and sum(times) < most_s:
        times.append(step())
    return statistics.median(times)
