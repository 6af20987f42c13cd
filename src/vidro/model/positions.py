"""Rotary positions: a query and a key are turned by an angle that grows with their place in the text.

After the turn their dot product depends on the distance between the two places only (Su et al. 2021). The wavelengths
form a geometric series; Llama 3 stretches the long ones to reach further than it was trained (Dubey et al. 2024).
Where several texts share a row, places are counted anew in each (`places_in_pieces`), for gpt2's learned positions too.
Not here: those themselves, which are a plain embedding (`transformer`). Next: `attention`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.shapes import Float, Int


def rotary_tables(config: ModelConfig) -> tuple[Float[Tensor, "S E"], Float[Tensor, "S E"]]:
    """Cosines and signed sines of every position, ready for `rotate`; fp32, S = context_length.

    The angle of pair i at position p is p · theta^(-2i/E). Pairs are (i, i + E/2), the order of Hugging Face.
    """
    inverse = frequencies(config.d_head, config.rope_theta, config.rope_scaling)
    places = torch.arange(config.context_length, dtype=torch.float32, device="cpu")
    angles = torch.outer(places, inverse)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def frequencies(d_head: int, theta: float, scaling: RopeScaling | None = None) -> Float[Tensor, "half_E"]:
    """Angle per position (radians) of each of the E/2 pairs.

    With `scaling`: wavelengths shorter than original / high_freq_factor stay, longer than original / low_freq_factor
    are stretched by `factor`, and those between are blended.
    """
    inverse = 1.0 / theta ** (torch.arange(0, d_head, 2, dtype=torch.float32, device="cpu") / d_head)
    if scaling is None:
        return inverse
    wavelength = 2 * math.pi / inverse
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((scaling.original_context_length / wavelength - low) / (high - low)).clamp(0.0, 1.0)
    return kept * inverse + (1 - kept) * inverse / scaling.factor


def rotate(
    x: Float[Tensor, "B T heads E"], cos: Float[Tensor, "#B T 1 E"], sin: Float[Tensor, "#B T 1 E"]
) -> Float[Tensor, "B T heads E"]:
    """Turn each pair (a, b) = (x[i], x[i + E/2]) by its position's angle: (a cos - b sin, b cos + a sin).

    Rolling by half a head swaps the two halves, and the minus already lies in the table, so this is two products.
    """
    return x * cos.to(x.dtype) + x.roll(x.shape[-1] // 2, dims=-1) * sin.to(x.dtype)


def places_in_pieces(pieces: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """The place of each token in its own piece: 0 wherever the number of the piece changes.

    >>> places_in_pieces(torch.tensor([[7, 7, 7, 2, 2, -1]])).tolist()
    [[0, 1, 2, 0, 1, 0]]
    """
    places = torch.arange(pieces.shape[1], device=pieces.device).expand_as(pieces)
    begins = torch.ones_like(pieces, dtype=torch.bool)
    begins[:, 1:] = pieces[:, 1:] != pieces[:, :-1]
    return places - torch.where(begins, places, 0).cummax(dim=1).values
