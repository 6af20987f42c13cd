"""The rungs generating and kv_cache give the tokens, logits, keys and values of production."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.infer.decode import decode, decode_without_cache
from vidro.learn import generating, kv_cache
from vidro.learn.block import GPT, same_as
from vidro.model.cache import KVCache
from vidro.model.count import count
from vidro.model.transformer import Transformer

V, CONTEXT = 61, 12
CONFIG = ModelConfig(
    family="gpt2", vocab_size=V, context_length=CONTEXT, d_model=24, n_layers=3, n_heads=3, n_kv_heads=3, d_head=8,
    d_ff=96, norm_eps=1e-5,
)  # fmt: skip
PROMPTS = [[7], [3, 1, 4, 1, 5], list(range(20, 20 + CONTEXT))]


def pair(seed: int = 2) -> tuple[Transformer, GPT]:
    """Production's model with lively weights, and the rung with the same."""
    production = Transformer(CONFIG).eval()
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in production.parameters():
            weights.add_(torch.randn(weights.shape, generator=dice), alpha=0.2)
    return production.requires_grad_(False), same_as(production)


def greedy(n_tokens: int, on_full: str = "slide") -> SamplingOptions:
    return SamplingOptions(greedy=True, max_tokens=n_tokens, on_full=on_full)


@pytest.mark.parametrize("prompt", PROMPTS[:2], ids=len)
@pytest.mark.parametrize("seed", [2, 3])
def test_greedy_tokens_within_the_context_are_productions(prompt: list[int], seed: int) -> None:
    production, rung = pair(seed)
    n_tokens = CONTEXT - len(prompt) + 1
    expected = decode_without_cache(production, prompt, greedy(n_tokens), eot_id=0)
    assert generating.generate(rung, prompt, n_tokens, CONTEXT, end_id=0) == expected
    assert generating.generate(production, prompt, n_tokens, CONTEXT, end_id=0) == expected
    assert kv_cache.generate(rung, prompt, n_tokens, CONTEXT, end_id=0) == expected
    assert [step.id for step in decode(production, [prompt], greedy(n_tokens), eot_id=0) if step.finish != "eos"] == (
        expected
    )


@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
@pytest.mark.parametrize("seed", [2, 3])
def test_the_cache_slides_as_production_does(prompt: list[int], seed: int) -> None:
    production, rung = pair(seed)
    expected = decode_without_cache(production, prompt, greedy(40), eot_id=V + 1)
    assert len(set(expected)) > 1
    assert kv_cache.generate(rung, prompt, 40, CONTEXT) == expected


def test_the_end_mark_ends_the_text_and_is_no_part_of_it() -> None:
    _, rung = pair()
    freely = generating.generate(rung, [7], 10, CONTEXT)
    end = freely[4]
    for generate in (generating.generate, kv_cache.generate):
        assert generate(rung, [7], 10, CONTEXT, end_id=end) == freely[: freely.index(end)]


@pytest.mark.parametrize("pieces", [[10], [1] * 10, [4, 1, 5], [1, 8, 1]], ids=str)
def test_any_cutting_gives_productions_logits_keys_and_values(pieces: list[int]) -> None:
    production, rung = pair()
    ids = torch.randint(V, (2, 10), generator=torch.Generator().manual_seed(5))
    reader, cache = kv_cache.Reader(rung), KVCache(CONFIG, 2, CONTEXT)
    ends = [sum(pieces[:n]) for n in range(len(pieces) + 1)]
    for start, end in pairwise(ends):
        ours, theirs = reader.read(ids[:, start:end]), production(ids[:, start:end], cache=cache)
        cache.advance(end - start)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for layer, memory in enumerate(reader.memories):
        torch.testing.assert_close(memory.key, cache.keys[layer, :, :, :10], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(memory.value, cache.values[layer, :, :, :10], atol=1e-5, rtol=1e-5)


def test_the_work_counted_is_the_work_done() -> None:
    _, rung = pair()
    seen: list[int] = []
    rung.token_embedding.register_forward_hook(lambda _module, inputs, _answer: seen.append(inputs[0].shape[1]))
    for cached, generate in ((False, generating.generate), (True, kv_cache.generate)):
        seen.clear()
        generate(rung, [3, 1, 4], 6, CONTEXT)
        assert sum(seen) == kv_cache.tokens_computed(prompt=3, made=6, cached=cached)


def test_the_memory_counted_is_productions() -> None:
    found = kv_cache.bytes_per_token(CONFIG.n_layers, CONFIG.d_model, bytes_per_number=4)
    assert found == count(CONFIG).kv_bytes_per_token
