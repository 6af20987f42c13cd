"""The rungs from modern attention to the whole model: each computes what production computes with the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vidro.config.presets import preset
from vidro.config.schema import ModelConfig
from vidro.learn.attention_5 import Memory, ModernAttention, turn
from vidro.learn.block import GPT, n_parameters, same_as
from vidro.learn.feed_forward import FeedForward, as_memory, empty_layer, write_fact
from vidro.learn.shortcuts import DeepNetwork, Shortcut, gradient_sizes
from vidro.model.attention import Attention
from vidro.model.count import count
from vidro.model.positions import rotary_tables, rotate
from vidro.model.transformer import Transformer

SHAPE = ModelConfig(
    family="qwen3", vocab_size=30, context_length=9, d_model=24, n_layers=2, n_heads=6, n_kv_heads=2, d_head=4, d_ff=96,
)  # fmt: skip
GPT2 = replace(SHAPE, family="gpt2", n_kv_heads=6, norm_eps=1e-5)


def spread(module: nn.Module) -> nn.Module:
    """Every parameter at random, zeros included, so that nothing can hide behind them."""
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in module.parameters():
            weights.copy_(0.5 * torch.randn(weights.shape, generator=dice))
    return module


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def modern(production: Attention) -> ModernAttention:
    """The rung with production's weights."""
    rung = ModernAttention(SHAPE.d_model, SHAPE.n_heads, SHAPE.n_kv_heads, qk_norm=production.q_norm is not None)
    pairs = {"W_query": "q_proj", "W_key": "k_proj", "W_value": "v_proj", "out_proj": "o_proj"}
    pairs |= {} if production.q_norm is None else {"query_norm": "q_norm", "key_norm": "k_norm"}
    for mine, theirs in pairs.items():
        rung.get_submodule(mine).load_state_dict(production.get_submodule(theirs).state_dict())
    return rung


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_modern_attention_equals_production(family: str) -> None:
    config = replace(SHAPE, family=family)
    production = Attention(config, layer=0)
    spread(production)
    cos, sin = rotary_tables(config)
    x = draw(2, 9, 24)
    expected = production(x, (cos[None, :, None], sin[None, :, None]))
    torch.testing.assert_close(modern(production)(x), expected, atol=1e-5, rtol=1e-5)


def test_turning_equals_production() -> None:
    config = replace(SHAPE, context_length=300, rope_theta=500_000.0)
    cos, sin = rotary_tables(config)
    x = draw(1, 300, 6, 4)  # B T H E
    mine = turn(x.transpose(1, 2), torch.arange(300), theta=500_000.0).transpose(1, 2)
    torch.testing.assert_close(mine, rotate(x, cos[None, :, None], sin[None, :, None]), atol=1e-6, rtol=1e-6)


def test_a_score_depends_on_the_distance_only() -> None:
    query, key = draw(2, 8)[:, None].double()
    scores = [
        (turn(query, torch.tensor([place])) @ turn(key, torch.tensor([place - 3])).T).item() for place in (3, 7, 900)
    ]
    assert scores[1:] == pytest.approx(scores[:1] * 2, abs=1e-3)
    other = (turn(query, torch.tensor([3])) @ turn(key, torch.tensor([1])).T).item()
    assert abs(other - scores[0]) > 0.01


@pytest.mark.parametrize("pieces", [(1,) * 9, (4, 5), (7, 1, 1), (2, 3, 4)])
def test_the_memory_changes_nothing(pieces: tuple[int, ...]) -> None:
    attention, text, memory = spread(ModernAttention(24, 6, 2)), draw(2, 9, 24), Memory()
    answers = [attention(piece, memory) for piece in text.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(answers, dim=1), attention(text), atol=1e-6, rtol=1e-6)
    assert len(memory) == 9
    assert memory.key is not None
    assert memory.key.shape == (2, 2, 9, 4)


