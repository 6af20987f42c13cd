"""A strict reader of GGUF files: every offset, count and length is checked before it is believed.

    magic "GGUF", version, number of tensors, number of settings     (little-endian throughout)
    settings:  name, type, value                                      `GgufFile.values`
    tensors:   name, sizes (innermost first), type, offset            `GgufFile.tensors`
    padding to a multiple of ``general.alignment``, then the numbers

Readers of this format were broken into by sizes whose product overflows, offsets past the end and lengths without
bound; here nothing is allocated that the file is not long enough for, and a damaged file is one line. Numbers are
read when they are asked for, a tensor at a time, into memory of their own. The format: the GGUF specification of ggml.
Not here: what the settings mean (`checkpoint/foreign/gguf_file`), the tokenizer (`tokenizer_in`), quantised blocks
(`blocks`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from vidro.checkpoint.gguf.blocks import NUMBERS, TYPES, Layout, unpack
from vidro.checkpoint.weights import Lazy
from vidro.core.errors import CheckpointError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = "general.alignment"

MOST_SETTINGS, MOST_TENSORS, MOST_ITEMS = 2**16, 2**17, 2**24
LONGEST_NAME, MOST_DIMENSIONS, LARGEST_ALIGNMENT = 2**16 - 1, 4, 2**16

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_ALTERED = "The file is cut short or altered; fetch it again."


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies. `shape` is PyTorch's order, the outermost size first; `start` counts from the file's."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    n_bytes: int


@dataclass(frozen=True)
class GgufFile:
    """What a file says; numbers are read by `weights`."""

    path: Path
    version: int
    values: Mapping[str, Any]
    """Settings: int, float, bool, str, a list of str, or an array of numbers."""
    tensors: Mapping[str, TensorInfo]

    def weights(self) -> Lazy:
        """Names to tensors: float32, float16 and bfloat16 as stored, quantised ones as float32.

        Asking for one raises CheckpointError where its type is not read, or the file has become shorter.
        """
        return Lazy({name: partial(_read, self.path, info) for name, info in self.tensors.items()})

    def raw(self, name: str) -> np.ndarray:
        """The bytes of one tensor as they are stored: uint8 [n]."""
        return _bytes_of(self.path, self.tensors[name])

    def check_types(self) -> None:
        """Raise CheckpointError for the first tensor whose numbers cannot be read, with what to do."""
        for info in self.tensors.values():
            if info.kind not in NUMBERS:
                raise _unreadable(self.path, info)


def open_gguf(path: Path) -> GgufFile:
    """The settings and the table of tensors. Raises CheckpointError for every file that is not a whole GGUF file."""
    try:
        with path.open("rb") as stream:
            return _open(Bounded(stream, path.stat().st_size, path))
    except FileNotFoundError:
        raise CheckpointError("there is no such file", where=path) from None
    except OSError as problem:
        raise CheckpointError(f"it cannot be read ({problem.strerror})", where=path) from None


class Bounded:
    """A file that is read from its start to its end, and never asked for more than it has."""

    def __init__(self, stream: BinaryIO, size: int, path: Path) -> None:
        self.stream, self.size, self.path, self.place = stream, size, path, 0

    def take(self, n_bytes: int, what: str) -> bytes:
        """The next bytes."""
        if n_bytes > self.size - self.place:
            raise self.wrong(f"{what} would go past the end of the file")
        data = self.stream.read(n_bytes)
        if len(data) != n_bytes:
            raise self.wrong("it became shorter while it was read")
        self.place += n_bytes
        return data

    def number(self, code: str, what: str) -> Any:
        """The next number, in `struct`'s notation."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def string(self, what: str, longest: int | None = None) -> str:
        """The next string: its length in bytes, then UTF-8."""
        length = self.number("Q", what)
        if longest is not None and length > longest:
            raise self.wrong(f"{what} is {length:,} bytes long")
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong(f"{what} is not UTF-8 text") from None

    def count(self, n: int, most: int, least_bytes: int, what: str) -> int:
        """`n`, once the file may hold so many of at least `least_bytes` each."""
        if n > most or n * least_bytes > self.size - self.place:
            raise self.wrong(f"{n:,} {what} are more than the file can hold")
        return n

    def wrong(self, what: str) -> CheckpointError:
        """The error to raise."""
        return CheckpointError(what, where=self.path, hint=_ALTERED)


def shown(name: str) -> str:
    """A name from a file, fit for one line of a message."""
    return name if name.isascii() and name.isprintable() and len(name) <= 80 else ascii(name[:80])


def _open(file: Bounded) -> GgufFile:
    if file.size < 24 or file.take(4, "the magic") != MAGIC:
        raise CheckpointError("this is not a GGUF file", where=file.path, hint="It would begin with GGUF.")
    version = file.number("I", "the version")
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        what = "it is big-endian" if swapped in VERSIONS else f"its version is {version:,}"
        hint = f"Versions {' and '.join(map(str, VERSIONS))}, little-endian, are read; convert the model again."
        raise CheckpointError(what, where=file.path, hint=hint)
    n_tensors, n_values = file.number("Q", "a count"), file.number("Q", "a count")
    file.count(n_values, MOST_SETTINGS, 14, "settings")
    values = _settings(file, n_values)
    file.count(n_tensors, MOST_TENSORS, 33, "tensors")
    tensors = list(_tensors(file, n_tensors))
    return GgufFile(file.path, version, values, _placed(file, tensors, _alignment(file, values)))


