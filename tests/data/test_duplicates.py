"""Copies: found as a slow comparison of all pairs finds them, taken out, and never on both sides of a split."""

from __future__ import annotations

import csv
import itertools
import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError, UsageError
from vidro.data.duplicates import deduplicate, find_duplicates, leaks, split_rows, text_key
from vidro.data.labelled import LabelledRow, read_labelled


def rows_of(*texts: str, label: str = "x") -> list[LabelledRow]:
    return [LabelledRow(text, label, line) for line, text in enumerate(texts, start=1)]


def runs(text: str) -> set[str]:
    key = text_key(text)
    return {key[at : at + 5] for at in range(max(1, len(key) - 4))}


def slow_near(texts: list[str], *, left: int | None = None) -> dict[tuple[int, int], float]:
    """Every pair compared; of different texts only."""
    sets = [runs(text) for text in texts]
    found = {}
    for a, b in itertools.combinations(range(len(texts)), 2):
        if left is not None and not a < left <= b:
            continue
        jaccard = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        if jaccard >= 0.8 and text_key(texts[a]) != text_key(texts[b]):
            found[a, b] = jaccard
    return found


def edited(seed: int, n: int) -> list[str]:
    """Sentences, and copies of them with a few letters changed: pairs on both sides of 0.8, all keys different."""
    draw = np.random.default_rng(seed)
    letters = list("abcdefghij klmno ")
    texts: dict[str, str] = {}
    for number in range(n):
        base = list(draw.choice(letters, int(draw.integers(20, 120))))
        for copy in range(3):
            text = list(base)
            for _ in range(copy * 2):
                text[int(draw.integers(0, len(text)))] = "z"
            texts.setdefault(text_key("".join(text)), f"{''.join(text)}")
        texts.setdefault(str(number), str(number))  # shorter than a run
    return list(texts.values())


@pytest.mark.parametrize(
    ("one", "other"),
    [("Hi  there\n", "hi there"), ("Olá", "Ola\u0301"), ("STRASSE", "straße"), ("a\u00a0b", "A\tb"), ("ΐ", "Ϊ́")],
)
def test_texts_that_are_the_same(one, other):
    assert text_key(one) == text_key(other)


@given(st.text())
def test_a_key_of_a_key_is_itself(text):
    assert text_key(text_key(text)) == text_key(text)


def test_the_report():
    near = "We will meet at the harbour at noon, please bring the nets"
    rows = [
        *rows_of("Buy now", "hello there", near, "BUY  now ", label="spam"),
        *rows_of("Hello there", near + "!", "buy now", "nothing else is like this", label="ham"),
    ]
    report = find_duplicates(rows)
    assert report.n_rows == 8
    assert report.exact == ((0, 3, 6), (1, 4))
    assert report.conflicting == ((0, 3, 6), (1, 4))
    assert [(pair.first, pair.second) for pair in report.near] == [(2, 5)]
    assert report.near[0].similarity == pytest.approx(len(runs(near)) / (len(runs(near)) + 1))
    assert report.n_copies == 3
    kept, n_removed = deduplicate(rows)
    assert (kept, n_removed) == ([rows[0], rows[1], rows[2], rows[5], rows[7]], 3)
    same = find_duplicates([*rows_of("a b", "A B")])
    assert (same.exact, same.conflicting) == (((0, 1),), ())


def test_nothing_to_find():
    assert find_duplicates([]).near == ()
    assert find_duplicates(rows_of("", " ", "ab", "abc", "abcd")).exact == ((0, 1),)
    assert find_duplicates(rows_of("ab", "abc", "abcd", "\ud800 half a pair of surrogates")).near == ()
    assert leaks([], rows_of("a")).exact == leaks(rows_of("a"), []).exact == ()


@pytest.mark.parametrize("seed", range(3))
def test_near_pairs_are_those_of_the_slow_twin(seed):
    texts = edited(seed, 100)
    wanted = slow_near(texts)
    assert len(wanted) > 25
    found = {(pair.first, pair.second): pair.similarity for pair in find_duplicates(rows_of(*texts)).near}
    assert found == pytest.approx(wanted)


def test_leaks_are_those_of_the_slow_twin():
    texts = edited(7, 120)
    np.random.default_rng(7).shuffle(texts)
    train, other = texts[:250], [*texts[250:], texts[3].upper(), texts[3]]
    found = leaks(rows_of(*train), rows_of(*other, label="y"))
    assert found.exact == ((3, len(other) - 2), (3, len(other) - 1))
    wanted = slow_near([*train, *other[:-2]], left=250)
    assert {pair.second for pair in found.near} == {b - 250 for _, b in wanted}
    assert len(found.near) > 10
    for pair in found.near:
        best = max(jaccard for (_, b), jaccard in wanted.items() if b - 250 == pair.second)
        assert wanted[pair.first, pair.second + 250] == best == pair.similarity


def test_each_copy_that_is_near_is_named():
    text = "We will meet at the harbour at noon, please bring the nets"
    found = leaks(rows_of("first", text), rows_of(text + "!", "else", text.upper() + "!", text.upper()))
    assert found.exact == ((1, 3),)
    assert [(pair.first, pair.second) for pair in found.near] == [(1, 0), (1, 2)]


