"""What the exercises on losses share: call a function with a list or a tensor, and hold one number against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from vidro.learn.exercise import Wrong

CLOSE = 1e-4


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's answer to lists; where it cannot take them, to tensors. Raises what it raised for lists.

    >>> called(lambda row, target: row.softmax(dim=0)[target], [0.0, 0.0], 1)
    tensor(0.5000)
    """
    try:
        return function(*arguments)
    except (TypeError, AttributeError) as problem:
        try:
            return function(*(torch.tensor(each) if isinstance(each, list) else each for each in arguments))
        except NotImplementedError:
            raise
        except Exception:
            raise problem from None


def number_of(answer: object, what: str) -> float:
    """A plain number of what a function gave: a number, or a tensor or array of one. Raises Wrong for others."""
    if isinstance(answer, Tensor):
        answer = answer.detach()
    size = getattr(answer, "size", 1)
    if answer is not None and (size if isinstance(size, int) else 1) == 1 and not isinstance(answer, str | list | dict):
        try:
            return float(answer)  # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError, RuntimeError):
            pass
    raise Wrong(f"{what} must be one number", found=type(answer).__name__, hint="Is there a return?")


def is_close(answer: float, right: float) -> bool:
    """Equal up to rounding; infinite is equal to infinite.

    >>> is_close(0.69315, 0.693147), is_close(math.inf, math.inf), is_close(math.nan, 1.0)
    (True, True, False)
    """
    return math.isclose(answer, right, rel_tol=1e-3, abs_tol=CLOSE)


def same_number(answer: object, right: float, mistakes: Mapping[str, float] | None = None, *, what: str) -> None:
    """Nothing if `answer` is `right`; else Wrong, which names the mistake that gives this answer.

    >>> same_number(1.0, math.log(2), {"the logarithm is that of base 2": 1.0}, what="surprise(1/2)")
    Traceback (most recent call last):
    vidro.learn.exercise.Wrong: surprise(1/2): the logarithm is that of base 2 (found 1.0, expected 0.6931)
    """
    found = number_of(answer, what)
    if is_close(found, right):
        return
    expected = round(right, 4) if math.isfinite(right) else right
    shown = round(found, 4) if math.isfinite(found) else found
    for mistake, value in (mistakes or {}).items():
        if is_close(found, value):
            raise Wrong(f"{what}: {mistake}", found=shown, expected=expected)
    raise Wrong(f"{what} is another number", found=shown, expected=expected)
