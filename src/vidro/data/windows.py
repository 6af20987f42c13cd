"""From tokens to batches: windows of context_length tokens, with the same windows one token on as targets.

`sliding_windows` is the learner's view: all windows of a text, side by side. `TokenStream` is what training uses: the
tokens as a circle, cut into blocks at a fresh random offset each epoch, visited in a random order that is computed,
not stored. A block that would begin inside a short document begins at its nearer end instead. The stream's whole state
is the number of blocks consumed; who asks for how many at a time changes nothing.
Not here: where tokens lie (`shards`), what a step does with them (`train/step`).
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from vidro.core.errors import DataError
from vidro.core.shapes import Int

Array = np.ndarray[Any, np.dtype[Any]]

_ROUNDS = 6
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_OFFSET_ROUND = 1000  # the "round" whose key gives an epoch's offset; no real round has this number


@runtime_checkable
class Tokens(Protocol):
    """Token ids that can be picked by an array of positions: a numpy array, a memory map or `TokenShards`."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: Any, /) -> Any: ...


def sliding_windows(ids: Any, length: int, stride: int) -> tuple[Int[Array, "N T"], Int[Array, "N T"]]:
    """Every `stride`-th window of `length` tokens, and the same windows shifted by one: what comes next.

    Raises DataError when there are fewer than length + 1 tokens, or length or stride is below 1.

    >>> x, y = sliding_windows([1, 2, 3, 4, 5], length=2, stride=2)
    >>> x.tolist(), y.tolist()
    ([[1, 2], [3, 4]], [[2, 3], [4, 5]])
    """
    if length < 1 or stride < 1:
        raise DataError(f"window length and stride must be at least 1, not {length} and {stride}")
    tokens = np.asarray(ids, dtype=np.int64)
    _check_length(len(tokens), length)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::stride]
    return windows[:, :-1].copy(), windows[:, 1:].copy()


class BlockOrder:
    """A random order of `n_blocks` for each epoch, as a function: no list is kept, any place can be asked for.

    A Feistel network permutes the numbers below the next power of four; a result outside the range is sent through
    again until it lies inside ("cycle walking"), which leaves a permutation of the range.
    Luby and Rackoff 1988; Black and Rogaway 2002, "Ciphers with arbitrary finite domains".
    """

    def __init__(self, n_blocks: int, seed: int) -> None:
        assert n_blocks >= 1
        self.n_blocks = n_blocks
        self.seed = seed
        self.half_bits = max(1, -(-(n_blocks - 1).bit_length() // 2))

    def index(self, epoch: int, i: int) -> int:
        """The block at place `i` (0 ≤ i < n_blocks) of this epoch."""
        return int(self.indices(np.array([epoch]), np.array([i]))[0])

    def indices(self, epochs: Int[Array, "N"], places: Int[Array, "N"]) -> Int[Array, "N"]:
        """`index` for many at once."""
        keys = [round_key(self.seed, epochs, number) for number in range(_ROUNDS)]
        values = self._permute(places.astype(np.uint64), keys)
        outside = np.flatnonzero(values >= self.n_blocks)
        while outside.size:
            values[outside] = self._permute(values[outside], [key[outside] for key in keys])
            outside = outside[values[outside] >= self.n_blocks]
        return values.astype(np.int64)

    def _permute(self, values: Array, keys: list[Array]) -> Array:
        bits, mask = np.uint64(self.half_bits), np.uint64((1 << self.half_bits) - 1)
        left, right = values >> bits, values & mask
        for key in keys:
            left, right = right, left ^ (_scramble(right ^ key) & mask)
        return (left << bits) | right


class TokenStream:
    """Training batches as a pure function of (seed, block number); the tokens are a circle.

    Block `b` belongs to epoch `b // blocks_per_epoch`. An epoch's offset is random; its blocks cover the circle but for
    less than one block's worth, which is elsewhere in the next epoch.

    With `eot_id`, the id at the end of each document, a block that would begin inside a document that fits into one
    begins with the nearer end of it. Half a story, whose hero was named before the block, teaches little; and when a
    model is evaluated or used, texts begin at their beginning (measured: `docs/diary.md`). So of a corpus of short
    documents some tokens come twice in an epoch and as many not; which ones is new in each.
    """

    def __init__(self, tokens: Tokens, *, context_length: int, seed: int, eot_id: int | None = None) -> None:
        _check_length(len(tokens), context_length)
        self.tokens = tokens
        self.n_tokens = len(tokens)
        self.context_length = context_length
        self.blocks_per_epoch = self.n_tokens // context_length
        self.seed = seed
        self.eot_id = eot_id
        self._order = BlockOrder(self.blocks_per_epoch, seed)

    def starts(self, first_block: int, count: int) -> Int[Array, "N"]:
        """Positions of the first tokens of `count` blocks from block number `first_block` on."""
        blocks = np.arange(first_block, first_block + count, dtype=np.int64)
        epochs, places = np.divmod(blocks, self.blocks_per_epoch)
        offsets = (round_key(self.seed, epochs, _OFFSET_ROUND) % np.uint64(self.n_tokens)).astype(np.int64)
        cut = (offsets + self._order.indices(epochs, places) * self.context_length) % self.n_tokens
        return cut if self.eot_id is None else self._between_documents(cut)

    def _between_documents(self, starts: Int[Array, "N"]) -> Int[Array, "N"]:
        """Each start moved to the nearer of the document ends around it, if these are at most a block apart."""
        length = self.context_length
        around = np.asarray(self.tokens[(starts[:, None] + np.arange(-length, length + 1)) % self.n_tokens])
        ends = around == self.eot_id
        behind, ahead = ends[:, length::-1], ends[:, length + 1 :]
        back, on = behind.argmax(axis=1), ahead.argmax(axis=1) + 1  # how far away they are, where there are any
        fits = behind.any(axis=1) & ahead.any(axis=1) & (back + on <= length)
        return (starts + np.where(fits, np.where(back <= on, -back, on), 0)) % self.n_tokens

    def batch(self, first_block: int, count: int) -> tuple[Int[Array, "B T"], Int[Array, "B T"]]:
        """`count` blocks and their targets (the next token at each place), from block number `first_block` on."""
        starts = self.starts(first_block, count)
        positions = (starts[:, None] + np.arange(self.context_length + 1)) % self.n_tokens
        window = np.asarray(self.tokens[positions]).astype(np.int64)
        return window[:, :-1].copy(), window[:, 1:].copy()


def round_key(seed: int, epochs: Int[Array, "N"], number: int) -> Array:
    """64 scrambled bits for each epoch, different for each seed and round number."""
    start = np.full(epochs.shape, (seed * _GOLDEN + number) & _MASK, dtype=np.uint64)
    return _scramble(_scramble(start) ^ epochs.astype(np.uint64))


def _scramble(x: Array) -> Array:
    """SplitMix64's step (Steele, Lea and Flood 2014): every bit of the result depends on every bit of `x`."""
    x = x + np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _check_length(n_tokens: int, context_length: int) -> None:
    if n_tokens < context_length + 1:
        raise DataError(
            f"the text has {n_tokens:,} tokens, fewer than one window of {context_length:,} and the token after it",
            hint=f"Give more text, or a context length of at most {n_tokens - 1:,}."
            if n_tokens >= 2
            else "Give more text.",
        )
