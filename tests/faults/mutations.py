"""Files with one or a few bytes that are wrong, the way disks, downloads and attackers make them. Seeded."""

from __future__ import annotations

import random
import struct

EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**64 - 1)


def mutated(data: bytes, dice: random.Random, *, within: int | None = None) -> bytes:
    """A copy with a mistake in its first `within` bytes (None: anywhere), or cut short anywhere."""
    end = len(data) if within is None else min(within, len(data))
    place, kind = dice.randrange(end), dice.randrange(7)
    changed = bytearray(data)
    if kind == 0:
        return data[: dice.randrange(len(data))]
    if kind == 1:
        changed[place] ^= 1 << dice.randrange(8)
    elif kind == 2:
        changed[place : place + 8] = struct.pack("<Q", dice.choice(EXTREMES))
    elif kind == 3:
        changed[place : place + 4] = struct.pack("<I", dice.choice(EXTREMES) & 0xFFFFFFFF)
    elif kind == 4:
        del changed[place : place + dice.randint(1, 16)]
    elif kind == 5:
        changed[place:place] = dice.randbytes(dice.randint(1, 16))
    else:
        for _ in range(dice.randint(2, 10)):
            changed[dice.randrange(end)] = dice.randrange(256)
    return bytes(changed)
