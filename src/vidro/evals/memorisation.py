"""How much of a generated text stands word for word in the training text: verbatim runs of 50 characters or more.

`CopyIndex` is made once from the training text and then asked about short samples. It finds every such run and only
such runs; `tests/equal/test_evaluation_equal.py` holds it equal to the plain search over all pairs of positions.

How: the training text is cut into blocks of 25 bytes and the hash of each block is kept, sorted. A run of 50 bytes
or more covers at least one whole block, so looking up the hash of every 25-byte window of the sample finds it; each
hit is then compared byte by byte and grown in both directions. Memory: the text once, plus 12 bytes per 25 of it.

Not here: copies that differ in one letter or in line breaks; what the numbers mean (`docs/formats.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidro.core.errors import UsageError

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

SHORTEST_CHARS = 50
_REACH = 32  # bytes compared at once while a hit is grown
_BETWEEN_TEXTS = b"\xff"  # never occurs in UTF-8, so no run crosses from one training text into the next
_AROUND_SAMPLE = b"\xfe"  # neither does this one, and it differs from the other, so runs end where the texts end
_HITS_AT_ONCE = 1 << 17
_BLOCKS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class CopyReport:
    """What of a text is copied: `spans` are (start, end) in its characters, merged where they overlap or touch.

    `longest_chars` is the longest single run (0 when there is none); `copied_frac` the share of characters in spans.
    """

    copied_frac: float
    longest_chars: int
    spans: tuple[tuple[int, int], ...]


class CopyIndex:
    """Finds the verbatim runs that a text shares with the training text (one string, or one per document).

    `shortest` is the smallest `min_chars` that may be asked for later, at least 4.
    """

    def __init__(self, text: str | Iterable[str], *, shortest: int = SHORTEST_CHARS) -> None:
        if shortest < 4:
            raise UsageError(f"{shortest} is too small", where="shortest", hint="It must be at least 4.")
        self.shortest = shortest
        self._block = (shortest + 1) // 2
        self._padding = max(self._block, _REACH)
        self._text = _joined([text] if isinstance(text, str) else text, padding=self._padding)
        self._factors = _odd_factors(self._block)
        hashes = self._block_hashes()
        self._order = np.argsort(hashes, kind="stable").astype(np.uint32)
        self._sorted = hashes[self._order]

    @property
    def n_bytes(self) -> int:
        """Bytes of memory held."""
        return self._text.nbytes + self._order.nbytes + self._sorted.nbytes

    def copied(self, text: str, *, min_chars: int = SHORTEST_CHARS) -> CopyReport:
        """The runs of at least `min_chars` characters of `text` that stand verbatim in the training text.

        Raises UsageError when `min_chars` is below the index's `shortest`.
        """
        if min_chars < self.shortest:
            raise UsageError(
                f"{min_chars} is too small", where="min-chars", hint=f"The index finds runs from {self.shortest} on."
            )
        sample = text.encode("utf-8", "surrogatepass")
        after, before = _characters(np.frombuffer(sample, np.uint8))
        longest = 0
        edges = np.zeros(len(text) + 1, dtype=np.int64)
        for starts, ends in self._runs(sample):
            begin, end = after[starts], before[ends]
            keep = end - begin >= min_chars
            longest = max(longest, int((end - begin).max(initial=0, where=keep)))
            np.add.at(edges, begin[keep], 1)
            np.add.at(edges, end[keep], -1)
        spans = _stretches(np.cumsum(edges)[:-1] > 0)
        n_covered = sum(end - begin for begin, end in spans)
        return CopyReport(copied_frac=n_covered / len(text) if text else 0.0, longest_chars=longest, spans=spans)

    def _block_hashes(self) -> NDArray[np.uint64]:
        """Hash of each whole block of the training text, in order."""
        n_blocks = (self._text.size - 2 * self._padding) // self._block
        blocks = self._text[self._padding :][: n_blocks * self._block].reshape(n_blocks, self._block)
        hashes = np.empty(n_blocks, dtype=np.uint64)
        for start in range(0, n_blocks, _BLOCKS_AT_ONCE):
            part = slice(start, start + _BLOCKS_AT_ONCE)
            hashes[part] = _hash_rows(blocks[part], self._factors)
        return hashes

    def _runs(self, sample: bytes) -> Iterator[tuple[Places, Places]]:
        """Maximal shared runs of at least one block, as (starts, ends) in bytes of the sample, in portions."""
        padding = _AROUND_SAMPLE * self._padding
        padded = np.frombuffer(padding + sample + padding, dtype=np.uint8)
        for in_sample, in_text in self._hits(np.frombuffer(sample, dtype=np.uint8)):
            a, b = in_sample + self._padding, in_text + self._padding
            left = _agreeing(padded, self._text, a - 1, b - 1, reach=np.arange(0, -self._block, -1))
            first = left < self._block  # else the block before is a hit too and reports the same run
            a, b, left = a[first], b[first], left[first]
            right = _common_length(padded, self._text, a, b)
            real = right >= self._block  # the others only shared the hash
            start = a[real] - self._padding
            yield start - left[real], start + right[real]

    def _hits(self, sample: Bytes) -> Iterator[tuple[Places, Places]]:
        """Pairs (place in the sample, place in the training text) whose blocks have the same hash, in portions."""
        if sample.size < self._block or self._sorted.size == 0:
            return
        windows = np.lib.stride_tricks.sliding_window_view(sample, self._block)
        hashes = _hash_rows(windows, self._factors)
        first = np.searchsorted(self._sorted, hashes, side="left")
        count = np.searchsorted(self._sorted, hashes, side="right") - first
        ends = np.cumsum(count)
        for low in range(0, int(ends[-1]), _HITS_AT_ONCE):
            hit = np.arange(low, min(low + _HITS_AT_ONCE, int(ends[-1])))
            place = np.searchsorted(ends, hit, side="right")
            in_order = first[place] + hit - (ends[place] - count[place])
            yield place, self._order[in_order].astype(np.int64) * self._block


def _joined(texts: Iterable[str], *, padding: int) -> Bytes:
    """All texts as UTF-8 with a separator after each, and `padding` separators at both ends."""
    joined = bytearray(_BETWEEN_TEXTS * padding)
    for text in texts:
        joined += text.encode("utf-8", "surrogatepass") + _BETWEEN_TEXTS
    joined += _BETWEEN_TEXTS * padding
    return np.frombuffer(joined, dtype=np.uint8)


def _odd_factors(count: int) -> NDArray[np.uint64]:
    """Fixed odd 64-bit factors; a hash decides only what is looked at, never what is reported."""
    return np.random.default_rng(25).integers(1 << 63, size=count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _hash_rows(rows: Bytes, factors: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One 64-bit number a row: the sum of byte × factor, modulo 2^64."""
    total = np.zeros(rows.shape[0], dtype=np.uint64)
    for column, factor in enumerate(factors):
        total += rows[:, column].astype(np.uint64) * factor
    return total


