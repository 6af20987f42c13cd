"""Packed rows: each example whole, predicted from itself only, with little padding."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_collate import Pairs, examples, expected_pairs, learned_all

from vidro.core.errors import DataError
from vidro.data.collate import IGNORE, collate, length_buckets, mixed_batches
from vidro.data.packing import Packed, best_fit, filling, pack, row_length
from vidro.model.positions import places_in_pieces

lists_of_lengths = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def packed_pairs(packed: Packed) -> Pairs:
    """What is predicted from what where a token sees the tokens of its own example only."""
    found: Pairs = Counter()
    for row, place in zip(*np.nonzero(packed.targets != IGNORE), strict=True):
        seen = packed.pieces[row, : place + 1] == packed.pieces[row, place]
        found[tuple(packed.ids[row, : place + 1][seen].tolist()), int(packed.targets[row, place])] += 1
    return found


@given(batch=examples(max_size=20), length=st.integers(11, 40))
def test_packing_predicts_the_same(batch, length):
    packed = pack(batch, length, pad_id=0)
    assert packed_pairs(packed) == expected_pairs(batch)
    positions = places_in_pieces(torch.from_numpy(packed.pieces)).numpy()
    for number, example in enumerate(batch):
        rows, places = np.nonzero(packed.pieces == number)
        assert packed.ids[rows, places].tolist() == example.ids[:-1]
        assert positions[rows, places].tolist() == list(range(example.n_inputs))
        assert len(set(rows.tolist())) == 1
        assert np.ptp(places) == example.n_inputs - 1, "an example stays whole"
    assert (packed.targets[packed.pieces < 0] == IGNORE).all()
    # First fit, and so best fit, leaves no two rows half empty.
    assert ((packed.pieces >= 0).sum(axis=1) * 2 <= length).sum() <= 1


def test_packing_fills_rows():
    rng = np.random.default_rng(0)
    batch = [learned_all(*range(length)) for length in rng.integers(2, 100, 500)]
    packed = pack(batch, 256, pad_id=0)
    assert (packed.pieces >= 0).mean() > 0.98
    with pytest.raises(DataError, match="an example of 98 tokens does not fit into 50"):
        pack([learned_all(*range(99))], 50, pad_id=0)


@given(batch=examples())
def test_the_first_token_of_a_piece_is_no_target_of_the_piece_before(batch):
    """With the prompts learned too, and whatever ids the pieces begin and end with."""
    packed = pack([learned_all(*example.ids) for example in batch], 40, pad_id=0)
    for row, pieces in enumerate(packed.pieces):
        for place in np.nonzero(pieces[:-1] != pieces[1:])[0]:
            if pieces[place] >= 0:
                assert packed.targets[row, place] == batch[pieces[place]].ids[-1], "its own last token"


@given(lengths=lists_of_lengths, room=st.integers(0, 40))
def test_rows_are_as_long_as_leaves_least_padding(lengths, room):
    context = max(lengths) + room
    cost = {length: length * len(best_fit(lengths, length)) for length in range(max(lengths), context + 1)}
    assert row_length(lengths, context) == min(cost, key=lambda length: (cost[length], length))


@given(lengths=lists_of_lengths, capacity=st.integers(30, 90))
def test_best_fit_places_each_once_and_overfills_no_row(lengths, capacity):
    rows = best_fit(lengths, capacity)
    assert Counter(number for row in rows for number in row) == Counter(range(len(lengths)))
    assert max(sum(lengths[number] for number in row) for row in rows) <= capacity


def test_the_count_is_that_of_the_batches():
    rng = np.random.default_rng(0)
    batch = [learned_all(*range(length)) for length in rng.integers(2, 60, 300)]
    mixed = mixed_batches(len(batch), 16, seed=1, epoch=0)
    parts = [[batch[number] for number in numbers] for numbers in mixed]
    rows = [pack(part, row_length([one.n_inputs for one in part], 128), pad_id=0).pieces for part in parts]
    packed = filling(batch, mixed, context=128)
    assert packed.n_rows == sum(map(len, rows))
    assert packed.padding_frac == pytest.approx(
        1 - sum((one >= 0).sum() for one in rows) / sum(one.size for one in rows)
    )
    padded = filling(batch, mixed, context=None)
    assert (padded.n_rows, padded.n_pieces, padded.n_tokens) == (300, 300, packed.n_tokens)
    assert padded.n_places == sum(collate(part, pad_id=0)[0].size for part in parts)
    grouped = filling(batch, length_buckets(batch, 16, seed=1, epoch=0), context=None)
    assert packed.padding_frac < 0.02 < grouped.padding_frac < 0.1 < 0.4 < padded.padding_frac
