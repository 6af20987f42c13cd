"""No false alarm: right models of all manners, fresh and after some training, are found sound and left as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.learn.checker.models import right_models
from torch import nn

from vidro.config.schema import ModelConfig
from vidro.learn.checker import assert_sound, check_model
from vidro.learn.checker.subject import Subject
from vidro.model.transformer import Transformer
from vidro.train.optim import AdamW, OptimizerSettings


def ours(family: str, **changes: Any) -> Transformer:
    sizes: dict[str, Any] = {
        "family": family, "vocab_size": 97, "context_length": 24, "d_model": 32, "n_layers": 2, "n_heads": 4,
        "n_kv_heads": 4 if family == "gpt2" else 2, "d_head": 8, "d_ff": 48, "dropout": 0.1,
    }  # fmt: skip
    return Transformer(ModelConfig(**{**sizes, **changes}))


MODELS: dict[str, nn.Module] = {
    **right_models(),
    "our gpt2, tied": ours("gpt2", tie_embeddings=True),
    "our llama": ours("llama"),
    "our qwen3": ours("qwen3"),
    "our qwen3, tied, one layer": ours("qwen3", tie_embeddings=True, n_layers=1),
}
each = pytest.mark.parametrize("name", MODELS)
SILENT = {"reference", "labels", "padding", "query and key", "KV cache", "first loss"}  # may have nothing to look at


def train_a_little(model: nn.Module, steps: int = 12) -> None:
    settings = OptimizerSettings(kind="adamw", lr=3e-3, muon_lr=0.0, weight_decay=0.1, beta1=0.9, beta2=0.99)
    optimizer, subject = AdamW(list(model.named_parameters()), settings), Subject(model)
    subject.learn_to_call()
    for step in range(steps):
        ids = subject.ids(step)
        loss = F.cross_entropy(subject.graded_logits(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        optimizer.step(1.0)


@each
def test_fresh(name: str) -> None:
    model = MODELS[name]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    report = assert_sound(model.train(), trained=False)
    assert {f.probe for f in report.findings if f.outcome == "not applicable"} <= SILENT - {"first loss"}
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert report.seconds < 10 * 12, "ten seconds on one core; shared machines are slower"


@pytest.mark.parametrize("name", ["book", "nano", "llama", "our gpt2, tied", "our llama", "our qwen3"])
def test_trained_a_little(name: str) -> None:
    model = MODELS[name]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    train_a_little(model)
    report = check_model(model)
    model.load_state_dict(before)
    assert report.sound, str(report)
    first = next(f for f in report.findings if f.probe == "first loss")
    assert first.seen == "the model is trained"


def test_half_precision_is_checked_in_single_and_comes_back() -> None:
    model = ours("llama").bfloat16()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert_sound(model)
    for key, tensor in model.state_dict().items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(before[key], tensor)


def test_a_reference_that_agrees() -> None:
    report = assert_sound(ours("llama"), reference=ours("llama"))
    assert next(f for f in report.findings if f.probe == "reference").outcome == "passed"
    weights = {key: tensor.clone() for key, tensor in MODELS["book"].state_dict().items()}
    report = assert_sound(MODELS["book"], reference=weights)
    assert next(f for f in report.findings if f.probe == "reference").outcome == "passed"
