"""Token shards as one long array that stays on the disk.

Several files look like one: index with a slice, or with any array of positions at once, and only what is asked for is
read. Not here: the format and its writer (`shard_files`), how shards are made (`tokenizing`), files in other people's
formats (`foreign`). Read next: `windows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidro.core.errors import DataError
from vidro.core.files import sha256_file
from vidro.core.shapes import Shaped
from vidro.data.shard_files import (
    ENDS_DTYPE,
    MAKE_AGAIN,
    SUFFIX,
    check_sizes,
    check_tokenizer,
    manifest_path,
    read_manifest,
    side_paths,
    write_shard,
)

__all__ = ["Run", "TokenShards", "write_shard"]

MOST_MAPS = 128

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Run:
    """Tokens `begin` to `begin + n_tokens` of a file; `ends` are the document ends among them, from `begin` on."""

    path: Path
    dtype: np.dtype[Any]
    begin: int
    n_tokens: int
    ends: Array
    offset_bytes: int = 0
    sha256: str | None = None


class TokenShards:
    """Tokens of several files as one long array that stays on the disk.

    Indexing with a slice or an array of positions gives ids; `len` and `n_tokens` count them. `n_text_bytes` is the
    UTF-8 size of the text behind them, None where nobody wrote it down.
    """

    def __init__(self, runs: Sequence[Run], *, n_text_bytes: int | None, eot_id: int | None = None) -> None:
        self.runs = [run for run in runs if run.n_tokens]
        self.n_text_bytes = n_text_bytes
        self.eot_id = eot_id
        self._bounds = np.cumsum([0, *(run.n_tokens for run in self.runs)])
        self.n_tokens = int(self._bounds[-1])
        self.dtype = np.result_type(*(run.dtype for run in self.runs)) if self.runs else np.dtype("<u2")
        self._maps: dict[int, Array] = {}

    @classmethod
    def open(cls, path: Path, *, side: str = "train", tokenizer_fingerprint: str | None = None) -> TokenShards:
        """One side of all shards in a folder, in the order of their names. Raises DataError.

        With `tokenizer_fingerprint` every shard must have been made by that tokenizer.
        """
        found = sorted(path.rglob(f"*{SUFFIX}"))
        if not found:
            raise DataError("there are no token shards here", where=path, hint=MAKE_AGAIN)
        stems = [item.with_name(item.name.removesuffix(SUFFIX)) for item in found]
        return cls.of_stems(stems, side=side, tokenizer_fingerprint=tokenizer_fingerprint)

    @classmethod
    def of_stems(cls, stems: Sequence[Path], *, side: str, tokenizer_fingerprint: str | None) -> TokenShards:
        """One side of the shards with these stems, in this order; shards without that side are passed over."""
        runs, n_text_bytes, eot_id = [], 0, None
        for stem in stems:
            manifest = read_manifest(manifest_path(stem))
            if tokenizer_fingerprint is not None:
                check_tokenizer(manifest, tokenizer_fingerprint, where=manifest_path(stem))
            check_sizes(stem, manifest)
            eot_id = manifest.get("eot_id", eot_id)
            if side in manifest["sides"]:
                runs.append(_run(stem, side, manifest))
                n_text_bytes += manifest["sides"][side]["n_text_bytes"]
        return cls(runs, n_text_bytes=n_text_bytes, eot_id=eot_id)

    @property
    def tokens(self) -> Any:
        """What can be indexed like an array: the memory map itself where there is one, else these shards."""
        return self._map(0) if len(self.runs) == 1 else self

    @property
    def document_ends(self) -> Shaped[Array, "N"]:
        """For each document, the number of tokens up to and including its end (uint64)."""
        parts = [run.ends + np.uint64(start) for run, start in zip(self.runs, self._bounds, strict=False)]
        return np.concatenate([np.empty(0, dtype=np.uint64), *parts])

    @property
    def n_documents(self) -> int:
        """How many documents end in these tokens."""
        return sum(len(run.ends) for run in self.runs)

    def __len__(self) -> int:
        return self.n_tokens

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            start, stop, step = key.indices(self.n_tokens)
            return self._slice(start, stop)[::step] if step > 0 else self._slice(0, self.n_tokens)[key]
        positions = np.asarray(key)
        if positions.ndim == 0:
            place = range(self.n_tokens)[int(positions)]
            return self._slice(place, place + 1)[0]
        return self._pick(positions)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole = self._slice(0, self.n_tokens)
        return whole if dtype is None else whole.astype(dtype)

    def documents(self) -> Iterator[Shaped[Array, "T"]]:
        """The ids of each document, without its end-of-text id."""
        start = 0
        for end in self.document_ends.tolist():
            ids = self._slice(start, end)
            yield ids[:-1] if len(ids) and self.eot_id is not None and ids[-1] == self.eot_id else ids
            start = end

    def divide(self, share: float) -> tuple[TokenShards, TokenShards]:
        """The first `share` of the tokens and the rest, at the nearest end of a document where there is one inside."""
        place = round(share * self.n_tokens)
        ends = self.document_ends
        inside = ends[(ends > 0) & (ends < self.n_tokens)]
        if inside.size:
            place = int(inside[np.abs(inside.astype(np.int64) - place).argmin()])
        return self._part(0, place), self._part(place, self.n_tokens)

    def verify(self) -> None:
        """Read all tokens and compare them with the manifests' checksums. Raises DataError."""
        for run in self.runs:
            if run.sha256 is not None and sha256_file(run.path) != run.sha256:
                raise DataError("these tokens were altered: their checksum is wrong", where=run.path, hint=MAKE_AGAIN)

    def _map(self, number: int) -> Array:
        """The memory map of one file; opened when first used and kept, as long as there are not too many."""
        if number not in self._maps:
            if len(self._maps) >= MOST_MAPS:  # each holds a file open, and systems limit these
                self._maps.pop(next(iter(self._maps)))
            run = self.runs[number]
            offset = run.offset_bytes + run.begin * run.dtype.itemsize
            self._maps[number] = np.memmap(run.path, dtype=run.dtype, mode="r", offset=offset, shape=(run.n_tokens,))
        return self._maps[number]

    def _slice(self, start: int, stop: int) -> Array:
        first = int(np.searchsorted(self._bounds, start, side="right")) - 1
        pieces: list[Array] = [np.empty(0, dtype=self.dtype)]
        for number in range(first, len(self.runs)):
            base = int(self._bounds[number])
            if base >= stop:
                break
            pieces.append(self._map(number)[max(0, start - base) : stop - base])
        return np.asarray(pieces[1]) if len(pieces) == 2 else np.concatenate(pieces)

    def _pick(self, positions: Array) -> Array:
        if len(self.runs) == 1:
            return np.asarray(self._map(0)[positions])
        numbers = np.searchsorted(self._bounds, positions, side="right") - 1
        picked = np.empty(positions.shape, dtype=self.dtype)
        for number in np.unique(numbers).tolist():
            here = numbers == number
            picked[here] = self._map(number)[positions[here] - self._bounds[number]]
        return picked

    def _part(self, start: int, stop: int) -> TokenShards:
        runs = []
        for run, base in zip(self.runs, self._bounds.tolist(), strict=False):
            low, high = max(start - base, 0), min(stop - base, run.n_tokens)
            if low < high:
                ends = run.ends[(run.ends > low) & (run.ends <= high)] - np.uint64(low)
                runs.append(Run(run.path, run.dtype, run.begin + low, high - low, ends, run.offset_bytes))
        return TokenShards(runs, n_text_bytes=None, eot_id=self.eot_id)


def _run(stem: Path, side: str, manifest: dict[str, Any]) -> Run:
    entry = manifest["sides"][side]
    tokens, ends_path = side_paths(stem, side)
    ends = np.fromfile(ends_path, dtype=ENDS_DTYPE).astype(np.uint64)
    if entry["n_tokens"] != (int(ends[-1]) if len(ends) else 0):
        raise DataError("the document ends do not fit the tokens", where=ends_path, hint=MAKE_AGAIN)
    dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
    return Run(tokens, dtype, 0, entry["n_tokens"], ends, sha256=entry["tokens_sha256"])
