"""Which rows a step of fine-tuning takes: every row once an epoch, rows of similar length together or mixed.

A pure function of the step, the seed and the rows, so that a resume goes on exactly. Not here: how rows become batches
(`vidro.data.collate`, `vidro.data.packing`, `vidro.infer.classifier`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vidro.data.collate import HasLength, length_buckets, mixed_batches


class RowOrder:
    """The rows of every step; `mixed` where lengths need not be similar, because rows are packed."""

    def __init__(self, rows: Sequence[HasLength], batch_rows: int, seed: int, *, mixed: bool = False) -> None:
        self.rows, self.batch_rows, self.seed, self.mixed = rows, batch_rows, seed, mixed
        self.steps_per_epoch = math.ceil(len(rows) / batch_rows)
        self._epoch, self._batches = -1, [[0]]

    def step(self, step: int) -> Sequence[int]:
        """Numbers of the rows of step `step` (from 0)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self.batches(epoch)
        return self._batches[place]

    def batches(self, epoch: int) -> list[list[int]]:
        """The rows of every step of an epoch (from 0)."""
        if self.mixed:
            return mixed_batches(len(self.rows), self.batch_rows, seed=self.seed, epoch=epoch)
        return length_buckets(self.rows, self.batch_rows, seed=self.seed, epoch=epoch)

    @property
    def mean_tokens(self) -> float:
        """Of a row, without padding."""
        return sum(row.n_inputs for row in self.rows) / len(self.rows)
