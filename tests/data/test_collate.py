"""Batches: what is predicted from what, whatever stands beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data.collate import IGNORE, Example, collate, fit_lengths, length_buckets, make_example, mixed_batches
from vidro.data.instructions import InstructionRow
from vidro.text.special import EOT
from vidro.text.styles import STYLES, Message, get_style
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes

END = 9
TALK = InstructionRow(
    (Message("user", "Hi"), Message("assistant", "Yo."), Message("user", "And?"), Message("assistant", "Bye."))
)
Pairs = Counter[tuple[tuple[int, ...], int]]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_bytes()


def learned_all(*ids: int) -> Example:
    return Example(list(ids), [False] + [True] * (len(ids) - 1))


@st.composite
def examples(draw: st.DrawFn, max_size: int = 12) -> list[Example]:
    """Examples whose ids hold the padding id (0) and the end id too: neither may be told from its number."""
    made: list[Example] = []
    for _ in range(draw(st.integers(1, max_size))):
        ids = draw(st.lists(st.integers(0, END), min_size=2, max_size=12))
        flags = draw(st.lists(st.booleans(), min_size=len(ids) - 1, max_size=len(ids) - 1))
        made.append(Example(ids, [False, *flags]))
    return made


def expected_pairs(batch: Sequence[Example]) -> Pairs:
    """What each learned token is predicted from, by the definition."""
    return Counter(
        (tuple(example.ids[:place]), example.ids[place])
        for example in batch
        for place in range(len(example.ids))
        if example.learned[place]
    )


def pairs_of(ids: np.ndarray, targets: np.ndarray) -> Pairs:
    """What is predicted from what in a padded batch."""
    return Counter(
        (tuple(ids[row, : place + 1].tolist()), int(targets[row, place]))
        for row, place in zip(*np.nonzero(targets != IGNORE), strict=True)
    )


# Collation


def test_the_books_example():
    batch = [learned_all(*ids, 50256) for ids in ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9])]
    ids, targets = collate(batch, pad_id=50256)
    assert ids.tolist() == [[0, 1, 2, 3, 4], [5, 6, 50256, 50256, 50256], [7, 8, 9, 50256, 50256]]
    assert targets.tolist() == [[1, 2, 3, 4, 50256], [6, 50256, -100, -100, -100], [8, 9, 50256, -100, -100]]
    assert ids.dtype == targets.dtype == np.int64


@given(batch=examples())
def test_every_learned_token_is_predicted_once_from_all_before_it(batch):
    assert pairs_of(*collate(batch, pad_id=0)) == expected_pairs(batch)


@given(batch=examples(), length=st.integers(11, 30), data=st.data())
def test_any_composition_of_batches_predicts_the_same(batch, length, data):
    order = data.draw(st.permutations(range(len(batch))))
    size = data.draw(st.integers(1, len(batch)))
    found: Pairs = Counter()
    for start in range(0, len(order), size):
        part = [batch[number] for number in order[start : start + size]]
        found += pairs_of(*collate(part, pad_id=END, length=length))
    assert found == expected_pairs(batch)


def test_a_fixed_length_and_what_does_not_fit():
    ids, targets = collate([learned_all(1, 2, END)], pad_id=0, length=4)
    assert (ids.tolist(), targets.tolist()) == ([[1, 2, 0, 0]], [[2, END, -100, -100]])
    with pytest.raises(DataError, match=r"an example of 2 tokens does not fit into 1. `fit_lengths` drops or cuts"):
        collate([learned_all(1, 2, END)], pad_id=0, length=1)


def test_the_loss_skips_the_same_number():
    from vidro.model import loss

    assert loss.IGNORE == IGNORE


# Examples


@pytest.mark.parametrize("name", ["alpaca", "phi3", "phi3-chat", "chatml"])
def test_answers_and_their_ends_are_learned(name, tokenizer: Tokenizer):
    style = get_style(name, tokenizer)
    end = tokenizer.special_ids[style.end_token]
    example = make_example(style, tokenizer, TALK)
    learned = [number for number, flag in zip(example.ids, example.learned, strict=True) if flag]
    assert learned == [*tokenizer.encode("Yo."), end, *tokenizer.encode("Bye."), end]
    assert example.ids[-1] == end, "what a style writes behind the last end token is left out"
    everything = make_example(style, tokenizer, TALK, mask_prompt=False)
    assert everything.ids == example.ids
    assert everything.learned == [False] + [True] * (len(example.ids) - 1)


def test_padding_with_the_end_token_still_teaches_it(tokenizer: Tokenizer):
    end = tokenizer.special_ids[EOT]
    short, long = (
        make_example(STYLES["alpaca"], tokenizer, InstructionRow((Message("user", "Hi"), Message("assistant", answer))))
        for answer in ("a", "a long answer")
    )
    _, targets = collate([short, long], pad_id=end)
    assert (targets == end).sum(axis=1).tolist() == [1, 1]
    assert (targets != IGNORE).sum(axis=1).tolist() == [2, 14]


# Lengths


def test_what_is_too_long_is_dropped_or_cut_and_counted():
    fits = learned_all(1, 2, END)
    long = Example([1, 2, 3, 4, END], [False, False, True, True, True])
    late = Example([1, 2, 3, 4, END], [False, False, False, False, True])
    assert fit_lengths([fits, long, late], 2, end_id=END) == ([fits], 2, 0)
    kept, n_dropped, n_cut = fit_lengths([fits, long, late], 2, "cut", end_id=END)
    assert (kept, n_dropped, n_cut) == ([fits, Example([1, 2, 3], [False, False, True])], 1, 1)
    assert fit_lengths([fits, long, late], 4, end_id=END) == ([fits, long, late], 0, 0)


@given(batch=examples(), context=st.integers(1, 12), how=st.sampled_from(["drop", "cut"]))
def test_what_is_kept_fits_and_has_something_to_learn(batch, context, how):
    try:
        kept, n_dropped, n_cut = fit_lengths(batch, context, how, end_id=END)
    except DataError as problem:
        assert "answer" in str(problem)  # noqa: PT017
        return
    assert all(example.n_inputs <= context and any(example.learned) for example in kept)
    assert len(kept) + n_dropped == len(batch)
    too_long = [example for example in batch if example.n_inputs > context]
    assert n_cut == (sum(any(example.learned[: context + 1]) for example in too_long) if how == "cut" else 0)
    assert expected_pairs(kept) <= expected_pairs(batch)


def test_data_that_would_teach_nothing_is_refused():
    with pytest.raises(DataError, match=r"none of 1 examples has an answer that begins within 1 tokens.* has 2 tokens"):
        fit_lengths([learned_all(1, 2, END)], 1, end_id=END)
    with pytest.raises(DataError, match=r"no answer ends with the end token \(id 9\), so a model .* never stop"):
        fit_lengths([learned_all(1, 2, 3, END)], 2, "cut", end_id=END)
    unlearned = Example([1, END, 2], [False, False, True])
    with pytest.raises(DataError, match="no answer ends with the end token"):
        fit_lengths([unlearned], 4, end_id=END)


# Buckets


@given(lengths=st.lists(st.integers(2, 40), min_size=1, max_size=200), rows=st.integers(1, 9), seed=st.integers(0, 9))
def test_buckets_hold_every_example_once(lengths, rows, seed):
    batch = [learned_all(*range(length)) for length in lengths]
    batches = length_buckets(batch, rows, seed=seed, epoch=0)
    assert sorted(number for numbers in batches for number in numbers) == list(range(len(batch)))
    assert sum(len(numbers) != rows for numbers in batches) <= 1
    assert batches == length_buckets(batch, rows, seed=seed, epoch=0)


def test_buckets_differ_by_epoch_and_seed_and_save_padding():
    rng = np.random.default_rng(0)
    batch = [learned_all(*range(length)) for length in rng.integers(2, 400, 2000)]
    orders = [length_buckets(batch, 8, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]

    def n_padded(batches: Sequence[Sequence[int]]) -> int:
        return sum(len(numbers) * max(batch[number].n_inputs for number in numbers) for numbers in batches)

    needed = sum(example.n_inputs for example in batch)
    as_they_come = [list(range(start, start + 8)) for start in range(0, 2000, 8)]
    assert n_padded(orders[0]) < 1.1 * needed < 1.6 * needed < n_padded(as_they_come)
    means = [np.mean([batch[number].n_inputs for number in numbers]) for numbers in orders[0]]
    assert np.std(means[:100]) > 50, "short and long batches are mixed in time"


@given(n=st.integers(1, 200), rows=st.integers(1, 9), seed=st.integers(0, 9))
def test_mixed_batches_hold_every_example_once(n, rows, seed):
    batches = mixed_batches(n, rows, seed=seed, epoch=0)
    assert sorted(number for numbers in batches for number in numbers) == list(range(n))
    assert [len(numbers) for numbers in batches[:-1]] == [rows] * (len(batches) - 1)
    assert batches == mixed_batches(n, rows, seed=seed, epoch=0)


def test_mixed_batches_differ_by_epoch_and_seed():
    orders = [mixed_batches(100, 8, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
