"""Named corpora into the cache: by download, or from a folder that already holds them, always by checksum.

The cache is ``CACHE/corpora/NAME/FILE``; ``CACHE/corpora/lock.json`` keeps the checksum of each file as it was first
fetched. Nothing is fetched unless asked for by name (law 12). Not here: what corpora there are (`catalogue`).
"""

from __future__ import annotations

import gzip
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from vidro.core.errors import DataError, did_you_mean
from vidro.core.files import atomic_path, read_json, sha256_file, storage_errors, write_json_atomic
from vidro.data.blocks import Readable
from vidro.data.catalogue import CORPORA, Corpus, CorpusFile
from vidro.data.report import Progress

__all__ = ["CORPORA", "Corpus", "CorpusFile", "cached_corpus", "corpus_file", "find_corpus", "get_corpus"]

_COPY = "With a copy of the right file on this machine: --mirror DIR"


def find_corpus(name: str) -> Corpus:
    """The corpus of this name. Raises DataError with the nearest known name."""
    if name not in CORPORA:
        raise DataError(f"there is no corpus called {name!r}", hint=did_you_mean(name, CORPORA))
    return CORPORA[name]


def get_corpus(name: str, *, cache_dir: Path, mirror: Path | None = None, progress: Progress | None = None) -> Path:
    """Make sure that all files of the corpus are in the cache; the path of the one to train on.

    Files that are there are not fetched again. `mirror` is a folder (searched with its subfolders) where files are
    recognised by their checksum, also inside .gz and .zip. Raises DataError and StorageError.
    """
    corpus = find_corpus(name)
    if mirror is not None and is_made(corpus.files[0]):
        raise DataError("Vidro writes this corpus itself", where=name, hint="Leave --mirror out.")
    folder = cache_dir / "corpora" / name
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for item in corpus.files:
            if not _is_cached(item, folder, cache_dir):
                _get_file(item, corpus, folder, cache_dir=cache_dir, mirror=mirror, progress=progress)
    return folder / corpus.files[0].name


def cached_corpus(name: str, *, cache_dir: Path | None) -> Path:
    """The path of the corpus's file to train on, when it is in the cache. Raises DataError that says how to get it."""
    return corpus_file(name, "train", cache_dir=cache_dir)


def corpus_file(name: str, role: str, *, cache_dir: Path | None) -> Path:
    """The path of the corpus's file with this role ("train", "val", "test"). Raises DataError where it is not there."""
    corpus = find_corpus(name)
    item = corpus.file(role)
    if item is None:
        hint = f"It has: {', '.join(other.role for other in corpus.files)}."
        raise DataError(f"the corpus {name} has no {role} file", hint=hint)
    if cache_dir is not None and is_made(item):
        get_corpus(name, cache_dir=cache_dir)
    elif cache_dir is None or not _is_cached(item, cache_dir / "corpora" / name, cache_dir):
        raise DataError(f"the corpus {name} is not on this machine yet", hint=f"Get it: vidro data get {name}")
    return cache_dir / "corpora" / name / item.name


def is_made(item: CorpusFile) -> bool:
    """Whether Vidro writes this file itself, so that nothing has to be fetched."""
    from vidro.data.made import MAKERS

    return item.name in MAKERS


def _get_file(
    item: CorpusFile, corpus: Corpus, folder: Path, *, cache_dir: Path, mirror: Path | None, progress: Progress | None
) -> None:
    path = folder / item.name
    origin = str(item.url)
    if is_made(item):
        origin = "made by Vidro"
        _make(item, path)
    elif mirror is not None:
        origin = str(mirror.resolve())
        _from_mirror(item, corpus, mirror, path)
    elif item.url is None:
        what = f"{item.name} has no address to fetch it from: it was put together from {corpus.source}"
        raise DataError(what, where=corpus.name, hint="Point --mirror at a folder that holds it.")
    elif item.member is None:
        from vidro.core.download import download

        download(item.url, path, sha256=_known_sha256(item, folder.name, cache_dir), progress=progress)
    else:
        _from_archive(item, path, cache_dir=cache_dir, progress=progress)
    _write_lock(item, folder.name, sha256_file(path), cache_dir, origin=origin)


def _make(item: CorpusFile, path: Path) -> None:
    """Write the file anew and hold it to the catalogue's checksum: it is the same on every machine, or of no use."""
    from vidro.data.made import MAKERS

    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(MAKERS[item.name]())
        found = sha256_file(temporary)
        if item.sha256 is not None and found != item.sha256:
            what = f"other bytes than expected were made (sha256 {found[:12]}… instead of {item.sha256[:12]}…)"
            raise DataError(what, where=item.name, hint="This is a fault of Vidro: please report it.")


