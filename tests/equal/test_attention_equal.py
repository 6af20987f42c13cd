"""The four attention rungs: their examples run, each equals what it claims, and the last equals production."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.learn.attention_1 import shares, simple_attention
from vidro.learn.attention_2 import SelfAttention
from vidro.learn.attention_3 import CausalAttention, masked_first, renormalised
from vidro.learn.attention_4 import MultiHeadAttention, StackedHeads
from vidro.model.transformer import Transformer


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("rung", [1, 2, 3, 4])
def test_the_examples_run(rung: int) -> None:
    module = importlib.import_module(f"vidro.learn.attention_{rung}")
    failures, examples = doctest.testmod(module)
    assert failures == 0
    assert examples >= 4


def test_simple_attention_step_by_step() -> None:
    """Against sums written out number by number."""
    x = torch.randn(5, 3)
    context = simple_attention(x)
    for i in range(5):
        weights = torch.tensor([sum(x[i, d] * x[j, d] for d in range(3)) for j in range(5)]).exp()
        weights = weights / weights.sum()
        torch.testing.assert_close(context[i], sum(weights[j] * x[j] for j in range(5)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shares(x).sum(-1), torch.ones(5))


def test_identity_matrices_make_rung_2_rung_1() -> None:
    attention, x = SelfAttention(4, 4), torch.randn(2, 6, 4)
    one = torch.eye(4).tolist()
    attention.set_weights(query=(2.0 * torch.eye(4)).tolist(), key=one, value=one)  # 2 = √4 undoes the scaling
    torch.testing.assert_close(attention(x), simple_attention(x), atol=1e-5, rtol=1e-5)


def test_scores_keep_their_size_as_the_width_grows() -> None:
    for width in (16, 256):
        attention = SelfAttention(width, width)
        for layer in (attention.W_query, attention.W_key):
            torch.nn.init.normal_(layer.weight, std=width**-0.5)
        assert attention.scores(torch.randn(64, width)).std().item() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("seed", range(5))
def test_renormalising_equals_minus_infinity(seed: int) -> None:
    scores = 3 * torch.randn(2, 7, 7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(renormalised(scores), masked_first(scores), atol=1e-6, rtol=1e-5)
    assert masked_first(scores).triu(diagonal=1).count_nonzero() == 0


def test_only_minus_infinity_survives_a_loud_future() -> None:
    """Why production masks first: all allowed shares of a row can be rounded to zero."""
    scores = torch.tensor([[0.0, 200.0], [0.0, 0.0]])
    assert renormalised(scores)[0].isnan().any()
    assert masked_first(scores)[0].tolist() == [1.0, 0.0]


def test_rung_3_sees_no_future_and_rung_2_does() -> None:
    text = torch.randn(1, 6, 4)
    changed = text.clone()
    changed[:, 4] += 1.0
    causal, plain = CausalAttention(4, 3, 6, dropout=0.0), SelfAttention(4, 3)
    assert torch.equal(causal(text)[:, :4], causal(changed)[:, :4])
    assert not torch.allclose(causal(text)[:, 4:], causal(changed)[:, 4:])
    assert not torch.allclose(plain(text)[:, :4], plain(changed)[:, :4])


def test_dropout_drops_shares_while_training_only() -> None:
    attention, x = CausalAttention(4, 3, 6, dropout=0.5), torch.randn(1, 6, 4)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


def test_rungs_refuse_more_tokens_than_the_context() -> None:
    for attention in (CausalAttention(4, 4, 3, 0.0), MultiHeadAttention(4, 4, 3, 2, 0.0)):
        with pytest.raises(AssertionError, match="more tokens than the context holds"):
            attention(torch.randn(1, 4, 4))


@pytest.mark.parametrize(("width", "heads"), [(8, 1), (8, 2), (12, 3), (10, 5)])
def test_stacked_heads_equal_one_reshape(width: int, heads: int) -> None:
    stacked = StackedHeads(6, width, 9, heads, dropout=0.0)
    joined = MultiHeadAttention.from_stacked(stacked)
    x = torch.randn(3, 9, 6)
    torch.testing.assert_close(joined(x), stacked(x), atol=1e-6, rtol=1e-5)
    assert sum(p.numel() for p in joined.parameters()) == sum(p.numel() for p in stacked.parameters())


def test_the_last_rung_equals_production() -> None:
    config = ModelConfig(
        family="gpt2", vocab_size=10, context_length=9, d_model=12, n_layers=1, n_heads=3, n_kv_heads=3, d_head=4,
        d_ff=8,
    )  # fmt: skip
    production = Transformer(config).blocks[0].attention
    rung = MultiHeadAttention(12, 12, 9, 3, dropout=0.0, bias=True)
    pairs = {"W_query": "q_proj", "W_key": "k_proj", "W_value": "v_proj", "out_proj": "o_proj"}
    for learned, made in pairs.items():
        layer = production.get_submodule(made)
        torch.nn.init.normal_(layer.weight, std=0.5)
        torch.nn.init.normal_(layer.bias, std=0.5)
        rung.get_submodule(learned).load_state_dict(layer.state_dict())
    x = torch.randn(2, 9, 12)
    torch.testing.assert_close(rung(x), production(x), atol=1e-5, rtol=1e-5)
