"""Windows: a long row of ids becomes many questions of equal length, with their answers.

What the rung below lacks (`bpe`): a book is one row of ids, far longer than a model can read at once, and nothing says
what the model should have answered. A window is a stretch of the row. Its answer needs no teacher: it is the same
stretch, one token further on. So a window of T tokens asks T questions, each with one token more to go by:

>>> ids = [10, 11, 12, 13, 14, 15, 16]
>>> questions(ids[:4])
[([10], 11), ([10, 11], 12), ([10, 11, 12], 13)]

`stride` is the step from one window to the next. With stride = length every token is an answer once; with a smaller
stride windows overlap, and a token is asked for again, with other tokens before it:

>>> x, y = windows(ids, length=3, stride=3)
>>> x
[[10, 11, 12], [13, 14, 15]]
>>> y
[[11, 12, 13], [14, 15, 16]]

What this rung lacks: it keeps every window in memory, and an epoch always cuts at the same places. Production
(`vidro.data.windows`) computes the windows' places instead, and begins each epoch at another token of the text, which
it treats as a circle; `one_epoch` is that in plain lists. `tests/equal/test_text_rungs_equal.py` proves both equal.
Next rung: `shards`, texts larger than memory.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

Rows = list[list[int]]


def questions(ids: Sequence[int]) -> list[tuple[list[int], int]]:
    """What is known, and what comes next, for each place of a row of ids."""
    return [(list(ids[:place]), ids[place]) for place in range(1, len(ids))]


def windows(ids: Sequence[int], length: int, stride: int) -> tuple[Rows, Rows]:
    """Every `stride`-th window of `length` ids, and for each the same window one token further on.

    A window that would lack its last answer is left out; a text of at most `length` ids has none.

    >>> windows([1, 2, 3], length=3, stride=1)
    ([], [])
    """
    x: Rows = []
    y: Rows = []
    for start in range(0, len(ids) - length, stride):
        x.append(list(ids[start : start + length]))
        y.append(list(ids[start + 1 : start + length + 1]))
    return x, y


def batches(x: Rows, y: Rows, batch_size: int, seed: int) -> list[tuple[Rows, Rows]]:
    """The windows in a random order, `batch_size` side by side; what is left over at the end is left out.

    The order is a function of the seed: the same seed, the same batches.

    >>> x, y = windows(range(20, 29), length=2, stride=2)
    >>> for inputs, targets in batches(x, y, batch_size=2, seed=0):
    ...     print(inputs, targets)
    [[24, 25], [20, 21]] [[25, 26], [21, 22]]
    [[22, 23], [26, 27]] [[23, 24], [27, 28]]
    """
    order = list(range(len(x)))
    random.Random(seed).shuffle(order)
    full = len(order) - len(order) % batch_size
    groups = [order[start : start + batch_size] for start in range(0, full, batch_size)]
    return [([x[i] for i in group], [y[i] for i in group]) for group in groups]


def one_epoch(ids: Sequence[int], length: int, offset: int) -> tuple[Rows, Rows]:
    """The windows of one pass over a text that is read as a circle, beginning at `offset`.

    Another offset cuts elsewhere, so no token is always the first of its window.

    >>> one_epoch([1, 2, 3, 4, 5], length=2, offset=3)
    ([[4, 5], [1, 2]], [[5, 1], [2, 3]])
    """
    turned = [*ids[offset:], *ids[:offset]]
    n_windows = len(ids) // length
    x, y = windows([*turned, turned[0]], length, length)
    return x[:n_windows], y[:n_windows]
