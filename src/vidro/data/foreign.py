"""Token files that other programs made, read where they lie: Dolma's `.npy` and datatrove's `.ds`.

Both are bare ids, little-endian, without a header (a `.npy` *with* numpy's header is read too). Dolma puts a
`.csv.gz` beside a file (rows: start, end, id, source, line), datatrove a `.ds.index` (document ends, uint64) and a
`.ds.metadata` (first line: tokenizer name, a bar, bytes per token; second line: tokens). None of them holds a
checksum of the tokenizer, so what can be checked is that sizes fit and that all ids looked at are in the vocabulary.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidro.core.errors import DataError
from vidro.data.shard_files import ENDS_DTYPE, SUFFIX, token_dtype
from vidro.data.shards import Run, TokenShards
from vidro.data.sources import is_known

FOREIGN = (".npy", ".ds")
_LOOKED_AT = 1_000_000
_CUT_SHORT = "The file is cut short, or it was made with another number of bytes per token."
_ANEW = "Make it anew, or take it out of the folder."

Array = np.ndarray[Any, np.dtype[Any]]


def is_shards(source: object) -> bool:
    """Whether this is a folder of token shards (Vidro's; Dolma's or datatrove's, without texts beside), or one file."""
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    try:
        if not path.is_dir():
            return path.suffix in FOREIGN and path.is_file()
    except OSError:  # a name that no system has; the readers say so
        return False
    names = [found.name for found in path.rglob("*")]
    if any(name.endswith(SUFFIX) for name in names):
        return True
    return any(name.endswith(FOREIGN) for name in names) and not any(is_known(Path(name)) for name in names)


def foreign_files(path: Path) -> list[Path]:
    """The foreign token files of a folder in the order of their names, or the file itself."""
    if path.is_file():
        return [path]
    return sorted(found for suffix in FOREIGN for found in path.rglob(f"*{suffix}") if found.is_file())


def open_foreign(paths: Sequence[Path], *, vocab_size: int, eot_id: int | None) -> TokenShards:
    """The tokens of foreign files in this order.

    `vocab_size` tells uint16 from uint32 where the file does not say, and that the ids fit. Raises DataError.
    """
    shards = TokenShards([_run(path, vocab_size, eot_id) for path in paths], n_text_bytes=None, eot_id=eot_id)
    _check_ids(shards, vocab_size, where=paths[0] if len(paths) == 1 else paths[0].parent)
    return shards


def _run(path: Path, vocab_size: int, eot_id: int | None) -> Run:
    if path.suffix == ".ds":
        return _datatrove(path, vocab_size, eot_id)
    if path.open("rb").read(6) == b"\x93NUMPY":
        return _numpy(path, eot_id)
    return _bare(path, token_dtype(vocab_size), eot_id, ends=_dolma_ends(path))


def _bare(path: Path, dtype: np.dtype[Any], eot_id: int | None, *, ends: Array | None) -> Run:
    n_bytes = path.stat().st_size
    if n_bytes == 0:
        raise DataError("this file of tokens is empty", where=path, hint=_ANEW)
    if n_bytes % dtype.itemsize:
        what = f"{n_bytes:,} bytes are no whole number of {dtype.itemsize}-byte tokens"
        raise DataError(what, where=path, hint=_CUT_SHORT)
    n_tokens = n_bytes // dtype.itemsize
    if ends is None:
        ends = _ends_by_id(np.memmap(path, dtype=dtype, mode="r"), eot_id)
    elif len(ends) and (int(ends[-1]) != n_tokens or np.any(np.diff(ends.astype(np.int64)) < 0)):
        what = f"the document ends say {int(ends[-1]):,} tokens, but there are {n_tokens:,}"
        raise DataError(what, where=path, hint=_CUT_SHORT)
    return Run(path, dtype, 0, n_tokens, ends)


def _datatrove(path: Path, vocab_size: int, eot_id: int | None) -> Run:
    dtype, n_tokens = token_dtype(vocab_size), None
    metadata = path.with_name(path.name + ".metadata")
    if metadata.is_file():
        name, _, rest = metadata.read_text(encoding="utf-8").partition("\n")
        size = name.rpartition("|")[2]
        if "|" in name and size in ("2", "4"):
            dtype = np.dtype(f"<u{size}")
        count = rest.partition("\n")[0]
        n_tokens = int(count) if count.isdigit() else None
    index = path.with_name(path.name + ".index")
    ends = np.fromfile(index, dtype=ENDS_DTYPE).astype(np.uint64) if index.is_file() else None
    run = _bare(path, dtype, eot_id, ends=ends)
    if n_tokens is not None and run.n_tokens != n_tokens:
        what = f"the metadata says {n_tokens:,} tokens, but there are {run.n_tokens:,}"
        raise DataError(what, where=path, hint=_CUT_SHORT)
    return run


def _numpy(path: Path, eot_id: int | None) -> Run:
    """A file in numpy's own format: one dimension of unsigned 16 or 32-bit numbers."""
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as problem:
        raise DataError(f"this numpy file cannot be read ({problem})", where=path, hint=_ANEW) from None
    if ids.ndim != 1 or ids.dtype not in (np.dtype("<u2"), np.dtype("<u4")):
        what = f"this holds {ids.dtype} of shape {ids.shape}, not a row of 16 or 32-bit unsigned token ids"
        raise DataError(what, where=path)
    if not len(ids):
        raise DataError("this file of tokens is empty", where=path, hint=_ANEW)
    return Run(path, ids.dtype, 0, len(ids), _ends_by_id(ids, eot_id), offset_bytes=int(ids.offset))


def _dolma_ends(path: Path) -> Array | None:
    """The second column of the table beside a Dolma file; None where there is no such table."""
    table = path.with_suffix(".csv.gz")
    if not table.is_file():
        return None
    try:
        with gzip.open(table, "rt", encoding="utf-8", newline="") as rows:
            return np.array([int(row[1]) for row in csv.reader(rows) if row], dtype=np.uint64)
    except (OSError, EOFError, ValueError, IndexError) as problem:
        hint = "Make it anew, or remove it: documents then end where the end-of-text id stands."
        raise DataError(f"this table of documents cannot be read ({problem})", where=table, hint=hint) from None


def _ends_by_id(ids: Array, eot_id: int | None) -> Array:
    """Document ends where nothing else says them: after each end-of-text id, and at the end of the file."""
    ends = np.flatnonzero(ids == eot_id) + 1 if eot_id is not None else np.empty(0, dtype=np.int64)
    if not len(ends) or ends[-1] != len(ids):
        ends = np.append(ends, len(ids))
    return ends.astype(np.uint64)


def _check_ids(shards: TokenShards, vocab_size: int, *, where: Path) -> None:
    """Raise DataError when an id, among up to a million looked at, is not in the vocabulary."""
    places = np.linspace(0, len(shards) - 1, min(len(shards), _LOOKED_AT)).astype(np.int64)
    highest = int(shards[places].max())
    if highest >= vocab_size:
        raise DataError(
            f"these tokens do not belong to this tokenizer: id {highest:,} is not in its vocabulary of {vocab_size:,}",
            where=where,
            hint="Give the tokenizer they were made with: --tokenizer",
        )