def _from_archive(item: CorpusFile, path: Path, *, cache_dir: Path, progress: Progress | None) -> None:
    """Fetch the zip archive, take the member out, check it, and throw the archive away."""
    from vidro.core.download import download

    assert item.url is not None
    assert item.member is not None
    archive = path.with_name(f"{path.name}.zip")
    download(item.url, archive, progress=progress)
    try:
        with zipfile.ZipFile(archive) as packed, packed.open(item.member) as stream:
            _copy(stream, path)
    except (zipfile.BadZipFile, KeyError, zlib.error):
        raise DataError(f"the archive does not hold {item.member}", where=item.url, hint=_COPY) from None
    finally:
        archive.unlink(missing_ok=True)
    wanted = _known_sha256(item, path.parent.name, cache_dir)
    found = sha256_file(path)
    if wanted is not None and found != wanted:
        path.unlink()
        what = f"{item.member} has another checksum than expected (sha256 {found[:12]}… instead of {wanted[:12]}…)"
        raise DataError(what, where=item.url, hint=_COPY)


def _from_mirror(item: CorpusFile, corpus: Corpus, mirror: Path, path: Path) -> None:
    if not mirror.is_dir():
        raise DataError("there is no such folder", where=mirror)
    if item.sha256 is None:
        what = f"{item.name} has no known checksum, so it cannot be recognised in a folder"
        raise DataError(what, where=corpus.name, hint="Train on the file itself: vidro pretrain FILE")
    for opened in _candidates(item, mirror):
        try:
            with opened() as stream:
                _copy(stream, path)
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
            continue  # damaged, so it is not the file
        if sha256_file(path) == item.sha256:
            return
        path.unlink()
    what = f"no file in this folder is {item.name} (sha256 {item.sha256[:12]}…, {item.n_bytes:,} bytes)"
    hint = "It may have any name, and lie in a .gz or .zip, but must be these very bytes."
    raise DataError(what, where=mirror, hint=hint)


def _candidates(item: CorpusFile, mirror: Path) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Ways to open everything in the folder that has the right size, as a file, unpacked, or inside a zip."""
    for path in sorted(found for found in mirror.rglob("*") if found.is_file()):
        if path.stat().st_size == item.n_bytes:
            yield lambda path=path: path.open("rb")
        if path.suffix == ".gz" and _gzip_size(path) == item.n_bytes:
            yield lambda path=path: gzip.GzipFile(path)
        if path.suffix == ".zip" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                names = [info.filename for info in packed.infolist() if info.file_size == item.n_bytes]
            for name in names:
                yield lambda path=path, name=name: _open_member(path, name)


def _open_member(path: Path, name: str) -> AbstractContextManager[Any]:
    with zipfile.ZipFile(path) as packed:
        return packed.open(name)  # the member keeps the archive's file open until it is closed


def _gzip_size(path: Path) -> int:
    """The unpacked size that a gzip file ends with (modulo 4 GiB)."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4))
        return int.from_bytes(stream.read(4), "little")


def _copy(stream: Readable, path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as target:
        shutil.copyfileobj(stream, target, 1 << 20)


def _is_cached(item: CorpusFile, folder: Path, cache_dir: Path) -> bool:
    """Whether the file is there and is the one that was expected. One of unknown bytes counts once it is locked."""
    path = folder / item.name
    if not path.is_file():
        return False
    wanted = _known_sha256(item, folder.name, cache_dir)
    return wanted is not None and sha256_file(path) == wanted


def _known_sha256(item: CorpusFile, corpus: str, cache_dir: Path) -> str | None:
    """The checksum seen by the authors, else the one of this cache's first download."""
    return item.sha256 or _read_lock(cache_dir).get(f"{corpus}/{item.name}", {}).get("sha256")


def _read_lock(cache_dir: Path) -> dict[str, dict[str, str]]:
    path = cache_dir / "corpora" / "lock.json"
    return read_json(path, error=DataError) if path.exists() else {}


def _write_lock(item: CorpusFile, corpus: str, sha256: str, cache_dir: Path, *, origin: str) -> None:
    path = cache_dir / "corpora" / "lock.json"
    with FileLock(path.with_suffix(".json.lock")):
        entries = _read_lock(cache_dir)
        entries[f"{corpus}/{item.name}"] = {"sha256": sha256, "origin": origin}
        write_json_atomic(path, dict(sorted(entries.items())))
