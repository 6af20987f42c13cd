"""What is each part of a block worth? The same small model, each time without one of its parts, on the same text.

The production `Transformer` with a module replaced (`without`); it knows nothing of it. A model without the causal mask
is a special case: it sees the tokens that it is to predict, and its loss is wonderful until it has to predict them one
by one, with nothing behind them to look at (`one_by_one`). Not here: training (`small`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.config.schema import SamplingOptions
from vidro.core.shapes import Float, Int
from vidro.infer.decode import decode_without_cache
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.experiments.small import Material, Outcome, Recipe, fresh, shape, spread, tiny_world, train
from vidro.learn.figures import bars
from vidro.model.init import initialise
from vidro.model.modes import at_rest
from vidro.model.transformer import Block, Transformer

WHOLE, MASK = "nothing", "the causal mask"
PARTS = (WHOLE, "positions", "norms", "shortcuts", MASK, "the attention scale", "feed-forward", "attention")


@dataclass(frozen=True)
class PartSettings:
    """How much of everything."""

    seeds: tuple[int, ...] = (1,)
    steps: int = 160
    rows: int = 8
    width: int = 64
    layers: int = 2
    heads: int = 2
    context: int = 128
    vocab_size: int = 512
    train_bytes: int = 400_000
    val_bytes: int = 10_000
    windows: int = 8
    """That are predicted one by one."""

    written_tokens: int = 40
    prompt: str = "Once there was"


class Nothing(nn.Module):
    """In place of a sub-layer: adds nothing."""

    def forward(self, x: Float[Tensor, "B T D"], *around: object, **named: object) -> Float[Tensor, "B T D"]:
        """Zeros."""
        return torch.zeros_like(x)


class Times(nn.Module):
    """A fixed factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        return x * self.factor


class Straight(Block):
    """A block without shortcuts: each half hands on what it makes, in place of adding it."""

    def forward(self, x: Tensor, rotary: Any = None, **around: Any) -> Tensor:
        """Feed-forward of attention."""
        return self.feedforward(self.norm_2(self.attention(self.norm_1(x), rotary, **around)))


class SeesAll(Block):
    """A block whose tokens look at the whole window, what comes after them included."""

    def forward(self, x: Tensor, rotary: Any = None, **around: Any) -> Tensor:
        """The residual after this block."""
        everything = torch.ones(len(x), 1, x.shape[1], x.shape[1], dtype=torch.bool)
        return super().forward(x, rotary, **{**around, "mask": everything})


def without(part: str, model: Transformer, seed: int) -> Transformer:
    """`model` without one of PARTS, changed in place; blocks of another kind are drawn from `seed`."""
    config = model.config
    if part == "positions":
        model.cos = model.sin = None
    elif part == "norms":
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.RMSNorm):
                    setattr(module, name, nn.Identity())
    elif part in ("shortcuts", MASK):
        kind = Straight if part == "shortcuts" else SeesAll
        model.blocks = nn.ModuleList(kind(config, layer) for layer in range(config.n_layers))
        initialise(model, seed=seed)
        if part == "shortcuts":
            _draw_outputs(model, seed)
    elif part == "the attention scale":
        for block in model.blocks:
            attention: Any = block.get_submodule("attention")  # the kernel divides by √E: undone beforehand
            attention.q_norm = nn.Sequential(attention.q_norm, Times(math.sqrt(config.d_head)))
    elif part in ("attention", "feed-forward"):
        for block in model.blocks:
            setattr(block, part.replace("-", ""), Nothing())
    return model


def _draw_outputs(model: Transformer, seed: int) -> None:
    """Output matrices begin at zero, which without shortcuts would stay so for ever: nothing gets through."""
    draw = torch.Generator().manual_seed(seed)
    for name, matrix in model.named_parameters():
        if name.endswith(("o_proj.weight", "down.weight")):
            matrix.data.normal_(0.0, 1 / math.sqrt(matrix.shape[1]), generator=draw)


def check_windows(material: Material, n: int, length: int) -> tuple[Int[Tensor, "N T"], Int[Tensor, "N T"]]:
    """The first `n` whole windows of the validation stories, and their targets."""
    ids = np.concatenate([np.append(one, material.tokenizer.eot_id) for one in material.val])
    n = min(n, (len(ids) - 1) // length)
    inputs, targets = ids[: n * length], ids[1 : n * length + 1]
    return torch.from_numpy(inputs).view(n, length), torch.from_numpy(targets).view(n, length)


def at_once(model: Transformer, ids: Int[Tensor, "N T"], targets: Int[Tensor, "N T"]) -> float:
    """Nats per token as in training: all places of a window side by side."""
    with at_rest(model):
        return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten()).item()


def one_by_one(model: Transformer, ids: Int[Tensor, "N T"], targets: Int[Tensor, "N T"]) -> float:
    """Nats per token as in writing: each place is predicted from what stands before it, nothing else is there."""
    with at_rest(model):
        nats = [
            F.cross_entropy(model(ids[:, : place + 1])[:, -1], targets[:, place]).item()
            for place in range(ids.shape[1])
        ]
    return fmean(nats)


@dataclass
class Tried:
    """What came of the models without one part, seed by seed."""

    n_parameters: int
    outcomes: list[Outcome]
    at_once: list[float]
    one_by_one: list[float]
    written: str

    @property
    def broke(self) -> list[str]:
        """Why trainings ended early."""
        return [one.broke for one in self.outcomes if one.broke is not None]

    @property
    def val_nats(self) -> float | None:
        """The mean validation loss; None where a training broke."""
        return None if self.broke else fmean(one.last.val_nats for one in self.outcomes)


