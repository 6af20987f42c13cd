"""Packed = one by one: logits, losses and gradients within 1e-5, whatever stands beside a piece in its row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.errors import ModelError
from vidro.data.collate import Example, collate
from vidro.data.packing import pack, row_length
from vidro.model import transformer
from vidro.model.cache import KVCache
from vidro.model.loss import lm_loss
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


def awake(config: ModelConfig) -> Transformer:
    model = Transformer(config)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model


def conversations(n: int = 9) -> list[Example]:
    """Prompts of 1 to 8 ids that are not learned, answers of 1 to 9 that are; the id 0 ends them and pads."""
    generator = torch.Generator().manual_seed(4)
    made = []
    for _ in range(n):
        prompt, answer = (int(torch.randint(1, 9, (), generator=generator)) for _ in range(2))
        ids = torch.randint(61, (prompt + answer,), generator=generator).tolist()
        made.append(Example([*ids, 0], [False] * prompt + [True] * (answer + 1)))
    return made


def packed_batch(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    packed = pack(examples, row_length([one.n_inputs for one in examples], 32) + 1, pad_id=0)  # + 1: padding too
    assert len(packed.ids) < len(examples)
    assert (packed.pieces < 0).any()
    return torch.from_numpy(packed.ids), torch.from_numpy(packed.targets), torch.from_numpy(packed.pieces)


def gradients(model: Transformer, total: torch.Tensor, count: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    (total / count).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@families
def test_losses_and_gradients(config: ModelConfig) -> None:
    model, examples = awake(config), conversations()
    losses = []
    for example in examples:
        ids, targets = map(torch.from_numpy, collate([example], pad_id=0, length=25))
        losses.append(lm_loss(model, ids, targets))
    total, count = torch.stack([nats for nats, _ in losses]).sum(), sum(n for _, n in losses)
    assert isinstance(count, torch.Tensor)
    alone = gradients(model, total, count)
    ids, targets, pieces = packed_batch(examples)
    packed, n = lm_loss(model, ids, targets, pieces=pieces)
    assert int(n) == int(count) == sum(sum(example.learned) for example in examples)
    assert packed.item() == pytest.approx(total.item(), rel=1e-5)
    together = gradients(model, packed, n)
    assert together.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
    assert max(gradient.abs().max() for gradient in alone.values()) > 1e-2


@families
def test_logits_of_every_token(config: ModelConfig) -> None:
    model, examples = awake(config).eval(), conversations()
    ids, _, pieces = packed_batch(examples)
    trace = Trace()
    with torch.no_grad():
        logits = model(ids, pieces=pieces)
        explicit = model(ids, pieces=pieces, trace=trace)
        for number, example in enumerate(examples):
            alone = model(torch.tensor([example.ids[:-1]]))[0]
            torch.testing.assert_close(logits[pieces == number], alone, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(explicit[pieces == number], alone, rtol=1e-5, atol=1e-5)
    assert logits.isfinite().all(), "padding looks at itself, never at nothing"
    for shares in trace.attention:
        assert shares[(pieces[:, :, None] != pieces[:, None]).unsqueeze(1).expand_as(shares)].count_nonzero() == 0


def all_before(pieces: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(pieces), 1, pieces.shape[1], pieces.shape[1], dtype=torch.bool).tril()


def places_of_the_row(pieces: torch.Tensor) -> torch.Tensor:
    return torch.arange(pieces.shape[1]).expand_as(pieces)


@families
@pytest.mark.parametrize(("name", "wrong"), [("mask_of_pieces", all_before), ("places_in_pieces", places_of_the_row)])
def test_the_test_catches_a_forgotten_mask_and_places_that_go_on(
    config: ModelConfig, name: str, wrong: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformer, name, wrong)
    if name == "places_in_pieces" and config.family != "gpt2":
        test_losses_and_gradients(config)  # rotary attention feels distances only, which stay
    else:
        with pytest.raises(AssertionError):
            test_losses_and_gradients(config)


@families
def test_a_neighbour_changes_nothing(config: ModelConfig) -> None:
    model = awake(config).eval()
    pieces = torch.tensor([[0] * 5 + [1] * 6 + [2] * 4])
    ids = torch.arange(15)[None]
    changed = torch.where(pieces == 1, ids, ids + 20)
    with torch.no_grad():
        before, after = model(ids, pieces=pieces), model(changed, pieces=pieces)
    torch.testing.assert_close(after[pieces == 1], before[pieces == 1], rtol=0, atol=1e-6)
    assert (after - before)[pieces != 1].abs().max() > 1e-2


def test_one_piece_is_a_plain_row() -> None:
    model, ids = awake(CONFIGS[2]).eval(), torch.arange(22).view(2, 11)
    torch.testing.assert_close(model(ids, pieces=torch.zeros_like(ids)), model(ids), rtol=1e-5, atol=1e-5)


def test_pieces_go_with_no_cache_and_no_positions() -> None:
    model, ids = awake(GPT2), torch.arange(6)[None]
    others = {"cache": KVCache(GPT2, 1, 8)}, {"positions": ids}
    for other in others:
        with pytest.raises(
            ModelError, match=r"^packed rows have places of their own\. Give no cache and no positions\.$"
        ):
            model(ids, pieces=torch.zeros_like(ids), **other)
