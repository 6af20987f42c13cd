"""Initial weights: the table's spreads, one seed and one name for each parameter."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.model.init import initialise
from vidro.model.loss import lm_loss
from vidro.model.transformer import Transformer

GPT2 = ModelConfig(
    family="gpt2", vocab_size=300, context_length=64, d_model=96, n_layers=2, n_heads=3, n_kv_heads=3, d_head=32,
    d_ff=200,
)  # fmt: skip


def spreads(config: ModelConfig) -> dict[str, float]:
    model = Transformer(config)
    initialise(model, seed=11)
    return {name: parameter.std().item() for name, parameter in model.named_parameters() if parameter.dim() == 2}


def test_gpt2_spreads() -> None:
    for name, std in spreads(GPT2).items():
        wanted = 0.02 / math.sqrt(4) if "o_proj" in name or "down" in name else 0.02
        assert std == pytest.approx(wanted, rel=0.05), name


def test_qwen3_starts_as_the_identity_and_guesses_uniformly() -> None:
    config = replace(GPT2, family="qwen3")
    for name, std in spreads(config).items():
        if "o_proj" in name or "down" in name or name == "head.weight":
            assert std == 0.0, name
        elif name == "token_embedding.weight":
            assert std == pytest.approx(0.3, rel=0.05)
        else:
            assert std == pytest.approx(1 / math.sqrt(96), rel=0.05), name
    ids = torch.arange(60).reshape(2, 30)
    total, count = lm_loss(Transformer(config), ids, ids)
    assert total.item() / count.item() == pytest.approx(math.log(300), abs=1e-5)


def test_norms_are_one_and_biases_zero() -> None:
    model = Transformer(GPT2)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name


def test_same_seed_same_numbers_another_seed_others() -> None:
    one, two = Transformer(GPT2), Transformer(GPT2)
    initialise(one, seed=4)
    initialise(two, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    initialise(two, seed=5)
    assert not torch.equal(one.token_embedding.weight, two.token_embedding.weight)


def test_a_parameter_depends_on_its_own_name_only() -> None:
    """A deeper or untied model gives the layers that both have the same numbers (but for the scale by depth)."""
    shallow, deep = Transformer(GPT2), Transformer(replace(GPT2, n_layers=5, tie_embeddings=True))
    for name in ("token_embedding.weight", "blocks.1.attention.q_proj.weight"):
        assert torch.equal(shallow.state_dict()[name], deep.state_dict()[name])
    a, b = (model.state_dict()["blocks.0.attention.q_proj.weight"] for model in (shallow, deep))
    assert torch.equal(a, b)
    assert not torch.equal(a, shallow.state_dict()["blocks.0.attention.k_proj.weight"])


def test_pytorchs_own_scheme_is_that_of_fresh_pytorch_layers() -> None:
    model = Transformer(GPT2)
    initialise(model, seed=3, scheme="pytorch")
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        layer = model.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, torch.nn.Embedding):
            theirs = torch.nn.Embedding(*layer.weight.shape).weight
        elif isinstance(layer, torch.nn.Linear):
            fresh = torch.nn.Linear(layer.in_features, layer.out_features)
            theirs = fresh.bias if name.endswith("bias") else fresh.weight
            bound = layer.in_features**-0.5
            assert 0.8 * bound < parameter.abs().max().item() <= bound
        else:
            theirs = torch.nn.LayerNorm(len(parameter)).get_parameter(name.rpartition(".")[2])
        assert math.isclose(parameter.std().item(), theirs.std().item(), rel_tol=0.35), name
        assert abs(parameter.mean() - theirs.mean()).item() < 0.5 * max(theirs.std().item(), 1e-9), name