def _agreeing(a: Bytes, b: Bytes, a_place: Places, b_place: Places, *, reach: Places) -> Places:
    """For each pair of places: how many bytes agree before the first that differs, looking at `reach` only."""
    differ = a[a_place[:, None] + reach] != b[b_place[:, None] + reach]
    return np.where(differ.any(axis=1), differ.argmax(axis=1), reach.size)


def _common_length(a: Bytes, b: Bytes, a_place: Places, b_place: Places) -> Places:
    """For each pair of places: how many bytes agree from there on."""
    length = np.zeros(a_place.size, dtype=np.int64)
    going = np.arange(a_place.size)
    while going.size:
        more = _agreeing(a, b, a_place[going] + length[going], b_place[going] + length[going], reach=np.arange(_REACH))
        length[going] += more
        going = going[more == _REACH]
    return length


def _characters(data: Bytes) -> tuple[Places, Places]:
    """For each byte place (the end included): the first character boundary not before it, the last not after it.

    Boundaries are counted in characters, so a byte run that ends inside a character loses that character.
    """
    is_start = np.concatenate([(data & 0xC0) != 0x80, [True]])  # other bytes of UTF-8 are 10xxxxxx
    started = np.cumsum(is_start)
    return started - is_start, started - 1


def _stretches(covered: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """The (start, end) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], covered, [False]]).astype(np.int8)))
    return tuple((int(start), int(end)) for start, end in edges.reshape(-1, 2))
