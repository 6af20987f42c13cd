"""Writing safetensors so that a full disk is an OSError like any other file's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(tensors: dict[str, Tensor], path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write `tensors` to `path`. Raises OSError with the system's number, which the library hides in its message."""
    from safetensors.torch import save_file  # here, so that listing runs does not wait for torch

    path.touch()
    mode = path.stat().st_mode  # the library makes files that only their owner can read
    try:
        save_file(tensors, path, metadata=metadata)
        path.chmod(mode)
    except SafetensorError as problem:
        number = re.search(r"\(os error (\d+)\)", str(problem))
        if number is None:
            raise
        raise OSError(int(number[1]), str(problem)) from problem
