"""Files like those of ``torch.save``, built by hand, so that they can hold what it never writes."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch


def write_pth(
    path: Path, program: bytes, records: dict[str, bytes] | None = None, *, form: int = zipfile.ZIP_STORED
) -> Path:
    """A zip archive with this pickle and these records beside it (names inside the archive's folder)."""
    with zipfile.ZipFile(path, "w", form) as archive:
        archive.writestr("model/data.pkl", program)
        archive.writestr("model/byteorder", b"little")
        for name, data in (records or {}).items():
            archive.writestr(f"model/{name}", data)
        archive.writestr("model/version", b"3\n")
    return path


class Calls:
    """Pickled, it becomes a call of any function, which whoever unpickles it makes."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def evil(function: Callable[..., Any], *arguments: Any) -> bytes:
    """A pickle that makes a call, in the protocol that ``torch.save`` uses."""
    return pickle.dumps({"w": Calls(function, *arguments)}, protocol=2)


class _Storage:
    def __init__(self, kind: Any, key: str, count: int) -> None:
        self.persistent = ("storage", kind, key, "cpu", count)


class _Tensor:
    def __init__(self, storage: _Storage, shape: Sequence[int], strides: Sequence[int]) -> None:
        self.parts = (storage, 0, tuple(shape), tuple(strides), False, None)

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.parts  # pyright: ignore[reportAttributeAccessIssue]


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.persistent if isinstance(obj, _Storage) else None


def tensor_program(count: int, shape: Sequence[int], strides: Sequence[int]) -> bytes:
    """The pickle of ``{"tok_emb.weight": tensor}`` over the record data/0, which is said to hold `count` floats."""
    out = io.BytesIO()
    tensor = _Tensor(_Storage(torch.FloatStorage, "0", count), shape, strides)
    _Pickler(out, protocol=2).dump({"tok_emb.weight": tensor})
    return out.getvalue()
