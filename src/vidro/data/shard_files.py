"""The files of a token shard: their names, the manifest, and the writer that never leaves half a shard.

For each input file and each side (train, val) of the split there are

    NAME.train.tokens    ids, little-endian, uint16 (uint32 for vocabularies above 65,536), an end id after each text
    NAME.train.ends      for each document the number of tokens up to and including its end, little-endian uint64
    NAME.shard.json      the manifest: format version, tokenizer fingerprint, source checksum, counts, checksums

The manifest is written last, so a shard without one does not exist. Not here: reading tokens (`shards`), making them
(`tokenizing`), other people's token files (`foreign`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vidro.core.errors import DataError
from vidro.core.files import atomic_path, read_json, sha256_file, write_json_atomic

FORMAT, VERSION = "vidro-shard", 1
SUFFIX = ".shard.json"
ENDS_DTYPE = np.dtype("<u8")
MAKE_AGAIN = "Make the tokens again: vidro data prepare"

Array = np.ndarray[Any, np.dtype[Any]]


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest of uint16 and uint32 that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


class ShardWriter:
    """Writes the sides of one shard as tokens come; `finish` gives them their names and writes the manifest.

    Used as a context manager: leaving it without `finish` removes what was written.
    """

    def __init__(self, stem: Path, sides: Sequence[str], vocab_size: int) -> None:
        self.stem = stem
        self.dtype = token_dtype(vocab_size)
        self._stack = contextlib.ExitStack()
        self._sides = {side: _Side(self._stack, stem, side) for side in sides}

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        unfinished = error or _Unfinished()
        for side in self._sides.values():
            side.close()
        with contextlib.suppress(_Unfinished):
            self._stack.__exit__(type(unfinished), unfinished, trace)

    def append(self, side: str, tokens: Array, ends: Array, n_text_bytes: int) -> None:
        """Add tokens; `ends` are the ends of documents among them, counted from the first of these tokens."""
        self._sides[side].append(tokens.astype(self.dtype, copy=False), ends, n_text_bytes)

    def finish(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Name the files, write the manifest with `facts` in it, and return it."""
        path = manifest_path(self.stem)
        path.unlink(missing_ok=True)  # from here to the end this shard does not exist
        for side in self._sides.values():
            side.close()
        self._stack.close()
        sides = {name: side.entry() for name, side in self._sides.items()}
        manifest = {"format": FORMAT, "version": VERSION, "dtype": self.dtype.name, **facts, "sides": sides}
        write_json_atomic(path, manifest)
        return manifest


class _Unfinished(Exception):
    """Makes the open files be removed when a writer is left early."""


class _Side:
    """The two files of one side while they are written."""

    def __init__(self, stack: contextlib.ExitStack, stem: Path, side: str) -> None:
        tokens, ends = (stack.enter_context(atomic_path(path)) for path in side_paths(stem, side))
        self._tokens: BinaryIO = tokens.open("wb")
        self._ends: BinaryIO = ends.open("wb")
        self._hashes = (hashlib.sha256(), hashlib.sha256())
        self.n_tokens = self.n_documents = self.n_text_bytes = 0

    def append(self, tokens: Array, ends: Array, n_text_bytes: int) -> None:
        """Write some documents: their tokens, the place past the last token of each, and the bytes of their texts."""
        shifted = (ends.astype(np.uint64) + np.uint64(self.n_tokens)).astype(ENDS_DTYPE)
        for stream, digest, data in zip((self._tokens, self._ends), self._hashes, (tokens, shifted), strict=True):
            packed = data.tobytes()
            stream.write(packed)
            digest.update(packed)
        self.n_tokens += len(tokens)
        self.n_documents += len(ends)
        self.n_text_bytes += n_text_bytes

    def close(self) -> None:
        self._tokens.close()
        self._ends.close()

    def entry(self) -> dict[str, Any]:
        return {
            "n_tokens": self.n_tokens,
            "n_documents": self.n_documents,
            "n_text_bytes": self.n_text_bytes,
            "tokens_sha256": self._hashes[0].hexdigest(),
            "ends_sha256": self._hashes[1].hexdigest(),
        }


def write_shard(
    stem: Path, documents: Iterable[Array], *, tokenizer_fingerprint: str, vocab_size: int, side: str = "train"
) -> dict[str, Any]:
    """Write documents, each an array of ids that ends with the end-of-text id, as one shard; returns the manifest.

    The readable way to a shard; `tokenizing` writes them in larger pieces.
    """
    with ShardWriter(stem, [side], vocab_size) as writer:
        for ids in documents:
            writer.append(side, np.asarray(ids), np.array([len(ids)]), 0)
        return writer.finish({"tokenizer": tokenizer_fingerprint, "vocab_size": vocab_size})


def manifest_path(stem: Path) -> Path:
    """Where the manifest of the shard with this stem lies."""
    return stem.with_name(stem.name + SUFFIX)


def side_paths(stem: Path, side: str) -> tuple[Path, Path]:
    """The token file and the file of document ends of one side."""
    return stem.with_name(f"{stem.name}.{side}.tokens"), stem.with_name(f"{stem.name}.{side}.ends")


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest that this version understands. Raises DataError."""
    manifest = read_json(path, error=DataError)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or "sides" not in manifest:
        raise DataError("this is not the manifest of a token shard", where=path, hint=MAKE_AGAIN)
    if manifest.get("version", 0) > VERSION:
        raise DataError("these tokens were written by a newer version of Vidro", where=path, hint="Update Vidro.")
    return manifest


def check_sizes(stem: Path, manifest: dict[str, Any]) -> None:
    """Raise DataError when a file of the shard is missing, cut short or too long."""
    for side, entry in manifest["sides"].items():
        tokens, ends = side_paths(stem, side)
        check_size(tokens, entry["n_tokens"] * np.dtype(manifest["dtype"]).itemsize)
        check_size(ends, entry["n_documents"] * ENDS_DTYPE.itemsize)


def checksums_fit(stem: Path, manifest: dict[str, Any]) -> bool:
    """Whether every byte of the shard is as it was written."""
    for side, entry in manifest["sides"].items():
        tokens, ends = side_paths(stem, side)
        if sha256_file(tokens) != entry["tokens_sha256"] or sha256_file(ends) != entry["ends_sha256"]:
            return False
    return True


def check_size(path: Path, n_bytes: int) -> None:
    """Raise DataError when the file is not there or has another size."""
    if not path.is_file():
        raise DataError("this file of tokens is missing", where=path, hint=MAKE_AGAIN)
    found = path.stat().st_size
    if found != n_bytes:
        what = "cut short" if found < n_bytes else "longer than they should be"
        raise DataError(f"these tokens are {what} ({found:,} of {n_bytes:,} bytes)", where=path, hint=MAKE_AGAIN)


def check_tokenizer(manifest: dict[str, Any], fingerprint: str, *, where: object) -> None:
    """Raise DataError when the shard was made by another tokenizer."""
    made_by = str(manifest.get("tokenizer"))
    if made_by != fingerprint:
        raise DataError(
            f"these tokens were made by another tokenizer ({made_by[:12]}… and not {fingerprint[:12]}…)",
            where=where,
            hint="Use the tokenizer they were made with, or make the tokens again.",
        )
