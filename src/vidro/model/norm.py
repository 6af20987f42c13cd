"""Normalisation: each token's vector is brought to a standard size before every sub-layer, then rescaled by weights.

LayerNorm (gpt2):        (x - mean) / √(variance + eps) · weight + bias
RMSNorm (llama, qwen3):  x / √(mean(x²) + eps) · weight         (Zhang & Sennrich 2019: the mean need not go)

Both work along the last axis, one token at a time; PyTorch's kernels are used as they are.
"""

from __future__ import annotations

from torch import nn

from vidro.config.schema import ModelConfig


def make_norm(config: ModelConfig, width: int) -> nn.LayerNorm | nn.RMSNorm:
    """The family's normalisation of vectors of `width` numbers."""
    kind = nn.LayerNorm if config.family == "gpt2" else nn.RMSNorm
    return kind(width, eps=config.norm_eps)
