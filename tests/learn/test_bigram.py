"""The counted and the trained bigram model are one: the same probabilities, and no table is better on its text."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from vidro.data import tinyworld
from vidro.learn.bigram import Bigram, count_pairs, learn, shares, table_loss

LETTERS = sorted(set(tinyworld.text(seed=1, n_bytes=3000)))
IDS = [LETTERS.index(letter) for letter in tinyworld.text(seed=1, n_bytes=3000)]


def test_counts_are_a_minimum() -> None:
    """With the logarithms of the shares as logits no gradient is left."""
    model = Bigram(len(LETTERS))
    with torch.no_grad():
        model.logits.copy_(shares(count_pairs(IDS, len(LETTERS))).clamp(min=1e-30).log())
    loss = torch.nn.functional.cross_entropy(model(torch.tensor([IDS[:-1]]))[0], torch.tensor(IDS[1:]))
    loss.backward()
    assert model.logits.grad is not None
    assert model.logits.grad.abs().max() < 1e-7
    assert loss.item() == pytest.approx(table_loss(shares(count_pairs(IDS, len(LETTERS))), IDS), rel=1e-6)


def test_no_other_table_is_better() -> None:
    best = shares(count_pairs(IDS, len(LETTERS)))
    dice = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = best * (0.2 * torch.randn(best.shape, generator=dice)).exp()
        assert table_loss(other / other.sum(dim=1, keepdim=True), IDS) > table_loss(best, IDS)


def test_training_finds_the_counts() -> None:
    ids = [0, 1, 2, 0, 1, 1, 2, 2, 0, 2, 1, 0] * 3
    model = Bigram(3)
    losses = learn(model, ids, n_steps=400, lr=3.0)
    assert losses[0] == pytest.approx(torch.tensor(3.0).log().item())
    assert all(after < before + 1e-5 for before, after in pairwise(losses))
    torch.testing.assert_close(model.logits.softmax(dim=1), shares(count_pairs(ids, 3)), atol=1e-4, rtol=0)


def test_every_pair_is_counted_once() -> None:
    counts = count_pairs(IDS, len(LETTERS))
    assert counts.sum() == len(IDS) - 1
    assert counts.sum(dim=1).tolist() == [IDS[:-1].count(letter) for letter in range(len(LETTERS))]
