"""Tensors in safetensors files, one at a time: read when they are asked for, written as they come.

    open_weights(directory)     model.safetensors, or the shards that model.safetensors.index.json names
    write_streamed(path, …)     names to tensors, none kept

Reading all of a file at once has the model in memory twice, as mapped pages and as copies. Here `safetensors` checks
the file (sizes, gaps, overlaps), and each tensor is then read from its place into memory of its own: aligned, and the
file may be replaced meanwhile. Not here: what the names mean (`names`), whole dictionaries (`tensors`).
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vidro.core.errors import CheckpointError
from vidro.core.files import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
MOST_INDEX_BYTES = 64 * 2**20

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""What safetensors calls the numbers that are read and written here."""

ROWS_AT_ONCE = 64
"""Of a matrix that is read turned: few enough for the processor's cache, enough to fill the lines that are written."""

_ALTERED = "The file is cut short or altered."


if TYPE_CHECKING:
    _Tensors = Mapping[str, Tensor]
else:
    _Tensors = Mapping  # a checker of types at run time would look into the first tensor, and so read it


class Lazy(_Tensors):
    """Names to tensors, each made anew whenever it is asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self.makers = makers

    def __getitem__(self, name: str) -> Tensor:
        return self.makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


def open_weights(directory: Path) -> Lazy:
    """The tensors of a model directory under the names of its files.

    Raises CheckpointError for files that are missing or damaged, and for an index that names places outside, or whose
    shards do not hold exactly what it says.
    """
    if (directory / WEIGHTS).exists() or not (directory / INDEX).exists():
        return open_file(directory / WEIGHTS)
    return _open_shards(directory, _shards(directory / INDEX))


def open_file(path: Path) -> Lazy:
    """The tensors of one file. Raises CheckpointError when it is missing, cut short or altered."""
    if not path.is_file():
        hint = "A model directory needs its weights."
        if any((path.parent / name).is_file() for name in PICKLED):
            hint = "Its weights are pickled. vidro import opens such a file: --from-pickle."
        raise CheckpointError("there is no such file", where=path, hint=hint)
    try:
        with safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header: dict[str, Any] = json.loads(stream.read(size))
    except (SafetensorError, OSError, ValueError, RecursionError, struct.error) as problem:
        first = (str(problem).splitlines() or [type(problem).__name__])[0][:200]
        raise CheckpointError(f"the weights cannot be read ({first})", where=path, hint=_ALTERED) from None
    return Lazy({name: InFile(path, name, 8 + size, entry) for name, entry in header.items() if name != "__metadata__"})


@dataclass(frozen=True)
class InFile:
    """Where a tensor lies, and how it is read from there; each call reads it anew."""

    path: Path
    name: str
    base: int
    """The byte of the file that its offsets count from."""
    entry: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes, as the file's table says."""
        return tuple(self.entry["shape"])

    def __call__(self) -> Tensor:
        """The tensor, in memory of its own."""
        dtype, (start, end) = self._dtype(), self.entry["data_offsets"]
        data = torch.empty(end - start, dtype=torch.uint8)
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(self.base + start)
            view, done = data.numpy().data, 0
            while done < end - start and (got := stream.readinto(view[done:])):  # at most 2 GB come at once
                done += got
        self._check(done == end - start)
        return data.view(dtype).reshape(self.shape)

    def can_turn(self, pieces: int) -> bool:
        """Whether it is a matrix whose transpose can be cut into so many pieces of the same size."""
        return len(self.shape) == 2 and 0 not in self.shape and self.shape[1] % pieces == 0

    def turned(self, pieces: int) -> list[Tensor]:
        """A matrix [R, C] as `pieces` of [C / pieces, R]: the rows of its transpose, cut, each in memory of its own.

        The same as ``self().mT.chunk(pieces)``, made contiguous, but the matrix as it lies there is never whole in
        memory: some rows are read and put in their places while the cache has them. The gap behind each row is for
        widths of whole pages, whose columns would push each other out of the cache.
        """
        (n_rows, n_columns), dtype = self.shape, self._dtype()
        width = n_columns // pieces
        made = [torch.empty(width, n_rows, dtype=dtype) for _ in range(pieces)]
        number = np.dtype(f"u{dtype.itemsize}")
        targets = [piece.view(torch.uint8).numpy().view(number) for piece in made]
        rows = np.empty((ROWS_AT_ONCE, n_columns + 64 // dtype.itemsize), number)[:, :n_columns]
        buffers = [memoryview(row).cast("B") for row in rows]
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(self.base + self.entry["data_offsets"][0])
            for at in range(0, n_rows, ROWS_AT_ONCE):
                count = min(ROWS_AT_ONCE, n_rows - at)
                self._check(_read_rows(stream, buffers[:count]) == count * n_columns * dtype.itemsize)
                for piece, target in enumerate(targets):
                    target[:, at : at + count] = rows[:count, piece * width : (piece + 1) * width].T
        return made

    def _dtype(self) -> torch.dtype:
        if self.entry["dtype"] not in DTYPES:
            known = "Supported: float64, float32, float16, bfloat16."
            what = f"the tensor {self.name} holds {self.entry['dtype']}, not floats"
            raise CheckpointError(what, where=self.path, hint=known)
        return DTYPES[self.entry["dtype"]]

    def _check(self, whole: bool) -> None:
        if not whole:
            raise CheckpointError("the weights cannot be read (it ends early)", where=self.path, hint=_ALTERED)


def _read_rows(stream: FileIO, rows: list[memoryview]) -> int:
    """Fill the rows from where the stream stands; the bytes that came."""
    if sys.platform == "win32":  # where no call fills several
        return sum(stream.readinto(row) for row in rows)
    return os.readv(stream.fileno(), rows)


def _shards(index: Path) -> dict[str, str]:
    """Tensor to file, as an index says; a file is a plain name and lies in the index's own folder."""
    if index.stat().st_size > MOST_INDEX_BYTES:
        raise CheckpointError("it is larger than the index of any model", where=index)
    found = read_json(index, error=CheckpointError)
    pieces = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(pieces, dict) or not pieces or not all(isinstance(file, str) for file in pieces.values()):
        raise CheckpointError("this is not an index of shards", where=index, hint=_ALTERED)
    folder = index.parent.resolve()
    inside = {folder, (folder / "../../blobs").resolve()}  # the second: the hub's cache, whose files are links
    for file in sorted(set(pieces.values())):
        plain = Path(file).name == file and not set(file) & set("/\\:\0") and file.endswith(".safetensors")
        if not plain or (index.parent / file).resolve().parent not in inside:
            what = f"it names {ascii(file)[:80]}, which is not a file of this directory"
            raise CheckpointError(what, where=index, hint="Nothing outside was read. Ask whoever made it.")
    return pieces


def _open_shards(directory: Path, pieces: Mapping[str, str]) -> Lazy:
    makers: dict[str, Callable[[], Tensor]] = {}
    holder: dict[str, str] = {}
    for file in sorted(set(pieces.values())):
        for name, maker in open_file(directory / file).makers.items():
            if name in holder:
                raise CheckpointError(f"the tensor {name} is in {holder[name]} too", where=directory / file)
            makers[name], holder[name] = maker, file
    for name, file in sorted(pieces.items()):
        if holder.get(name) != file:
            there = f"but it is in {holder[name]}" if name in holder else "but it is not"
            raise CheckpointError(f"the tensor {name} should be in {file}, {there}", where=directory / INDEX)
    unnamed = sorted(makers.keys() - pieces.keys())
    if unnamed:
        what = f"it does not name the tensor {unnamed[0]}, which {holder[unnamed[0]]} holds"
        raise CheckpointError(what, where=directory / INDEX, hint=_ALTERED)
    strays = sorted(
        path.name for path in directory.glob("model-*-of-*.safetensors") if path.name not in holder.values()
    )
    if strays:
        hint = "Remove it if it is left from another download."
        raise CheckpointError(f"it does not name the shard {strays[0]}", where=directory / INDEX, hint=hint)
    return Lazy(makers)


def write_streamed(path: Path, tensors: Lazy, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write `tensors` to `path`, asking for one after the other. Raises OSError when the disk is full.

    What comes first in a file, its table, is known last: room is left for it and filled up with blanks, as the
    format allows.
    """
    called = {dtype: name for name, dtype in DTYPES.items()}
    longest = sum(len(json.dumps(name)) + 160 for name in tensors) + len(json.dumps(dict(metadata or {}))) + 64
    room = -(-longest // 8) * 8
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    with path.open("wb") as stream:
        stream.seek(8 + room)
        place = 0
        for name, tensor in tensors.items():
            data = tensor.detach().to("cpu").contiguous()
            size = data.numel() * data.element_size()
            if size:
                stream.write(data.view(-1).view(torch.uint8).numpy().data)
            offsets = [place, place + size]
            table[name] = {"dtype": called[data.dtype], "shape": list(data.shape), "data_offsets": offsets}
            place += size
            del data, tensor
        header = json.dumps(table, separators=(",", ":")).encode()
        assert len(header) <= room
        stream.seek(0)
        stream.write(struct.pack("<Q", room) + header.ljust(room))
