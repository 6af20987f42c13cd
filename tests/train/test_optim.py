from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError
from vidro.model.transformer import Transformer
from vidro.train.optim import (
    AdamW,
    Move,
    Muon,
    Optimizer,
    OptimizerSettings,
    adamw_,
    fused_adamw_,
    orthogonalise,
    split_parameters,
)

JORDAN = (3.4445, -4.7750, 2.0315)  # one quintic for every iteration (K. Jordan, "Muon", 2024): what torch does
SETTINGS = OptimizerSettings(kind="muon", lr=0.01, muon_lr=0.02, weight_decay=0.1, beta1=0.9, beta2=0.95)
TINY = ModelConfig(vocab_size=64, context_length=8, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=64)


def with_gradients(seed: int, *shapes: tuple[int, ...]) -> list[tuple[str, nn.Parameter]]:
    generator = torch.Generator().manual_seed(seed)
    named = []
    for number, shape in enumerate(shapes):
        parameter = nn.Parameter(torch.randn(shape, generator=generator))
        parameter.grad = torch.randn(shape, generator=generator)
        named.append((f"p{number}", parameter))
    return named


def test_adamw_equals_torch() -> None:
    ours, theirs = with_gradients(1, (5, 3), (7,)), with_gradients(1, (5, 3), (7,))
    groups = [{"params": [theirs[0][1]], "weight_decay": 0.1}, {"params": [theirs[1][1]], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    optimizer = AdamW(ours, SETTINGS)
    for step in range(20):
        for group in reference.param_groups:
            group["lr"] = 0.01 * (1 - step / 40)
        optimizer.step(1 - step / 40)
        reference.step()
        for (_, a), (_, b) in zip(ours, theirs, strict=True):
            a.grad = b.grad = torch.sin(b.detach() + step)
            torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-7)


def test_the_fused_move_is_the_written_one() -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = [(33, 7), (5,), (64, 48), (1, 1)]
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    states = [[weights, [torch.zeros(s) for s in shapes], [torch.zeros(s) for s in shapes]] for _ in range(2)]
    states[1][0] = [weight.clone() for weight in weights]
    for step in range(1, 30):
        gradients = [torch.randn(shape, generator=generator) * 10 ** (step % 5 - 2) for shape in shapes]
        by = Move(lr=0.02 / step, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, steps=step)
        for move, (w, m, v) in zip((adamw_, fused_adamw_), states, strict=True):
            move(w, [gradient.clone() for gradient in gradients], m, v, by)
        for ours, fast in zip(*states, strict=True):
            torch.testing.assert_close(fast, ours, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_orthogonalised_singular_values_are_near_one(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalise(matrices)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.5
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    cosine = nn.functional.cosine_similarity((u @ v).flatten(1), result.flatten(1))
    assert cosine.min() > 0.97  # the same singular vectors
    few = torch.linalg.svdvals(orthogonalise(matrices, SETTINGS.quintics))
    assert few.max() < 2.0  # three iterations leave small values small, and send none away
    assert few.median() > 0.7


def test_the_embedding_has_a_rate_of_its_own() -> None:
    model = Transformer(TINY)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    Optimizer(model, replace(SETTINGS, weight_decay=0.0, embedding_lr=0.2)).step(1.0)
    moved = {
        name: (parameter.detach() - before[name]).abs().max().item() for name, parameter in model.named_parameters()
    }
    assert moved["token_embedding.weight"] == pytest.approx(0.2, rel=1e-3)
    assert moved["head.weight"] == pytest.approx(0.01, rel=1e-3)


def test_muon_moves_as_torchs_does() -> None:
    ours, theirs = with_gradients(2, (16, 16), (32, 16), (16, 16)), with_gradients(2, (16, 16), (32, 16), (16, 16))
    optimizer = Muon(ours, replace(SETTINGS, momentum=0.95, quintics=(JORDAN,) * 5))
    reference = torch.optim.Muon([p for _, p in theirs], lr=0.02, weight_decay=0.1, momentum=0.95)
    before = [p.detach().clone() for _, p in ours]
    for _ in range(3):
        optimizer.step(1.0)
        reference.step()
    for (_, a), (_, b), start in zip(ours, theirs, before, strict=True):
        moved, wanted = a.detach() - start, b.detach() - start
        assert torch.norm(moved - wanted) < 0.03 * torch.norm(wanted)  # theirs iterates in bf16


def test_one_batched_update_equals_one_at_a_time() -> None:
    shapes = [(16, 8)] * 3
    together, alone = with_gradients(3, *shapes), with_gradients(3, *shapes)
    Muon(together, SETTINGS).step(0.5)
    for named in alone:
        Muon([named], SETTINGS).step(0.5)
    for (_, a), (_, b) in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_every_parameter_is_covered_once_and_tables_are_not_muons() -> None:
    model = Transformer(TINY)
    matrices, others = split_parameters(model.named_parameters(), muon=True)
    names = [name for name, _ in matrices + others]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert all(name.startswith("blocks.") and p.ndim == 2 for name, p in matrices)
    assert "token_embedding.weight" in dict(others)
    assert split_parameters(model.named_parameters(), muon=False)[0] == []


def test_state_survives_and_goes_on_bit_for_bit() -> None:
    def steps(model: Transformer, optimizer: Optimizer, first: int, count: int) -> None:
        for step in range(first, first + count):
            generator = torch.Generator().manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step(1.0)

    whole, half = Transformer(TINY), Transformer(TINY)
    optimizer = Optimizer(whole, SETTINGS)
    steps(whole, optimizer, 0, 6)
    first = Optimizer(half, SETTINGS)
    steps(half, first, 0, 3)
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second = Optimizer(half, SETTINGS)
    second.load(saved)
    steps(half, second, 3, 3)
    for a, b in zip(whole.parameters(), half.parameters(), strict=True):
        assert torch.equal(a, b)
    del saved["adamw.steps"]
    with pytest.raises(CheckpointError, match=r"the optimizer state has no 'adamw\.steps'"):
        second.load(saved)
