"""Decoding with cache and slots against its readable twin, and a row alone against the same row in company."""

from __future__ import annotations

import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.infer.decode import decode, decode_without_cache
from vidro.model.transformer import Transformer

FAMILIES = ("gpt2", "llama", "qwen3")
EOT = 0
PROMPTS = [[5, 6, 7], [1] * 13, [9], [3, 4] * 6, [8, 1, 3], [EOT, 2], [11] * 16, [12, 13], [14], [15, 16, 17]]
FILTERED = SamplingOptions(
    max_tokens=40, temperature=0.9, top_k=12, top_p=0.95, min_p=0.01, repetition_penalty=1.1, seed=1
)


def random_model(family: str, context_length: int = 16) -> Transformer:
    """A tiny model whose weights are all random: new ones have a zero head and predict nothing."""
    model = Transformer(
        ModelConfig(
            family=family, vocab_size=37, context_length=context_length, d_model=32, n_layers=2, n_heads=4,
            n_kv_heads=4 if family == "gpt2" else 2, d_head=8, d_ff=48,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.4, generator=generator)
    return model


def dice(prompts: list[list[int]]) -> list[torch.Generator]:
    """One generator per prompt, seeded by the prompt itself."""
    return [torch.Generator().manual_seed(sum(prompt)) for prompt in prompts]


def rows(model, prompts, options, slots=None) -> list[list[tuple[int, float]]]:
    """(id, nats) of each row, the end mark included."""
    found: list[list[tuple[int, float]]] = [[] for _ in prompts]
    generators = None if options.greedy else dice(prompts)
    for step in decode(model, prompts, options, eot_id=EOT, generators=generators, slots=slots):
        found[step.row].append((step.id, step.logprob_nats))
    return found


def ids(row: list[tuple[int, float]]) -> list[int]:
    return [token for token, _ in row if token != EOT]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("on_full", ["slide", "stop"])
def test_cache_and_no_cache_choose_the_same_greedy_tokens(family, on_full):
    """40 tokens in a context of 16: the context fills and slides several times."""
    model = random_model(family)
    options = SamplingOptions(max_tokens=40, greedy=True, on_full=on_full)
    for prompt in PROMPTS:
        assert ids(rows(model, [prompt], options)[0]) == decode_without_cache(model, prompt, options, eot_id=EOT)


@pytest.mark.parametrize("family", FAMILIES)
def test_cache_and_no_cache_draw_the_same_tokens(family):
    model = random_model(family)
    for prompt in PROMPTS:
        (generator,) = dice([prompt])
        slow = decode_without_cache(model, prompt, FILTERED, eot_id=EOT, generator=generator)
        assert ids(rows(model, [prompt], FILTERED)[0]) == slow


@pytest.mark.parametrize("options", [SamplingOptions(max_tokens=40, greedy=True), FILTERED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_makes_the_same_tokens_alone_and_in_company(family, options):
    model = random_model(family)
    together = rows(model, PROMPTS, options)  # ten prompts in eight slots: two of them wait
    for prompt, row in zip(PROMPTS, together, strict=True):
        assert ids(rows(model, [prompt], options)[0]) == ids(row)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_fixed_slots_a_row_is_bitwise_what_it_is_alone(family):
    """Alone, or first of two different companies: the log-probabilities are equal as bits, not only nearly."""
    model = random_model(family, context_length=64)
    for prompt in PROMPTS:
        alone = rows(model, [prompt], FILTERED, slots=4)[0]
        assert rows(model, [prompt, *PROMPTS[:5]], FILTERED, slots=4)[0] == alone
        assert rows(model, [prompt, *PROMPTS[5:]], FILTERED, slots=4)[0] == alone


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_unfiltered_model(family):
    model = random_model(family)
    prompt = [3, 4, 5]
    options = SamplingOptions(max_tokens=10, temperature=0.3, top_k=3, repetition_penalty=2.0)
    steps = list(decode(model, [prompt], options, eot_id=None, generators=dice([prompt]), top=4))
    whole = torch.tensor([prompt + [step.id for step in steps]])
    with torch.inference_mode():
        nats = model(whole)[0].log_softmax(-1)
    for place, step in enumerate(steps, start=len(prompt) - 1):
        assert step.logprob_nats == pytest.approx(float(nats[place, step.id]), abs=1e-5)
        best = nats[place].topk(4)
        assert [token for token, _ in step.top] == best.indices.tolist()
        assert [value for _, value in step.top] == pytest.approx(best.values.tolist(), abs=1e-5)
