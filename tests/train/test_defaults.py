from __future__ import annotations

import pytest

from vidro.config.load import resolve
from vidro.config.presets import preset
from vidro.config.schema import ModelConfig, PretrainOptions
from vidro.core.errors import DataError, UsageError
from vidro.train.defaults import TextFacts, default_vocab_size, inherited_shape, make_plan, model_shape, resolved

TEXT = TextFacts("book.txt", 300_000, 1024)


def options(**flags: object) -> PretrainOptions:
    return resolve(PretrainOptions, flags={"steps": 10, **flags})


def test_the_resolved_options_make_the_same_plan() -> None:
    for flags in ({}, {"preset": "gpt2"}, {"family": "llama", "d_model": 96, "n_layers": 3}, {"optimizer": "adamw"}):
        plan = make_plan(options(**flags), TEXT)
        again = make_plan(resolved(options(**flags), plan, own_vocabulary=True), TEXT)
        assert again == plan


def test_budgets_become_steps() -> None:
    plan = make_plan(options(batch_tokens=2560, context_length=256), TEXT)
    assert (plan.rows, plan.steps) == (10, 10)
    by_tokens = resolve(PretrainOptions, flags={"tokens": 10_001, "batch_tokens": 2560, "context_length": 256})
    assert make_plan(by_tokens, TEXT).steps == 4
    by_epochs = resolve(PretrainOptions, flags={"epochs": 2.0, "batch_tokens": 2560, "context_length": 256})
    assert make_plan(by_epochs, TEXT).steps == -(-2 * (300_000 // 256) * 256 // 2560)
    assert make_plan(resolve(PretrainOptions, flags={"minutes": 1.0}), TEXT).steps is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "for how long"),
        ({"steps": 1, "minutes": 2.0}, "--minutes and --steps are both budgets"),
    ],
)
def test_exactly_one_budget(flags: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(resolve(PretrainOptions, flags=flags), TEXT)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"d_model": 100, "n_heads": 3}, "a width of 100 cannot be divided into 3 heads"),
        ({"batch_tokens": 1000, "context_length": 256}, "1000 tokens are no whole number of sequences"),
        ({"preset": "gpt3"}, "there is no preset 'gpt3'"),
    ],
)
def test_sizes_that_contradict_are_named(flags: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(options(**flags), TEXT)


def test_a_text_shorter_than_a_window_says_what_to_do() -> None:
    short = TextFacts("note.txt", 100, 320)
    with pytest.raises(DataError, match=r"note.txt: the training part has 100 tokens, fewer than one window"):
        make_plan(options(context_length=128), short)
    assert make_plan(options(context_length=64), short).rows == 1


def test_presets_keep_their_shape_and_take_the_texts_vocabulary() -> None:
    shape = model_shape(options(preset="gpt2-medium").model, 1024)
    assert (shape.d_model, shape.n_layers, shape.vocab_size) == (1024, 24, 1024)
    assert model_shape(options(preset="gpt2").model, 50257) == preset("gpt2")


def test_the_parents_shape_is_kept() -> None:
    parent = ModelConfig(n_layers=3)
    assert inherited_shape(options(dropout=0.2).model, parent).dropout == 0.2
    assert inherited_shape(options(n_layers=3).model, parent) == parent
    with pytest.raises(UsageError, match="n-layers: --from keeps the shape"):
        inherited_shape(options(n_layers=4).model, parent)


def test_vocabulary_grows_with_the_text() -> None:
    sizes = [default_vocab_size(n) for n in (1, 59_999, 60_000, 10**6, 10**7, 10**9)]
    assert sizes == sorted(sizes)
    assert all(size % 64 == 0 for size in sizes)
