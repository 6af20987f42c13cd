"""What the tracer knows of a tensor while a model runs, and the names of the functions it understands.

Not here: how tags travel (`tracing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vidro.learn.checker.attention_call import Call, Fill

MASK, WEIGHT, TEXT, SCORES, SHARES = range(5)  # a result takes the tag of its highest operand
TIMES = {"mul", "multiply", "imul", "rmul"}
OVER = {"div", "divide", "true_divide", "truediv", "itruediv", "idiv", "rtruediv"}
PLUS = {"add", "radd", "iadd", "sub", "isub"}
MASK_MAKERS = {"tril", "triu", "tril_", "triu_", "le", "lt", "ge", "gt"}


@dataclass(frozen=True)
class Tag:
    """What is known of a tensor."""

    kind: int
    sources: frozenset[str] = frozenset()  # the weights of the last product
    factor: float | None = 1.0  # plain numbers multiplied in since
    normed: bool = False
    call: Call | None = None
    fills: tuple[Fill, ...] = ()
    flipped: bool = False  # keys × queries instead of queries × keys
    mask: str = ""


def scaled(factor: float | None, op: str, args: Any) -> float | None:
    """The factor after a multiplication or division by a plain number; None when a number is divided by the tensor."""
    if factor is None or len(args) < 2:
        return factor
    numbers = [plain_number(value) for value in args[:2]]
    if op in TIMES:
        return factor * next((number for number in numbers if number is not None), 1.0)
    if numbers[0] is not None or op == "rtruediv":
        return None
    return factor if numbers[1] is None else factor / numbers[1] if numbers[1] else None


def plain_number(value: Any) -> float | None:
    """The value of a number or of a tensor that holds just one; None for anything else."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 and not value.is_complex() else None
    return float(value) if isinstance(value, int | float) else None
