from __future__ import annotations

import math

import numpy as np
import pytest

from vidro.core.errors import DataError
from vidro.evals.yardsticks import per_byte, token_counts, uniform_nats, unigram_nats


def test_uniform_is_the_log_of_the_vocabulary() -> None:
    assert uniform_nats(50257) == pytest.approx(10.8249, abs=1e-4)


def test_counts_add_up_over_pieces_of_any_integer_type() -> None:
    pieces = [np.array([0, 1, 1], dtype=np.uint16), np.array([3], dtype=np.uint32), np.array([], dtype=np.uint16)]
    assert token_counts(pieces, 5).tolist() == [1, 2, 0, 1, 0]


def test_an_id_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(DataError, match=r"token id 7 is outside the vocabulary of 5"):
        token_counts([np.array([7], dtype=np.uint16)], 5)


def test_unigram_by_hand() -> None:
    train, val = np.array([3, 1, 0]), np.array([2, 1, 1])
    by_hand = -(2 * math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 4
    assert unigram_nats(train, val) == pytest.approx(by_hand)


def test_unigram_of_nothing_seen_is_uniform_and_of_the_same_text_below_it() -> None:
    nothing, some = np.zeros(8, dtype=np.int64), np.array([9, 5, 1, 0, 0, 0, 0, 0])
    assert unigram_nats(nothing, some) == pytest.approx(uniform_nats(8))
    assert unigram_nats(some * 100, some) < uniform_nats(8)


def test_unigram_refuses_empty_and_unequal_counts() -> None:
    with pytest.raises(DataError, match="there are no validation tokens"):
        unigram_nats(np.ones(3, dtype=np.int64), np.zeros(3, dtype=np.int64))
    with pytest.raises(DataError, match="3 and 4 different tokens"):
        unigram_nats(np.ones(3, dtype=np.int64), np.ones(4, dtype=np.int64))


def test_per_byte_shares_the_same_nats() -> None:
    assert per_byte(6.0, n_tokens=10, n_bytes=40) == 1.5
