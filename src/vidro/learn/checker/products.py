"""Matrix products in all the ways PyTorch has to write them: the two operands, and which axis of each is summed over.

`a @ b`, matmul, bmm, linear, addmm, einsum … all come out as one `Product`. Not here: what is made of it (`tracing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Product:
    """`left` and `right`, summed over these axes (negative: counted from the end), times `alpha`."""

    left: Tensor
    right: Tensor
    left_axis: int
    right_axis: int
    alpha: float = 1.0


def product_of(op: str, args: Any, kwargs: Any) -> Product | None:
    """The product that a call of this function with these arguments is; None for any other function."""
    operands = list(args)
    if op == "linear":
        weight = operands[1] if len(operands) > 1 else kwargs.get("weight")
        source = operands[0] if operands else kwargs.get("input")
        return _made(source, weight, -1, -1)
    if op in ("matmul", "mm", "bmm", "rmatmul", "imatmul"):
        values = [*operands, *(kwargs[name] for name in ("other", "mat2", "tensor") if name in kwargs)]
        if len(values) < 2:
            return None
        left, right = (values[1], values[0]) if op == "rmatmul" else values[:2]
        return _made(left, right, -1, -2)
    if op in ("addmm", "baddbmm") and len(operands) >= 3:
        return _made(operands[1], operands[2], -1, -2, float(kwargs.get("alpha", 1)))
    if op == "einsum":
        return _einsum(operands)
    return None


def _made(left: Any, right: Any, left_axis: int, right_axis: int, alpha: float = 1.0) -> Product | None:
    if not isinstance(left, Tensor) or not isinstance(right, Tensor) or right.dim() < 1 or left.dim() < 1:
        return None
    return Product(left, right, left_axis, -1 if right.dim() == 1 else right_axis, alpha)


def _einsum(operands: list[Any]) -> Product | None:
    values = list(operands[1]) if len(operands) == 2 and isinstance(operands[1], list | tuple) else operands[1:]
    if not isinstance(operands[0], str) or len(values) != 2:
        return None
    axes = summed_axes(operands[0])
    if axes is None or not all(isinstance(value, Tensor) for value in values):
        return None
    inputs, _, result = operands[0].replace(" ", "").partition("->")
    if len(result) >= 2 and result[-2] not in inputs.partition(",")[0]:  # the left one makes the rows
        return Product(values[1], values[0], axes[1], axes[0])
    return Product(values[0], values[1], *axes)


def summed_axes(equation: str) -> tuple[int, int] | None:
    """Of an einsum of two operands, the axis of each that both have and the result has not.

    >>> summed_axes("bhqe,bhke->bhqk"), summed_axes("bhqk, bkhe -> bqhe"), summed_axes("i,j->ij")
    ((-1, -1), (-1, -3), None)
    """
    left, _, right = equation.replace(" ", "").partition("->")
    one, _, two = left.partition(",")
    if not two:
        return None
    if "->" not in equation:
        right = "".join(sorted(letter for letter in set(one + two) if (one + two).count(letter) == 1))
    summed = [letter for letter in one if letter.isalpha() and letter in two and letter not in right]
    if not summed:
        return None
    letter = summed[-1]
    return _from_the_end(one, letter), _from_the_end(two, letter)


def _from_the_end(letters: str, letter: str) -> int:
    at = letters.index(letter)
    rest = letters[at:]
    return -len(rest) if "..." not in rest else at
