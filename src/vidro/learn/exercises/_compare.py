"""What the exercises share: numbers held against the right ones, and against those of the usual mistakes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vidro.learn.exercise import Wrong

CLOSE = 1e-4


def same(
    answer: object, right: Tensor, mistakes: Mapping[str, Tensor] | None = None, *, what: str = "the numbers"
) -> None:
    """Nothing if `answer` is close to `right`; else Wrong, which names the mistake that gives this answer.

    >>> same([1.0, 2.0], torch.tensor([1.0, 2.0]))
    >>> same([2.0, 1.0], torch.tensor([1.0, 2.0]), {"the order is reversed": torch.tensor([2.0, 1.0])})
    Traceback (most recent call last):
    vidro.learn.exercise.Wrong: the order is reversed
    >>> same([1.0, 3.0], torch.tensor([1.0, 2.0]), what="the shares")
    Traceback (most recent call last):
    vidro.learn.exercise.Wrong: the shares are not right: number 2 (found 3.0, expected 2.0)
    >>> same(3.0, torch.tensor(2.0), what="the loss")
    Traceback (most recent call last):
    vidro.learn.exercise.Wrong: the loss is not right (found 3.0, expected 2.0)
    """
    found = as_tensor(answer).to(right)
    if found.shape != right.shape:
        raise Wrong(f"{what}: another shape is expected", found=list(found.shape), expected=list(right.shape))
    if found.isnan().any():
        raise Wrong(f"among {what} are some that are no numbers (nan)")
    if torch.allclose(found, right, atol=CLOSE, rtol=1e-3):
        return
    for mistake, numbers in (mistakes or {}).items():
        if numbers.shape == found.shape and torch.allclose(found, numbers, atol=CLOSE, rtol=1e-3):
            raise Wrong(mistake)
    place = int((found - right).abs().flatten().argmax())
    index = [str(axis.item() + 1) for axis in torch.unravel_index(torch.tensor(place), right.shape)]
    verdict = "is not right" if right.numel() == 1 else f"are not right: number {', '.join(index)}"
    raise Wrong(
        f"{what} {verdict}",
        found=round(found.flatten()[place].item(), 3),
        expected=round(right.flatten()[place].item(), 3),
    )


def as_tensor(answer: object) -> Tensor:
    """A tensor of what a function gave: a tensor, or lists of numbers."""
    if isinstance(answer, Tensor):
        return answer.detach()
    try:
        return torch.tensor(answer, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("the answer is no tensor", found=type(answer).__name__, hint="Is there a return?") from None


def all_reached(module: nn.Module) -> None:
    """After `backward`: a gradient is at every parameter. Raises Wrong, which names those without."""
    without = [name for name, numbers in module.named_parameters() if numbers.grad is None or not numbers.grad.any()]
    if without:
        raise Wrong(f"no gradient reaches {', '.join(without[:3])}", hint="Is it used? Is it cut off by detach()?")
