"""What the user points at (a file, folder, glob, list, corpus name) as a list of files to read, in a fixed order.

A folder is read recursively, sorted by path, files of known kinds only; what is left out is counted. Not here: reading
them (`documents`), downloading corpora (`corpora`).
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidro.core.errors import DataError, did_you_mean
from vidro.data.blocks import unreadable
from vidro.data.corpora import CORPORA, Corpus, cached_corpus
from vidro.data.report import ReadReport

Source = str | Path | Sequence[Any]

KINDS = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".epub": "epub",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".docx": "docx",
    ".pdf": "pdf",
    ".parquet": "parquet",
}
COMPRESSIONS = (".gz", ".zst")
PACKABLE = ("text", "html", "jsonl")


@dataclass(frozen=True)
class InputFile:
    """A file to read: where it lies, what to call it, what it holds and how it is packed."""

    path: Path
    name: str
    kind: str
    compression: str | None
    sha256: str | None = None


def input_file(path: Path, *, name: str | None = None) -> InputFile:
    """The file's kind by its name; an unknown ending of a file that the user names is tried as text."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else None
    kind = KINDS.get(suffixes[-1] if suffixes else "", "text")
    if compression is not None and kind not in PACKABLE:
        what = f"{suffixes[-1]} packed in {compression} is not read"
        raise DataError(what, where=path, hint="Unpack it first.")
    return InputFile(path, name or path.name, kind, compression)


def find_inputs(source: Source, *, report: ReadReport, cache_dir: Path | None = None) -> list[InputFile]:
    """Every file that `source` means, in reading order. Raises DataError when there is nothing to read.

    A name that is a file wins over a glob, and a glob over the name of a corpus.
    """
    if not isinstance(source, str | Path):
        found = [item for part in source for item in find_inputs(part, report=report, cache_dir=cache_dir)]
        if not found:
            raise DataError("the list of files is empty")
        return found
    path, text = Path(source), str(source)
    try:
        if path.is_dir():
            return _folder(path, report)
        if path.exists():
            return [input_file(path)]
    except OSError as problem:  # a name that is too long, say
        raise unreadable(Path(text[:80]), problem) from None
    if glob.has_magic(text):
        return _glob(text, report)
    if text in CORPORA:
        _check_is_text(CORPORA[text])
        return [input_file(cached_corpus(text, cache_dir=cache_dir))]
    raise _missing(text, path)


def _check_is_text(corpus: Corpus) -> None:
    """Raise DataError for a corpus whose rows are for fine-tuning: read as a text, they teach tabs and brackets."""
    if corpus.kind != "text":
        hint = f"To read its rows as a text all the same, name the file that vidro data get {corpus.name} prints."
        raise DataError(f"this corpus is for fine-tuning ({corpus.kind}), not a text", where=corpus.name, hint=hint)


def _folder(folder: Path, report: ReadReport) -> list[InputFile]:
    found: list[InputFile] = []
    refused: list[OSError] = []
    been_in = {folder.resolve()}
    for parent, folders, names in os.walk(folder, onerror=refused.append, followlinks=True):
        report.count("hidden", sum(name.startswith(".") for name in names))
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in shown if _is_new(Path(parent, name), been_in)]
        if "documents" in folders and "attributes" in folders:  # the layout of Dolma
            folders.remove("attributes")
            report.count("attributes", _n_files(Path(parent) / "attributes"))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(parent) / name
            if is_known(path):
                found.append(input_file(path, name=path.relative_to(folder).as_posix()))
            else:
                report.other_kinds[path.suffix.lower() or "no ending"] += 1
    if refused:
        raise unreadable(Path(refused[0].filename or folder), refused[0])
    if not found:
        seen = f" ({report.other_kinds.total():,} files of other kinds)" if report.other_kinds else ""
        hint = f"Vidro reads {' '.join(KINDS)}, and .txt .html .jsonl also packed as .gz or .zst."
        raise DataError(f"there is no text in this folder{seen}", where=folder, hint=hint)
    return sorted(found, key=lambda item: item.name)


def _is_new(folder: Path, been_in: set[Path]) -> bool:
    """Whether no link led here before (links may go round in circles)."""
    real = folder.resolve()
    if real in been_in:
        return False
    been_in.add(real)
    return True


def _n_files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def is_known(path: Path) -> bool:
    """Whether the file's name says that it holds text that Vidro reads."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return len(suffixes) > 1 and KINDS.get(suffixes[-2]) in PACKABLE
    return bool(suffixes) and suffixes[-1] in KINDS


def _glob(pattern: str, report: ReadReport) -> list[InputFile]:
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    base = Path(*fixed)  # names are told from here on, so that two files of the same name stay apart
    found: list[InputFile] = []
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 (Path.glob knows no absolute patterns)
        path = Path(name)
        if path.is_file():
            found.append(input_file(path, name=path.relative_to(base).as_posix()))
        elif "**" not in pattern:
            found.extend(_folder(path, report))
    if not found:
        hint = "** goes through subfolders, for example 'books/**/*.txt'."
        raise DataError("no file matches this pattern", where=pattern, hint=hint)
    return found


def _missing(text: str, path: Path) -> DataError:
    """The error for a name that is neither a file nor a corpus; it names what is near."""
    beside = path.parent if path.parent.is_dir() else Path()
    near = [item.name for item in beside.iterdir() if is_known(item) or item.is_dir()] if beside.is_dir() else []
    hint = did_you_mean(path.name, [*near, *CORPORA])
    if not hint.startswith("Did"):
        hint = "For the corpora that have a name: vidro data list"
    return DataError("there is no such file or folder", where=text, hint=hint)