def _settings(file: Bounded, n: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _ in range(n):
        name = file.string("the name of a setting", LONGEST_NAME)
        if not name or name in values:
            raise file.wrong(f"the setting {shown(name)} is there twice" if name else "a setting has no name")
        values[name] = _value(file, file.number("I", "a type"), shown(name))
    return values


def _value(file: Bounded, kind: int, name: str) -> Any:
    if kind in _SCALARS:
        return file.number(_SCALARS[kind], name)
    if kind == _STRING:
        return file.string(name)
    if kind == _BOOL:
        return _true_or_false(file, file.take(1, name), name)[0]
    if kind != _ARRAY:
        raise file.wrong(f"the setting {name} has the unknown type {kind:,}")
    inner, n = file.number("I", name), file.number("Q", name)
    if inner == _STRING:
        return [file.string(name) for _ in range(file.count(n, MOST_ITEMS, 8, f"items of {name}"))]
    if inner == _BOOL:
        return _true_or_false(file, file.take(file.count(n, MOST_ITEMS, 1, f"items of {name}"), name), name)
    if inner not in _SCALARS:
        raise file.wrong(f"the setting {name} is a list of the type {inner:,}, which is not read")
    item = np.dtype("<" + _NUMPY[inner])
    file.count(n, MOST_ITEMS, item.itemsize, f"items of {name}")
    return np.frombuffer(file.take(n * item.itemsize, name), dtype=item)


_NUMPY = {0: "u1", 1: "i1", 2: "u2", 3: "i2", 4: "u4", 5: "i4", 6: "f4", 10: "u8", 11: "i8", 12: "f8"}


def _true_or_false(file: Bounded, data: bytes, name: str) -> np.ndarray | list[bool]:
    if any(byte > 1 for byte in data):
        raise file.wrong(f"the setting {name} is neither true nor false")
    return [bool(byte) for byte in data]


def _tensors(file: Bounded, n: int) -> Iterator[tuple[str, tuple[int, ...], Layout, int]]:
    """Name, shape, type and offset of each; sizes are checked, places not yet."""
    for _ in range(n):
        name = file.string("the name of a tensor", LONGEST_NAME)
        n_sizes = file.number("I", f"the tensor {shown(name)}")
        if not 1 <= n_sizes <= MOST_DIMENSIONS:
            raise file.wrong(f"the tensor {shown(name)} has {n_sizes:,} dimensions")
        sizes = struct.unpack(f"<{n_sizes}Q", file.take(8 * n_sizes, f"the tensor {shown(name)}"))
        kind, offset = file.number("I", f"the tensor {shown(name)}"), file.number("Q", f"the tensor {shown(name)}")
        if kind not in TYPES:
            raise file.wrong(f"the tensor {shown(name)} has the unknown type {kind:,}")
        if min(sizes) < 1 or sizes[0] % TYPES[kind].block:
            raise file.wrong(f"the tensor {shown(name)} has impossible sizes for {TYPES[kind].name}")
        yield name, sizes[::-1], TYPES[kind], offset


def _alignment(file: Bounded, values: Mapping[str, Any]) -> int:
    alignment = values.get(ALIGNMENT, 32)
    good = type(alignment) is int and 0 < alignment <= LARGEST_ALIGNMENT and alignment & (alignment - 1) == 0
    if not good:
        raise file.wrong(f"{ALIGNMENT} is not a power of two up to {LARGEST_ALIGNMENT:,}")
    return alignment


def _placed(
    file: Bounded, tensors: list[tuple[str, tuple[int, ...], Layout, int]], alignment: int
) -> dict[str, TensorInfo]:
    """The tensors with their places: aligned, inside the file, apart from each other, each name once."""
    base = -(-file.place // alignment) * alignment
    placed: dict[str, TensorInfo] = {}
    for name, shape, kind, offset in tensors:
        n_bytes = math.prod(shape) // kind.block * kind.n_bytes
        if name in placed or not name:
            raise file.wrong(f"the tensor {shown(name)} is there twice" if name else "a tensor has no name")
        if offset % alignment:
            raise file.wrong(f"the tensor {shown(name)} is not aligned")
        if base + offset + n_bytes > file.size:
            raise file.wrong(f"the tensor {shown(name)} would go past the end of the file")
        placed[name] = TensorInfo(name, shape, kind.name, base + offset, n_bytes)
    end, before = 0, ""
    for info in sorted(placed.values(), key=lambda info: info.start):
        if info.start < end:
            raise file.wrong(f"the tensors {shown(before)} and {shown(info.name)} lie on top of each other")
        end, before = info.start + info.n_bytes, info.name
    return placed


def _unreadable(path: Path, info: TensorInfo) -> CheckpointError:
    what = f"the tensor {shown(info.name)} is stored as {info.kind}, which is not read ({', '.join(NUMBERS)} are)"
    hint = "Take the F16 or Q8_0 file of this model, or: llama-quantize --allow-requantize THIS.gguf NEW.gguf f16."
    return CheckpointError(what, where=path, hint=hint)


def _bytes_of(path: Path, info: TensorInfo) -> np.ndarray:
    data = np.empty(info.n_bytes, dtype=np.uint8)
    with path.open("rb") as stream:
        stream.seek(info.start)
        if stream.readinto(data.data) != info.n_bytes:
            raise CheckpointError("it became shorter while it was read", where=path, hint=_ALTERED)
    return data


def _read(path: Path, info: TensorInfo) -> Tensor:
    if info.kind not in NUMBERS:
        raise _unreadable(path, info)
    data = _bytes_of(path, info)
    if info.kind == "BF16":  # which numpy does not know
        return torch.from_numpy(data).view(torch.bfloat16).reshape(info.shape)
    return torch.from_numpy(unpack(data, info.kind)).reshape(info.shape)
