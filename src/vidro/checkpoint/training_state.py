"""One checkpoint: everything a run needs to go on as if it had never stopped.

    checkpoints/step-500/
        config.json            so that the directory opens as a model of its own (Hugging Face form)
        model.safetensors      weights, Hugging Face names, full precision
        optimizer.safetensors  the optimizer's tensors and the random generators' states
        state.json             the loop's memory (the step is the data position), and what a resume must know beside it
        best.safetensors       the run's best weights so far: the root's file under a second name, not a copy
        manifest.json          sizes and SHA-256 of the others; written last: without it nothing counts

The directory is filled under a hidden name and renamed, so a kill at any moment leaves either all of it or nothing.
Not here: which checkpoints are kept, the run's root (`run`).
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from vidro.checkpoint.tensors import save_tensors
from vidro.core.errors import CheckpointError
from vidro.core.files import (
    read_json,
    remove_directory,
    sha256_file,
    storage_errors,
    sync_directory,
    sync_file,
    write_json_atomic,
)

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
BEST = "best.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What was read back. `model` has Hugging Face names; `state` is plain JSON."""

    path: Path
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(
    directory: Path,
    step: int,
    *,
    config: dict[str, Any],
    model: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    state: dict[str, Any],
    best: Path | None = None,
) -> Path:
    """Write ``directory/step-N`` in one visible step and return it; `best` is a weight file to keep with it.

    Raises StorageError when the disk is full.
    """
    final = directory / f"step-{step}"
    hidden = directory / f".step-{step}.tmp"
    with storage_errors(final):
        directory.mkdir(parents=True, exist_ok=True)
        if hidden.exists():
            remove_directory(hidden)
        hidden.mkdir()
        write_json_atomic(hidden / "config.json", config)
        save_tensors(_savable(model), hidden / "model.safetensors", metadata={"format": "pt"})
        save_tensors(_savable(optimizer), hidden / "optimizer.safetensors")
        write_json_atomic(hidden / "state.json", state)
        if best is not None:
            _link(best, hidden / BEST)
        files = {}
        for path in sorted(hidden.iterdir()):
            sync_file(path)
            files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        write_json_atomic(hidden / MANIFEST, {"format_version": FORMAT_VERSION, "step": step, "files": files})
        old = directory / f".step-{step}.old"
        if final.exists():  # the same step again: the new one takes its place, and `sweep` mends a kill in between
            final.replace(old)
        hidden.replace(final)
        sync_directory(directory)
        if old.exists():
            shutil.rmtree(old)
    return final


def _link(source: Path, target: Path) -> None:
    """A second name for the file, which is only ever replaced, never changed; a copy where the disk knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def sweep(directory: Path) -> None:
    """Clear away what killed processes left; call it only while holding the run's lock."""
    if not directory.is_dir():
        return
    for old in directory.glob(".step-*.old"):
        final = directory / old.name[1:].removesuffix(".old")
        if re.fullmatch(r"step-\d+", final.name) and not final.exists():
            old.replace(final)
    for left in directory.glob(".step-*"):
        shutil.rmtree(left)


def drop_after(directory: Path, step: int) -> None:
    """Remove the checkpoints past `step`: a run that goes on from there will make its own."""
    for later in checkpoint_steps(directory):
        if later > step:
            remove_directory(directory / f"step-{later}")


def rewrite_state(checkpoint: Checkpoint, config: dict[str, Any], state: dict[str, Any]) -> Checkpoint:
    """The same checkpoint with another ``state.json``, in one visible step."""
    path, best = checkpoint.path, checkpoint.path / BEST
    step = int(path.name.removeprefix("step-"))
    tensors = {"model": checkpoint.model, "optimizer": checkpoint.optimizer}
    save_checkpoint(path.parent, step, config=config, state=state, best=best if best.exists() else None, **tensors)
    return load_checkpoint(path)


def _savable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}


def verify_checkpoint(path: Path) -> dict[str, Any]:
    """Check every file against the manifest and return the manifest. Raises CheckpointError naming the first fault."""
    manifest = read_json(path / MANIFEST, error=CheckpointError)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise CheckpointError(f"{MANIFEST} is not a manifest", where=path, hint="It was altered.")
    if manifest.get("format_version", 0) > FORMAT_VERSION:
        raise CheckpointError("this checkpoint was written by a newer Vidro", where=path, hint="Update Vidro.")
    for name, expected in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{name} is missing", where=path)
        if file.stat().st_size != expected["bytes"]:
            what = f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}"
            raise CheckpointError(what, where=path, hint="It was cut short or altered.")
        if sha256_file(file) != expected["sha256"]:
            raise CheckpointError(f"{name} does not match its checksum", where=path, hint="It was altered.")
    return manifest


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint after checking it whole. Raises CheckpointError."""
    from safetensors.torch import load_file  # here, so that listing runs does not wait for torch

    verify_checkpoint(path)
    try:
        model = load_file(path / "model.safetensors")
        optimizer = load_file(path / "optimizer.safetensors")
    except SafetensorError as problem:
        raise CheckpointError(f"the tensors cannot be read ({problem})", where=path) from None
    return Checkpoint(path, model, optimizer, read_json(path / "state.json", error=CheckpointError))


def checkpoint_steps(directory: Path) -> list[int]:
    """Steps of the checkpoints that are there (complete or not), oldest first."""
    if not directory.is_dir():
        return []
    found = (re.fullmatch(r"step-(\d+)", path.name) for path in directory.iterdir())
    return sorted(int(match[1]) for match in found if match)


def newest_complete(directory: Path, *, at_most: int | None = None) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that passes all checks, and one sentence for each newer one that did not."""
    notes: list[str] = []
    for step in reversed(checkpoint_steps(directory)):
        if at_most is not None and step > at_most:
            continue
        path = directory / f"step-{step}"
        try:
            verify_checkpoint(path)
        except CheckpointError as problem:
            notes.append(f"{str(problem).rstrip('.')}; falling back to an earlier checkpoint")
        else:
            return path, notes
    return None, notes
