"""Named models: shapes published by their makers, and one toy.

Sources: GPT-2, Radford et al. 2019 and OpenAI's released `hparams.json`; Llama 3.2 1B and Qwen3 0.6B, the
`config.json` of their releases. Not here: weights, sizes chosen for a text (`train/defaults`).
"""

from __future__ import annotations

from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.errors import UsageError, did_you_mean


def _gpt2(d_model: int, n_layers: int, n_heads: int) -> ModelConfig:
    return ModelConfig(
        family="gpt2", vocab_size=50257, context_length=1024, d_model=d_model, n_layers=n_layers, n_heads=n_heads,
        n_kv_heads=n_heads, d_head=d_model // n_heads, d_ff=4 * d_model, norm_eps=1e-5, tie_embeddings=True,
        dropout=0.1,
    )  # fmt: skip


PRESETS: dict[str, ModelConfig] = {
    "toy": ModelConfig(
        family="qwen3", vocab_size=512, context_length=128, d_model=64, n_layers=4, n_heads=2, n_kv_heads=2,
        d_head=32, d_ff=160,
    ),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "llama-3.2-1b": ModelConfig(
        family="llama", vocab_size=128256, context_length=131072, d_model=2048, n_layers=16, n_heads=32,
        n_kv_heads=8, d_head=64, d_ff=8192, norm_eps=1e-5, rope_theta=500_000.0, rope_scaling=RopeScaling(),
        tie_embeddings=True,
    ),
    "qwen3-0.6b": ModelConfig(
        family="qwen3", vocab_size=151936, context_length=40960, d_model=1024, n_layers=28, n_heads=16,
        n_kv_heads=8, d_head=128, d_ff=3072, norm_eps=1e-6, rope_theta=1_000_000.0, tie_embeddings=True,
    ),
}  # fmt: skip


def preset(name: str) -> ModelConfig:
    """The named model's shape. Raises UsageError with the nearest known name."""
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}", where="preset", hint=did_you_mean(name, PRESETS))
    return PRESETS[name]
