"""Where an export goes: a directory that is written beside its place and renamed; what others put there is never lost.

An export is known by its ``vidro-export.json``, which lists its files. Only such a directory is ever replaced, only
when that is asked for, and only when nothing else lies in it. Not here: what is written (`vidro.api.export_hf`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidro.core.errors import ExportError, UsageError
from vidro.core.files import read_json, remove_directory, storage_errors, sync_directory, write_json_atomic
from vidro.core.version import VERSION

MARK = "vidro-export.json"


def check_place(out: Path, *, overwrite: bool) -> None:
    """Raise UsageError when an export cannot be made at `out`: asked before anything is computed."""
    if out.exists() and not out.is_dir():
        raise UsageError("this is a file, not a folder", where=out, hint="Choose another place.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / MARK).is_file():
        hint = "Choose a place that does not exist yet."
        raise UsageError("there is something else in this folder, which an export never touches", where=out, hint=hint)
    if not overwrite:
        hint = "Replace it with --overwrite, or choose another place."
        raise UsageError("there is an earlier export here", where=out, hint=hint)
    mark = read_json(out / MARK, error=ExportError)
    own = set(mark.get("files", ())) | {MARK} if isinstance(mark, dict) else {MARK}
    strangers = sorted(path.name for path in out.iterdir() if path.name not in own)
    if strangers:
        hint = "Move it away, or choose another place."
        raise UsageError(f"{strangers[0]} was not written by the export, and would be lost", where=out, hint=hint)


@contextlib.contextmanager
def exported_directory(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A directory beside `out` to write into; it takes the place of `out` when the block succeeds, and goes when not.

    Raises UsageError for a place that is taken, StorageError when the disk is full or may not be written.
    """
    check_place(out, overwrite=overwrite)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)  # left by a killed process that had the same number
        beside.mkdir()
        try:
            yield beside
            _put(beside, out, overwrite=overwrite)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _put(beside: Path, out: Path, *, overwrite: bool) -> None:
    check_place(out, overwrite=overwrite)  # again: the comparison took a while
    if out.is_dir():
        remove_directory(out) if any(out.iterdir()) else out.rmdir()
    beside.replace(out)
    sync_directory(out.parent)


def write_mark(directory: Path, **facts: Any) -> None:
    """Write down what this export is and which files belong to it; the last file of an export."""
    files = sorted(path.name for path in directory.iterdir())
    write_json_atomic(directory / MARK, {"vidro": VERSION, **facts, "files": files})


def file_sizes(directory: Path) -> dict[str, int]:
    """Each file and its bytes, by name."""
    return {path.name: path.stat().st_size for path in sorted(directory.iterdir()) if path.is_file()}
