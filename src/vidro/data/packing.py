"""Several examples in one row of the model, each as if it stood there alone.

    padded    a  a  a  a  a  a      packed    a  a  a  a  a  a
              b  b  b  b  .  .                b  b  b  b  c  c
              c  c  .  .  .  .      pieces    1  1  1  1  2  2      of the second row
                                    places    0  1  2  3  0  1

Which examples a step has is not changed, only how they lie: the model lets a token look at its own piece only, and
counts places anew in each (`vidro.model.positions`). Numpy only. Not here: padding and what is learned (`collate`),
the mask (`vidro.model.attention`). Read next: `vidro.model.positions`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidro.core.shapes import Int
from vidro.data.collate import IGNORE, Example, HasLength, check_fits, write_example

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Packed:
    """Rows that hold several examples each.

    pieces  the number of a token's example, −1 for padding: a token may look only at tokens with its own number
    """

    ids: Int[Array, "B T"]
    targets: Int[Array, "B T"]
    pieces: Int[Array, "B T"]


def pack(examples: Sequence[Example], length: int, *, pad_id: int) -> Packed:
    """The examples in as few rows of `length` tokens as best fit finds: the longest first, each to the fullest row.

    Each stays whole, and its last token is only a target: nothing is predicted across the border of two examples.
    Raises DataError for an example that is longer than a row.

    >>> batch = [Example([5, 6, 7, 9], [False, True, True, True]), Example([8, 9], [False, True])]
    >>> packed = pack(batch, 5, pad_id=0)
    >>> packed.ids.tolist(), packed.targets.tolist()
    ([[5, 6, 7, 8, 0]], [[6, 7, 9, 9, -100]])
    >>> packed.pieces.tolist()
    [[0, 0, 0, 1, -1]]
    """
    rows = best_fit([example.n_inputs for example in examples], length)
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    targets = np.full_like(ids, IGNORE)
    pieces = np.full_like(ids, -1)
    for row, numbers in enumerate(rows):
        start = 0
        for number in numbers:
            example = examples[number]
            check_fits(example, length)
            write_example(example, ids[row], targets[row], start=start)
            end = start + example.n_inputs
            pieces[row, start:end] = number
            start = end
    return Packed(ids, targets, pieces)


def row_length(lengths: Sequence[int], context: int) -> int:
    """How long rows must be to hold examples of these lengths with the least padding; of several the shortest.

    Short rows are wanted because attention costs the square of a row's length.

    >>> row_length([4, 3, 2, 2, 1], context=16)  # two rows of 6; three rows of 4 also hold them, one row of 12 too
    4
    """
    shortest, total = max(lengths), sum(lengths)
    best, fewest = shortest, len(lengths) * shortest
    for length in range(shortest, context + 1):
        at_least = length * -(-total // length)
        if at_least < fewest and (tokens := length * len(best_fit(lengths, length))) < fewest:
            best, fewest = length, tokens
    return best


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Numbers of the lengths, row by row; "best fit decreasing" (Johnson 1973), at most about 11/9 of the fewest."""
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, row), sorted
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        place = bisect.bisect_left(free, (lengths[number], -1))
        if place == len(free):
            rows.append([])
            room, row = capacity, len(rows) - 1
        else:
            room, row = free.pop(place)
        rows[row].append(number)
        bisect.insort(free, (room - lengths[number], row))
    return rows


@dataclass(frozen=True)
class Filling:
    """How well the rows of some batches are filled: `n_pieces` examples of `n_tokens` in rows of `n_places` in all."""

    n_pieces: int
    n_rows: int
    n_tokens: int
    n_places: int

    @property
    def padding_frac(self) -> float:
        """Share of the places that hold padding."""
        return 1 - self.n_tokens / self.n_places


def filling(examples: Sequence[HasLength], batches: Iterable[Sequence[int]], *, context: int | None) -> Filling:
    """Of batches that are packed into rows of at most `context` tokens, or with None padded, a row an example.

    >>> three = [Example([0] * n, [False] * n) for n in (7, 4, 4)]
    >>> filling(three, [[0, 1, 2]], context=None).padding_frac, filling(three, [[0, 1, 2]], context=8).padding_frac
    (0.33333333333333337, 0.0)
    """
    n_pieces = n_rows = n_tokens = n_places = 0
    for batch in batches:
        lengths = [examples[number].n_inputs for number in batch]
        longest = max(lengths) if context is None else row_length(lengths, context)
        rows = len(lengths) if context is None else len(best_fit(lengths, longest))
        n_pieces, n_rows = n_pieces + len(lengths), n_rows + rows
        n_tokens, n_places = n_tokens + sum(lengths), n_places + rows * longest
    return Filling(n_pieces, n_rows, n_tokens, n_places)
