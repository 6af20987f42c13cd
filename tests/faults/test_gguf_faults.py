"""GGUF and llama2.c files with mistakes in them: read as before, or one line. No crash, no hang, no growth.

``VIDRO_MUTATIONS=10000`` makes the long run of it.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.checkpoint.foreign.llama2c_files import parts, version_0, version_1, words
from tests.checkpoint.gguf.raw_gguf import tiny_llama
from tests.faults.mutations import mutated

from vidro.checkpoint.foreign import gguf_file, llama2c
from vidro.checkpoint.foreign.model import ForeignModel
from vidro.checkpoint.gguf.read import open_gguf
from vidro.checkpoint.huggingface import model_of
from vidro.core.errors import VidroError

MUTATIONS = int(os.environ.get("VIDRO_MUTATIONS", "500"))
SLOWEST_S, MOST_GROWTH = 10.0, 300 * 2**20
MOST_CONTEXT = 2**16
"""A context is only a number in these files, and may be long: making the tables for it is no fault of the reader."""


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def outcome(read: Callable[[], ForeignModel]) -> str:
    """The error's line, or "" where all of it can be read; any other exception fails the test."""
    start = time.monotonic()
    try:
        found = read()
        if found.config.context_length <= MOST_CONTEXT:
            model_of(found.config, found.state)
        line = ""
    except VidroError as problem:
        line = str(problem)
        assert line
        assert "\n" not in line
        assert line.isprintable(), line
        assert len(line) < 1000, line
    assert time.monotonic() - start < SLOWEST_S
    return line


def tried(data: bytes, path: Path, read: Callable[[Path], ForeignModel], *, within: int, seed: int) -> list[str]:
    path.write_bytes(data)
    assert outcome(lambda: read(path)) == "", "the file itself can be read"
    before, dice, lines = peak_bytes(), random.Random(seed), []
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(data, dice, within=within))
        lines.append(outcome(lambda: read(path)))
    assert peak_bytes() - before < MOST_GROWTH
    return lines


@pytest.mark.timeout(3600)
def test_gguf(tmp_path: Path) -> None:
    data = tiny_llama().bytes()
    (tmp_path / "good.gguf").write_bytes(data)
    header = min(info.start for info in open_gguf(tmp_path / "good.gguf").tensors.values())
    lines = tried(data, tmp_path / "x.gguf", gguf_file.read, within=header, seed=1)
    assert sum(map(bool, lines)) > 0.6 * MUTATIONS
    assert len({line.split(": ", 1)[-1] for line in lines}) > 0.1 * min(MUTATIONS, 500)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", [0, 1])
def test_llama2c_weights(version: int, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.bin").write_bytes(words())
    data = (version_1 if version else version_0)(parts(), tied=True)
    lines = tried(data, tmp_path / "x.bin", llama2c.read, within=256 if version else 28, seed=2 + version)
    assert sum(map(bool, lines)) > 0.9 * MUTATIONS


@pytest.mark.timeout(3600)
def test_llama2c_tokenizers(tmp_path: Path) -> None:
    weights = tmp_path / "x.bin"
    weights.write_bytes(version_0(parts(), tied=True))
    data = words()
    lines = tried(data, tmp_path / "t.bin", lambda path: llama2c.read(weights, path), within=len(data), seed=4)
    assert sum(map(bool, lines)) > 0.6 * MUTATIONS
