"""The files of a run's ``probes/``: one header with the sentences, one record a probed step. Described in
`docs/formats.md`.

Not here: what is recorded (`probes`). No torch, so that a page or a notebook can read them quickly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load, save

from vidro.core.errors import RunError
from vidro.core.files import read_json, write_bytes_atomic, write_json_atomic

FORMAT_VERSION = 1
HEADER = "probes.json"
_RECORD = re.compile(r"step-(\d{6,})\.safetensors")


@dataclass(frozen=True)
class Probes:
    """The probes of a run: `header` as in ``probes.json``, `steps` in order."""

    directory: Path
    header: dict[str, Any]
    steps: tuple[int, ...]

    def arrays(self, step: int) -> dict[str, NDArray[Any]]:
        """The arrays of one step by name. Raises RunError when the record is missing or cut short."""
        path = record_path(self.directory, step)
        try:
            return load(path.read_bytes())
        except FileNotFoundError:
            hint = f"There are: {', '.join(str(known) for known in self.steps)}."
            raise RunError(f"there is no probe of step {step}", where=self.directory, hint=hint) from None
        except safetensors.SafetensorError as problem:
            raise RunError(f"this probe cannot be read ({problem})", where=path, hint="Remove the file.") from None


def read_probes(directory: Path) -> Probes:
    """The header and the list of steps. Raises RunError when there are none or a newer Vidro wrote them."""
    path = directory / HEADER
    header = read_json(path, error=RunError)
    if header["format_version"] > FORMAT_VERSION:
        what = f"these probes have format {header['format_version']}, this Vidro knows {FORMAT_VERSION}"
        raise RunError(what, where=path, hint="Update Vidro to read them.")
    return Probes(directory, header, tuple(recorded_steps(directory)))


def recorded_steps(directory: Path) -> list[int]:
    """Steps that have a record, in order; none where there is no directory."""
    if not directory.is_dir():
        return []
    found = (_RECORD.fullmatch(path.name) for path in directory.iterdir())
    return sorted(int(match[1]) for match in found if match is not None)


def record_path(directory: Path, step: int) -> Path:
    """``step-000123.safetensors``."""
    return directory / f"step-{step:06d}.safetensors"


def write_header(directory: Path, header: dict[str, Any]) -> None:
    """Write ``probes.json`` once; raise RunError when another one is there."""
    path = directory / HEADER
    if not path.exists():
        write_json_atomic(path, header)
    elif read_json(path, error=RunError) != header:
        hint = "Remove the directory, or train into another one."
        raise RunError("the probes here are of other sentences or another model", where=directory, hint=hint)


def write_record(directory: Path, step: int, arrays: dict[str, NDArray[Any]]) -> None:
    """Write the record of a step in one go; the same arrays give the same bytes."""
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    write_bytes_atomic(record_path(directory, step), save(contiguous))


def drop_after(directory: Path, step: int) -> None:
    """Remove the records of later steps."""
    for later in recorded_steps(directory):
        if later > step:
            record_path(directory, later).unlink()
