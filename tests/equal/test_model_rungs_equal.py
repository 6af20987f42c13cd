"""The rungs neuron, layer norm and GELU give what production's layers give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vidro.config.schema import ModelConfig
from vidro.learn.gelu import GELU, gelu, gelu_by_tanh, relu, silu
from vidro.learn.layer_norm import LayerNorm, RMSNorm, normalised
from vidro.learn.neuron import Layer, neuron
from vidro.model.feedforward import FeedForward
from vidro.model.norm import make_norm

WIDTH = 8


def config(family: str) -> ModelConfig:
    return ModelConfig(family=family, vocab_size=10, context_length=9, d_model=WIDTH, n_layers=1, n_heads=2,
                       n_kv_heads=2, d_head=4, d_ff=10)  # fmt: skip


def feed_forward(family: str) -> FeedForward:
    """Production's, with random weights and biases."""
    layer = FeedForward(config(family))
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=dice))
    return layer


def batch() -> torch.Tensor:
    return 3 * torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1)) + 1


def test_production_is_made_of_these_neurons() -> None:
    """The feed-forward of gpt2, neuron by neuron in plain numbers: 10 that look, 8 that read the 10."""
    layer, x = feed_forward("gpt2"), batch()

    def bend(number: float) -> float:
        return gelu_by_tanh(torch.tensor(number, dtype=torch.float64)).item()

    for token, expected in zip(x.reshape(-1, WIDTH).tolist(), layer(x).reshape(-1, WIDTH).tolist(), strict=True):
        up = zip(layer.up.weight.tolist(), layer.up.bias.tolist(), strict=True)
        hidden = [neuron(token, weights, bias, bend) for weights, bias in up]
        down = zip(layer.down.weight.tolist(), layer.down.bias.tolist(), strict=True)
        found = [neuron(hidden, weights, bias, lambda number: number) for weights, bias in down]
        assert found == pytest.approx(expected, abs=2e-5)


def test_a_layer_is_its_neurons() -> None:
    layer, x = Layer(WIDTH, 4), batch()
    torch.testing.assert_close(layer(x), F.linear(x, layer.weights, layer.bias).relu(), atol=1e-6, rtol=1e-6)
    one = [neuron(x[0, 0].tolist(), row, bias) for row, bias in zip(layer.weights.tolist(), layer.bias.tolist(),
                                                                    strict=True)]  # fmt: skip
    assert layer(x)[0, 0].tolist() == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize(("family", "rung"), [("gpt2", LayerNorm), ("llama", RMSNorm), ("qwen3", RMSNorm)])
def test_norms_equal_production_forward_and_back(family: str, rung: type[LayerNorm | RMSNorm]) -> None:
    made, ours = make_norm(config(family), WIDTH), rung(WIDTH, eps=config(family).norm_eps)
    dice = torch.Generator().manual_seed(2)
    pairs: list[tuple[Any, Any]] = [(ours.scale, made.weight)]
    if isinstance(ours, LayerNorm):
        pairs.append((ours.shift, made.bias))
    for here, there in pairs:
        values = torch.randn(WIDTH, generator=dice)
        here.data.copy_(values)
        there.data.copy_(values)
    x, twin = batch().requires_grad_(), batch().requires_grad_()
    upstream = torch.randn(2, 5, WIDTH, generator=dice)
    torch.testing.assert_close(ours(x), made(twin), atol=2e-6, rtol=1e-6)
    (ours(x) * upstream).sum().backward()
    (made(twin) * upstream).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad, atol=5e-6, rtol=1e-5)
    for here, there in pairs:
        torch.testing.assert_close(here.grad, there.grad, atol=1e-5, rtol=1e-5)


def test_normalised_tokens_have_mean_0_and_spread_1_whatever_they_were() -> None:
    x = batch()
    found = normalised(x, eps=0.0)
    torch.testing.assert_close(found.mean(-1), torch.zeros(2, 5), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.std(-1, correction=0), torch.ones(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised(100 * x - 7), normalised(x), atol=1e-4, rtol=0)


def test_bends_equal_pytorch() -> None:
    x = torch.linspace(-8, 8, 2001)
    for ours, theirs in (
        (relu(x), F.relu(x)),
        (gelu(x), F.gelu(x)),
        (gelu_by_tanh(x), F.gelu(x, approximate="tanh")),
        (GELU()(x), F.gelu(x, approximate="tanh")),
        (silu(x), F.silu(x)),
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("family", "bend"), [("gpt2", gelu_by_tanh), ("llama", silu)])
def test_production_bends_with_these(family: str, bend) -> None:
    layer, x = feed_forward(family), batch()
    hidden = bend(layer.up(x)) if layer.gate is None else bend(layer.gate(x)) * layer.up(x)
    torch.testing.assert_close(layer.down(hidden), layer(x), atol=1e-5, rtol=1e-6)
