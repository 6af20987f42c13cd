"""Data order: every block once an epoch, another order and offset each time, nothing but (seed, block) decides."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data import windows
from vidro.data.shards import TokenShards, write_shard
from vidro.data.windows import BlockOrder, TokenStream, sliding_windows


def stream(n_tokens=1000, length=16, seed=1) -> TokenStream:
    return TokenStream(np.arange(n_tokens), context_length=length, seed=seed)


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(windows).failed == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(0, 2**64), st.integers(0, 1000))
def test_an_epoch_is_a_permutation(n_blocks, seed, epoch):
    order = BlockOrder(n_blocks, seed)
    found = order.indices(np.full(n_blocks, epoch), np.arange(n_blocks))
    assert sorted(found.tolist()) == list(range(n_blocks))


def test_orders_look_random():
    """Each block comes at each place about equally often, and neighbours are not neighbours again."""
    n_blocks, n_epochs = 11, 6000
    order = BlockOrder(n_blocks, seed=7)
    epochs, places = np.repeat(np.arange(n_epochs), n_blocks), np.tile(np.arange(n_blocks), n_epochs)
    table = order.indices(epochs, places).reshape(n_epochs, n_blocks)
    counts = np.stack([np.bincount(table[:, place], minlength=n_blocks) for place in range(n_blocks)])
    expected = n_epochs / n_blocks
    assert ((counts - expected) ** 2 / expected).sum() < 180  # chi squared, 100 degrees of freedom: p < 1e-6
    steps = np.diff(BlockOrder(5000, seed=1).indices(np.zeros(5000, int), np.arange(5000)))
    assert (steps == 1).sum() < 10


def test_every_token_but_less_than_a_block_is_seen_once_an_epoch():
    s = stream()
    x, _ = s.batch(0, s.blocks_per_epoch)
    assert s.blocks_per_epoch == 62
    assert len(set(x.ravel().tolist())) == x.size == 62 * 16


def test_targets_are_the_next_tokens_around_the_circle():
    x, y = stream().batch(0, 500)
    assert (y == (x + 1) % 1000).all()
    assert (y[:, :-1] == x[:, 1:]).all()


def documents(lengths: list[int]) -> np.ndarray:
    """Documents of 1 2 3 …, each with its end, a 0."""
    return np.array([token for length in lengths for token in (*range(1, length + 1), 0)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 24), st.integers(0, 2**32))
def test_a_block_begins_at_the_nearer_end_of_a_document_that_fits_into_it(lengths, length, seed):
    tokens = documents(lengths)
    if len(tokens) < length + 1:
        return
    cut = TokenStream(tokens, context_length=length, seed=seed)
    moved = TokenStream(tokens, context_length=length, seed=seed, eot_id=0)
    ends = [place for place, token in enumerate(tokens) if token == 0]
    for start, begins in zip(cut.starts(0, 40), moved.starts(0, 40), strict=True):
        before = max((end for end in ends if end <= start), default=ends[-1] - len(tokens))
        after = min((end for end in ends if end > start), default=ends[0] + len(tokens))
        nearer = before if start - before <= after - start else after
        assert begins == (nearer % len(tokens) if after - before <= length else start)


def test_short_documents_are_read_from_their_beginning_and_long_ones_anywhere():
    short = TokenStream(documents([9] * 100), context_length=16, seed=3, eot_id=0)
    x, y = short.batch(0, 60)
    assert (x[:, 0] == 0).all()
    assert (x[:, 1] == 1).all()
    assert (y[:, 9] == 0).all()
    long, same = (TokenStream(documents([99] * 20), context_length=16, seed=3, eot_id=end) for end in (0, None))
    assert (long.starts(0, 120) == same.starts(0, 120)).all()


def test_over_some_epochs_short_documents_are_read_about_equally_often():
    """A long document has fewer blocks that reach its end, a short one more, but within bounds."""
    lengths = np.random.default_rng(5).integers(3, 20, 300).tolist()
    stream = TokenStream(documents(lengths), context_length=24, seed=3, eot_id=0)
    starts = stream.starts(0, 60 * stream.blocks_per_epoch)
    read = np.bincount(((starts[:, None] + np.arange(24)) % stream.n_tokens).ravel(), minlength=stream.n_tokens)
    assert read.mean() == pytest.approx(60, rel=0.01)
    low, high = np.percentile(read, [2, 98])
    assert low > 30
    assert high < 100
    assert read.min() > 20


def test_offset_and_order_are_new_in_each_epoch():
    s = stream()
    n = s.blocks_per_epoch
    starts = [s.starts(epoch * n, n) for epoch in range(8)]
    assert len({int(each.min() % 16) for each in starts}) > 3
    assert len({tuple(each.tolist()) for each in starts}) == 8


def test_seeds_differ_and_the_same_seed_does_not():
    assert (stream(seed=3).batch(40, 9)[0] == stream(seed=3).batch(40, 9)[0]).all()
    assert (stream(seed=3).batch(0, 9)[0] != stream(seed=4).batch(0, 9)[0]).any()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 500), st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_a_batch_does_not_depend_on_how_it_is_cut(first, parts):
    s = stream(n_tokens=333, length=5)
    whole, _ = s.batch(first, sum(parts))
    pieces, block = [], first
    for count in parts:
        pieces.append(s.batch(block, count)[0])
        block += count
    assert (np.concatenate(pieces) == whole).all()


def test_billions_of_blocks_cost_nothing():
    order = BlockOrder(10**15, seed=1)
    found = {order.index(5, i) for i in range(200)}
    assert len(found) == 200
    assert all(0 <= block < 10**15 for block in found)


def test_shards_and_arrays_give_the_same_batches(tmp_path):
    ids = np.random.default_rng(0).integers(0, 60_000, 2000)
    for number, part in enumerate(np.split(ids, [17, 900, 901])):
        write_shard(tmp_path / str(number), [part], tokenizer_fingerprint="x", vocab_size=60_000)
    shards = TokenShards.open(tmp_path)
    for first in (0, 50, 1000):
        x, y = TokenStream(shards, context_length=33, seed=5).batch(first, 70)
        a, b = TokenStream(ids, context_length=33, seed=5).batch(first, 70)
        assert (x == a).all()
        assert (y == b).all()


def test_the_smallest_text_that_can_be_trained_on():
    x, y = stream(n_tokens=17).batch(0, 3)
    assert x.shape == y.shape == (3, 16)
    with pytest.raises(DataError) as caught:
        stream(n_tokens=16)
    assert str(caught.value) == (
        "the text has 16 tokens, fewer than one window of 16 and the token after it. "
        "Give more text, or a context length of at most 15."
    )
    with pytest.raises(DataError, match=r"the text has 1 tokens, .* after it\. Give more text\."):
        stream(n_tokens=1)


def test_sliding_windows():
    x, y = sliding_windows(np.arange(10), length=4, stride=1)
    assert x.shape == (6, 4)
    assert x[5].tolist() == [5, 6, 7, 8]
    assert y[5].tolist() == [6, 7, 8, 9]
    x[0, 0] = 99  # a copy: windows do not share memory
    assert x[1, 0] == 1
    for length, step in ((0, 1), (4, 0), (-1, 2)):
        with pytest.raises(DataError, match=f"must be at least 1, not {length} and {step}"):
            sliding_windows([1, 2, 3], length, step)
    with pytest.raises(DataError, match="the text has 4 tokens, fewer than one window of 4"):
        sliding_windows([1, 2, 3, 4], 4, 1)
