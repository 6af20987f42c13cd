"""How well a small model will predict a text, before it is trained: one formula, fitted to runs of ours.

    bits per byte = trial^h · (floor + size · N^-a + data · S^-b) · (fall / usual fall)^(-1.7 ln (S / 0.3))

N counts the weights that multiply, in millions; S the megabytes of text that were seen, where a text seen again counts
less and less: S = U · (1 + R · (1 - exp(-(epochs - 1) / R))) after Muennighoff et al. 2023. The three-part form is that
of Hoffmann et al. 2022. *Trial* is what a tiny model makes of the text in a fixed number of steps (`pilot`), and its
*fall* how much that gained in the second half of them: documents that repeat each other, manuals say, go on falling
when prose no longer does. Sizes and powers are fits to controlled runs, the trial's power and the scale of all to 42
runs of the planner on texts of many kinds, the fall's power to 61 more (`docs/diary.md`); the interval is the spread of
the errors on other texts.

Not here: what is chosen with it (`plan`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from vidro.config.schema import ModelConfig
from vidro.model.count import count

FLOOR = 0.414
SIZE, SIZE_POWER = 0.0626, 0.475
DATA, DATA_POWER = 0.382, 0.285
REPEATS = 2.78  # R: however often a text is read, it is worth at most 3.8 times itself
TRIAL_POWER = 0.886
USUAL_FALL, FALL_POWER = 1.075, 1.7
LEAST_FALL = 1.05  # a trial that gained less has a noisy figure, not a text that learns nothing more
FALL_MB = (0.05, 0.3, 1.5)  # where the fall stops to count, what the trial has seen, and where it stops again
SPREAD = 0.024  # standard deviation of ln(got / predicted) of texts with a usual fall: held 84 % of 49 forecasts
STEEP = 1.0  # … and beyond that, for each unit of ln(fall / usual fall)
BEYOND = 0.015  # … and for each doubling beyond what was tried
TRIED_MB = (0.2, 2.0)  # of text seen
Z80 = 1.2816  # a normal distribution's middle 80 %


class Trial(NamedTuple):
    """Bits per byte of the validation text by a tiny model: after its training, and halfway, before its rates fall."""

    bits: float
    halfway: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Bits per byte of the validation text, and the interval that should hold 8 of 10 results."""

    bits_per_byte: float
    low: float
    high: float


def seen_mb(seen_bytes: float, unique_bytes: float) -> float:
    """Megabytes of fresh text that are worth as much as `seen_bytes` of a text of `unique_bytes`.

    >>> round(seen_mb(1e6, 4e6), 3), seen_mb(1e9, 1e6) < 20
    (1.0, True)
    """
    epochs = seen_bytes / unique_bytes
    if epochs <= 1:
        return seen_bytes / 1e6
    return unique_bytes / 1e6 * (1 + REPEATS * (1 - math.exp(-(epochs - 1) / REPEATS)))


def expected_bits(trial: Trial, model: ModelConfig, seen_bytes: float, unique_bytes: float) -> float:
    """Bits per byte of `model` after `seen_bytes` of text."""
    size, data = count(model).n_matmul / 1e6, max(seen_mb(seen_bytes, unique_bytes), 1e-3)
    core = FLOOR + SIZE * size**-SIZE_POWER + DATA * data**-DATA_POWER
    low, trial_mb, high = FALL_MB
    fall = relative_fall(trial)
    further = FALL_POWER * math.log(min(max(data, low), high) / trial_mb)
    return trial.bits**TRIAL_POWER * core * fall**-further


def relative_fall(trial: Trial) -> float:
    """How much the trial gained in the second half of its steps, over what is usual."""
    return max(trial.halfway / trial.bits, LEAST_FALL) / USUAL_FALL


def forecast(trial: Trial, model: ModelConfig, seen_bytes: float, unique_bytes: float) -> Forecast:
    """`expected_bits` with its interval, which widens beyond what was tried, and where the trial still fell steeply."""
    bits = expected_bits(trial, model, seen_bytes, unique_bytes)
    low, high = TRIED_MB
    mb = max(seen_bytes / 1e6, 1e-6)
    doublings = max(0.0, math.log2(low / mb), math.log2(mb / high))
    steep = max(0.0, math.log(relative_fall(trial)))
    width = math.exp(Z80 * math.hypot(SPREAD, STEEP * steep, BEYOND * doublings))
    return Forecast(bits_per_byte=bits, low=bits / width, high=bits * width)
