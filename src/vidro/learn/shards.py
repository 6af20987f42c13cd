"""Texts larger than memory: tokens in files, a window read from the middle, and an order that nobody has to store.

What the rung below lacks (`windows`): it holds the text as a list, and shuffles a list of all windows. A list of
numbers takes some 36 bytes a token in Python. Three trillion tokens fit into no list, and into no memory.

So each file of documents becomes one *shard*, once: two bytes a token, an end-of-text id after each document, and
beside it where the documents end. A shard that is there is left alone, so work that was stopped is simply started
again, and may be shared out between machines. Afterwards nothing is read but what is asked for: token number k begins
at byte 2·k.

>>> import tempfile
>>> work = tempfile.TemporaryDirectory()
>>> folder, source = Path(work.name), Path(work.name) / "a.jsonl.gz"
>>> write_documents(source, ["abc", "de"], name="letters")
>>> letters = lambda text: [ord(letter) - 96 for letter in text]
>>> make(source, folder, letters, end=0), make(source, folder, letters, end=0)  # the second finds it there
(True, False)
>>> window([folder / "a.jsonl.gz.tokens"], start=2, length=4)
[3, 0, 4, 5]
>>> document(source, folder, 1)
[4, 5]
>>> work.cleanup()

The order of training is computed too, one place at a time:

>>> [shuffled(i, n=8, seed=3) for i in range(8)]
[1, 6, 0, 4, 3, 7, 2, 5]

What this rung lacks: it trusts that it is always the same tokenizer, has no validation side, takes documents as they
stand, also empty ones, and uses one process. Production (`vidro.data.tokenizing`, `shards`, `windows`) has these;
`tests/equal/test_shards_equal.py` proves that the bytes of both are the same, and the order. Next rung: `embeddings`.
Sources: Soldaini et al. 2024 (Dolma); Luby and Rackoff 1988, Black and Rogaway 2002 (the order).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

ID = np.dtype("<u2")  # little-endian, 0 to 65,535
PLACE = np.dtype("<u8")
BITS_64 = (1 << 64) - 1


def write_documents(path: Path, texts: Iterable[str], name: str) -> None:
    """A file in Dolma's form: one document a line, as JSON with `id`, `text` and `source`, packed by gzip."""
    with gzip.open(path, "wt", encoding="utf-8", newline="\n") as lines:
        for number, text in enumerate(texts):
            lines.write(json.dumps({"id": f"{name}-{number}", "text": text, "source": name}) + "\n")


def read_documents(path: Path) -> Iterator[str]:
    """The texts of such a file, one after the other; only one is in memory at a time."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def files_of(source: Path, folder: Path) -> tuple[Path, Path, Path]:
    """The files of one shard: its tokens, where documents end, and the record that says it is whole."""
    tokens, ends, record = (folder / f"{source.name}.{kind}" for kind in ("tokens", "ends", "json"))
    return tokens, ends, record


def make(source: Path, folder: Path, encode: Callable[[str], list[int]], end: int) -> bool:
    """One file of documents to one shard. False if it was there already, made from these very bytes.

    Raises ValueError for an id that two bytes cannot hold.
    """
    tokens, ends, record = files_of(source, folder)
    with source.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if record.exists() and json.loads(record.read_text())["source"] == checksum:
        return False
    record.unlink(missing_ok=True)  # from here on there is no shard, until the record is back
    place = 0
    with tokens.open("wb") as to_tokens, ends.open("wb") as to_ends:
        for text in read_documents(source):
            ids = [*encode(text), end]
            if max(ids) > np.iinfo(ID).max:
                raise ValueError(f"id {max(ids)} does not fit into two bytes")
            place += len(ids)
            to_tokens.write(np.array(ids, dtype=ID).tobytes())
            to_ends.write(np.array(place, dtype=PLACE).tobytes())
    beside = record.with_name(record.name + ".part")
    beside.write_text(json.dumps({"source": checksum}))
    beside.replace(record)
    return True


def window(paths: Sequence[Path], start: int, length: int) -> list[int]:
    """`length` tokens from number `start` on; the token files count as one long row.

    A memory map looks like an array and is a file: what is touched is read, a few thousand bytes at a time.
    """
    found: list[int] = []
    for path in paths:
        n_here = path.stat().st_size // ID.itemsize
        if start < n_here and len(found) < length:
            tokens = np.memmap(path, dtype=ID, mode="r")
            found += tokens[start : start + length - len(found)].tolist()
        start = max(0, start - n_here)
    return found


def document(source: Path, folder: Path, number: int) -> list[int]:
    """The ids of document `number`, without the end: its own end and that of the one before say where it lies."""
    tokens, ends, _ = files_of(source, folder)
    places = np.memmap(ends, dtype=PLACE, mode="r")
    begin = int(places[number - 1]) if number else 0
    return window([tokens], begin, int(places[number]) - 1 - begin)


def scrambled(x: int) -> int:
    """64 bits, each of which depends on every bit of `x` (SplitMix64; Steele, Lea and Flood 2014)."""
    x = (x + 0x9E3779B97F4A7C15) & BITS_64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & BITS_64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & BITS_64
    return x ^ (x >> 31)


def key(seed: int, epoch: int, number: int) -> int:
    """64 bits that differ from seed to seed, epoch to epoch and round to round."""
    return scrambled(scrambled((seed * 0x9E3779B97F4A7C15 + number) & BITS_64) ^ epoch)


def shuffled(i: int, n: int, seed: int, epoch: int = 0, rounds: int = 6) -> int:
    """The block that is read at place `i` of a random order of `n` blocks. No other place has the same.

    The number is cut into two halves of as many bits. In each round one half is changed by what the other one says,
    and they change sides. That can be undone, whatever the change is, so no two numbers become one. The halves can
    hold numbers from n on; what comes out there goes in again, until it is below n.
    """
    half = max(1, -(-(n - 1).bit_length() // 2))  # bits of a half: of the largest number, rounded up
    mask = (1 << half) - 1
    while True:
        left, right = i >> half, i & mask
        for number in range(rounds):
            left, right = right, left ^ (scrambled(right ^ key(seed, epoch, number)) & mask)
        i = left << half | right
        if i < n:
            return i
