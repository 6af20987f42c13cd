"""Numbers as people read them. Not here: events as lines (`progress`)."""

from __future__ import annotations

import math

from vidro.infer.reading import human_bytes

__all__ = ["human_bytes", "human_count", "human_time", "visible"]

# Control characters as their pictures, one for one: a model that learned from bytes may write any of them, and a
# terminal would obey.
_PICTURES = {code: 0x2400 + code for code in range(32) if code not in (9, 10)}
_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0x2426)


def visible(text: str) -> str:
    """`text` for a terminal: as long as before, control characters but newline and tab as pictures.

    >>> visible("a\\tb\\n") == "a\\tb\\n", visible("\\x1b[2J")
    (True, '␛[2J')
    """
    return text.translate(_PICTURES)


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
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def counted(number: int, thing: str) -> str:
    """A count with its noun.

    >>> counted(1, "document"), counted(2988, "document")
    ('1 document', '2,988 documents')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
