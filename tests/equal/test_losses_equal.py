"""The rungs surprise, cross_entropy, entropy and perplexity give production's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidro.evals.perplexity import TextScore, count_words, word_perplexity
from vidro.evals.yardsticks import token_counts, unigram_nats
from vidro.learn.cross_entropy import IGNORE, between, cross_entropy, total
from vidro.learn.entropy import divergence, entropy, shares
from vidro.learn.perplexity import choices, of_probabilities, per_unit, perplexity
from vidro.learn.surprise import bits, gradient, softmax, surprise, token_surprise
from vidro.model import loss

LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=8)
COUNTS = st.lists(st.integers(0, 50), min_size=3, max_size=3)


@given(logits=LOGITS, data=st.data())
def test_one_token_costs_what_production_says(logits: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(logits) - 1))
    row = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
    nats, count = loss.next_token_loss(row, torch.tensor([target]))
    nats.backward()
    assert int(count) == 1
    assert token_surprise(logits, target) == pytest.approx(nats.item(), abs=1e-9)
    assert surprise(softmax(logits)[target]) == pytest.approx(nats.item(), abs=1e-6)
    assert row.grad is not None
    assert gradient(logits, target) == pytest.approx(row.grad[0].tolist(), abs=1e-9)


def test_impossible_and_certain() -> None:
    assert surprise(0.0) == math.inf
    assert math.copysign(1.0, surprise(1.0)) == 1.0
    assert bits(math.log(8)) == pytest.approx(3.0)


def test_a_batch_costs_what_production_says() -> None:
    dice = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 5, 7, generator=dice)
    targets = torch.randint(7, (3, 5), generator=dice)
    targets[0, 3:] = targets[2, 0] = IGNORE
    assert IGNORE == loss.IGNORE
    nats, count = loss.next_token_loss(logits.flatten(0, 1), targets.flatten())
    ours, counted = cross_entropy(logits, targets)
    assert counted == int(count) == 12
    assert ours == pytest.approx(nats.item(), rel=1e-6)
    each = [cross_entropy(logits[row : row + 1], targets[row : row + 1]) for row in range(3)]
    assert total(each) == pytest.approx(ours / counted)


@given(p=COUNTS.filter(any), q=COUNTS)
def test_cross_entropy_is_entropy_and_divergence(p: list[int], q: list[int]) -> None:
    true, believed = shares(p), shares(q, more=1)
    assert divergence(true, believed) >= -1e-12
    assert divergence(true, true) == 0.0
    assert entropy(true) + divergence(true, believed) == pytest.approx(between(true, believed))
    kinds = torch.distributions.Categorical(torch.tensor(true, dtype=torch.float64))
    assert entropy(true) == pytest.approx(kinds.entropy().item(), abs=1e-6)
    theirs = torch.nn.functional.kl_div(torch.tensor(believed).log(), torch.tensor(true), reduction="sum").item()
    assert divergence(true, believed) == pytest.approx(theirs, abs=1e-5)


@given(train=COUNTS, val=COUNTS.filter(any))
def test_the_unigram_yardstick_is_a_cross_entropy(train: list[int], val: list[int]) -> None:
    expected = unigram_nats(np.array(train), np.array(val))
    assert between(shares(val), shares(train, more=1)) == pytest.approx(expected, abs=1e-9)


def test_what_never_happened_and_what_cannot_happen() -> None:
    assert between([1.0, 0.0], [1.0, 0.0]) == 0.0
    assert between([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert shares([2, 0, 2]) == [0.5, 0.0, 0.5]
    assert token_counts([np.array([0, 2, 0, 2])], 3).tolist() == [2, 0, 2]


@pytest.mark.parametrize("nats", [0.0, 0.1, 2.3, 700.0, 708.9, 709.5, 5000.0])
def test_perplexity_is_productions(nats: float) -> None:
    score = TextScore.of(nats * 10, n_tokens=10, n_bytes=35)
    assert perplexity(nats) == pytest.approx(score.perplexity)


def test_perplexity_per_word_is_productions() -> None:
    text = "the cat sat\non the mat\n"
    score = TextScore.of(31.5, n_tokens=9, n_bytes=len(text))
    expected = word_perplexity(score, [text])
    assert per_unit(31.5 / 9, 9, count_words(text)) == pytest.approx(expected)


@given(given_to=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=9))
def test_perplexity_is_one_over_the_geometric_mean(given_to: list[float]) -> None:
    geometric = math.prod(given_to) ** (1 / len(given_to))
    assert of_probabilities(given_to) == pytest.approx(1 / geometric, rel=1e-6)


def test_choices_of_equals_are_all_of_them() -> None:
    assert choices([4.0] * 6) == pytest.approx(6.0)