def test_as_many_key_heads_as_query_heads_without_turning_is_rung_4() -> None:
    from vidro.learn.attention_4 import MultiHeadAttention

    rung_5, rung_4 = ModernAttention(24, 6, 6, qk_norm=False), MultiHeadAttention(24, 24, 9, 6, dropout=0.0)
    nn.init.zeros_(rung_4.out_proj.bias)
    for name in ("W_query", "W_key", "W_value", "out_proj"):
        rung_4.get_submodule(name).load_state_dict(rung_5.get_submodule(name).state_dict(), strict=False)
    alone = draw(4, 1, 24)  # a text of one token stands at place 0: nothing is turned
    torch.testing.assert_close(rung_5(alone), rung_4(alone), atol=1e-6, rtol=1e-6)
    assert not torch.allclose(rung_5(draw(1, 9, 24)), rung_4(draw(1, 9, 24)))


def test_feed_forward_equals_production() -> None:
    production = spread(Transformer(GPT2).blocks[0].get_submodule("feedforward"))
    rung = FeedForward(24)
    rung.load_state_dict(production.state_dict())
    x = draw(2, 9, 24)
    torch.testing.assert_close(rung(x), production(x), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(as_memory(rung, x[1, 3]), production(x)[1, 3], atol=1e-5, rtol=1e-5)


def test_facts_written_by_hand_are_recalled_and_do_not_disturb_each_other() -> None:
    patterns, answers = torch.eye(8)[:5], draw(5, 8)
    layer = empty_layer(8, 5)
    for neuron, (pattern, answer) in enumerate(zip(patterns, answers, strict=True)):
        write_fact(layer, neuron, pattern, answer)
    torch.testing.assert_close(layer(patterns), answers, atol=1e-3, rtol=0)
    assert layer(torch.eye(8)[5:]).abs().max() < 2e-3  # what nobody wrote about
    write_fact(layer, 2, patterns[2], -answers[2])
    torch.testing.assert_close(layer(patterns)[[0, 1, 3, 4]], answers[[0, 1, 3, 4]], atol=1e-3, rtol=0)


def test_two_shortcuts_are_a_block_of_production() -> None:
    block = spread(Transformer(GPT2).blocks[1])
    half_1 = Shortcut(block.get_submodule("norm_1"), block.get_submodule("attention"))
    half_2 = Shortcut(block.get_submodule("norm_2"), block.get_submodule("feedforward"))
    x = draw(2, 9, 24)
    assert torch.equal(half_2(half_1(x)), block(x))


@pytest.mark.parametrize("seed", range(3))
def test_gradients_arrive_with_shortcuts_only(seed: int) -> None:
    torch.manual_seed(seed)
    sizes = []
    for shortcuts in (False, True):
        network = DeepNetwork([16] * 13, shortcuts=shortcuts)
        network(draw(32, 16)).square().mean().backward()
        sizes.append(gradient_sizes(network))
    plain, summed = sizes
    assert plain[0] < plain[-1] / 1_000
    assert max(summed) < 20 * min(summed)


@pytest.mark.parametrize("tied", [False, True])
def test_the_model_equals_production(tied: bool) -> None:
    production = Transformer(replace(GPT2, tie_embeddings=tied)).eval()
    spread(production)
    rung = same_as(production)
    ids = torch.randint(30, (3, 9), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(rung(ids), production(ids), atol=1e-5, rtol=1e-5)
    rung(ids).square().mean().backward()
    production(ids).square().mean().backward()
    first = rung.token_embedding.weight.grad
    torch.testing.assert_close(first, production.token_embedding.weight.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"])
def test_the_model_has_as_many_parameters_as_production(name: str) -> None:
    c = preset(name)
    with torch.device("meta"):
        rung = GPT(c.vocab_size, c.context_length, c.d_model, c.n_layers, c.n_heads, bias=True, tied=True)
    assert n_parameters(rung) == count(c).n_parameters
