"""The run directory: a Hugging Face model directory plus Vidro's records, safe at every moment.

    runs/NAME/
        config.json model.safetensors generation_config.json tokenizer.json tokenizer_config.json
                            the model with the best validation loss; opens anywhere
        run.toml            every setting, resolved
        metrics.jsonl samples.jsonl probes/ plots/
        checkpoints/step-N/ (`training_state`)
        vidro.json          what this is, where it comes from, what it reached, SHA-256 of each root file; written last
        run.lock            held while a process trains here

A root that does not match ``vidro.json`` (a kill between two renames, a changed byte) is never used: the newest
complete checkpoint is, and the reader is told. Not here: the training loop (`train/loop`).
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from vidro.checkpoint.training_state import checkpoint_steps, newest_complete, verify_checkpoint
from vidro.core.errors import CheckpointError, RunError, did_you_mean
from vidro.core.files import read_json, remove_directory, sha256_file, storage_errors, write_json_atomic
from vidro.core.version import VERSION

if TYPE_CHECKING:
    import torch

    from vidro.model.transformer import Transformer
    from vidro.text.tokenizer import Tokenizer

RECORD = "vidro.json"
LOCK = "run.lock"
MARKS = ("run.toml", RECORD, LOCK)
FORMAT_VERSION = 1
ROOT_FILES = (
    "config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja",
)  # fmt: skip


@dataclass(frozen=True)
class RunRef:
    """Which run and which of its models: `at` is None or "best" (the root) or a step."""

    path: Path
    at: str | None = None


@dataclass(frozen=True)
class OpenedRun:
    """A run whose files were checked. `model_dir` holds config.json and model.safetensors."""

    path: Path
    model_dir: Path
    step: int
    record: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def create_run(runs_dir: Path, stem: str, *, out: Path | None, overwrite: bool) -> Path:
    """A new, empty run directory: `out`, or the first free ``runs_dir/stem-N``.

    Raises RunError when `out` exists and is not empty (unless `overwrite`, which removes a run but nothing else).
    """
    with storage_errors(out if out is not None else runs_dir):
        if out is not None:
            check_place(out, overwrite=overwrite)
            if out.is_dir() and any(out.iterdir()):
                with lock_run(out):
                    pass  # raises when a process is training there
                remove_directory(out)
            out.mkdir(parents=True, exist_ok=True)
            return out
        runs_dir.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            try:
                path = runs_dir / f"{safe_stem(stem)}-{number}"
                path.mkdir()
                return path
            except FileExistsError:
                number += 1


def check_place(out: Path, *, overwrite: bool, resumable: bool = True) -> None:
    """Raise RunError when a run cannot be made at `out`: asked before the text is read, which may take long.

    `resumable`: whether the command that asks could also go on with a run that is there.
    """
    if out.exists() and not out.is_dir():
        raise RunError("this is a file, not a folder", where=out, hint="Choose another --out.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        ways = "Continue it with --resume, replace it" if resumable else "Replace it"
        hint = f"{ways} with --overwrite, or choose another --out."
        raise RunError("this run directory exists already", where=out, hint=hint)
    if not is_run(out):
        raise RunError("--overwrite removes runs only, and this is not one", where=out, hint="Choose another --out.")


def safe_stem(name: str) -> str:
    """A file name without its suffixes, in characters every file system takes.

    >>> safe_stem("Grimm's Tales (2).epub"), safe_stem("novels.jsonl.gz"), safe_stem("-")
    ('Grimm-s-Tales-2', 'novels', 'text')
    """
    stem = re.sub(r"(\.[A-Za-z0-9]{1,5}){1,2}$", "", name)
    stem = re.sub(r"[^\w]+", "-", stem).strip("-_")
    return stem[:60] if stem else "text"


def is_run(path: Path) -> bool:
    """Whether the directory is a run: finished, or begun, or stopped before it wrote anything but its lock."""
    return any((path / name).is_file() for name in MARKS)


def list_runs(runs_dir: Path) -> list[Path]:
    """All runs in the folder, the one touched last at the end."""
    if not runs_dir.is_dir():
        return []
    return sorted((path for path in runs_dir.iterdir() if is_run(path)), key=lambda path: (_touched(path), path.name))


def _touched(path: Path) -> int:
    marks = (path / name for name in ("metrics.jsonl", *MARKS))
    return max(mark.stat().st_mtime_ns for mark in marks if mark.exists())


def resolve_run(spec: str | Path, *, runs_dir: Path = Path("runs")) -> RunRef:
    """The run meant by a path, a name under `runs_dir`, ``last``, ``NAME@best`` or ``NAME@500``.

    Raises RunError with the nearest known name.
    """
    match = re.fullmatch(r"(.+)@([^@/\\]*)", str(spec))
    name, at = (match[1], match[2]) if match else (str(spec), None)
    if at is not None and at != "best" and not at.isdecimal():
        raise RunError(f"{spec!s}: after @ stands 'best' or a step", hint="For example NAME@500.")
    reference = at
    if name == "last":
        runs = list_runs(runs_dir)
        if not runs:
            raise RunError("there are no runs yet", where=runs_dir, hint="Make one: vidro quickstart.")
        return RunRef(runs[-1], reference)
    for path in (Path(name), runs_dir / name):
        if is_run(path):
            return RunRef(path, reference)
    if Path(name).is_dir():
        raise RunError("this folder is not a run", where=name, hint="A run has a vidro.json or a run.toml.")
    known = [path.name for path in list_runs(runs_dir)]
    hint = did_you_mean(name, known) if known else "Make one: vidro quickstart."
    raise RunError(f"there is no run {name!r} here or in {runs_dir}", hint=hint)


def open_run(ref: RunRef) -> OpenedRun:
    """Check the files of the model that `ref` means; fall back to the newest complete checkpoint and say so.

    Raises RunError or CheckpointError when there is nothing whole to open.
    """
    checkpoints = ref.path / "checkpoints"
    if ref.at is not None and ref.at != "best":
        path = checkpoints / f"step-{ref.at}"
        if not path.is_dir():
            kept = ", ".join(str(step) for step in checkpoint_steps(checkpoints))
            raise RunError(f"there is no checkpoint at step {ref.at}", where=ref.path, hint=f"Kept steps: {kept}.")
        verify_checkpoint(path)
        return OpenedRun(ref.path, path, int(ref.at), read_record(ref.path))
    try:
        record = verify_root(ref.path)
        return OpenedRun(ref.path, ref.path, record["step"], record)
    except CheckpointError as problem:
        if "tokenizer" in problem.what:  # no checkpoint can make up for it
            raise
        path, notes = newest_complete(checkpoints)
        if path is None:
            hint = "The run was stopped before its first checkpoint; start it again."
            raise RunError("there is no complete model in this run yet", where=ref.path, hint=hint) from None
        step = int(path.name.removeprefix("step-"))
        record: dict[str, Any] = {}
        with contextlib.suppress(CheckpointError):  # a torn record is one of the reasons to be here
            record = read_record(ref.path)
        if (ref.path / RECORD).exists():
            notes = [f"{str(problem).rstrip('.')}; using the checkpoint of step {step} instead", *notes]
        else:
            notes = [f"{ref.path}: the run is not finished; using the checkpoint of step {step}", *notes]
        return OpenedRun(ref.path, path, step, record, notes)


def read_record(path: Path) -> dict[str, Any]:
    """``vidro.json``, or an empty record for a run that has none yet. A newer format is an error."""
    if not (path / RECORD).exists():
        return {}
    record = read_json(path / RECORD, error=CheckpointError)
    if not isinstance(record, dict) or not {"files", "step"} <= record.keys():
        raise CheckpointError(f"{RECORD} is not a run's record", where=path, hint="It was altered.")
    if record.get("format_version", 0) > FORMAT_VERSION:
        raise RunError("this run was written by a newer Vidro", where=path, hint="Update Vidro to open it.")
    return record


def verify_root(path: Path) -> dict[str, Any]:
    """The record, after checking the root's files against it. Raises CheckpointError naming the first fault."""
    record = read_record(path)
    if not record:
        raise CheckpointError(f"there is no {RECORD} yet", where=path)
    for name, expected in record["files"].items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{name} is missing", where=path)
        if sha256_file(file) != expected:
            raise CheckpointError(f"{name} was cut short or altered", where=path)
    return record


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write ``vidro.json`` with the checksums of the root files; the last write of every refresh."""
    files = {name: sha256_file(path / name) for name in ROOT_FILES if (path / name).is_file()}
    write_json_atomic(path / RECORD, {"format_version": FORMAT_VERSION, **record, "files": files})


def prune_checkpoints(path: Path, *, keep: int, protect: set[int]) -> None:
    """Remove all but the newest `keep` checkpoints and the protected steps."""
    directory = path / "checkpoints"
    for step in checkpoint_steps(directory)[:-keep]:
        if step not in protect:
            remove_directory(directory / f"step-{step}")


def lock_run(path: Path) -> filelock.BaseFileLock:
    """Hold the run for this process (a context manager). Raises RunError when another process holds it."""
    lock = filelock.FileLock(path / LOCK)
    try:
        with storage_errors(path):
            lock.acquire(timeout=0)
    except filelock.Timeout:
        hint = "Wait for it, stop it, or train into another --out."
        raise RunError("another process is training this run", where=path, hint=hint) from None
    return lock


def load_model(opened: OpenedRun, device: str | torch.device = "cpu") -> Transformer:
    """The model of an opened run, in evaluation mode."""
    from vidro.checkpoint.huggingface import read_model

    return read_model(opened.model_dir, device=device).eval()


def load_tokenizer(opened: OpenedRun) -> Tokenizer:
    """The tokenizer of an opened run. Raises CheckpointError when it is not the one the model was trained with."""
    from vidro.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(opened.path)
    known = opened.record.get("tokenizer", {}).get("fingerprint")
    if known is not None and tokenizer.fingerprint != known:
        hint = "Put the old file back: with other ids the model reads and writes nonsense."
        raise CheckpointError("tokenizer.json was altered", where=opened.path, hint=hint)
    return tokenizer


def versions() -> dict[str, str]:
    """Versions that a record carries: enough to say on what a run was made."""
    import torch

    python = ".".join(str(part) for part in sys.version_info[:3])
    return {"vidro": VERSION, "torch": str(torch.__version__), "python": python, "platform": os.name}
