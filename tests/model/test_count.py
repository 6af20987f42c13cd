"""Counts: against published figures, and against the real module."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vidro.config.presets import PRESETS, preset
from vidro.config.schema import ModelConfig
from vidro.model.cache import KVCache
from vidro.model.count import count
from vidro.model.transformer import Transformer


def test_gpt2_figures() -> None:
    """OpenAI's smallest GPT-2 has 124,439,808 parameters, its head being its embedding.

    The same shape trained in the book has 163,009,536 = 124,412,160 + a head of its own (50,257 × 768): its queries,
    keys and values have no biases, which are 12 layers × 3 × 768 = 27,648 numbers of ours.
    """
    gpt2 = preset("gpt2")
    assert count(gpt2).n_parameters == 124_439_808
    qkv_biases = gpt2.n_layers * 3 * gpt2.d_model
    assert count(gpt2).n_parameters - qkv_biases == 124_412_160
    untied = count(replace(gpt2, tie_embeddings=False))
    assert untied.n_parameters - qkv_biases == 163_009_536
    assert untied.bytes_fp32 - 4 * qkv_biases == pytest.approx(621.83 * 2**20, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "without_qkv_bias"),
    [("gpt2-medium", 354_749_440), ("gpt2-large", 773_891_840), ("gpt2-xl", 1_557_380_800)],
)
def test_larger_gpt2_figures(name: str, without_qkv_bias: int) -> None:
    config = preset(name)
    assert count(config).n_parameters - config.n_layers * 3 * config.d_model == without_qkv_bias


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_counts_equal_the_module(name: str) -> None:
    with torch.device("meta"):
        model = Transformer(preset(name))
    parameters = dict(model.named_parameters())
    counts = count(preset(name))
    assert counts.n_parameters == sum(p.numel() for p in parameters.values())
    assert counts.bytes_fp32 == sum(p.numel() * p.element_size() for p in parameters.values())
    looked_up = [p.numel() for n, p in parameters.items() if "embedding" in n]
    assert counts.n_embedding == sum(looked_up)
    matrices = [m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert counts.n_matmul == sum(matrices)


def test_flops_by_the_formula() -> None:
    config = ModelConfig(
        family="qwen3", vocab_size=4096, context_length=256, d_model=192, n_layers=4, n_heads=6, n_kv_heads=6,
        d_head=32, d_ff=512,
    )  # fmt: skip
    weights = 4 * (4 * 192 * 192 + 3 * 192 * 512) + 4096 * 192
    assert count(config).flops_per_token_train == 6 * weights + 12 * 4 * 192 * 256


def test_cache_bytes_equal_the_cache() -> None:
    config = replace(preset("toy"), n_kv_heads=1)
    cache = KVCache(config, batch=3, capacity=10)
    assert count(config).kv_bytes_per_token * 30 == cache.keys.nbytes + cache.values.nbytes
