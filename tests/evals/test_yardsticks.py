from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from vidro.core.errors import DataError
from vidro.evals.yardsticks import (
    COMPRESSORS,
    compressed_bits,
    first_bytes,
    ngram_bits,
    text_yardsticks,
    token_counts,
    unigram_nats,
)


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
    assert unigram_nats(nothing, some) == pytest.approx(math.log(8))
    assert unigram_nats(some * 100, some) < math.log(8)


def test_unigram_refuses_empty_and_unequal_counts() -> None:
    with pytest.raises(DataError, match="there are no validation tokens"):
        unigram_nats(np.ones(3, dtype=np.int64), np.zeros(3, dtype=np.int64))
    with pytest.raises(DataError, match="3 and 4 different tokens"):
        unigram_nats(np.ones(3, dtype=np.int64), np.ones(4, dtype=np.int64))


def test_compressors_are_those_of_the_command_line_in_the_difference_of_two_files(tmp_path) -> None:
    train, val = b"the cat sat on the mat. " * 400, bytes(range(256)) + b"the cat sat on the hat. " * 20
    for name, command in (("gzip", "gzip -9n"), ("bzip2", "bzip2"), ("xz", "xz")):
        if shutil.which(name) is None:
            continue
        sizes = [len(subprocess.run([*command.split(), "-c"], input=data, capture_output=True, check=True).stdout)
                 for data in (train + val, train)]  # fmt: skip
        assert compressed_bits(COMPRESSORS[name], train, val) == pytest.approx(
            8 * (sizes[0] - sizes[1]) / len(val), abs=0.1
        )


def plain_witten_bell(train: bytes, context: bytes, byte: int) -> float:
    """The formula as it is written, one byte at a time."""
    p = 1 / 256
    for n in range(len(context) + 1):
        tail = context[len(context) - n :]
        after = [train[i + n] for i in range(len(train) - n) if train[i : i + n] == tail]
        if after:
            p = (after.count(byte) + len(set(after)) * p) / (len(after) + len(set(after)))
    return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_ngrams_equal_the_formula_written_out_and_are_probabilities(order: int) -> None:
    random = np.random.default_rng(order)
    train, val = (bytes(random.integers(97, 101, size=n).astype(np.uint8)) for n in (300, 40))
    whole = train + val
    by_hand = 0.0
    for place in range(len(train), len(whole)):
        by_hand -= math.log2(plain_witten_bell(train, whole[place - order + 1 : place], whole[place]))
    assert ngram_bits(train, val, order=order) == pytest.approx(by_hand / len(val), rel=1e-12)
    context = train[len(train) - order + 1 :]
    assert sum(plain_witten_bell(train, context, byte) for byte in range(256)) == pytest.approx(1.0)


def test_ngrams_of_short_and_empty_training_texts() -> None:
    assert ngram_bits(b"", b"abc", order=5) == 8.0
    assert 0 < ngram_bits(b"ab", b"abab", order=5) < 8.0


def test_yardsticks_of_a_text_come_the_weakest_first_and_know_the_language() -> None:
    text = "".join(f"The {a} {b} and the {b} {a}. " for a in ("cat", "dog", "cow") for b in ("sat", "ran", "sang") * 9)
    bits = text_yardsticks([text * 20], [text])
    assert set(bits) == {"uniform", "unigram", "5-gram", "gzip", "xz", "bzip2"}
    assert list(bits.values()) == sorted(bits.values(), reverse=True)
    assert bits["uniform"] == 8.0
    assert bits["5-gram"] < bits["unigram"] < 5
    with pytest.raises(DataError, match="there is no validation text"):
        text_yardsticks([text], [])


def test_first_bytes_stops_reading() -> None:
    def texts():
        yield "é" * 3
        yield "abc"
        raise AssertionError("read too far")

    assert first_bytes(texts(), 8) == ("é" * 3 + "ab").encode()


def test_bzip2_on_tiny_shakespeare_is_the_known_figure(shared_data: Path) -> None:
    text = (shared_data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    cut = int(0.9 * len(text))
    bits = text_yardsticks([text[:cut]], [text[cut:]])
    assert bits["bzip2"] * math.log(2) == pytest.approx(1.662, abs=0.0005)
