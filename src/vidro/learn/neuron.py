"""One neuron: a row of weights, a dot product, a threshold, a bend. How much of *this* is there?

What the rung below lacks (`embeddings`): vectors lie there, and nothing looks at them. A neuron is the smallest thing
that does. Its weights are a pattern. It multiplies each number that comes in by its weight and adds up: the dot product
is large when the input resembles the pattern. The bias moves the threshold, and the bend says "no is no": whatever lies
below 0 becomes 0 (`relu`).

>>> cat, stone = [1.0, 0.9, 0.0], [0.0, 0.1, 1.0]     # alive, small, hard
>>> small_and_alive = [1.0, 1.0, -1.0]
>>> round(neuron(cat, small_and_alive, bias=-1.0), 2)
0.9
>>> neuron(stone, small_and_alive, bias=-1.0)
0.0

Many neurons that look at the same input are a layer: their rows, one below another, are a matrix.

What one neuron cannot do: say "either, but not both" (Minsky and Papert 1969). Two layers can, and only because of the
bend; without it two layers are one (`either_but_not_both`). The idea is from McCulloch and Pitts 1943; learned weights
from Rosenblatt 1958. Next rung: `attention_1`, where the pattern is another token. Production: `model.feedforward`, two
layers with a smoother bend (`gelu`); `tests/equal/test_model_rungs_equal.py` proves that it is made of such neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float

Numbers = Sequence[float]


def dot(x: Numbers, weights: Numbers) -> float:
    """The products, one by one, added up.

    >>> dot([1.0, 2.0, 3.0], [10.0, 0.0, -1.0])
    7.0
    """
    return sum(number * weight for number, weight in zip(x, weights, strict=True))


def relu(number: float) -> float:
    """The number, or 0 where it is negative."""
    return max(0.0, number)


def neuron(x: Numbers, weights: Numbers, bias: float = 0.0, bend: Callable[[float], float] = relu) -> float:
    """How strongly a neuron answers: bend(x · weights + bias)."""
    return bend(dot(x, weights) + bias)


class Layer(nn.Module):
    """Several neurons on the same input: [..., d_in] in, [..., d_out] out; a row of `weights` is a neuron.

    >>> layer = Layer(d_in=3, d_out=2)
    >>> with torch.no_grad():
    ...     _ = layer.weights.copy_(torch.tensor([[1.0, 1.0, -1.0], [0.0, 0.0, 1.0]]))
    >>> layer(torch.tensor([1.0, 0.5, 0.25])).tolist()
    [1.25, 0.25]
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(d_out, d_in) / d_in**0.5)
        self.bias = nn.Parameter(torch.zeros(d_out))

    def forward(self, x: Float[Tensor, "*N D_in"]) -> Float[Tensor, "*N D_out"]:
        """All dot products at once, then the bias, then the bend."""
        return (x @ self.weights.T + self.bias).relu()


def either_but_not_both() -> tuple[list[list[float]], list[float], list[float], float]:
    """Weights and biases of two neurons, then weights and bias of one that reads them: 1 for (1, 0) and (0, 1), else 0.

    The first neuron counts the ones. The second fires only at both, and is then subtracted twice.

    >>> weights, biases, last_weights, last_bias = either_but_not_both()
    >>> for x in ([0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]):
    ...     hidden = [neuron(x, row, bias) for row, bias in zip(weights, biases)]
    ...     print(x, hidden, neuron(hidden, last_weights, last_bias))
    [0.0, 0.0] [0.0, 0.0] 0.0
    [0.0, 1.0] [1.0, 0.0] 1.0
    [1.0, 0.0] [1.0, 0.0] 1.0
    [1.0, 1.0] [2.0, 1.0] 0.0
    """
    return [[1.0, 1.0], [1.0, 1.0]], [0.0, -1.0], [1.0, -2.0], 0.0