def test_a_split_is_by_label_and_by_seed():
    rows = [LabelledRow(f"text {n}", "rare" if n % 20 == 0 else "common", n) for n in range(1000)]
    split = split_rows(rows, seed=3)
    sizes = {name: Counter(row.label for row in getattr(split, name)) for name in ("train", "val", "test")}
    assert sizes["train"] == {"common": 665, "rare": 35}
    assert sizes["val"] == {"common": 95, "rare": 5}
    assert sizes["test"] == {"common": 190, "rare": 10}
    assert sorted([*split.train, *split.val, *split.test], key=lambda row: row.line) == rows
    assert split_rows(rows, seed=3) == split
    assert split_rows(rows, seed=4) != split


texts_and_labels = st.tuples(st.sampled_from([f"text {n}" for n in range(20)] + ["TEXT 1"]), st.sampled_from("ab"))


@given(st.lists(texts_and_labels, max_size=60), st.integers(0, 5), st.floats(0, 0.6), st.floats(0, 0.39))
def test_copies_stay_together_and_every_label_trains(pairs, seed, val, test):
    rows = [LabelledRow(text, label, line) for line, (text, label) in enumerate(pairs)]
    try:
        split = split_rows(rows, val=val, test=test, seed=seed)
    except DataError:
        firsts = {text_key(row.text): row.label for row in reversed(rows)}
        few = min((Counter(firsts.values())[row.label] for row in rows), default=0)
        assert few < 1 + (val > 0) + (test > 0)
        return
    parts = [split.train, split.val, split.test]
    assert sorted(row.line for part in parts for row in part) == list(range(len(rows)))
    for one, other in itertools.combinations(parts, 2):
        assert not {text_key(row.text) for row in one} & {text_key(row.text) for row in other}
    for part, share in zip(parts, (1, val, test), strict=True):
        assert {row.label for row in part} == ({row.label for row in rows} if share > 0 else set())


def test_many_copies_do_not_upset_the_shares():
    rows = rows_of(*(["the same text"] * 60), *(f"text {n}" for n in range(40)), label="a")
    split = split_rows(rows, seed=0)
    assert [len(part) for part in (split.train, split.val, split.test)] == [70, 10, 20]
    packs = rows_of(*[f"text {n // 10}" for n in range(30)])  # three texts, ten rows each
    split = split_rows(packs, seed=0)
    assert [len(part) for part in (split.train, split.val, split.test)] == [10, 10, 10]


def test_the_split_of_the_book():
    rows = rows_of(*(f"text {n // 2}" for n in range(1494)))
    split = split_rows(rows, seed=123, book=True)
    assert [len(part) for part in (split.train, split.val, split.test)] == [1045, 149, 300]
    assert sorted(row.line for part in (split.train, split.val, split.test) for row in part) == list(range(1, 1495))
    assert leaks(split.train, split.test).exact  # nothing keeps copies together there
    assert split_rows(rows, seed=123, book=True) == split
    assert [row.line for row in split.train] != sorted(row.line for row in split.train)
    with pytest.raises(DataError, match=r"4 rows are too few for shares of 0\.1 for validation and 0\.2 for testing"):
        split_rows(rows[:4], seed=1, book=True)


def test_what_cannot_be_divided():
    rows = [*rows_of(*(f"text {n}" for n in range(9))), *rows_of("a", "b", "A", label="rare")]
    line = "label 'rare' has 2 different texts of its own, too few to be in train and test and val. Add rows of it"
    with pytest.raises(DataError, match=re.escape(line)):
        split_rows(rows, seed=1)
    assert {row.label for row in split_rows(rows, seed=1, test=0).val} == {"x", "rare"}
    with pytest.raises(DataError, match="there are no rows to divide"):
        split_rows([], seed=1)
    for val, test in ((0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)):
        with pytest.raises(UsageError, match=f"shares of {val} for validation and {test} for testing leave nothing"):
            split_rows(rows, val=val, test=test, seed=1)


def test_the_sms_collection(shared_data):
    rows = read_labelled(shared_data / "classification" / "SMSSpamCollection.tsv").rows
    start = time.process_time()
    report = find_duplicates(rows)
    assert time.process_time() - start < 3
    assert (report.n_copies, len(report.exact), report.conflicting) == (415, 290, ())
    assert len(report.near) == 128
    assert Counter(rows[pair.first].label + rows[pair.second].label for pair in report.near) == {
        "spamspam": 107,
        "hamham": 21,
    }
    kept, n_removed = deduplicate(rows)
    assert (len(kept), n_removed) == (5159, 415)
    split = split_rows(rows, seed=1)
    assert not leaks(split.train, split.test).exact
    assert not leaks(split.train, split.val).exact


def test_in_the_usual_sms_split_37_test_messages_stand_in_train(shared_data):
    """The book's: quote marks as pandas reads them, 747 of each, both shuffles with numpy's old generator, seed 123."""
    path = shared_data / "classification" / "SMSSpamCollection.tsv"
    with path.open(newline="", encoding="utf-8") as lines:
        read = csv.reader(lines, delimiter="\t")
        rows = [LabelledRow(text, label, at) for at, (label, text) in enumerate(read)]
    assert len(rows) == 5572
    ham, spam = ([row for row in rows if row.label == label] for label in ("ham", "spam"))
    ham = [ham[at] for at in np.random.RandomState(123).permutation(len(ham))[:747]]
    rows = [[*ham, *spam][at] for at in np.random.RandomState(123).permutation(1494)]
    train, test = rows[:1045], rows[1194:]
    found = leaks(train, test)
    verbatim = {row.text for row in train}
    assert sum(test[at].text in verbatim for _, at in found.exact) == 37
    assert len(found.exact) == 40
    assert len(found.near) == 18
