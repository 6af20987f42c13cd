"""The loss: a sum and a count, the same in pieces as in one, gradients included."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from vidro.config.schema import ModelConfig
from vidro.model.loss import default_chunk, lm_loss, next_token_loss
from vidro.model.transformer import Transformer

CONFIG = ModelConfig(
    family="llama", vocab_size=50, context_length=16, d_model=24, n_layers=1, n_heads=4, n_kv_heads=2, d_head=6, d_ff=40
)


def example(config: ModelConfig = CONFIG) -> tuple[Transformer, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    ids, targets = (torch.randint(50, (3, 11), generator=generator) for _ in range(2))
    targets[0, :4] = -100
    return model, ids, targets


def test_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
    total, count = next_token_loss(logits, torch.tensor([0, -100, 2]))
    assert total.item() == pytest.approx(-math.log(0.5) - math.log(0.6))
    assert count.item() == 2


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 33, 1000, None])
def test_in_pieces_equals_in_one(tied: bool, chunk: int | None) -> None:
    model, ids, targets = example(replace(CONFIG, tie_embeddings=tied))
    whole, count = next_token_loss(model(ids).flatten(0, 1), targets.flatten())
    wanted = torch.autograd.grad(whole / count, list(model.parameters()))
    total, counted = lm_loss(model, ids, targets, chunk_tokens=chunk)
    got = torch.autograd.grad(total / counted, list(model.parameters()))
    assert (counted.item(), count.item()) == (29, 29)
    assert total.item() == pytest.approx(whole.item(), rel=1e-6)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        quiet, counted = lm_loss(model, ids, targets, chunk_tokens=chunk)
    assert quiet.item() == pytest.approx(whole.item(), rel=1e-6)
    assert counted.item() == 29


def test_the_gradient_is_the_slope() -> None:
    """Checked against differences in float64, so against no other code of ours or PyTorch's."""
    model, ids, targets = example()
    model = model.double()
    weight = model.head.weight
    total, _ = lm_loss(model, ids, targets, chunk_tokens=8)
    (grad,) = torch.autograd.grad(total, weight)
    for row, column in ((0, 0), (17, 5), (49, 23)):
        with torch.no_grad():
            sides = []
            for move in (1e-4, -2e-4):
                weight[row, column] += move
                sides.append(next_token_loss(model(ids).flatten(0, 1), targets.flatten())[0].item())
            weight[row, column] += 1e-4
        assert grad[row, column].item() == pytest.approx((sides[0] - sides[1]) / 2e-4, abs=1e-6)


def test_no_counted_token_is_zero_and_never_nan() -> None:
    model, ids, targets = example()
    nothing = torch.full_like(targets, -100)
    total, count = lm_loss(model, ids, nothing)
    assert (total.item(), count.item()) == (0.0, 0)
    total.backward()
    assert all(p.grad is None or not p.grad.isnan().any() for p in model.parameters())
    assert next_token_loss(model(ids).flatten(0, 1), nothing.flatten())[0].item() == 0.0


def test_frozen_parts_get_no_gradient() -> None:
    model, ids, targets = example()
    model.head.requires_grad_(False)
    lm_loss(model, ids, targets)[0].backward()
    assert model.head.weight.grad is None
    assert model.token_embedding.weight.grad is not None
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    lm_loss(model, ids, targets)[0].backward()
    assert model.head.weight.grad is not None


def test_a_wrapped_head_keeps_its_own_arithmetic() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    model, ids, targets = example()
    head = Doubled(24, 50, bias=False)
    head.weight = model.head.weight
    model.head = head  # pyright: ignore[reportAttributeAccessIssue]
    wanted, _ = next_token_loss(model(ids).flatten(0, 1), targets.flatten())
    assert lm_loss(model, ids, targets)[0].item() == pytest.approx(wanted.item(), rel=1e-6)


def test_mixed_precision_stays_near() -> None:
    model, ids, targets = example()
    exact, _ = lm_loss(model, ids, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = lm_loss(model, ids, targets, chunk_tokens=8)
    rough.backward()
    assert rough.dtype == torch.float32
    assert model.head.weight.grad is not None
    assert model.head.weight.grad.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)


def test_pieces_fit_the_cache_of_a_cpu() -> None:
    assert default_chunk(torch.zeros(4096, 8)) * 4096 * 4 == 8 * 2**20
    assert default_chunk(torch.zeros(128256, 1)) == 512  # fewer make slow products
