"""Layer normalisation: each token's numbers are brought to mean 0 and spread 1, then scaled and shifted as learned.

What the rung below lacks (`neuron`): nothing holds the size of its numbers. A layer whose weights are too large makes
everything larger, the next one again, and after twenty the numbers have no size that anybody can work with.

For one token's numbers x₁ … x_D:

    mean      m = (x₁ + … + x_D) / D
    variance  v = ((x₁ − m)² + … + (x_D − m)²) / D
    result    (x − m) / √(v + eps) · scale + shift

>>> x = torch.tensor([2.0, 4.0, 6.0, 8.0])
>>> torch.set_printoptions(precision=4, sci_mode=False)
>>> normalised(x)
tensor([-1.3416, -0.4472,  0.4472,  1.3416])
>>> normalised(1000 * x + 5)  # size and offset are gone, the pattern is left
tensor([-1.3416, -0.4472,  0.4472,  1.3416])
>>> torch.set_printoptions(profile="default")

`eps` is a tiny number that keeps a token of equal numbers from being divided by 0. `scale` and `shift` are learned, so
that the model can undo what it does not like. Each token is treated alone: neither its neighbours nor the rest of the
batch matter, so the same code serves while training and afterwards (Ba, Kiros and Hinton 2016).

`RMSNorm` leaves the mean where it is and divides by the root of the mean square (Zhang and Sennrich 2019). It is one
step less, works as well, and is what Llama and Qwen use. Production: `vidro.model.norm`;
`tests/equal/test_model_rungs_equal.py` proves both equal. Next rung: `gelu`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float


def normalised(x: Float[Tensor, "*N D"], eps: float = 1e-5) -> Float[Tensor, "*N D"]:
    """Mean 0 and spread 1 along the last axis."""
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


class LayerNorm(nn.Module):
    """`normalised`, then scale and shift: one learned number of each for every column.

    >>> norm = LayerNorm(d_model=4)
    >>> norm(torch.full((1, 4), 3.0))  # four equal numbers: no spread to divide by, and still no nan
    tensor([[0., 0., 0., 0.]], grad_fn=<AddBackward0>)
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(d_model))
        self.shift = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """Each token's numbers, normalised, scaled and shifted."""
        return normalised(x, self.eps) * self.scale + self.shift


class RMSNorm(nn.Module):
    """x / √(mean of x² + eps) · scale: the size goes, the mean stays.

    >>> RMSNorm(d_model=2, eps=0.0)(torch.tensor([3.0, 4.0])) * 12.5**0.5  # √((9 + 16) / 2) = √12.5
    tensor([3., 4.], grad_fn=<MulBackward0>)
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """Each token's numbers, divided by their size and scaled."""
        mean_square = (x**2).mean(dim=-1, keepdim=True)
        return x / (mean_square + self.eps).sqrt() * self.scale
