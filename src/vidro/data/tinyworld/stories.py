"""Many stories of tiny world, each with its probability, and how far a perfect model could get on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import log2
from typing import NamedTuple

from vidro.data.tinyworld.telling import Digits, Teller


class Told(NamedTuple):
    """A story, and the bits of all choices made in it: minus the base-2 logarithm of its probability."""

    text: str
    bits: float


def told(seed: int, index: int) -> Told:
    """The story with this number and its bits, the same for ever for the same seed and index."""
    digits = Digits(seed, index)
    teller = Teller(digits)
    teller.tell()
    return Told("".join(teller.told), log2(digits.ways))


def story(seed: int, index: int) -> str:
    """The story with this number: about 145 words in four paragraphs."""
    return told(seed, index).text


def _until(seed: int, n_bytes: int) -> Iterator[Told]:
    index = told_bytes = 0
    while told_bytes < n_bytes:
        one = told(seed, index)
        yield one
        told_bytes += len(one.text.encode())
        index += 1


def stories(*, seed: int, n_bytes: int) -> Iterator[str]:
    """Stories 0, 1, 2 … until at least `n_bytes` UTF-8 bytes are told; the last one is told to its end."""
    return (one.text for one in _until(seed, n_bytes))


def text(seed: int, n_bytes: int) -> str:
    """The same stories as one text, with two empty lines between them."""
    return "\n\n\n".join(stories(seed=seed, n_bytes=n_bytes)) + "\n"


def floor_bits_per_byte(texts: Iterable[str], *, seed: int, n_bytes: int) -> float | None:
    """The bits per UTF-8 byte of `texts`, if each is one of `stories(seed=seed, n_bytes=n_bytes)`; else None.

    It is the entropy of the grammar as these texts show it: over many of them no model predicts better. Line
    ends around a story are bytes of its text, but nothing to guess.
    """
    known = dict(_until(seed, n_bytes))
    bits = n = 0.0
    for one in texts:
        if one.strip("\n") not in known:
            return None
        bits, n = bits + known[one.strip("\n")], n + len(one.encode())
    return bits / n if n else None
