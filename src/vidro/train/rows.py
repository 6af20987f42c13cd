"""Which rows a step of fine-tuning takes: every row once an epoch, rows of similar length together.

A pure function of the step, the seed and the rows, so that a resume goes on exactly. Not here: how rows become batches
(`vidro.data.collate`, `vidro.infer.classifier`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vidro.data.collate import HasLength, length_buckets


class RowOrder:
    """The rows of every step."""

    def __init__(self, rows: Sequence[HasLength], batch_rows: int, seed: int) -> None:
        self.rows, self.batch_rows, self.seed = rows, batch_rows, seed
        self.steps_per_epoch = math.ceil(len(rows) / batch_rows)
        self._epoch, self._batches = -1, [[0]]

    def step(self, step: int) -> Sequence[int]:
        """Numbers of the rows of step `step` (from 0)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._batches = length_buckets(self.rows, self.batch_rows, seed=self.seed, epoch=epoch)
        return self._batches[place]

    @property
    def mean_tokens(self) -> float:
        """Of a row, without padding."""
        return sum(row.n_inputs for row in self.rows) / len(self.rows)
