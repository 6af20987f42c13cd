"""The model: shapes, causality (and that the test of it can fail), families, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.errors import ModelError
from vidro.model import attention
from vidro.model.attention import explicit_attention, fast_attention
from vidro.model.cache import KVCache
from vidro.model.init import initialise
from vidro.model.positions import frequencies
from vidro.model.trace import Trace
from vidro.model.transformer import Transformer

GPT2 = ModelConfig(
    family="gpt2", vocab_size=50, context_length=16, d_model=24, n_layers=2, n_heads=3, n_kv_heads=3, d_head=8, d_ff=40
)
LLAMA = replace(GPT2, family="llama", n_heads=4, n_kv_heads=2, d_head=6)
QWEN3 = replace(LLAMA, family="qwen3", n_kv_heads=1, d_head=10)
FAMILIES = [GPT2, LLAMA, QWEN3]
families = pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.family)


def awake(config: ModelConfig, seed: int = 0) -> Transformer:
    """A model without zero weights, so that everything matters."""
    model = Transformer(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model


def some_ids(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(50, (rows, length), generator=torch.Generator().manual_seed(seed))


def leak(model: Transformer, ids: torch.Tensor, *, cached: bool) -> float:
    """The largest move of a logit up to t when token t + 1 changes, over all t."""

    def logits(text: torch.Tensor) -> torch.Tensor:
        if not cached:
            return model(text)
        cache = KVCache(model.config, len(text), model.config.context_length)
        first = model(text[:, :3], cache=cache)
        cache.advance(3)
        return torch.cat((first, model(text[:, 3:], cache=cache)), dim=1)

    with torch.no_grad():
        before, worst = logits(ids), 0.0
        for place in range(1, ids.shape[1]):
            changed = ids.clone()
            changed[:, place] = (changed[:, place] + 7) % model.config.vocab_size
            after = logits(changed)
            worst = max(worst, (after - before)[:, :place].abs().max().item())
            assert (after - before)[:, place:].abs().max() > 1e-3, "the changed token itself must matter"
    return worst


@families
@pytest.mark.parametrize("cached", [False, True])
def test_no_token_sees_the_future(config: ModelConfig, cached: bool) -> None:
    assert leak(awake(config), some_ids(2, 9), cached=cached) == 0.0


@families
@pytest.mark.parametrize("cached", [False, True])
def test_the_causality_test_catches_a_mask_that_is_not_applied(
    config: ModelConfig, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_see_all(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: object) -> torch.Tensor:
        everything = torch.ones(len(q), 1, q.shape[2], k.shape[2], dtype=torch.bool)
        return explicit_attention(q, k, v, mask=everything)[0]

    monkeypatch.setattr(attention, "fast_attention", all_see_all)
    assert leak(awake(config), some_ids(2, 9), cached=cached) > 1e-3


@families
def test_tracing_gives_the_same_logits_and_all_stages(config: ModelConfig) -> None:
    model, ids, trace = awake(config), some_ids(2, 11), Trace()
    with torch.no_grad():
        fast, traced = model(ids), model(ids, trace=trace)
    torch.testing.assert_close(traced, fast, atol=1e-5, rtol=1e-5)
    assert [tuple(shares.shape) for shares in trace.attention] == [(2, config.n_heads, 11, 11)] * 2
    for shares in trace.attention:
        torch.testing.assert_close(shares.sum(-1), torch.ones(2, config.n_heads, 11))
        assert shares.triu(diagonal=1).count_nonzero() == 0
    assert len(trace.residual) == config.n_layers
    assert trace.final is not None
    assert trace.token_embedding is not None
    torch.testing.assert_close(model.final_norm(trace.residual[-1]), trace.final)
    torch.testing.assert_close(model.head(trace.final), traced)
    assert (trace.position_embedding is None) == (config.family != "gpt2")


@pytest.mark.parametrize("heads", [(6, 6), (6, 3), (6, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_fused_and_explicit_attention_agree(heads: tuple[int, int], masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 9, 4, generator=generator) for n in (heads[0], heads[1], heads[1]))
    mask = (torch.rand(2, 1, 9, 9, generator=generator) < 0.5) | torch.eye(9, dtype=torch.bool) if masked else None
    explicit, _ = explicit_attention(q, k, v, mask=mask)
    torch.testing.assert_close(fast_attention(q, k, v, mask=mask), explicit, atol=1e-5, rtol=1e-5)


def test_grouped_heads_equal_full_heads_with_repeated_matrices() -> None:
    grouped = awake(LLAMA)
    full = Transformer(replace(LLAMA, n_kv_heads=LLAMA.n_heads)).eval()
    state = grouped.state_dict()
    for name in list(state):
        if "k_proj" in name or "v_proj" in name:
            state[name] = state[name].unflatten(0, (2, -1)).repeat_interleave(2, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    torch.testing.assert_close(full(some_ids(2, 9)), grouped(some_ids(2, 9)), atol=1e-5, rtol=1e-5)


@families
def test_given_positions_move_the_text(config: ModelConfig) -> None:
    model, ids = awake(config), some_ids(2, 5)
    places = torch.arange(5).expand(2, 5)
    torch.testing.assert_close(model(ids, positions=places), model(ids), atol=1e-5, rtol=1e-5)
    moved = model(ids, positions=places + 4)
    if config.family == "gpt2":
        assert (moved - model(ids)).abs().max() > 1e-3
    else:  # rotary attention feels distances only
        torch.testing.assert_close(moved, model(ids), atol=1e-4, rtol=1e-4)


def test_a_tied_head_is_the_embedding() -> None:
    model = Transformer(replace(QWEN3, tie_embeddings=True))
    assert model.head.weight is model.token_embedding.weight
    initialise(model, seed=3)
    assert model.head.weight is model.token_embedding.weight


@families
def test_every_parameter_gets_a_gradient(config: ModelConfig) -> None:
    model = awake(config)
    model(some_ids(2, 9)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] in (
        [],
        ["blocks.0.attention.k_proj.bias", "blocks.1.attention.k_proj.bias"],  # softmax does not feel a constant
    )


@families
def test_dropout_acts_only_while_training(config: ModelConfig) -> None:
    model, ids = awake(replace(config, dropout=0.5)), some_ids(1, 9)
    torch.testing.assert_close(model(ids), awake(config)(ids))
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model(ids), model(ids))


def test_a_text_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ModelError) as error:
        Transformer(GPT2)(some_ids(1, 17))
    assert str(error.value) == (
        "17 tokens are more than the model's context of 16. Give fewer tokens, or choose a model with a longer context."
    )


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones() -> None:
    scaling = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context_length=64)
    plain, scaled = frequencies(32, 10_000.0), frequencies(32, 10_000.0, scaling)
    wavelength = 2 * torch.pi / plain
    assert torch.equal(scaled[wavelength < 16], plain[wavelength < 16])
    torch.testing.assert_close(scaled[wavelength > 64], plain[wavelength > 64] / 8)
    between = (wavelength > 16) & (wavelength < 64)
    assert between.any()
    assert ((scaled < plain) & (scaled > plain / 8))[between].all()


def test_building_draws_no_global_random_numbers() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    Transformer(QWEN3)
    assert torch.equal(torch.get_rng_state(), before)
