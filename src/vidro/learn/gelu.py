"""GELU: a smooth bend, so that a neuron which says no keeps a slope to learn by.

What the rung below lacks (`neuron`): its bend, relu, is flat below 0. Flat means slope 0, slope 0 means no gradient,
and a neuron without a gradient never changes again: if it is below 0 for every text, it is dead.

GELU (Hendrycks and Gimpel 2016) asks how x compares with others: it multiplies x by the chance that a random number
from the bell curve lies below x. Large x: the chance is near 1, and x passes. Very negative x: near 0, and little
is left. Between, it bends softly, with a slope nearly everywhere.

    gelu(x) = x · Φ(x),   Φ(x) = (1 + erf(x / √2)) / 2        the chance, exactly
    gelu(x) ≈ x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2     the same by tanh, as in GPT-2

>>> x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
>>> torch.set_printoptions(precision=3, sci_mode=False)
>>> relu(x)
tensor([0., 0., 0., 1., 3.])
>>> gelu(x)
tensor([-0.004, -0.159,  0.000,  0.841,  2.996])
>>> gelu_by_tanh(x)
tensor([-0.004, -0.159,  0.000,  0.841,  2.996])
>>> silu(x)
tensor([-0.142, -0.269,  0.000,  0.731,  2.858])
>>> torch.set_printoptions(profile="default")

SiLU takes another curve for the chance, 1 / (1 + e^-x); it stands in the feed-forward of Llama and Qwen. Production:
`vidro.model.feedforward`, PyTorch's kernels; `tests/equal/test_model_rungs_equal.py` proves them equal. Next rung:
`feed_forward`, two layers with this bend between.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float


def relu(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """x, or 0 where it is negative."""
    return torch.where(x > 0, x, 0.0)


def share_below(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Φ(x): the chance that a number drawn from the bell curve (mean 0, spread 1) lies below x.

    >>> share_below(torch.tensor([0.0, 1.0, 2.0]))
    tensor([0.5000, 0.8413, 0.9772])
    """
    return (1.0 + torch.erf(x / math.sqrt(2.0))) / 2.0


def gelu(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """x times the chance that a random number lies below it."""
    return x * share_below(x)


def gelu_by_tanh(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """The approximation that GPT-2 was trained with; nowhere 0.0005 away from `gelu`.

    >>> x = torch.linspace(-6.0, 6.0, 1001)
    >>> bool((gelu_by_tanh(x) - gelu(x)).abs().max() < 0.0005)
    True
    """
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
    return x * (1.0 + torch.tanh(inner)) / 2.0


def silu(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """x times the logistic curve of x."""
    return x / (1.0 + torch.exp(-x))


class GELU(nn.Module):
    """`gelu_by_tanh` as a layer, to stand between two others; it has nothing to learn.

    >>> list(GELU()(torch.zeros(2, 3)).shape)
    [2, 3]
    """

    def forward(self, x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """Every number by itself."""
        return gelu_by_tanh(x)
