"""From conversations to batches: ids, padding, targets one token on, and which of them are learned.

    text        prompt ─────────── answer ──── end  (padding)
    ids         p₀   p₁   p₂   a₀   a₁   end   pad   pad
    inputs      p₀   p₁   p₂   a₀   a₁   end   pad        every id but the last
    targets     -    -    a₀   a₁   end  -     -          the id after it, where that is learned (- is IGNORE)

What is learned and what is padding is known from the segments and the lengths, never guessed from ids: a model whose
padding token is also its end token still learns to stop. Numpy only. Not here: the loss (`vidro.model.loss`), which
skips IGNORE; what the text looks like (`vidro.text.styles`); several examples in one row (`packing`). Read next:
`vidro.model.loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from vidro.core.errors import DataError
from vidro.core.shapes import Int
from vidro.data.instructions import InstructionRow
from vidro.text.styles import PromptStyle, encode_segments
from vidro.text.tokenizer import Tokenizer

Array = np.ndarray[Any, np.dtype[Any]]

IGNORE = -100
"""Target of a token that is not counted: the number that `vidro.model.loss` skips (a test compares them)."""

# Batches of similar length are cut from pools of this many, so that an epoch's batches are still mixed.
_POOL_BATCHES = 32


@dataclass(frozen=True)
class Example:
    """The ids of a text and which of them are learned; never the first, which nothing stands before."""

    ids: list[int]
    learned: list[bool]

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.learned)
        assert not any(self.learned[:1])

    @property
    def n_inputs(self) -> int:
        """How many tokens the model reads: all but the last."""
        return len(self.ids) - 1


def make_example(style: PromptStyle, tokenizer: Tokenizer, row: InstructionRow, *, mask_prompt: bool = True) -> Example:
    """The row's text as ids. With `mask_prompt` the answers and their end tokens are learned, without it everything.

    What a style writes behind the last end token begins the next turn, which does not come, so it is left out.
    Raises DataError and TokenizerError, as the style and the tokenizer do.
    """
    segments = style.segments(row.messages)
    while segments and not segments[-1].learned:
        segments.pop()
    ids, learned = encode_segments(tokenizer, segments)
    if not mask_prompt:
        learned = [True] * len(ids)
    return Example(ids, [False, *learned[1:]])


def collate(
    examples: Sequence[Example], *, pad_id: int, length: int | None = None
) -> tuple[Int[Array, "B T"], Int[Array, "B T"]]:
    """Inputs and targets of a batch, padded on the right to its longest example, or to `length` tokens.

    Raises DataError for an example that is longer than `length`.

    >>> batch = [Example([5, 6, 9], [False, True, True]), Example([7, 9], [False, True])]
    >>> ids, targets = collate(batch, pad_id=0)
    >>> ids.tolist(), targets.tolist()
    ([[5, 6], [7, 0]], [[6, 9], [9, -100]])
    """
    n_columns = max((example.n_inputs for example in examples), default=0) if length is None else length
    ids = np.full((len(examples), n_columns), pad_id, dtype=np.int64)
    targets = np.full_like(ids, IGNORE)
    for row, example in enumerate(examples):
        check_fits(example, n_columns)
        write_example(example, ids[row], targets[row], start=0)
    return ids, targets


def fit_lengths(
    examples: Sequence[Example], context: int, how: Literal["drop", "cut"] = "drop", *, end_id: int
) -> tuple[list[Example], int, int]:
    """Those that a context of so many tokens can hold, how many were dropped, and how many were cut at their end.

    A cut example with nothing left to learn is dropped. Raises DataError when nothing is left, or when no learned text
    ends with `end_id`: a model taught by that would never stop.
    """
    kept: list[Example] = []
    n_cut = 0
    for example in examples:
        too_long = example.n_inputs > context
        if too_long and how == "cut":
            example = Example(example.ids[: context + 1], example.learned[: context + 1])
        if example.n_inputs <= context and any(example.learned):
            kept.append(example)
            n_cut += too_long
    if not kept:
        shortest = min((example.n_inputs for example in examples), default=0)
        what = f"none of {len(examples):,} examples has an answer that begins within {context:,} tokens"
        hint = f"The shortest has {shortest:,} tokens; a longer context, or shorter prompts."
        raise DataError(what, hint=hint)
    check_ends(kept, end_id)
    return kept, len(examples) - len(kept), n_cut


def check_ends(examples: Sequence[Example], end_id: int) -> None:
    """Raise DataError when no example teaches the model to stop."""
    if not any(end_id in _learned_ids(example) for example in examples):
        what = f"no answer ends with the end token (id {end_id}), so a model taught by this would never stop"
        raise DataError(what, hint="Use shorter answers, a longer context, or drop what is too long.")


class HasLength(Protocol):
    """What can be sorted by how many tokens of it the model reads."""

    @property
    def n_inputs(self) -> int: ...


def length_buckets(examples: Sequence[HasLength], batch_rows: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Batches of examples of similar length, as numbers of examples: all of them, each once.

    A pure function of (seed, epoch). Every batch but one has `batch_rows`. A random order is cut into pools, each pool
    sorted by length and cut into batches, and the batches shuffled.
    """
    rng = np.random.default_rng([seed, epoch])
    lengths = np.array([example.n_inputs for example in examples], dtype=np.int64)
    order = rng.permutation(len(examples))
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_rows * _POOL_BATCHES):
        pool = order[start : start + batch_rows * _POOL_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + batch_rows].tolist() for first in range(0, len(pool), batch_rows)]
    return [batches[number] for number in rng.permutation(len(batches))]


def mixed_batches(n: int, batch_rows: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Batches of examples 0 to n − 1 in a random order, whatever their lengths: all of them, each once.

    A pure function of (seed, epoch). Every batch but the last has `batch_rows`.

    >>> sorted(number for batch in mixed_batches(5, 2, seed=1, epoch=0) for number in batch)
    [0, 1, 2, 3, 4]
    """
    order = np.random.default_rng([seed, epoch]).permutation(n)
    return [order[first : first + batch_rows].tolist() for first in range(0, n, batch_rows)]


def write_example(example: Example, ids: Int[Array, "T"], targets: Int[Array, "T"], *, start: int) -> None:
    """Put one example into a row, in place."""
    tokens = np.array(example.ids, dtype=np.int64)
    place = slice(start, start + example.n_inputs)
    ids[place] = tokens[:-1]
    targets[place] = np.where(example.learned[1:], tokens[1:], IGNORE)


def _learned_ids(example: Example) -> set[int]:
    return {number for number, learned in zip(example.ids, example.learned, strict=True) if learned}


def check_fits(example: Example, length: int) -> None:
    """Raise DataError for an example that is longer than a row."""
    if example.n_inputs > length:
        what = f"an example of {example.n_inputs:,} tokens does not fit into {length:,}"
        raise DataError(what, hint="`fit_lengths` drops or cuts such examples, and counts them.")
