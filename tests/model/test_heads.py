"""The class head: no opinion at first, read at one place, and only the part that was asked for learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vidro.config.schema import FAMILIES, ModelConfig, OptimOptions
from vidro.core.errors import UsageError
from vidro.model.heads import TRAINABLE, choose_trainable, class_logits, class_loss, with_class_head
from vidro.model.init import initialise
from vidro.model.loss import IGNORE
from vidro.model.transformer import Transformer
from vidro.train.defaults import optimizer_settings
from vidro.train.optim import Optimizer

TINY = ModelConfig(
    vocab_size=64, context_length=16, d_model=32, n_layers=3, n_heads=2, n_kv_heads=2, d_head=16, d_ff=64
)
LABELS = ("ham", "maybe", "spam")


def tiny(family: str = "qwen3") -> Transformer:
    """A language model in which every part matters: no output is zero."""
    model = Transformer(replace(TINY, family=family, tie_embeddings=family == "gpt2"))
    initialise(model, seed=3, scheme="pytorch")
    return model


def awake(family: str = "qwen3") -> Transformer:
    """A classifier with opinions."""
    model = with_class_head(tiny(family), LABELS)
    torch.nn.init.normal_(model.head.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return model


def some_rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, targets, the place that is read) of four rows of unequal length."""
    ids = torch.randint(64, (4, 12), generator=torch.Generator().manual_seed(0))
    last = torch.tensor([11, 2, 7, 0])
    targets = torch.full_like(ids, IGNORE)
    targets[torch.arange(4), last] = torch.tensor([0, 2, 2, 1])
    return ids, targets, last


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_head_finds_every_class_equally_probable(family: str) -> None:
    ids, targets, last = some_rows()
    model = with_class_head(tiny(family), LABELS)
    assert class_logits(model, ids, last).abs().max() == 0
    nats, n = class_loss(model, ids, targets)
    assert int(n) == 4
    assert nats.item() / 4 == pytest.approx(math.log(3), abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_body_is_the_language_models_own(family: str) -> None:
    ids, *_ = some_rows()
    base = tiny(family)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    model = with_class_head(base, LABELS)
    torch.nn.init.ones_(model.token_embedding.weight)  # its own copy, also where the base ties it to its head
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    torch.testing.assert_close(with_class_head(base, LABELS).hidden(ids), base.hidden(ids), rtol=0, atol=0)
    assert model.config.labels == LABELS
    assert model.head.weight.shape == (3, 32)
    assert model.head.bias is None


@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 4.0)])
def test_the_loss_is_cross_entropy_by_hand(weights: tuple[float, ...] | None) -> None:
    ids, targets, last = some_rows()
    model = awake()
    total, n = class_loss(model, ids, targets, None if weights is None else torch.tensor(weights))
    by_hand = 0.0
    for row, place, label in zip(ids, last.tolist(), (0, 2, 2, 1), strict=True):
        scores = (model.hidden(row[None, : place + 1])[0, -1] @ model.head.weight.T).tolist()
        nats = math.log(sum(math.exp(score) for score in scores)) - scores[label]
        by_hand += nats * (1.0 if weights is None else weights[label])
    assert total.item() == pytest.approx(by_hand, rel=1e-5)
    assert int(n) == 4  # texts are counted, whatever they weigh


def test_what_stands_behind_the_last_token_changes_nothing() -> None:
    ids, _, last = some_rows()
    other = ids.clone()
    for row, place in enumerate(last.tolist()):
        other[row, place + 1 :] = 7
    model = awake()
    torch.testing.assert_close(class_logits(model, other, last), class_logits(model, ids, last), rtol=0, atol=1e-6)
    changed = ids.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 64
    assert not torch.allclose(class_logits(model, changed, last)[0], class_logits(model, ids, last)[0], atol=1e-4)


def one_step(model: Transformer, **settings: Any) -> set[str]:
    """Names of the weights that moved."""
    ids, targets, _ = some_rows()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = Optimizer(model, optimizer_settings(OptimOptions(**settings), model.config))
    optimizer.zero_grad()
    class_loss(model, ids, targets)[0].backward()
    optimizer.step(1.0)
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


LEARNS = {
    "all": ("",),
    "head": ("head.",),
    "last-blocks=1": ("blocks.2.", "final_norm.", "head."),
    "last-blocks=2": ("blocks.1.", "blocks.2.", "final_norm.", "head."),
    "last-blocks=3": ("blocks.", "final_norm.", "head."),
}


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("which", LEARNS)
def test_only_that_part_learns_and_the_rest_stays_to_the_bit(which: str, optimizer: str) -> None:
    for family in FAMILIES:
        model = awake(family)
        choose_trainable(model, which)
        names = {name for name, _ in model.named_parameters()}
        chosen = {name for name in names if name.startswith(LEARNS[which])}
        assert chosen
        assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == chosen
        assert one_step(model, optimizer=optimizer, lr=0.01, weight_decay=0.1) == chosen, family


def test_a_choice_takes_back_the_one_before() -> None:
    model = awake()
    choose_trainable(model, "head")
    choose_trainable(model, "all")
    assert all(tensor.requires_grad for tensor in model.parameters())


@pytest.mark.parametrize("which", ["", "none", "last-blocks", "last-blocks=", "last-blocks=0", "last-blocks=-1", "x=1"])
def test_what_is_not_a_part_is_named(which: str) -> None:
    with pytest.raises(UsageError) as problem:
        choose_trainable(awake(), which)
    assert str(problem.value) == f"trainable: {which!r} is not possible. Possible: {', '.join(TRAINABLE)}."


def test_more_blocks_than_there_are() -> None:
    model = awake()
    with pytest.raises(UsageError, match=r"^trainable: the model has 3 blocks only\. Say all for all of it\.$"):
        choose_trainable(model, "last-blocks=4")
    assert all(tensor.requires_grad for tensor in model.parameters())  # nothing was frozen by the failed wish


def test_two_classes_that_differ_are_needed() -> None:
    for labels in (("spam",), ("spam", "spam")):
        with pytest.raises(UsageError, match="a classifier needs two or more classes"):
            with_class_head(tiny(), labels)


def test_the_logits_are_a_plain_product() -> None:
    ids, _, last = some_rows()
    model = awake("llama")
    expected = F.linear(model.hidden(ids)[torch.arange(4), last], model.head.weight)
    torch.testing.assert_close(class_logits(model, ids, last), expected, rtol=0, atol=1e-6)
