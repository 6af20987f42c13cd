"""The longest copies and the figures beside held-out text, equal to a plain search."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.evals.copying import (
    SHORTEST_LARGE,
    SHORTEST_SMALL,
    SMALL_CHARS,
    CopiedText,
    CopyFigures,
    Memorisation,
    copied_text,
    copy_index,
    held_out_passages,
)
from vidro.evals.memorisation import CopyIndex

LEAST = 30


def prose(seed: int, n_chars: int) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice("abcdefghij klmnopqr") for _ in range(n_chars))


def longest_in_common(text: str, train: str) -> int:
    """The twin: every start and every length."""
    most = 0
    for start in range(len(text)):
        while start + most < len(text) and text[start : start + most + 1] in train:
            most += 1
    return most


@given(st.text(alphabet="ab", max_size=120), st.text(alphabet="ab", min_size=1, max_size=120))
def test_the_longest_passage_is_the_plain_search_s(train: str, text: str) -> None:
    index = CopyIndex(train, shortest=4)
    found = copied_text(index, text, min_chars=8)
    plain = longest_in_common(text, train)
    assert found.longest_chars == (plain if plain >= 4 else 0)
    if found.longest is not None:
        assert text[slice(*found.longest)] in train
    assert bool(found.spans) == (plain >= 8)


def test_a_passage_too_short_to_count_is_still_the_longest() -> None:
    train = prose(1, 4000)
    index = copy_index([train])
    found = copied_text(index, "@@" + train[500:525] + "@@@" + train[900:914] + "@", min_chars=LEAST)
    assert found.copied_frac == 0.0
    assert found.spans == ()
    assert found.longest == (2, 27)
    assert found.shown == ((2, 27),)
    nothing = copied_text(index, "@" * 60, min_chars=LEAST)
    assert (nothing.longest, nothing.longest_chars, nothing.shown) == (None, 0, ())


def test_the_longest_of_several_copies_that_touch() -> None:
    train = prose(2, 4000)
    sample = train[100:135] + train[900:960]
    found = copied_text(copy_index([train]), sample, min_chars=LEAST)
    assert found.spans == ((0, 95),)
    assert found.longest is not None
    assert 60 <= found.longest_chars < 65
    assert sample[slice(*found.longest)] in train


def test_a_large_text_is_searched_from_longer_passages_on() -> None:
    assert copy_index(["a" * 100]).shortest == SHORTEST_SMALL
    assert copy_index([prose(3, SMALL_CHARS), "x"]).shortest == SHORTEST_LARGE <= LEAST


def test_the_figures_of_some_texts() -> None:
    texts = [
        CopiedText("a" * 100, 0.5, ((0, 50),), (0, 50)),
        CopiedText("b" * 100, 0.0, (), (3, 25)),
        CopiedText("c" * 200, 0.0, (), None),
        CopiedText("", 0.0, (), None),
    ]
    assert CopyFigures.of(texts) == CopyFigures(4, 400, 1, 0, 50, 0.125)
    assert CopyFigures.of(texts[:3]).median_longest_chars == 22
    assert CopyFigures.of(texts[3:]).copied_frac == 0.0
    assert sorted(texts, key=lambda text: text.sort_key) == texts


def test_held_out_passages_have_the_lengths_that_were_asked_for() -> None:
    texts = [prose(4, 300), prose(5, 200)]
    whole = "\n".join(texts)
    passages = held_out_passages(texts, [10, 100, 0, 501, 900], np.random.default_rng(1))
    assert [len(passage) for passage in passages] == [10, 100, 0, 501, 501]
    assert all(passage in whole for passage in passages)
    assert held_out_passages(texts, [10] * 5, np.random.default_rng(1)) == held_out_passages(
        texts, [10] * 5, np.random.default_rng(1)
    )
    assert len(set(held_out_passages(texts, [10] * 9, np.random.default_rng(1)))) > 5
    with pytest.raises(DataError, match=r"there is no held-out text to compare with\. Train with --val FILE"):
        held_out_passages(["", " "], [3], np.random.default_rng(1))


def test_the_report_as_json() -> None:
    one = CopiedText("a" * 100, 0.5, ((0, 50),), (0, 50), "Once", 7)
    found = Memorisation("book-1", "book.txt", 1000, 30, 12, (one,), (CopiedText("b" * 100, 0.0, (), None),), 1)
    plain = found.to_json()
    assert plain["samples"]["copied_frac"] == 0.5
    assert plain["held_out"] == {
        "n_texts": 1, "n_chars": 100, "n_with_copies": 0, "median_longest_chars": 0, "longest_chars": 0,
        "copied_frac": 0.0, "n_short": 1,
    }  # fmt: skip
    assert plain["texts"][0]["spans"] == ((0, 50),)
    assert (plain["texts"][0]["prompt"], plain["texts"][0]["seed"], plain["texts"][0]["longest_chars"]) == (
        "Once",
        7,
        50,
    )
