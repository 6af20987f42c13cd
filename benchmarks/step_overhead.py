"""Where the time of a training step goes: share of this machine's matmul peak, and what the rest is spent on.

Steps of shapes from the planner's ladder take turns with products of two 2048 × 2048 matrices in fp32; with --large
steps of GPT-2's 124M with AdamW at batch 4 × 256 too, and with --nanogpt those of nanoGPT's model of that size.
Efficiency is FLOPs of the step (6 × multiplying weights + 12·L·d·T a token) over what that product would have done in
the same time. Then the step is profiled and its operations are grouped.

    python benchmarks/step_overhead.py --threads 2 --large --nanogpt ../nanoGPT
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch.profiler import ProfilerActivity, profile

from common import interleave, machine_line, report, table
from vidro.config.presets import preset
from vidro.config.schema import ModelConfig, OptimOptions
from vidro.model.count import count
from vidro.model.loss import lm_loss
from vidro.model.transformer import Transformer
from vidro.train.defaults import optimizer_settings
from vidro.train.machine import settled
from vidro.train.optim import Optimizer
from vidro.train.plan import ladder_shape
from vidro.train.step import Batch, StepSettings, train_step

SIDE = 2048
SHAPES = {
    "128 wide, 2 blocks": (ladder_shape(128, 2, 1024), 16),
    "256 wide, 3 blocks": (replace(ladder_shape(256, 3, 4096), context_length=256), 16),
    "384 wide, 4 blocks": (replace(ladder_shape(384, 4, 4096), context_length=256), 32),
}
GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "_scaled_dot_product"),
    "sums, products and roots": ("mul", "add", "sub", "div", "neg", "sqrt", "rsqrt", "square", "pow", "addcmul",
                                 "addcdiv", "lerp", "exp", "silu", "gelu", "sum", "mean", "norm", "linalg"),
    "moving and shaping": ("copy", "clone", "roll", "cat", "stack", "contiguous", "index", "gather", "scatter",
                           "embedding", "fill", "zero", "ones", "to_copy", "narrow", "slice", "transpose", "view"),
    "softmax and loss": ("_softmax", "_log_softmax", "log_softmax", "masked_fill"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--large", action="store_true", help="GPT-2's 124M too, batch 4 × 256")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT, a peer at 124M")
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    options = parser.parse_args()
    with settled(options.threads):
        rows, parts = [], []
        for name, (config, n_rows) in chosen_shapes(large=options.large).items():
            optimizer = "adamw" if config.family == "gpt2" else "muon"
            step, flops = make_step(config, n_rows, length=min(config.context_length, 256), optimizer=optimizer)
            contestants = {name: step}
            if options.nanogpt is not None and config.family == "gpt2":
                contestants["nanoGPT, the same"] = nanogpt_step(options.nanogpt, config, n_rows)
            work = {who: timed(one) for who, one in contestants.items()}
            seconds = interleave(work | {"peak": timed(product())}, rounds=options.rounds)
            middle = {who: statistics.median(values) for who, values in seconds.items()}
            for who in contestants:
                share = flops / middle[who] / (2 * SIDE**3 / middle["peak"])
                rows.append([who, f"{count(config).n_parameters:,}", f"{1e3 * middle[who]:.1f}", f"{share:.2f}"])
            parts.append((name, time_by_group(step)))
    lines = [machine_line(options.threads), "", table(["model", "parameters", "ms a step", "of matmul peak"], rows), ""]
    header = ["share of the step's processor time", *(name for name, _ in parts)]
    groups = [*GROUPS, "other"]
    lines.append(table(header, [[g, *(f"{shares.get(g, 0.0):.1%}" for _, shares in parts)] for g in groups]))
    report("A training step", lines, data={"rows": rows, "groups": dict(parts)}, json_path=options.json)


def chosen_shapes(*, large: bool) -> dict[str, tuple[ModelConfig, int]]:
    """The shapes to measure, each with its rows a batch: Vidro's own, and GPT-2's 124M too where that is wished."""
    return SHAPES | {"gpt2, 124M, AdamW": (replace(preset("gpt2"), dropout=0.0), 4)} if large else SHAPES


def make_step(
    config: ModelConfig, rows: int, *, length: int, optimizer: Literal["muon", "adamw"]
) -> tuple[Callable[[], object], float]:
    """A whole optimizer step on random tokens, and its FLOPs."""
    model = Transformer(config).train()
    parts = Optimizer(model, optimizer_settings(OptimOptions(optimizer=optimizer), config))
    ids = torch.randint(config.vocab_size, (rows, length + 1), generator=torch.Generator().manual_seed(1))
    batch = Batch(ids[:, :-1], ids[:, 1:])
    settings = StepSettings(micro_batch=rows, clip=1.0, autocast=nullcontext)

    def loss(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        assert isinstance(model, Transformer)
        return lm_loss(model, batch.ids, batch.targets)

    def step() -> object:
        return train_step(model, parts, batch, loss=loss, multiplier=0.1, settings=settings)

    per_token = 6.0 * count(config).n_matmul + 12.0 * config.n_layers * config.n_heads * config.d_head * length
    return step, rows * length * per_token


def nanogpt_step(checkout: Path, config: ModelConfig, rows: int) -> Callable[[], object]:
    """A step as nanoGPT's train.py makes it on a CPU: its model, its AdamW, its clipping."""
    sys.path.insert(0, str(checkout))
    peer = importlib.import_module("model")
    sizes = {"n_layer": config.n_layers, "n_head": config.n_heads, "n_embd": config.d_model, "dropout": 0.0}
    model = peer.GPT(peer.GPTConfig(vocab_size=config.vocab_size, bias=True, **sizes)).train()
    optimizer = model.configure_optimizers(0.1, 6e-4, (0.9, 0.95), "cpu")
    draw = torch.Generator().manual_seed(1)
    ids, targets = (torch.randint(config.vocab_size, (rows, 256), generator=draw) for _ in range(2))

    def step() -> None:
        model(ids, targets)[1].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def product() -> Callable[[], object]:
    """The yardstick of the machine."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return lambda: a @ b


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Seconds of one call; called twice before, to warm up."""
    work()
    work()

    def measure() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measure


def time_by_group(step: Callable[[], object], *, steps: int = 5) -> dict[str, float]:
    """The share of each group of operations in the processor time of all of them, Python between them left out."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(steps):
            step()
    spent: dict[str, float] = {}
    for event in recorded.key_averages():
        if event.key.startswith("aten::"):
            name = group_of(event.key.removeprefix("aten::"))
            spent[name] = spent.get(name, 0.0) + event.self_cpu_time_total
    total = sum(spent.values())
    return {name: value / total for name, value in spent.items()}


def group_of(operation: str) -> str:
    """The group of an operation by its name, with the in-place mark left out.

    >>> group_of("mul_"), group_of("_scaled_dot_product_flash_attention_for_cpu_backward"), group_of("_to_copy")
    ('sums, products and roots', 'matrix products', 'moving and shaping')
    """
    plain = operation.rstrip("_")
    for name, members in GROUPS.items():
        if plain in members:
            return name
    for name, members in GROUPS.items():
        if any(len(member) > 2 and plain.lstrip("_").startswith(member.lstrip("_")) for member in members):
            return name
    return "other"


if __name__ == "__main__":
    main()
