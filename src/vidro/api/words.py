"""Numbers as people read them. Not here: events as lines (`progress`)."""

from __future__ import annotations

import math

from vidro.infer.reading import human_bytes

__all__ = ["human_bytes", "human_count", "human_time"]


def human_count(number: float) -> str:
    """A count in three digits.

    >>> human_count(950), human_count(12_345), human_count(1_234_567), human_count(3.2e9)
    ('950', '12.3k', '1.23M', '3.20B')
    """
    if number < 1000:
        return f"{number:.0f}"
    for limit, divisor, letter in ((1e6, 1e3, "k"), (1e9, 1e6, "M"), (math.inf, 1e9, "B")):
        if number < limit * 0.9995:
            value = number / divisor
            return f"{value:.{max(0, 2 - int(math.log10(value)))}f}{letter}"
    raise AssertionError("the last limit is infinite")


def human_time(seconds: float) -> str:
    """A duration in one or two units.

    >>> human_time(0.4), human_time(59), human_time(125), human_time(7300)
    ('0 s', '59 s', '2 min 05 s', '2 h 02 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
