"""A desk to work at, and one very small run that many tests look at."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import vidro
from vidro.data.tinyworld import text

TINY = {"preset": "toy", "steps": 6, "evals": 3, "checkpoint_steps": 3, "threads": 1, "seed": 3, "vocab_size": 512}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, with a text, and a cache of its own beside it."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "book.txt").write_text(text(1, 30_000), encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VIDRO_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with book.txt and runs/book-1; nobody may change it."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        (folder / "book.txt").write_text(text(1, 30_000), encoding="utf-8")
        vidro.pretrain("book.txt", cache_dir=folder / "cache", progress=False, **TINY)
    return folder


@pytest.fixture
def run(trained: Path, monkeypatch: pytest.MonkeyPatch) -> vidro.Run:
    """The run, opened from its folder."""
    monkeypatch.chdir(trained)
    monkeypatch.setenv("VIDRO_CACHE", str(trained / "cache"))
    return vidro.load("last", device="cpu")
