"""What went into each module and what came out of it, and which module is the first to do a thing.

A fault seen at the logits began somewhere. Two texts are run; the guilty module is the first whose inputs agree where
they should and whose output does not. Modules inside others finish first, so the first is also the innermost.
Next: `probes_context`, which asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vidro.core.shapes import Int, Shaped
from vidro.learn.checker.subject import Subject

Cut = Callable[[Shaped[Tensor, "..."]], Shaped[Tensor, "..."]]
TOLERANCE = 1e-5  # of the largest number: rounding stays far below, the smallest real leak far above


@dataclass
class Visit:
    """One call of one module: copies of the tensors that went in and came out."""

    name: str
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


def tensors(value: Any, depth: int = 4) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for inner in value.values():
            yield from tensors(inner, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for inner in value:
            yield from tensors(inner, depth - 1)


@torch.no_grad()
def visit(subject: Subject, ids: Int[Tensor, "B T"], *, dice: int | None = None) -> list[Visit]:
    """Run the model and record every module, in the order in which they finish; the model itself is last.

    With `dice`, dropout is left as the model has it, and the dice are seeded so.
    """
    done: list[Visit] = []
    open_: list[Visit] = []

    def enters(name: str) -> Any:
        def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
            open_.append(Visit(name, [t.detach().clone() for t in tensors((args, kwargs))]))

        return hook

    def leaves(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
        last = open_.pop()
        last.outputs = [t.detach().clone() for t in tensors(output)]
        done.append(last)

    handles = []
    for name, module in subject.model.named_modules():
        handles.append(module.register_forward_pre_hook(enters(name), with_kwargs=True))
        handles.append(module.register_forward_hook(leaves, with_kwargs=True))
    try:
        subject.raw(ids) if dice is None else subject.loud(ids, dice)
    finally:
        for handle in handles:
            handle.remove()
    return done


def first_guilty(one: list[Visit], two: list[Visit], cut: Cut) -> tuple[Visit, Visit] | None:
    """The first module whose inputs agree on the part that `cut` leaves and whose output does not."""
    for a, b in zip(one, two, strict=False):
        if a.name != b.name:
            return None
        if agree(a.inputs, b.inputs, cut) and not agree(a.outputs, b.outputs, cut):
            return a, b
    return None


def agree(one: list[Tensor], two: list[Tensor], cut: Cut) -> bool:
    """Whether all tensors are the same, up to rounding, on the part that `cut` leaves."""
    pairs = zip(one, two, strict=False)
    return len(one) == len(two) and all(a.shape == b.shape and distance(cut(a), cut(b)) <= TOLERANCE for a, b in pairs)


def distance(a: Shaped[Tensor, "..."], b: Shaped[Tensor, "..."]) -> float:
    """The largest difference, as a share of the largest number. NaN against NaN is no difference."""
    if a.numel() == 0:
        return 0.0
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    a, b = a.double(), b.double()
    same = (a == b) | (a.isnan() & b.isnan())
    if bool(same.all()):
        return 0.0
    gap = torch.where(same, torch.zeros_like(a), (a - b).abs()).nan_to_num(nan=1e9, posinf=1e9)
    size = torch.maximum(a.abs(), b.abs())
    return float(gap.max() / size[size.isfinite()].max().clamp(min=1e-12)) if bool(size.isfinite().any()) else 1.0


def along(size: int, part: slice) -> Cut:
    """A cut of every axis of this size."""

    def cut(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        return tensor[tuple(part if length == size else slice(None) for length in tensor.shape)]

    return cut


def place(name: str, model: nn.Module) -> str:
    """How a module is called in a report: its path and class; the model itself by its class."""
    kind = type(model.get_submodule(name)).__name__
    return f"{name} ({kind})" if name else f"the forward of {kind} itself"
