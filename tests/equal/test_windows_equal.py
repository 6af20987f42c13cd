"""The order and the windows of training, against twins written with plain numbers and lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.data.windows import BlockOrder, TokenStream, sliding_windows

MASK = (1 << 64) - 1


def scramble(x: int) -> int:
    """SplitMix64's step on one number."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def key(seed: int, epoch: int, number: int) -> int:
    """The bits that decide round `number` of this epoch."""
    return scramble(scramble((seed * 0x9E3779B97F4A7C15 + number) & MASK) ^ epoch)


def place_of(n_blocks: int, seed: int, epoch: int, i: int) -> int:
    """The block at place `i`: a Feistel network on two halves, again and again until the result is a block."""
    half = 1
    while 4**half < n_blocks:
        half += 1
    value = i
    while True:
        left, right = value >> half, value % 2**half
        for number in range(6):
            left, right = right, left ^ (scramble(right ^ key(seed, epoch, number)) % 2**half)
        value = left * 2**half + right
        if value < n_blocks:
            return value


def blocks_of(tokens: list[int], length: int, seed: int, first: int, count: int) -> list[tuple[list[int], list[int]]]:
    """Inputs and targets of some blocks, token by token."""
    n_blocks = len(tokens) // length
    found = []
    for block in range(first, first + count):
        epoch, i = divmod(block, n_blocks)
        start = key(seed, epoch, 1000) % len(tokens) + place_of(n_blocks, seed, epoch, i) * length
        window = [tokens[(start + k) % len(tokens)] for k in range(length + 1)]
        found.append((window[:-1], window[1:]))
    return found


def windows_of(ids: list[int], length: int, stride: int) -> tuple[list[list[int]], list[list[int]]]:
    """Windows one after another, as one writes them the first time."""
    x, y = [], []
    for start in range(0, len(ids) - length, stride):
        x.append(ids[start : start + length])
        y.append(ids[start + 1 : start + length + 1])
    return x, y


seeds = st.integers(0, 2**70)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 3000), seeds, st.integers(0, 2**40), st.data())
def test_the_order_equals_its_twin(n_blocks, seed, epoch, data):
    i = data.draw(st.integers(0, n_blocks - 1))
    assert BlockOrder(n_blocks, seed).index(epoch, i) == place_of(n_blocks, seed, epoch, i)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 999), min_size=3, max_size=80), st.integers(1, 12), seeds, st.data())
def test_batches_equal_their_twin_bit_for_bit(tokens, length, seed, data):
    length = min(length, len(tokens) - 1)
    first, count = data.draw(st.integers(0, 300)), data.draw(st.integers(1, 30))
    x, y = TokenStream(np.array(tokens, dtype=np.uint16), context_length=length, seed=seed).batch(first, count)
    assert (x.dtype, y.dtype) == (np.int64, np.int64)
    assert list(zip(x.tolist(), y.tolist(), strict=True)) == blocks_of(tokens, length, seed, first, count)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=2, max_size=60), st.integers(1, 10), st.integers(1, 12))
def test_sliding_windows_equal_their_twin(ids, length, stride):
    length = min(length, len(ids) - 1)
    x, y = sliding_windows(ids, length, stride)
    assert (x.tolist(), y.tolist()) == windows_of(ids, length, stride)
