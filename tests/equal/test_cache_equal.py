"""Cached = uncached: logits within 1e-5 and the same greedy tokens, for rows of any lengths, cut anyhow."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vidro.config.schema import ModelConfig, RopeScaling
from vidro.model.cache import KVCache
from vidro.model.trace import Trace
from vidro.model.transformer import Transformer

GPT2 = ModelConfig(
    family="gpt2", vocab_size=61, context_length=32, d_model=24, n_layers=3, n_heads=3, n_kv_heads=3, d_head=8, d_ff=40
)
CONFIGS = [
    GPT2,
    replace(
        GPT2, family="llama", n_heads=4, n_kv_heads=2, d_head=6, rope_scaling=RopeScaling(original_context_length=8)
    ),
    replace(GPT2, family="qwen3", n_heads=6, n_kv_heads=2, d_head=10),
]
families = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.family)
slots = pytest.mark.parametrize("fixed", [False, True], ids=["longest", "fixed"])


def awake(config: ModelConfig) -> Transformer:
    model = Transformer(config).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model.requires_grad_(False)


def text(rows: int, length: int) -> torch.Tensor:
    return torch.randint(61, (rows, length), generator=torch.Generator().manual_seed(3))


def near(got: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@families
@slots
@pytest.mark.parametrize("pieces", [[20], [1] * 20, [7, 7, 6], [1, 18, 1], [19, 1]])
def test_any_cutting_of_equal_rows(config: ModelConfig, fixed: bool, pieces: list[int]) -> None:
    model, ids = awake(config), text(2, 20)
    cache = KVCache(config, 2, 32, fixed=fixed)
    logits = []
    for piece in ids.split(pieces, dim=1):
        logits.append(model(piece, cache=cache))
        cache.advance(piece.shape[1])
    near(torch.cat(logits, dim=1), model(ids))


@families
@slots
def test_unequal_rows_padded_on_the_right_then_stepped(config: ModelConfig, fixed: bool) -> None:
    """Greedy continuation of three prompts in one batch = each alone, without a cache."""
    model, prompts = awake(config), [text(3, 11)[0, :11], text(3, 11)[1, :4], text(3, 11)[2, :1]]
    alone = []
    for prompt in prompts:
        ids = prompt.clone()
        for _ in range(12):
            ids = torch.cat((ids, model(ids[None])[0, -1].argmax()[None]))
        alone.append(ids[len(prompt) :].tolist())

    padded = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=60)
    counts = [len(prompt) for prompt in prompts]
    cache = KVCache(config, 3, 32, fixed=fixed)
    logits = model(padded, cache=cache)[torch.arange(3), torch.tensor(counts) - 1]
    cache.advance(counts)
    together: list[list[int]] = [[], [], []]
    for _ in range(12):
        chosen = logits.argmax(dim=-1)
        for row, token in enumerate(chosen.tolist()):
            together[row].append(token)
        logits = model(chosen[:, None], cache=cache)[:, -1]
        cache.advance(1)
    assert together == alone
    full = model(torch.cat((prompts[1], torch.tensor(together[1])))[None])[0, -1]
    near(logits[1], full)


@families
@slots
def test_chunked_prefill_of_unequal_rows(config: ModelConfig, fixed: bool) -> None:
    model, ids, lengths = awake(config), text(3, 23), [23, 9, 14]
    cache = KVCache(config, 3, 24, fixed=fixed)  # the last chunk's padding sticks out of the longest row
    for start in range(0, 23, 8):
        chunk = torch.nn.functional.pad(ids[:, start : start + 8], (0, 8 - len(ids[0, start : start + 8])))
        logits = model(chunk, cache=cache)
        counts = [min(max(length - start, 0), 8) for length in lengths]
        cache.advance(counts)
        for row, count in enumerate(counts):
            if count:
                near(logits[row, :count], model(ids[row : row + 1, : start + count])[0, start:])
    assert cache.held == lengths


@families
def test_forgetting_and_going_on(config: ModelConfig) -> None:
    model, ids = awake(config), text(2, 12)
    cache = KVCache(config, 2, 32)
    model(ids, cache=cache)
    cache.advance(12)
    cache.truncate(0, 5)
    cache.truncate(1, 8)
    other = text(4, 3)[2:]
    logits = model(other, cache=cache)
    for row, kept in ((0, 5), (1, 8)):
        near(logits[row], model(torch.cat((ids[row, :kept], other[row]))[None])[0, kept:])


@families
def test_a_row_placed_from_another_cache(config: ModelConfig) -> None:
    """A server's way: prefill alone, put into a slot, step with strangers beside."""
    model, ids = awake(config), text(2, 10)
    alone, shared = KVCache(config, 1, 32), KVCache(config, 4, 32, fixed=True)
    model(ids[:1, :9], cache=alone)
    alone.advance(9)
    shared.place(2, alone)
    logits = model(ids[0, 9].expand(4, 1), cache=shared)
    near(logits[2, 0], model(ids[:1])[0, 9])


@families
def test_in_fixed_slots_a_row_does_not_feel_its_neighbours(config: ModelConfig) -> None:
    """Bit for bit: the same row, neighbours that differ in text and in length."""
    model, ids = awake(config), text(1, 10)

    def run(neighbours: torch.Tensor, counts: list[int]) -> list[torch.Tensor]:
        cache, logits = KVCache(config, 3, 32, fixed=True), []
        batch = torch.cat((neighbours[:1], ids, neighbours[1:]))
        model(batch[:, :6], cache=cache)
        cache.advance(counts)
        for step in range(4):
            logits.append(model(batch[:, 6 + step : 7 + step], cache=cache)[1, 0])
            cache.advance([1, 1, 0])
        return logits

    one, other = run(text(4, 10)[2:], [6, 6, 6]), run(60 - text(4, 10)[2:], [2, 6, 0])
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@families
def test_a_half_precision_model_has_a_half_precision_cache(config: ModelConfig) -> None:
    model, ids = awake(config), text(2, 12)
    cache = KVCache(config, 2, 32, dtype=torch.bfloat16)
    half = model.bfloat16()
    half(ids[:, :6], cache=cache)
    cache.advance([6, 4])
    assert half(ids[:, 6:7], cache=cache).isfinite().all()


@families
def test_a_trace_of_a_cached_step_shows_all_that_was_seen(config: ModelConfig) -> None:
    model, ids = awake(config), text(2, 9)
    cache, trace, whole = KVCache(config, 2, 32), Trace(), Trace()
    model(ids[:, :8], cache=cache)
    cache.advance(8)
    near(model(ids[:, 8:], cache=cache, trace=trace)[:, 0], model(ids, trace=whole)[:, 8])
    for step, full in zip(trace.attention, whole.attention, strict=True):
        near(step[:, :, 0], full[:, :, 8])
