"""The planner is a pure function: what it chooses for small and large texts, short and long budgets, little memory."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from vidro.config.load import resolve
from vidro.config.schema import ModelConfig, PretrainOptions
from vidro.core.errors import TrainingError, UsageError
from vidro.model.count import count
from vidro.train.defaults import model_shape
from vidro.train.law import Trial, expected_bits, forecast, seen_mb
from vidro.train.plan import LEAST_STEPS, TextProfile, choose, outlook, training_seconds
from vidro.train.planning import planned, small_text_notes
from vidro.train.speed import Speed

LAPTOP = Speed(flops_per_s=1.5e11, width_cost_s=5e-10, memory_bytes=8_000_000_000)
NOVELS = TextProfile(train_bytes=30_000_000, trial=Trial(2.5, 2.7), bytes_per_token=3.6)
BOOK = TextProfile(train_bytes=300_000, trial=Trial(2.7, 2.92), bytes_per_token=2.6)
OPTIONS = resolve(PretrainOptions, flags={})


def test_the_same_numbers_give_the_same_plan() -> None:
    assert choose(NOVELS, 600.0, LAPTOP, vocab_size=4096) == choose(NOVELS, 600.0, LAPTOP, vocab_size=4096)


def test_more_time_never_gives_a_smaller_model_nor_a_worse_forecast() -> None:
    sizes, bits = [], []
    for seconds in (20, 60, 300, 1200, 7200, 36_000):
        plan = choose(NOVELS, seconds, LAPTOP, vocab_size=4096)
        expected = outlook(plan, NOVELS, seconds, LAPTOP)
        assert expected.forecast is not None
        sizes.append(count(plan.model).n_parameters)
        bits.append(expected.forecast.bits_per_byte)
    assert sizes == sorted(sizes)
    assert sizes[-1] > 4 * sizes[0]
    assert bits == sorted(bits, reverse=True)


def test_half_the_speed_is_half_the_time() -> None:
    slow = LAPTOP.scaled(0.5)
    assert slow.step_s(ModelConfig(), 4096) == pytest.approx(2 * LAPTOP.step_s(ModelConfig(), 4096))
    assert choose(NOVELS, 1200, slow, vocab_size=4096) == choose(NOVELS, 600, LAPTOP, vocab_size=4096)


def test_every_plan_makes_enough_updates_or_is_the_smallest() -> None:
    for seconds in (2, 5, 20, 100, 1000):
        plan = choose(NOVELS, seconds, LAPTOP, vocab_size=4096)
        assert outlook(plan, NOVELS, seconds, LAPTOP).steps >= LEAST_STEPS or plan.model.d_model == 64


def test_a_small_text_ends_early_and_gets_dropout() -> None:
    plan = choose(BOOK, 3600.0, LAPTOP, vocab_size=1024)
    expected = outlook(plan, BOOK, 3600.0, LAPTOP)
    assert expected.early
    assert expected.seconds < 3600
    assert plan.model.dropout > 0
    assert expected.epochs == pytest.approx(plan.most_epochs, rel=0.05)
    assert not outlook(choose(NOVELS, 600, LAPTOP, vocab_size=4096), NOVELS, 600, LAPTOP).early


def test_little_memory_chooses_a_smaller_model() -> None:
    night = 8 * 3600.0
    roomy = choose(NOVELS, night, replace(LAPTOP, memory_bytes=64_000_000_000), vocab_size=4096)
    tight = choose(NOVELS, night, replace(LAPTOP, memory_bytes=1_000_000_000), vocab_size=4096)
    assert count(tight.model).n_parameters < count(roomy.model).n_parameters
    assert outlook(tight, NOVELS, night, LAPTOP).memory_bytes < 1_000_000_000


def test_a_plan_that_does_not_fit_says_what_it_needs() -> None:
    tiny = replace(LAPTOP, memory_bytes=100_000_000)
    with pytest.raises(TrainingError, match=r"this plan needs about .* GB of memory, and 0\.1 GB are free"):
        planned(NOVELS, OPTIONS, tiny, 600.0)


def test_a_smaller_micro_batch_needs_less_memory() -> None:
    whole = resolve(PretrainOptions, flags={"d_model": 512, "batch_tokens": 8192})
    parts = resolve(PretrainOptions, flags={"d_model": 512, "batch_tokens": 8192, "micro_batch": 2})
    one, other = planned(NOVELS, whole, LAPTOP, 600.0), planned(NOVELS, parts, LAPTOP, 600.0)
    assert other.outlook.memory_bytes < one.outlook.memory_bytes - 100_000_000


def test_what_the_user_said_is_kept() -> None:
    options = resolve(
        PretrainOptions, flags={"d_model": 96, "dropout": 0.3, "context_length": 64, "batch_tokens": 1024}
    )
    found = planned(NOVELS, options, LAPTOP, 600.0)
    model = found.blueprint.model
    assert (model.d_model, model.dropout, model.context_length) == (96, 0.3, 64)
    assert found.blueprint.batch_tokens == 1024
    family = choose(
        NOVELS, 600, LAPTOP, vocab_size=4096,
        kept=lambda base: model_shape(resolve(PretrainOptions, flags={"family": "llama"}).model, 4096, base=base),
    )  # fmt: skip
    assert family.model.family == "llama"


def test_only_the_default_recipe_is_forecast() -> None:
    assert planned(NOVELS, OPTIONS, LAPTOP, 600.0).outlook.forecast is not None
    adamw = resolve(PretrainOptions, flags={"optimizer": "adamw"})
    assert planned(NOVELS, adamw, LAPTOP, 600.0).outlook.forecast is None


def test_every_choice_has_a_reason() -> None:
    reasons = planned(BOOK, OPTIONS, LAPTOP, 3600.0).reasons
    assert [reason.what for reason in reasons] == [
        "vocabulary", "model", "context", "step", "rates", "dropout", "memory", "end",
    ]  # fmt: skip
    assert all(reason.chosen and reason.why for reason in reasons)


def test_a_small_text_is_told_what_to_expect() -> None:
    rows = tuple(planned(BOOK, OPTIONS, LAPTOP, seconds) for seconds in (60.0, 3600.0))
    (note,) = small_text_notes(BOOK, rows)
    assert note.startswith("300 kB alone will mostly be memorised: about ")
    assert "--from" in note
    assert small_text_notes(NOVELS, rows) == []


def test_the_law_knows_that_more_helps_and_repeating_helps_less() -> None:
    hard = Trial(2.5, 2.7)
    small, large = ModelConfig(d_model=64, n_heads=1, n_kv_heads=1), ModelConfig(d_model=256, n_heads=4, n_kv_heads=4)
    assert expected_bits(hard, large, 1e7, 1e9) < expected_bits(hard, small, 1e7, 1e9)
    assert expected_bits(hard, small, 1e7, 1e9) < expected_bits(hard, small, 1e6, 1e9)
    assert expected_bits(hard, small, 1e7, 1e9) < expected_bits(hard, small, 1e7, 1e6)
    assert seen_mb(5e5, 1e6) == 0.5
    assert 2 < seen_mb(5e6, 1e6) < seen_mb(1e8, 1e6) <= seen_mb(1e9, 1e6) < 4
    near, far = forecast(hard, small, 1e7, 1e9), forecast(hard, small, 1e12, 1e13)
    assert near.low < near.bits_per_byte < near.high
    assert far.high / far.low > near.high / near.low


def test_a_trial_that_still_fell_says_that_more_text_helps_more() -> None:
    model = ModelConfig(d_model=64, n_heads=1, n_kv_heads=1)
    prose, manual, odd = Trial(2.5, 2.7), Trial(2.5, 2.85), Trial(2.5, 2.4)
    ratio = [
        expected_bits(manual, model, mb * 1e6, 1e9) / expected_bits(prose, model, mb * 1e6, 1e9) for mb in (0.3, 1, 9)
    ]
    assert ratio[0] == pytest.approx(1.0)
    sure, unsure = forecast(prose, model, 1e6, 1e9), forecast(manual, model, 1e6, 1e9)
    assert unsure.high / unsure.low > sure.high / sure.low
    assert ratio[2] < ratio[1] < 1.0
    falls = [expected_bits(odd, model, mb * 1e6, 1e9) for mb in (0.05, 0.1, 0.3, 1, 3, 10)]
    assert falls == sorted(falls, reverse=True), "whatever the trial says, more text is no loss"


def test_some_of_every_budget_goes_into_training() -> None:
    assert training_seconds(600) == pytest.approx(600 - 30 - 4)
    assert training_seconds(-5) == 1.0


@pytest.mark.parametrize(("document_bytes", "context"), [(300.0, 128), (640.0, 256), (810.0, 256), (3000.0, 128)])
def test_short_documents_are_seen_whole(document_bytes: float, context: int) -> None:
    stories = replace(NOVELS, train_bytes=5_000_000, bytes_per_token=4.0, document_bytes=document_bytes)
    assert choose(stories, 60.0, LAPTOP, vocab_size=2048).model.context_length == context


def test_sizes_that_go_with_some_widths_only_choose_among_those() -> None:
    three = resolve(PretrainOptions, flags={"n_heads": 3})
    model = planned(NOVELS, three, LAPTOP, 600.0).blueprint.model
    assert (model.n_heads, model.d_model % 3) == (3, 0)
    wide = planned(NOVELS, resolve(PretrainOptions, flags={"d_head": 128}), LAPTOP, 600.0).blueprint.model
    assert (wide.d_head, wide.d_model % 128) == (128, 0)
    shared = planned(NOVELS, resolve(PretrainOptions, flags={"n_kv_heads": 2}), LAPTOP, 600.0).blueprint.model
    assert shared.n_kv_heads == 2
    with pytest.raises(UsageError, match="cannot be divided into 11 heads"):
        planned(NOVELS, resolve(PretrainOptions, flags={"n_heads": 11}), LAPTOP, 600.0)


def test_what_ends_early_without_a_forecast_is_said_too() -> None:
    unknown = replace(BOOK, trial=None)
    (note,) = small_text_notes(unknown, (planned(unknown, OPTIONS, LAPTOP, 36_000.0),))
    assert re.match(
        r"300 kB alone will mostly be memorised: training ends after [\d.]+ minutes of training; more", note
    )


def test_a_budget_too_short_for_a_trial_gets_no_forecast() -> None:
    assert planned(NOVELS, OPTIONS, LAPTOP, 30.0).outlook.forecast is None
    assert planned(NOVELS, OPTIONS, LAPTOP, 60.0).outlook.forecast is not None
