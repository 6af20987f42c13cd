"""The learning rate's course, as pure functions of the share of the run that is done.

    wsd       ┌──────────────┐            warm-up, stable, decay: the stable part can be prolonged later, because
             ╱                ╲           the checkpoint before the decay is kept (`--more`)
            ╱                  ╲
    cosine  ╱‾‾‾‾‾╲__                     warm-up, then half a cosine (Loshchilov & Hutter 2017)
    constant ╱‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾

The share is steps done ÷ steps planned, or time used ÷ time given. Not here: the peak rates (`defaults`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Shape of the course: shares of the run, and the last value as a share of the peak."""

    kind: str
    warmup: float
    decay: float
    final: float

    def multiplier(self, share: float) -> float:
        """The learning rate at `share` (0 … 1) of the run, as a share of the peak.

        >>> wsd = Schedule(kind="wsd", warmup=0.1, decay=0.5, final=0.0)
        >>> [round(wsd.multiplier(s), 3) for s in (0.0, 0.05, 0.1, 0.5, 0.75, 1.0)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
        """
        share = min(max(share, 0.0), 1.0)
        if share < self.warmup:
            return share / self.warmup
        if self.kind == "constant":
            return 1.0
        start = self.decay_start
        if share <= start or start >= 1.0:
            return 1.0
        done = (share - start) / (1.0 - start)
        if self.kind == "cosine":
            return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * done))
        return 1.0 + (self.final - 1.0) * done

    @property
    def decay_start(self) -> float:
        """The share at which the rate begins to fall."""
        if self.kind == "cosine":
            return self.warmup
        return max(self.warmup, 1.0 - self.decay) if self.kind == "wsd" else 1.0

    def phase(self, share: float) -> str:
        """The name of the part that `share` lies in: warmup, stable or decay."""
        if share < self.warmup:
            return "warmup"
        return "decay" if share >= self.decay_start and self.decay_start < 1.0 else "stable"
