"""Measures of written answers, by hand, against plain twins, and on the book's stored answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.evals.answers import (
    AnswerRow,
    common_subsequence,
    estimate,
    exact_match,
    repetition,
    resampled_means,
    rouge_l,
    score_answers,
    token_f1,
    words_of,
)

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12)


def row(answer: str, expected: str, kind: str | None = None, *, stopped: bool | None = None) -> AnswerRow:
    return AnswerRow("Do it.", "", expected, answer, kind, stopped)


@pytest.mark.parametrize(
    ("answer", "expected", "strict", "normalised"),
    [
        ("45000 m", " 45000\n m ", True, True),
        ("45000 m.", "45000 m", False, True),
        ("Paris!", "paris", False, True),
        ("STRASSE", "straße", False, True),
        ("cafe\u0301", "caf\u00e9", False, True),  # the same letter, composed or not
        ("The end . ", "The end", False, True),
        ("-5", "5", False, False),
        ("?", "!", False, False),
        ("...", "", False, False),
        ("", "  ", True, True),
        ("ab", "a b", False, False),
    ],
)
def test_exact_match(answer: str, expected: str, strict: bool, normalised: bool) -> None:
    assert exact_match(answer, expected) is strict
    assert exact_match(answer, expected, normalised=True) is normalised


@pytest.mark.parametrize(
    ("answer", "expected", "f1", "rouge"),
    [
        ("The cat sat.", "the cat sat", 1, 1),
        ("sat cat the", "the cat sat", 1, 1 / 3),  # order
        ("the the the", "the cat", 2 / 5, 2 / 5),  # a repeat counts once
        ("a x b y c", "a b c", 6 / 8, 6 / 8),  # gaps
        ("", "word", 0, 0),
        ("", "", 1, 1),
        (">", "<", 0, 0),
        ("-5", "5", 0, 0),
        ('"Paris" (France)', "Paris, France", 1, 1),
    ],
)
def test_f1_and_rouge_by_hand(answer: str, expected: str, f1: float, rouge: float) -> None:
    assert token_f1(answer, expected) == pytest.approx(f1)
    assert token_f1(expected, answer) == pytest.approx(f1)
    assert rouge_l(answer, expected) == pytest.approx(rouge)


def plain_subsequence(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(WORDS, WORDS)
def test_the_subsequence_equals_the_plain_table(a: list[str], b: list[str]) -> None:
    assert common_subsequence(a, b) == plain_subsequence(a, b)


def test_the_subsequence_of_long_texts_equals_the_plain_table() -> None:
    rng = np.random.default_rng(5)
    a, b = ([str(word) for word in rng.integers(20, size=n)] for n in (150, 210))
    assert common_subsequence(a, b) == plain_subsequence(a, b)


@given(st.text(max_size=60), st.text(max_size=60))
def test_order_can_only_cost(answer: str, expected: str) -> None:
    assert 0 <= rouge_l(answer, expected) <= token_f1(answer, expected) <= 1
    assert token_f1(answer, answer) == rouge_l(answer, answer) == 1
    assert exact_match(answer, expected) <= exact_match(answer, expected, normalised=True)
    assert len(words_of(answer)) == len([piece for piece in answer.casefold().split() if piece])


def test_repetition() -> None:
    assert repetition("one two three") == 0
    assert repetition("a b c d e f g") == 0
    assert repetition("no " * 13) == pytest.approx(9 / 10)  # ten runs, all the same
    assert repetition("No, no. NO no no!") == pytest.approx(1 / 2)


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    n_covered = 0
    for seed in range(200):
        found = estimate(rng.normal(3.0, 1.0, size=60).tolist(), seed=seed)
        assert found.low < found.mean < found.high
        n_covered += found.low <= 3.0 <= found.high
    assert 180 <= n_covered <= 199  # 95 % of 200 is 190


def test_the_interval_is_that_of_the_binomial_for_shares() -> None:
    found = estimate([1.0] * 30 + [0.0] * 70, seed=1)
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.21, 0.39), abs=0.011)  # 2.5 % and 97.5 % of B(100, 0.3)


def test_intervals_depend_on_the_seed_alone() -> None:
    values = np.random.default_rng(2).random(50).tolist()
    assert estimate(values, seed=3) == estimate(values, seed=3)
    assert estimate(values, seed=3) != estimate(values, seed=4)
    assert estimate([2.0, 2.0], seed=3).low == 2.0
    with pytest.raises(DataError, match="there is nothing to take a mean of"):
        estimate([], seed=0)


def test_means_of_many_rows_are_drawn_in_portions() -> None:
    values = np.random.default_rng(2).random((300_000, 2))
    drawn = resampled_means(values, np.random.default_rng(0), draws=4)
    assert drawn.shape == (4, 2)
    assert np.abs(drawn - 0.5).max() < 0.005
    assert len(np.unique(drawn)) == 8


def test_scores_of_a_few_rows_by_hand() -> None:
    rows = [
        row("45000 m", "45000 m", "units", stopped=True),
        row("45000", "45000 m", "units", stopped=False),
        row("Small.", "small", "opposites", stopped=True),
        row("", "cold", "opposites"),
        row("cold", "cold", "opposites"),
    ]
    scores = score_answers(rows, seed=0)
    assert scores.n == 5
    assert scores.exact.mean == pytest.approx(2 / 5)
    assert scores.exact_normalised.mean == pytest.approx(3 / 5)
    assert scores.f1.mean == pytest.approx((1 + 2 / 3 + 1 + 0 + 1) / 5)
    assert scores.rouge_l.mean == scores.f1.mean
    assert scores.exact.low <= scores.exact.mean <= scores.exact.high
    assert (scores.mean_words, scores.mean_expected_words) == pytest.approx((5 / 5, 7 / 5))
    assert scores.n_empty == 1
    assert scores.stopped_frac == pytest.approx(2 / 3)
    assert scores.n_stop_known == 3
    assert {name: marks.n for name, marks in scores.kinds.items()} == {"opposites": 3, "units": 2}
    assert scores.kinds["opposites"].exact.mean == pytest.approx(1 / 3)
    assert scores.macro is not None
    assert scores.macro.n == 2
    assert scores.macro.exact.mean == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert scores == score_answers(rows, seed=0)


def test_macro_interval_is_drawn_kind_by_kind() -> None:
    rows = [row("x", "x", "easy")] * 90 + [row("x", "x", "hard"), row("y", "x", "hard")] * 5
    scores = score_answers(rows, seed=0)
    assert scores.macro is not None
    assert scores.macro.exact.mean == pytest.approx(0.75)
    assert scores.macro.exact.low == pytest.approx(0.5 + scores.kinds["hard"].exact.low / 2, abs=0.051)
    assert scores.exact.mean == pytest.approx(0.95)


def test_rows_without_a_kind() -> None:
    bare = score_answers([row("a", "a"), row("b", "a")], seed=0)
    assert (bare.kinds, bare.macro, bare.stopped_frac) == ({}, None, None)
    mixed = score_answers([row("a", "a", "kind"), row("b", "a")], seed=0)
    assert set(mixed.kinds) == {"kind", "(none)"}
    with pytest.raises(DataError, match="there are no answers to score"):
        score_answers([], seed=0)


def test_what_is_shown_and_what_is_saved() -> None:
    rows = [row("a b c d a b c d", "a", "one", stopped=True), row("B.", "b", "another", stopped=None)]
    scores = score_answers(rows, seed=0)
    saved = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert saved["kinds"]["another"]["exact_normalised"]["mean"] == 1
    assert saved["macro"]["exact"] == {"mean": 0, "low": 0, "high": 0}
    lines = scores.lines()
    assert lines[0] == "2 answers"
    assert lines[1] == "exact match              0.0%   95 %: 0.0% to 0.0%"
    assert "repeated                10.0% of the runs of 4 words" in lines
    assert "words                 4.5 an answer, 1.0 expected; 0 empty" in lines
    assert "stopped by themselves  100.0% (of 1 that are known)" in lines
    assert [line.split()[0] for line in lines[-4:]] == ["kind", "another", "one", "mean"]
    assert len({len(line) for line in lines[-4:]}) == 1
    bare = score_answers([row("a", "a")], seed=0).lines()
    assert not any("kind" in line or "stopped" in line for line in bare)


def test_the_books_stored_answers_have_the_known_exact_matches(shared_data: Path) -> None:
    path = shared_data / "instruct" / "instruction-data-with-response.json"
    items = json.loads(path.read_text(encoding="utf-8"))
    rows = [AnswerRow(i["instruction"], i["input"], i["output"], i["model_response"]) for i in items]
    scores = score_answers(rows, seed=0)
    assert scores.n == 110
    assert round(scores.exact.mean * 110) == 17
    assert scores.exact.mean <= scores.exact_normalised.mean < scores.f1.mean
    assert scores.rouge_l.mean < scores.f1.mean
