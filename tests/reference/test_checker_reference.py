"""The checker on Transformers' GPT-2, Llama and Qwen3 in random small shapes: sound as they are, named when spoiled."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.learn.checker.test_sound_models import ours, train_a_little
from torch import nn

from vidro.learn.checker import check_model

transformers = pytest.importorskip("transformers")


def shape(seed: int) -> dict[str, int]:
    dice = random.Random(seed)
    heads, groups, width = dice.choice([2, 3, 4]), dice.choice([1, 2]), dice.choice([4, 6, 10])
    return {
        "heads": heads * groups, "kv": heads, "width": width, "layers": dice.choice([1, 2, 3]),
        "vocab": dice.choice([61, 97, 130]), "context": dice.choice([16, 20, 33]),
    }  # fmt: skip


def gpt2(seed: int, **more: Any) -> nn.Module:
    s = shape(seed)
    config = transformers.GPT2Config(
        vocab_size=s["vocab"], n_positions=s["context"], n_embd=s["heads"] * s["width"], n_layer=s["layers"],
        n_head=s["heads"], bos_token_id=0, eos_token_id=0, **more,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def rotary(kind: str, seed: int, **more: Any) -> nn.Module:
    s = shape(seed)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=s["vocab"], max_position_embeddings=s["context"], hidden_size=s["heads"] * s["width"],
        num_hidden_layers=s["layers"], num_attention_heads=s["heads"], num_key_value_heads=s["kv"],
        head_dim=s["width"], intermediate_size=48, bos_token_id=0, eos_token_id=0, pad_token_id=None,
        tie_word_embeddings=seed % 2 == 0, **more,
    )  # fmt: skip
    return getattr(transformers, f"{kind}ForCausalLM")(config)


FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "GPT-2": gpt2,
    "Llama": lambda seed, **more: rotary("Llama", seed, **more),
    "Qwen3": lambda seed, **more: rotary("Qwen3", seed, **more),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(2))
def test_no_false_alarm(family: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = FAMILIES[family](seed, attn_implementation="eager" if seed == 1 else "sdpa")
    if seed == 1:
        train_a_little(model)
    report = check_model(model)
    assert report.sound, str(report)
    silent = {f.probe for f in report.findings if f.outcome == "not applicable"}
    assert silent <= {"reference", "query and key", "first loss"}


def unscaled() -> nn.Module:
    return gpt2(0, attn_implementation="eager", scale_attn_weights=False)


def not_causal() -> nn.Module:
    model = gpt2(0, attn_implementation="sdpa")
    for block in model.transformer.h:  # pyright: ignore
        block.attn.is_causal = False
    return model


def copied() -> nn.Module:
    model: Any = rotary("Llama", 0)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def no_angle() -> nn.Module:
    model: Any = rotary("Qwen3", 0)
    model.model.rotary_emb.inv_freq.zero_()
    return model


def norm_over_time() -> nn.Module:
    model: Any = rotary("Llama", 1)
    norm = model.model.norm
    norm.forward = lambda x: norm.weight * x / x.pow(2).mean(1, keepdim=True).add(1e-6).sqrt()
    return model


def crossed() -> nn.Module:
    model: Any = rotary("Llama", 0)
    for layer in model.model.layers:
        layer.self_attn.q_proj, layer.self_attn.k_proj = layer.self_attn.k_proj, layer.self_attn.q_proj
    return model


def our_positions() -> nn.Module:
    model: Any = ours("llama")
    model.cos.fill_(1.0)
    model.sin.zero_()
    return model


SPOILED: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "GPT-2 without scale": (unscaled, {"missing-scale"}),
    "GPT-2 not causal": (not_causal, {"future-leak"}),
    "Llama tied by copying": (copied, {"untied-copy"}),
    "Qwen3 that does not turn": (no_angle, {"positions-ignored"}),
    "Llama's norm over the tokens": (norm_over_time, {"future-leak"}),
    "our Llama that does not turn": (our_positions, {"positions-ignored"}),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled(name: str) -> None:
    """Mistakes in code that the checker was not written against."""
    make, names = SPOILED[name]
    torch.manual_seed(0)
    report = check_model(make(), trained=False)
    assert report.names == names, str(report)
