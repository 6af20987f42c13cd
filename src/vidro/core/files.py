"""Files that are never half there: written beside, flushed to the disk, then renamed (law 7); and checksums.

Not here: downloads (`download`), what is written (each room knows its own formats).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidro.core.errors import StorageError, VidroError


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes, read in pieces (memory stays flat)."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; renamed onto it when the block succeeds, removed when it fails.

    Raises StorageError when the disk is full or may not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
            sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Replace the file's content in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: Path, text: str) -> None:
    """Replace the file's content in one step; UTF-8, line ends as given."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Replace the file's content with indented JSON in one step."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, *, error: type[VidroError]) -> Any:
    """The parsed file; raises `error` with one line when it is missing, cut short or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error("there is no such file", where=path) from None
    except (ValueError, RecursionError) as problem:  # not JSON, not UTF-8, a number or a nesting without end
        hint = "The file is cut short or altered."
        raise error(f"this is not valid JSON ({problem})", where=path, hint=hint) from None


def sync_file(path: Path) -> None:
    """Make the file's bytes survive a power cut."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def sync_directory(path: Path) -> None:
    """Make a rename inside the directory survive a power cut (a no-op where directories cannot be opened)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_directory(path: Path) -> None:
    """Remove a directory in one visible step: renamed to a hidden name first, so it is never seen half there."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}.old")
    with storage_errors(path):
        if hidden.exists():  # left by a killed process that had the same number
            shutil.rmtree(hidden)
        path.replace(hidden)
        shutil.rmtree(hidden)


def remove_leftovers(directory: Path) -> None:
    """Remove the half-written files that killed processes left beside their targets (`atomic_path`)."""
    for left in directory.glob(".*.tmp"):
        if left.is_file():
            left.unlink()


def free_bytes(path: Path) -> int:
    """Free space on the disk that holds `path` (or its nearest existing parent)."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn 'disk full' and 'may not write' into one line for the user; other OSErrors pass."""
    reasons = {
        errno.ENOSPC: ("no space left on the disk", "Free some space; nothing that was saved before is lost."),
        errno.EDQUOT: ("the disk quota is used up", "Free some space; nothing that was saved before is lost."),
        errno.EACCES: ("no permission to write here", "Choose another place with --out."),
        errno.EPERM: ("no permission to write here", "Choose another place with --out."),
        errno.EROFS: ("this disk is read-only", "Choose another place with --out."),
        errno.EEXIST: ("a part of this path is a file, not a folder", "Choose another place with --out."),
        errno.ENOTDIR: ("a part of this path is a file, not a folder", "Choose another place with --out."),
    }
    try:
        yield
    except OSError as problem:
        if problem.errno not in reasons:
            raise
        what, hint = reasons[problem.errno]
        raise StorageError(what, where=path, hint=hint) from problem
