"""Scores by hand, as scikit-learn has them, and intervals that hold what they promise."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError, UsageError
from vidro.evals.accuracy import (
    ClassScores,
    accuracy_table,
    class_scores,
    confusion_table,
    natural_rate,
    paired_interval,
    shown_class,
    wilson,
)
from vidro.infer.explain_text import display_width

NAMES = ["ham", "spam", "news"]


def random_labels(n: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    true = rng.choice(NAMES, n, p=[0.7, 0.2, 0.1])
    return true.tolist(), np.where(rng.random(n) < 0.8, true, rng.choice(NAMES, n)).tolist()


def from_counts(confusion: list[list[int]], names: list[str]) -> ClassScores:
    pairs = [
        (names[row], names[column])
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
        for _ in range(count)
    ]
    return class_scores([true for true, _ in pairs], [predicted for _, predicted in pairs], names)


def test_scores_by_hand() -> None:
    scores = from_counts([[8, 2, 0], [1, 4, 0], [0, 0, 0]], NAMES)
    assert scores.confusion.tolist() == [[8, 2, 0], [1, 4, 0], [0, 0, 0]]
    assert (scores.n, scores.n_right, scores.accuracy) == (15, 12, 0.8)
    assert scores.support.tolist() == [10, 5, 0]
    assert scores.precision == pytest.approx([8 / 9, 4 / 6, 0.0])
    assert scores.recall == pytest.approx([0.8, 0.8, 0.0])
    assert scores.f1 == pytest.approx([16 / 19, 8 / 11, 0.0])
    assert scores.macro_f1 == pytest.approx((16 / 19 + 8 / 11) / 3)
    assert scores.weighted_f1 == pytest.approx((10 * 16 / 19 + 5 * 8 / 11) / 15)
    assert scores.interval == wilson(12, 15)


def test_json_holds_the_same_figures() -> None:
    scores = class_scores(*random_labels(200), NAMES)
    read = json.loads(json.dumps(scores.to_json()))
    assert (read["n"], read["n_right"], read["accuracy"]) == (200, scores.n_right, scores.accuracy)
    assert read["accuracy_interval"] == list(scores.interval)
    assert read["confusion"] == scores.confusion.tolist()
    assert [entry["name"] for entry in read["classes"]] == NAMES
    assert [entry["support"] for entry in read["classes"]] == scores.support.tolist()
    assert [entry["recall"] for entry in read["classes"]] == scores.recall.tolist()
    assert (read["macro_f1"], read["weighted_f1"]) == (scores.macro_f1, scores.weighted_f1)


def test_scikit_learn_finds_the_same() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    true, predicted = random_labels(500)
    names = [*NAMES, "absent"]
    scores = class_scores(true, predicted, names)
    assert scores.confusion.tolist() == metrics.confusion_matrix(true, predicted, labels=names).tolist()
    wanted = metrics.precision_recall_fscore_support(true, predicted, labels=names, zero_division=0)
    for ours, theirs in zip((scores.precision, scores.recall, scores.f1, scores.support), wanted, strict=True):
        assert ours == pytest.approx(theirs)
    for average, ours in (("macro", scores.macro_f1), ("weighted", scores.weighted_f1)):
        assert ours == pytest.approx(
            metrics.f1_score(true, predicted, labels=names, average=average, zero_division=0.0)
        )


def test_scores_cannot_be_altered() -> None:
    with pytest.raises(ValueError, match="read-only"):
        class_scores(["ham"], ["ham"], NAMES).confusion[0, 0] = 5


@pytest.mark.parametrize(
    ("true", "predicted", "names", "message"),
    [
        ([], [], NAMES, "there are no rows to score"),
        (["ham"], [], NAMES, "1 true labels and 0 predicted ones cannot be compared"),
        (["ham", "spm"], ["ham", "ham"], NAMES, "row 2: the true label 'spm' is no class. Did you mean spam?"),
        (["ham"], ["eggs"], ["ham", "spam"], "row 1: the predicted label 'eggs' is no class. Known: ham, spam."),
        (["ham"], ["ham"], ["ham", "ham"], "two classes have the same name"),
    ],
)
def test_what_cannot_be_scored(true: list[str], predicted: list[str], names: list[str], message: str) -> None:
    with pytest.raises(DataError) as error:
        class_scores(true, predicted, names)
    assert message in str(error.value)


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_solves_its_equation(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson(successes, n)
    share = successes / n if n else 0.5
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):  # an end is a true share from which the found one lies exactly z deviations away
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / n))


def test_wilson_of_nothing_and_of_nonsense() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(UsageError, match="5 of 3 is not a share"):
        wilson(5, 3)


def test_wilson_holds_the_true_share_95_times_in_100() -> None:
    ends = np.array([wilson(successes, 60) for successes in range(61)])
    drawn = np.random.default_rng(0).binomial(60, 0.9, size=20_000)
    held = (ends[drawn, 0] <= 0.9) & (ends[drawn, 1] >= 0.9)
    assert held.mean() == pytest.approx(0.95, abs=0.025)


def test_the_paired_interval_is_that_of_drawn_rows() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(400) < 0.93, rng.random(400) < 0.88
    found = paired_interval(a, b, seed=0, draws=4000)
    rows = rng.integers(0, 400, size=(4000, 400))
    drawn = a[rows].mean(axis=1) - b[rows].mean(axis=1)
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.004)


def test_pairs_are_what_makes_the_interval_narrow() -> None:
    a = np.random.default_rng(0).random(1000) < 0.6
    b = a.copy()
    b[:10] = ~b[:10]
    paired, shuffled = paired_interval(a, b, seed=0), paired_interval(a, np.roll(b, 500), seed=0)
    assert paired.high - paired.low < 0.02 < 0.06 < shuffled.high - shuffled.low
    same = paired_interval(a, a, seed=0)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_repetitions_of_a_row_are_one_row() -> None:
    rng = np.random.default_rng(2)
    right = rng.random((200, 5)) < rng.beta(4, 1, 200)[:, None]  # five repetitions, rows hard or easy
    other = rng.random((200, 5)) < 0.8
    once = paired_interval(right.mean(axis=1), other.mean(axis=1), seed=0)
    as_if_new = paired_interval(right.ravel(), other.ravel(), seed=0)
    assert once.value == pytest.approx(as_if_new.value)
    assert once.high - once.low > as_if_new.high - as_if_new.low


def test_the_seed_alone_decides() -> None:
    a, b = [True, False, True, True] * 20, [True, True, False, True] * 20
    assert paired_interval(a, b, seed=3) == paired_interval(a, b, seed=3)
    ends = {(found.low, found.high) for found in (paired_interval(a, b, seed=seed, draws=50) for seed in range(8))}
    assert len(ends) > 1


def test_what_is_no_pair() -> None:
    with pytest.raises(DataError, match="2 rows of one model and 1 of the other are not pairs"):
        paired_interval([True, False], [True], seed=0)
    with pytest.raises(DataError, match="there are no rows to compare"):
        paired_interval([], [], seed=0)
    with pytest.raises(UsageError, match="0 draws"):
        paired_interval([True], [True], seed=0, draws=0)


def test_the_natural_rate_is_what_a_test_set_of_that_rate_would_give() -> None:
    balanced = from_counts([[90, 10], [4, 96]], ["ham", "spam"])
    natural = from_counts([[900, 100], [4, 96]], ["ham", "spam"])
    rates = natural_rate(balanced, {"spam": 1 / 11, "ham": 10 / 11})
    assert rates.accuracy == pytest.approx(natural.accuracy)
    assert rates.precision == pytest.approx(natural.precision)
    assert rates.recall == pytest.approx(balanced.recall)
    assert rates.f1 == pytest.approx(natural.f1)
    assert rates.confusion.sum() == pytest.approx(1.0)
    assert json.loads(json.dumps(rates.to_json()))["classes"][1]["support"] == pytest.approx(1 / 11)
    with pytest.raises(AssertionError):  # the case is not so tame that the rate makes no difference
        assert rates.precision == pytest.approx(balanced.precision)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ({"ham": 0.5}, "the share of class 'spam' is not given"),
        ({"ham": 0.5, "span": 0.5}, "there is no class 'span'. Did you mean spam?"),
        ({"ham": 0.9, "spam": 0.2}, "must be above 0 and give 1"),
        ({"ham": 1.0, "spam": 0.0}, "must be above 0 and give 1"),
        ({"ham": math.nan, "spam": 0.5}, "must be above 0 and give 1"),
    ],
)
def test_rates_that_are_none(prior: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as error:
        natural_rate(from_counts([[3, 1], [1, 3]], ["ham", "spam"]), prior)
    assert message in str(error.value)


def test_the_rate_of_a_class_without_rows_is_unknown() -> None:
    with pytest.raises(DataError, match="no row of class 'spam' was scored"):
        natural_rate(from_counts([[3, 1], [0, 0]], ["ham", "spam"]), {"ham": 0.5, "spam": 0.5})


def test_tables_are_aligned_whatever_the_names() -> None:
    names = ["a", "日本語のニュース", "x" * 60, "two\nlines\x1b[2J"]
    scores = from_counts([[1000 if row == column else row for column in range(4)] for row in range(4)], names)
    lines = accuracy_table(scores)
    assert len(lines) == 1 + 4 + 2 + 1
    assert len({display_width(line) for line in lines[:-1]}) == 1
    assert len({display_width(line) for line in confusion_table(scores)}) == 1
    assert all(line.isprintable() for line in lines)
    assert lines[-1].endswith(f"{scores.n_right:,} of {scores.n:,} rows right")


@given(st.text(max_size=60), st.integers(4, 30))
def test_a_shown_name_is_short_and_harmless(name: str, width: int) -> None:
    shown = shown_class(name, width)
    assert display_width(shown) <= width
    assert shown.isprintable()
    plain = " ".join(name.split())
    if plain.isprintable() and display_width(plain) <= width:
        assert shown == plain
