"""The filters keep what they promise, the draw follows the probabilities, and conflicts are refused by message."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.config.schema import SamplingOptions
from vidro.core.errors import ModelError, UsageError
from vidro.model.sampling import (
    apply_repetition_penalty,
    apply_temperature,
    check_conflicts,
    filters_in_order,
    greedy,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    locate,
    log_probabilities,
    sample,
)

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 60))
SEEDS = st.integers(0, 2**31)


def random_logits(shape: tuple[int, int], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 4


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(SHAPES, SEEDS, st.integers(1, 80))
def test_top_k_keeps_exactly_k_and_they_are_the_largest(shape, seed, k):
    logits = random_logits(shape, seed)
    kept = keep_top_k(logits, k).isfinite()
    assert kept.sum(-1).tolist() == [min(k, shape[1])] * shape[0]
    for row, mask in zip(logits, kept, strict=True):
        if not mask.all():
            assert row[mask].min() > row[~mask].max()


@settings(deadline=None)
@given(SHAPES, SEEDS, st.floats(1e-6, 0.999))
def test_top_p_keeps_the_smallest_set_that_holds_p(shape, seed, p):
    logits = random_logits(shape, seed)
    kept = keep_top_p(logits, p).isfinite()
    probabilities = logits.double().softmax(-1)
    for row, mask in zip(probabilities, kept, strict=True):
        assert mask.any()
        assert row[mask].sum() >= p - 1e-5
        assert row[mask].sum() - row[mask].min() < p + 1e-5, "one token fewer would have been enough"
        if not mask.all():
            assert row[mask].min() >= row[~mask].max()


@settings(deadline=None)
@given(SHAPES, SEEDS, st.floats(0, 1))
def test_min_p_keeps_what_reaches_the_share_of_the_best(shape, seed, share):
    logits = random_logits(shape, seed)
    kept = keep_min_p(logits, share).isfinite()
    probabilities = logits.softmax(-1)
    assert torch.equal(kept, probabilities >= share * probabilities.amax(-1, keepdim=True))
    assert kept.any(-1).all()


@settings(deadline=None)
@given(SHAPES, SEEDS, st.floats(0.01, 5), st.integers(1, 20), st.floats(0.05, 1), st.floats(0, 1))
def test_after_all_filters_probabilities_sum_to_one_and_dropped_are_zero(shape, seed, temperature, k, p, share):
    options = SamplingOptions(temperature=temperature, top_k=k, top_p=p, min_p=share, repetition_penalty=1.3)
    logits = original = random_logits(shape, seed)
    seen = original > 2
    for station in filters_in_order(options):
        logits = station.apply(logits, seen)
    probabilities = logits.softmax(-1)
    assert torch.allclose(probabilities.sum(-1), torch.ones(shape[0]))
    assert (probabilities[logits == -math.inf] == 0).all()
    assert torch.equal(original, random_logits(shape, seed)), "a filter changed its input"


@settings(deadline=None)
@given(SHAPES, SEEDS)
def test_rows_do_not_depend_on_their_neighbours(shape, seed):
    options = SamplingOptions(temperature=0.7, top_k=9, top_p=0.8, min_p=0.02, repetition_penalty=1.2)
    logits = random_logits(shape, seed)
    seen = logits > 1
    together, alone = logits, [row[None] for row in logits]
    for station in filters_in_order(options):
        together = station.apply(together, seen)
        alone = [station.apply(row, seen[i : i + 1]) for i, row in enumerate(alone)]
    assert torch.equal(together, torch.cat(alone))
    drawn = sample(together, [seeded(seed + i) for i in range(shape[0])])
    assert drawn.tolist() == [int(sample(row, [seeded(seed + i)])) for i, row in enumerate(alone)]


def test_the_order_is_fixed_and_labelled():
    options = SamplingOptions(temperature=0.5, top_k=3, top_p=0.9, min_p=0.1, repetition_penalty=1.2)
    labels = [station.label for station in filters_in_order(options)]
    assert labels == ["repetition penalty 1.2", "÷ temperature 0.5", "top-k 3", "top-p 0.9", "min-p 0.1"]


def test_filters_that_change_nothing_are_left_out():
    assert filters_in_order(SamplingOptions(temperature=1.0, top_p=1.0, min_p=0.0)) == []
    assert filters_in_order(SamplingOptions(greedy=True)) == []
    labels = [station.label for station in filters_in_order(SamplingOptions(temperature=0.0, repetition_penalty=2.0))]
    assert labels == ["repetition penalty 2"]


def test_repetition_penalty_lowers_seen_tokens_of_either_sign():
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    seen = torch.tensor([[True, True, False, False]])
    assert apply_repetition_penalty(logits, seen, 2.0).tolist() == [[1.0, -4.0, 2.0, -2.0]]


@pytest.mark.parametrize("temperature", [0.01, 1e-6, 1e-40])
def test_a_temperature_near_zero_is_greedy_and_never_nan(temperature):
    logits = random_logits((3, 50), 1) * 100
    probabilities = apply_temperature(logits, temperature).softmax(-1)
    assert probabilities.argmax(-1).tolist() == greedy(logits).tolist()
    assert torch.allclose(probabilities.amax(-1), torch.ones(3))


def test_temperature_divides_and_moves_no_probability():
    logits = random_logits((2, 30), 3)
    assert torch.allclose(apply_temperature(logits, 0.8).softmax(-1), (logits / 0.8).softmax(-1), atol=1e-7)


def test_top_k_keeps_all_tokens_equal_to_the_kth():
    assert keep_top_k(torch.tensor([[1.0, 2.0, 2.0, 3.0]]), 2).isfinite().tolist() == [[False, True, True, True]]


def test_top_p_chooses_the_smaller_id_among_equals():
    assert keep_top_p(torch.zeros(1, 4), 0.5).isfinite().tolist() == [[True, True, False, False]]


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2])
    generator = seeded(7)
    draws = torch.cat([sample(probabilities.log()[None], [generator]) for _ in range(4000)])
    shares = torch.bincount(draws, minlength=4) / len(draws)
    assert shares[1] == 0
    assert torch.allclose(shares, probabilities, atol=0.03)


def test_the_same_seed_draws_the_same_and_another_seed_another():
    logits = torch.zeros(1, 1000)
    first, again, other = ([int(sample(logits, [g])) for _ in range(5)] for g in (seeded(1), seeded(1), seeded(2)))
    assert first == again != other


def test_the_draw_never_takes_a_token_of_probability_zero():
    cumulative = torch.tensor([[0.0, 0.0, 0.25, 0.25, 1.0, 1.0]], dtype=torch.float64)
    hits = [int(locate(cumulative, torch.tensor([u], dtype=torch.float64))) for u in (0.0, 0.2499, 0.25, 0.999, 1.0)]
    assert hits == [2, 2, 4, 4, 4]


def test_log_probabilities_refuse_nan_in_one_line():
    with pytest.raises(ModelError, match=r"not numbers \(NaN\).*earlier checkpoint"):
        log_probabilities(torch.tensor([[0.0, math.nan]]))
    assert torch.allclose(log_probabilities(torch.zeros(1, 4)).exp(), torch.full((1, 4), 0.25))


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"greedy": True, "top_k": 5}, "with greedy .* so top-k would be ignored"),
        ({"greedy": True, "temperature": 0.8}, "with greedy .* so temperature would be ignored"),
        ({"temperature": 0.0, "top_p": 0.9}, "with temperature 0 .* so top-p would be ignored"),
        ({"temperature": 0.0, "min_p": 0.1}, "with temperature 0 .* so min-p would be ignored"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(said, refused):
    with pytest.raises(UsageError, match=refused):
        check_conflicts(SamplingOptions(**said), said.keys())


def test_conflicts_are_also_found_without_the_names_that_were_said():
    with pytest.raises(UsageError, match="top-k: with greedy"):
        check_conflicts(SamplingOptions(greedy=True, top_k=5))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"greedy": True, "seed": 3},
        {"greedy": True, "temperature": 0.0},
        {"greedy": True, "repetition_penalty": 1.2},
        {"temperature": 0.0, "stop": ("x",)},
        {"top_k": 4, "top_p": 0.5, "min_p": 0.1},
    ],
)
def test_options_that_go_together_are_accepted(said):
    check_conflicts(SamplingOptions(**said), said.keys())
    check_conflicts(SamplingOptions(**said))
