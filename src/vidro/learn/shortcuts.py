"""Shortcuts: a sum around each layer, so that a deep network can learn.

A layer alone replaces what it is given: x → f(x). The change that a far weight makes to the result must then pass
through every layer above, each of which multiplies it by something mostly smaller than 1. Twenty layers, and next to
nothing arrives. With a shortcut the layer *adds*: x → x + f(x) (He et al. 2015). The sum's slope is 1 + f'(x): whatever
f does, the 1 lets the change through.

`gradient_sizes` measures it. A block of `vidro.model.transformer` is two such sums, each around a norm and a layer:
`x + layer(norm(x))` (tested: `Shortcut` gives the same numbers). The line of x itself is called the residual.

What is missing: the parts are there and not yet put together. Next rung: `block`.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from vidro.core.shapes import Float


class Shortcut(nn.Module):
    """x + layer(norm(x)): half a block.

    >>> import torch
    >>> nothing = nn.Linear(2, 2)
    >>> _ = nn.init.zeros_(nothing.weight), nn.init.zeros_(nothing.bias)
    >>> Shortcut(nn.LayerNorm(2), nothing)(torch.tensor([[3.0, -1.0]]))  # a layer that adds 0 changes nothing
    tensor([[ 3., -1.]], grad_fn=<AddBackward0>)
    """

    def __init__(self, norm: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.norm, self.layer = norm, layer

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """What was there, and what the layer has to add."""
        return x + self.layer(self.norm(x))


class DeepNetwork(nn.Module):
    """Linear layers with GELU after each; `sizes` are the widths from input to output.

    With `shortcuts`, each layer adds to what it was given, where input and output have the same width.

    >>> import torch
    >>> network = DeepNetwork([3, 3, 3, 1], shortcuts=True)
    >>> len(network.layers), network(torch.ones(1, 3)).shape
    (3, torch.Size([1, 1]))
    """

    def __init__(self, sizes: list[int], *, shortcuts: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(d_in, d_out) for d_in, d_out in pairwise(sizes))
        self.shortcuts = shortcuts

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D_out"]:
        """Layer after layer."""
        for layer in self.layers:
            result = F.gelu(layer(x))
            x = x + result if self.shortcuts and result.shape == x.shape else result
        return x


def gradient_sizes(network: DeepNetwork) -> list[float]:
    """For each layer, first to last, after `backward`: how much the error answers to its weights (their mean size).

    Ten layers. The factor between the last layer and the first, without and with shortcuts:

    >>> import torch
    >>> torch.manual_seed(1).initial_seed()
    1
    >>> x, factors = torch.randn(16, 8), []
    >>> for shortcuts in (False, True):
    ...     network = DeepNetwork([8] * 11, shortcuts=shortcuts)
    ...     network(x).square().mean().backward()
    ...     sizes = gradient_sizes(network)
    ...     factors.append(sizes[-1] / sizes[0])
    >>> factors[0] > 1_000, factors[1] < 10
    (True, True)
    """
    sizes = []
    for layer in network.layers:
        gradient = layer.get_parameter("weight").grad
        assert gradient is not None, "there are gradients after backward() only"
        sizes.append(gradient.abs().mean().item())
    return sizes