def run(request: Request) -> Report:
    """All parts, one at a time."""
    return study(PartSettings(), request.say)


def study(settings: PartSettings, say: Callable[[str], None]) -> Report:
    """The report: losses, figure, and what the model without a mask writes."""
    material = tiny_world(settings.train_bytes, val_bytes=settings.val_bytes, vocab_size=settings.vocab_size)
    tried = {part: try_without(part, material, settings, say) for part in PARTS}
    whole = tried[WHOLE]
    assert whole.val_nats is not None, whole.broke
    more = {part: one.val_nats - whole.val_nats for part, one in tried.items() if one.val_nats is not None}
    figure = bars({part: value for part, value in more.items() if part not in (WHOLE, MASK)},
                  y="nats per token more", title="What it costs to leave a part out (validation loss)")  # fmt: skip
    shown = {"seeds": settings.seeds, "steps": settings.steps, "tokens_per_step": settings.rows * settings.context,
             "width": settings.width, "layers": settings.layers, "vocab_size": settings.vocab_size}  # fmt: skip
    tables = [loss_table(tried), mask_table(tried), written_table(tried, settings.prompt)]
    return Report(tables, findings(tried, more), {"parts": figure}, shown)


def try_without(part: str, material: Material, settings: PartSettings, say: Callable[[str], None]) -> Tried:
    """Train the model without this part, once a seed, and look at it in every way."""
    say(f"without {part} …")
    config = shape(material.tokenizer.vocab_size, width=settings.width, layers=settings.layers, heads=settings.heads,
                   context=settings.context)  # fmt: skip
    windows = check_windows(material, settings.windows, settings.context)
    tried = Tried(0, [], [], [], "")
    for seed in settings.seeds:
        model = without(part, fresh(config, seed), seed)
        tried.n_parameters = sum(weights.numel() for weights in model.parameters())
        outcome = train(model, material, Recipe(steps=settings.steps, rows=settings.rows, seed=seed))
        tried.outcomes.append(outcome)
        if outcome.broke is None:
            tried.at_once.append(at_once(model, *windows))
            tried.one_by_one.append(one_by_one(model, *windows))
            tried.written = tried.written or write(model, material, settings)
    return tried


def write(model: Transformer, material: Material, settings: PartSettings) -> str:
    """What follows the prompt when the likeliest token is always taken, on one line."""
    tokenizer = material.tokenizer
    options = SamplingOptions(max_tokens=settings.written_tokens, greedy=True)
    prompt = [tokenizer.eot_id, *tokenizer.encode(settings.prompt)]
    return " ".join(tokenizer.decode(decode_without_cache(model, prompt, options, eot_id=tokenizer.eot_id)).split())


def loss_table(tried: dict[str, Tried]) -> Table:
    """Losses side by side, and what each model has more than the whole."""
    whole = tried[WHOLE].val_nats
    rows: list[tuple[Any, ...]] = []
    for part, one in tried.items():
        if one.val_nats is None or whole is None:
            rows.append((part, one.n_parameters, None, None, one.broke[0]))
            continue
        looks = [outcome.last for outcome in one.outcomes]
        rows.append((part, one.n_parameters, spread([look.train_nats for look in looks]),
                     spread([look.val_nats for look in looks]), f"{one.val_nats - whole:+.3f}"))  # fmt: skip
    columns = ("left out", "parameters", "training, nats", "validation, nats", "difference")
    return Table("Loss per token without a part (mean of the seeds ± half of their range)", columns, rows)


def mask_table(tried: dict[str, Tried]) -> Table:
    """The same windows predicted all at once and token by token."""
    rows: list[tuple[Any, ...]] = [
        (part, spread(tried[part].at_once), spread(tried[part].one_by_one))
        for part in (WHOLE, MASK)
        if tried[part].at_once
    ]
    return Table("Predicted all at once, and one by one (nats per token)", ("left out", "at once", "one by one"), rows)


def written_table(tried: dict[str, Tried], prompt: str) -> Table:
    """The words that each model writes."""
    rows: list[tuple[Any, ...]] = [(part, one.written or None) for part, one in tried.items()]
    return Table(f'What follows "{prompt}", the likeliest token each time', ("left out", "written"), rows)


def findings(tried: dict[str, Tried], more: dict[str, float]) -> list[str]:
    """The sentences that the numbers allow."""
    costs = {part: value for part, value in more.items() if part not in (WHOLE, MASK)}
    ordered = sorted(costs, key=lambda part: -costs[part])
    said = [
        f"Most is lost without {ordered[0]}: {costs[ordered[0]]:.2f} nats per token more.",
        f"Least is lost without {ordered[-1]}: {costs[ordered[-1]]:+.2f} nats per token.",
    ]
    said += [f"Without {part} the training broke: {one.broke[0]}." for part, one in tried.items() if one.broke]
    open_eyes = tried[MASK]
    if open_eyes.at_once:
        said.append(
            f"Without {MASK} the loss is {fmean(open_eyes.at_once):.3f} nats where all is predicted at once, since "
            f"the answer is in sight, and {fmean(open_eyes.one_by_one):.2f} one by one. The whole model has "
            f"{fmean(tried[WHOLE].at_once):.2f} both ways."
        )
    return said
