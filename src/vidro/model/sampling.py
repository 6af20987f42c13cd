"""From logits to the next token: pure filters in one fixed order, then one draw.

    logits → repetition penalty → ÷ temperature → top-k → top-p → min-p → renormalise (softmax) → draw

A filter sets what it drops to −∞, whose probability is exactly zero, and changes nothing else but what its name says.
Greedy (asked for, or temperature 0) takes the most probable token after the repetition penalty; nothing is drawn.
Every function works row by row: what happens to a row never depends on the rows beside it.

Not here: running the model and remembering what was said (`infer/decode`). Read next: `infer/decode`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from vidro.config.schema import SamplingOptions
from vidro.core.errors import ModelError, UsageError
from vidro.core.shapes import Bool, Float, Int

DROPPED = -math.inf


def apply_repetition_penalty(
    logits: Float[Tensor, "B V"], seen: Bool[Tensor, "B V"], penalty: float
) -> Float[Tensor, "B V"]:
    """Makes tokens already `seen` less probable: positive logits are divided by `penalty`, others multiplied.

    A penalty below 1 makes them more probable. Source: Keskar et al. 2019 (CTRL), section 4.1.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def apply_temperature(logits: Float[Tensor, "B V"], temperature: float) -> Float[Tensor, "B V"]:
    """The distances to the best logit, divided by a `temperature` above 0; the best itself becomes 0.

    Adding the same number to all logits of a row changes no probability; measuring from the best keeps 0.01 (and
    1e-40) free of overflow. The limit at 0 is greedy, which is not computed here.
    """
    best = logits.amax(dim=-1, keepdim=True)
    return (logits - best) / temperature


def keep_top_k(logits: Float[Tensor, "B V"], k: int) -> Float[Tensor, "B V"]:
    """Drops all but the `k` largest; tokens equal to the k-th stay too. Source: Fan et al. 2018.

    >>> keep_top_k(torch.tensor([[1.0, 3.0, 2.0]]), 2)
    tensor([[-inf, 3., 2.]])
    """
    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[:, -1:]
    return logits.masked_fill(logits < kth, DROPPED)


def keep_top_p(logits: Float[Tensor, "B V"], p: float) -> Float[Tensor, "B V"]:
    """Keeps the fewest tokens whose probabilities sum to at least `p`, never less than one.

    Among equal tokens at the edge the one with the smaller id stays. Source: Holtzman et al. 2020 (nucleus sampling).
    """
    if p >= 1:
        return logits
    ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.softmax(dim=-1).cumsum(dim=-1)
    dropped = pad(cumulative[:, :-1], (1, 0)) >= p  # what stands before a token already holds p
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, ids, dropped), DROPPED)


def keep_min_p(logits: Float[Tensor, "B V"], share: float) -> Float[Tensor, "B V"]:
    """Drops tokens less probable than `share` of the most probable one. Source: Nguyen et al. 2024 (min-p)."""
    probabilities = logits.softmax(dim=-1)
    best = probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < share * best, DROPPED)


@dataclass(frozen=True)
class Filter:
    """One station between logits and draw: a `label` for people, and `apply(logits, seen)` → logits [B V]."""

    label: str
    apply: Callable[[Float[Tensor, "B V"], Bool[Tensor, "B V"]], Float[Tensor, "B V"]]


def filters_in_order(options: SamplingOptions) -> list[Filter]:
    """The filters that `options` ask for, in the fixed order; those that would change nothing are left out."""
    filters: list[Filter] = []
    penalty, temperature = options.repetition_penalty, options.temperature
    if penalty != 1:
        filters.append(
            Filter(f"repetition penalty {penalty:g}", lambda x, seen: apply_repetition_penalty(x, seen, penalty))
        )
    if is_greedy(options):
        return filters
    if temperature != 1:
        filters.append(Filter(f"÷ temperature {temperature:g}", lambda x, _: apply_temperature(x, temperature)))
    if (k := options.top_k) is not None:
        filters.append(Filter(f"top-k {k}", lambda x, _: keep_top_k(x, k)))
    if (p := options.top_p) is not None and p < 1:
        filters.append(Filter(f"top-p {p:g}", lambda x, _: keep_top_p(x, p)))
    if (share := options.min_p) is not None and share > 0:
        filters.append(Filter(f"min-p {share:g}", lambda x, _: keep_min_p(x, share)))
    return filters


def greedy(logits: Float[Tensor, "B V"]) -> Int[Tensor, "B"]:
    """The most probable token of each row; the smallest id among equals."""
    return logits.argmax(dim=-1)


def sample(logits: Float[Tensor, "B V"], generators: list[torch.Generator]) -> Int[Tensor, "B"]:
    """One draw for each row from softmax(logits), each with its own CPU generator: one number u of [0, 1) a draw.

    The tokens lie side by side in the order of their ids, each as wide as its probability; u falls on one of them.
    """
    return locate(line_up(logits), throw(generators))


def line_up(logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
    """Where each token's share of the line from 0 to 1 ends: the running sum of softmax(logits).

    Summed in float64 on the CPU, so that a seed draws alike on every device.
    """
    return logits.softmax(dim=-1).cpu().double().cumsum(dim=-1)


def throw(generators: list[torch.Generator]) -> Float[Tensor, "B"]:
    """One number of [0, 1) from each CPU generator, float64."""
    return torch.stack([torch.rand((), dtype=torch.float64, generator=generator) for generator in generators])


def locate(cumulative: Float[Tensor, "B V"], u: Float[Tensor, "B"]) -> Int[Tensor, "B"]:
    """The token on which u, a share of the row's total, falls; never one of probability zero."""
    total = cumulative[:, -1:].contiguous()
    last = torch.searchsorted(cumulative, total)  # rounding could carry u × total up to the total itself
    found = torch.searchsorted(cumulative, u[:, None] * total, right=True)
    return torch.minimum(found, last).squeeze(-1)


def log_probabilities(logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
    """ln of the model's own probabilities, in nats, float32. Raises ModelError when they are not numbers."""
    logprobs = logits.float().log_softmax(dim=-1)
    if bool(logprobs.isnan().any()):
        raise ModelError(
            "the model's predictions are not numbers (NaN)",
            hint="Its weights are damaged, or its training ran away: use an earlier checkpoint.",
        )
    return logprobs


def is_greedy(options: SamplingOptions) -> bool:
    """Whether the most probable token is taken: `greedy` was asked for, or the temperature is 0."""
    return options.greedy or options.temperature == 0


def check_conflicts(options: SamplingOptions, said: Collection[str] | None = None) -> None:
    """Raise UsageError when one of the options would be ignored because of another.

    `said` holds the names that the user really gave; without it, those that differ from their defaults. A seed beside
    greedy is no conflict: the promise "same seed, same text" is kept.
    """
    if said is None:
        said = {item.name for item in fields(options) if getattr(options, item.name) != item.default}
    if not is_greedy(options):
        return
    why = "greedy" if options.greedy else "temperature 0"
    for name in ("temperature", "top_k", "top_p", "min_p"):
        if name in said and not (name == "temperature" and options.temperature == 0):
            raise UsageError(
                f"with {why} the most probable token is always taken, so {name.replace('_', '-')} would be ignored",
                where=name.replace("_", "-"),
                hint="Leave one of the two out.",
            )
