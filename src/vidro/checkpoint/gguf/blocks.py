"""The types of numbers in a GGUF file: how large they are, and how the ones that are read become floats.

A quantised type stores 32 neighbours of a row as a block, one float16 scale d and 32 small integers q:

    Q8_0   d, 32 × int8            x = d·q
    Q4_0   d, 16 bytes             x = d·(q - 8); a byte holds place i in its low half and place i + 16 in its high one

Not here: the file (`read`), making such blocks (`write`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """A type: so many numbers in so many bytes."""

    name: str
    block: int
    n_bytes: int


# fmt: off
TYPES: dict[int, Layout] = {
    number: Layout(*layout) for number, layout in {
        0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2), 28: ("F64", 1, 8),
        24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
        2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
        9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
        13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66),
        17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18),
        21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 29: ("IQ1_M", 256, 56),
        34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
        40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
    }.items()
}  # fmt: skip
"""ggml's number of a type to what it is."""
# fmt: on

NUMBERS = ("F32", "F16", "BF16", "Q8_0", "Q4_0")
"""The types whose numbers are read."""


def unpack(data: np.ndarray, kind: str) -> np.ndarray:
    """The numbers in `data` (uint8 [n], whole blocks), in one row: as stored, or float32 where quantised."""
    if kind in ("F32", "F16"):
        return data.view("<f4" if kind == "F32" else "<f2")
    blocks = data.reshape(-1, 34 if kind == "Q8_0" else 18)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    numbers = np.empty((len(blocks), 32), dtype=np.float32)
    if kind == "Q8_0":
        numbers[:] = blocks[:, 2:].view(np.int8)
    else:
        numbers[:, :16], numbers[:, 16:] = blocks[:, 2:] & 15, blocks[:, 2:] >> 4
        numbers -= 8
    numbers *= scales
    return numbers.reshape(-1)
