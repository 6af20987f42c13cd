from __future__ import annotations

import random

import numpy as np
import pytest

from vidro.core.errors import UsageError
from vidro.evals import memorisation
from vidro.evals.memorisation import CopyIndex, CopyReport

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "eleven", "grey", "wolves"]


def prose(seed: int, n_chars: int) -> str:
    rng = random.Random(seed)
    text = ""
    while len(text) < n_chars:
        text += rng.choice(WORDS) + str(rng.randrange(1000)) + " "
    return text[:n_chars]


def test_a_run_of_50_is_found_and_one_of_49_is_not() -> None:
    train = prose(1, 5000)
    index = CopyIndex(train)
    for start in range(600, 660):  # every alignment against the blocks of 25
        found = index.copied("@@" + train[start : start + 50] + "@@@")
        assert found == CopyReport(copied_frac=50 / 55, longest_chars=50, spans=((2, 52),))
        assert index.copied("@@" + train[start : start + 49] + "@@@") == CopyReport(0.0, 0, ())


def test_the_whole_text_the_head_and_the_tail() -> None:
    train = prose(2, 777)
    index = CopyIndex(train)
    assert index.copied(train) == CopyReport(1.0, 777, ((0, 777),))
    assert index.copied(train[:50]).longest_chars == 50
    assert index.copied(train[-50:]).longest_chars == 50


def test_two_runs_apart_and_two_that_touch() -> None:
    train = prose(3, 3000)
    index = CopyIndex(train)
    apart = index.copied(train[100:160] + "#" + train[900:970])
    assert apart.spans == ((0, 60), (61, 131))
    assert apart.longest_chars == 70
    touching = index.copied(train[100:160] + train[900:970])
    assert touching.spans == ((0, 130),)
    assert 70 <= touching.longest_chars < 75


def test_characters_are_counted_not_bytes() -> None:
    train = "Ação não é coração, e a manhã não é só manhã: é também São João à beira-mar, com pão e limões."
    index = CopyIndex(train)
    assert index.copied("x" + train[5:54] + "y").spans == ()
    assert index.copied("x" + train[5:55] + "y") == CopyReport(50 / 52, 50, ((1, 51),))


def test_a_run_that_breaks_inside_a_character_loses_that_character() -> None:
    train = "a" * 30 + "b" * 30 + "é"
    sample = "a" * 30 + "b" * 30 + "è"  # é and è share their first byte
    assert CopyIndex(train).copied(sample).spans == ((0, 60),)


def test_no_run_crosses_from_one_document_into_the_next() -> None:
    one, two = prose(4, 300), prose(5, 300)
    across = one[-40:] + two[:40]
    assert CopyIndex([one, two]).copied(across).spans == ()
    assert CopyIndex(one + two).copied(across).longest_chars == 80


def test_nothing_in_and_nothing_out() -> None:
    assert CopyIndex("").copied(prose(6, 100)).spans == ()
    assert CopyIndex([]).copied("") == CopyReport(0.0, 0, ())
    assert CopyIndex(prose(6, 100)).copied("short").spans == ()


def test_asking_below_the_index_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"min-chars: 20 is too small. The index finds runs from 50 on\."):
        CopyIndex("some text").copied("some", min_chars=20)
    with pytest.raises(UsageError, match="shortest: 3 is too small"):
        CopyIndex("some text", shortest=3)


def test_pieces_that_only_share_the_hash_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "_odd_factors", lambda count: np.zeros(count, dtype=np.uint64))
    train = prose(8, 400)
    assert CopyIndex(train).copied(train[37:97] + prose(9, 60).upper()).spans == ((0, 60),)


def test_memory_is_the_text_and_half_as_much_again() -> None:
    train = prose(7, 200_000)
    assert CopyIndex(train).n_bytes < 1.5 * len(train) + 1000
