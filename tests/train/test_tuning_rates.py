"""Which rate each part of a model learns at when it is fine-tuned, and rates of parts that do not learn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from tests.train.conftest import TuneBench

from vidro.config.load import from_dict, read_toml
from vidro.config.schema import InstructOptions, ModelConfig, OptimOptions, TuneOptions
from vidro.core.errors import UsageError
from vidro.model.transformer import Transformer
from vidro.train.tuning import lora_notes, lora_rate, prepare_learning, resolved_rates

SHAPE = ModelConfig(d_model=128, n_layers=2, n_heads=2, n_kv_heads=2, d_head=64, d_ff=352, vocab_size=128)


def rates(shape: ModelConfig = SHAPE, optimizer: str = "muon", share: float = 1.0, **train: Any) -> OptimOptions:
    """What a model of that shape learns at, where no rate was said."""
    model = Transformer(shape)
    prepare_learning(model, TuneOptions(seed=1, **train))
    return resolved_rates(OptimOptions(optimizer=optimizer), model, share=share)


@pytest.mark.parametrize(
    ("trainable", "optimizer", "embedding", "muon"),
    [("all", "muon", True, True), ("last-blocks=1", "muon", False, True), ("head", "adamw", False, False),
     ("lora", "adamw", False, False)],
)  # fmt: skip
def test_only_what_learns_has_a_rate(trainable: str, optimizer: str, embedding: bool, muon: bool) -> None:
    found = rates(trainable=trainable)
    assert found.optimizer == optimizer
    assert (found.embedding_lr is not None, found.muon_lr is not None) == (embedding, muon)
    assert found.lr is not None
    assert found.lr > 0


def test_a_tied_embedding_goes_at_the_rate_of_the_head() -> None:
    assert rates(replace(SHAPE, tie_embeddings=True), trainable="all").embedding_lr is None


def test_loras_rate_is_the_same_whatever_the_optimizer_and_follows_width_rank_and_scale() -> None:
    usual = rates(trainable="lora").lr
    assert usual is not None
    assert rates(trainable="lora", optimizer="adamw").lr == usual
    assert rates(trainable="lora", share=0.1).lr == pytest.approx(usual / 10)
    # 32 / rank times a sum over `rank` rows of A, each of variance 1 / (3 · width), is what Schulman et al. moved by.
    whole, width = 5e-5 * 6**1.6, 128
    theirs = 10 * whole * 32 / 8 * 8 / math.sqrt(3 * width)
    ours = usual * 2.0 * 8 / math.sqrt(8)
    assert ours == pytest.approx(theirs)
    assert rates(trainable="lora", lora_rank=32).lr == pytest.approx(usual / 2)  # alpha follows the rank
    assert rates(trainable="lora", lora_rank=32, lora_alpha=16.0).lr == 0.003  # a quarter of the scale: the limit
    wide = rates(replace(SHAPE, d_model=256, n_heads=4, n_kv_heads=4), trainable="lora").lr
    assert wide == pytest.approx(usual / 2 ** (1.6 + 0.5))
    assert lora_rate(1.0, width=64, rank=1, scale=1.0) == 0.003


@pytest.mark.parametrize(
    ("labels", "large", "beside"),
    [((), 10**9, True), ((), 1, False), (("a", "b"), 10**9, True), (("a", "b"), 1, True)],
)
def test_the_head_learns_beside_lora_below_the_limit_and_a_classifiers_always(
    labels: tuple[str, ...], large: int, beside: bool
) -> None:
    model = Transformer(replace(SHAPE, labels=labels))
    prepare_learning(model, TuneOptions(seed=1, trainable="lora"), large=large)
    whole = {name for name, p in model.named_parameters() if p.requires_grad and ".lora_" not in name}
    assert whole == ({"head.weight"} if beside else set())
    (note,) = lora_notes(model)
    assert ("the head does not" in note) == (not beside)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"trainable": "lora", "muon_lr": 0.01}, "muon-lr: it means nothing beside --trainable lora. Leave it out."),
        ({"trainable": "head", "muon_lr": 0.01}, "muon-lr: it means nothing beside --trainable head. Leave it out."),
        (
            {"trainable": "last-blocks=1", "embedding_lr": 0.01},
            "embedding-lr: it means nothing beside --trainable last-blocks=1. Leave it out.",
        ),
    ],
)
def test_the_rate_of_a_part_that_does_not_learn_is_a_mistake(
    tuner: TuneBench, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        tuner.instruct("x", **{"optimizer": "muon", **flags})
    assert str(raised.value) == message
    assert not (tuner.folder / "x").exists()


@pytest.mark.parametrize("trainable", ["lora", "head"])
def test_a_runs_own_settings_can_be_given_again(tuner: TuneBench, trainable: str) -> None:
    tuner.instruct("a", trainable=trainable, optimizer="muon", lr=None)
    said = read_toml(tuner.folder / "a" / "run.toml")
    assert not {"muon_lr", "embedding_lr"} & said["optim"].keys()
    options = from_dict(InstructOptions, said, where=tuner.folder / "a" / "run.toml")
    again = {name: value for name, value in vars(options.optim).items() if value is not None}
    tuner.instruct("b", trainable=trainable, **again)
    tuner.alike("a", "b")
