"""What the tests of mistakes share: a tiny training's flags, and a look at all the bytes of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

TINY = [
    "--context-length", "16", "--d-model", "32", "--n-layers", "1", "--n-heads", "2", "--d-head", "16",
    "--batch-tokens", "64", "--evals", "2", "--threads", "1", "--sample-tokens", "4",
]  # fmt: skip
TRAIN = ["--steps", "3", "--vocab-size", "320", *TINY]

Refused = Callable[..., str]
Works = Callable[..., str]


def contents(folder: Path) -> dict[Path, bytes | None]:
    """All that lies in a folder, to the byte."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
