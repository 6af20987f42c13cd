"""Models from the Hugging Face hub: which files, fetched by its own library, checked against the hub's checksums.

``name`` is gpt2, user/name or user/name@revision. The settings come first, so a model that cannot be read is refused
before its gigabytes are fetched. The library keeps what was fetched in its own cache and reads HF_ENDPOINT,
HF_HUB_OFFLINE and HF_TOKEN by itself; this module adds what it lacks: only files that are needed, going on from a half
file, SHA-256 of what arrived, and one line for each way to fail. Not here: reading the model (`directory`).
"""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidro.core.download import download
from vidro.core.errors import CheckpointError, DataError, StorageError, VidroError
from vidro.core.files import sha256_file

Say = Callable[[str], None]

SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja")
VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model")
WEIGHTS, INDEX, PICKLED = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
_LICENCE = "Accept its terms on its page there, then log in: hf auth login."
_AGAIN = "Run the same command again: it goes on where it stopped."
_RETRIED = (429, 500, 502, 503, 504)
_WAITS_S = (1.0, 2.0, 4.0)
"""How long to wait while the hub is busy."""


@dataclass(frozen=True)
class Fetched:
    """A model on this machine: its folder in the hub's cache, and exactly which one it is."""

    path: Path
    repository: str
    revision: str


@dataclass(frozen=True)
class _File:
    """A file of a repository: its bytes, and the checksum the hub has of it."""

    n_bytes: int | None
    sha256: str | None
    git_sha1: str | None


def fetch(name: str, say: Say = print) -> Fetched:
    """The files of the model `name`, from the cache or the hub.

    Raises CheckpointError (no such model, gated, no network, wrong checksum), ModelError for a model that cannot be
    read, StorageError.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    repository, _, revision = name.partition("@")
    revision = revision or "main"
    with _one_line(name):
        if constants.HF_HUB_OFFLINE:
            return _from_cache(repository, revision, say)
        disable_progress_bars()  # what is large is fetched, and reported, here
        api = huggingface_hub.HfApi()
        info = _retried(lambda: api.model_info(repository, revision=revision, files_metadata=True, timeout=30))
        model = _Model(name, repository, str(info.sha), {each.rfilename: _known(each) for each in info.siblings or []})
        folder = model.get("config.json", say, revision=revision).parent  # by this name it is found again offline
        if folder.name != model.commit:
            raise CheckpointError("it was changed while it was fetched", where=name, hint="Run the same command again.")
        _check_settings(folder)
        wanted = _wanted(model.files, name)
        size = sum(model.files[each].n_bytes or 0 for each in wanted)
        say(f"{repository} at {model.commit[:8]}: {len(wanted)} files, {size / 1e6:,.1f} MB")
        for each in wanted:
            model.get(each, say)
        return Fetched(folder, repository, model.commit)


def _retried(ask: Callable[[], Any]) -> Any:
    """What the hub answers, asked up to four times while it is busy."""
    import huggingface_hub.errors as hub

    for wait_s in _WAITS_S:
        try:
            return ask()
        except hub.HfHubHTTPError as problem:
            if problem.response.status_code not in _RETRIED:
                raise
        except _Busy:
            pass
        time.sleep(wait_s)
    return ask()


class _Busy(CheckpointError):
    """The hub is busy: the same may work in a moment."""


def _known(sibling: Any) -> _File:
    lfs = sibling.lfs
    sha256 = lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)
    return _File(sibling.size, sha256, sibling.blob_id)


def _wanted(files: Mapping[str, _File], name: str) -> list[str]:
    """The settings, the vocabulary and the weights as safetensors; no other form, no pictures, no code."""
    shards = sorted(each for each in files if each.startswith("model-") and each.endswith(".safetensors"))
    if WEIGHTS in files:
        weights = [WEIGHTS]
    elif INDEX in files and shards:
        weights = [INDEX, *shards]
    else:
        pickled = sorted(each for each in files if each.endswith((".bin", ".pth", ".pt")))
        what = f"it has no weights as safetensors{f', only as a pickle ({pickled[0]})' if pickled else ''}"
        hint = "Fetch that file yourself and import it with --from-pickle." if pickled else "Choose another model."
        raise CheckpointError(what, where=name, hint=hint)
    vocabulary = [each for each in VOCABULARIES if each in files]
    if "tokenizer.json" in vocabulary:
        vocabulary = ["tokenizer.json"]
    return [each for each in SETTINGS if each in files] + vocabulary + weights


@dataclass(frozen=True)
class _Model:
    """One commit of a repository, and what the hub says of its files."""

    name: str
    repository: str
    commit: str
    files: Mapping[str, _File]

    def get(self, file: str, say: Say, *, revision: str | None = None) -> Path:
        """The file in the cache, fetched where it is not there; bytes with another checksum are thrown away."""
        import huggingface_hub

        if file not in self.files:
            raise CheckpointError(f"there is no {file} in it, so it is no model", where=self.name)
        known = self.files[file]
        fetched = known.sha256 is not None and _retried(lambda: self._fetch_large(file, known.sha256 or "", say))
        path = Path(
            _retried(lambda: huggingface_hub.hf_hub_download(self.repository, file, revision=revision or self.commit))
        )
        problem = None if fetched else _differs(path, known)
        if problem is not None:
            for copy in {path.resolve(), path}:
                copy.unlink(missing_ok=True)
            what = f"{file} did not arrive as it is on the hub ({problem}); it was thrown away"
            raise CheckpointError(what, where=self.name, hint="Run the same command again.")
        return path

    def _fetch_large(self, file: str, sha256: str, say: Say) -> bool:
        """Put a large file where the library's cache expects it, going on from a half one, which the library cannot."""
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        folder = Path(constants.HF_HUB_CACHE) / f"models--{self.repository.replace('/', '--')}"
        blob = folder / "blobs" / sha256
        if blob.exists():
            return False
        url = hf_hub_url(self.repository, file, revision=self.commit)
        headers = {k: v for k, v in build_hf_headers().items() if k.lower() == "authorization"}
        try:
            download(url, blob, sha256=sha256, headers=headers, progress=_percent(file, say))
        except DataError as problem:
            busy = any(f"answered {code}" in problem.what for code in _RETRIED)
            kind = _Busy if busy else CheckpointError
            raise kind(f"{file}: {problem.what}", where=self.name, hint=_AGAIN) from None
        return True


def _percent(file: str, say: Say) -> Callable[[int, int | None], None]:
    """Say every tenth of a large file."""
    said = 0

    def progress(have: int, total: int | None) -> None:
        nonlocal said
        if total and total >= 10 * 2**20 and 10 * have // total > said:
            said = 10 * have // total
            say(f"{file}: {10 * said} % of {total / 1e6:,.0f} MB")

    return progress


def _differs(path: Path, known: _File) -> str | None:
    """What is wrong with a file, or None."""
    size = path.stat().st_size
    if known.n_bytes is not None and size != known.n_bytes:
        return f"{size:,} bytes instead of {known.n_bytes:,}"
    if known.sha256 is not None:
        found = sha256_file(path)
        return None if found == known.sha256 else f"sha256 {found[:12]}… instead of {known.sha256[:12]}…"
    if known.git_sha1 is not None and len(known.git_sha1) == 40:
        found = hashlib.sha1(b"blob %d\0" % size + path.read_bytes(), usedforsecurity=False).hexdigest()
        return None if found == known.git_sha1 else f"git hash {found[:12]}… instead of {known.git_sha1[:12]}…"
    return None


def _check_settings(folder: Path) -> None:
    from vidro.checkpoint.huggingface import CONFIG, from_hf_config
    from vidro.core.files import read_json

    from_hf_config(read_json(folder / CONFIG, error=CheckpointError), where=CONFIG)


def _from_cache(repository: str, revision: str, say: Say) -> Fetched:
    """What an earlier fetch left; each file is checked against the checksum that its place in the cache is named by."""
    import huggingface_hub

    config = huggingface_hub.try_to_load_from_cache(repository, "config.json", revision=revision)
    if not isinstance(config, str):
        hint = "Fetch it with a network first: unset HF_HUB_OFFLINE."
        raise CheckpointError("offline, and it is not in the cache of the hub", where=repository, hint=hint)
    folder = Path(config).parent
    for path in sorted(folder.iterdir()):
        blob = path.resolve().name
        known = _File(None, blob if len(blob) == 64 else None, blob if len(blob) == 40 else None)
        problem = _differs(path, known)
        if problem is not None:
            hint = "Remove it, and fetch it anew with a network."
            raise CheckpointError(f"it is not what was fetched ({problem})", where=path, hint=hint)
    say(f"{repository} at {folder.name[:8]}: from the cache, offline")
    return Fetched(folder, repository, folder.name)


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Whatever the library raises, as one line with what to do."""
    import huggingface_hub.errors as hub

    try:
        yield
    except VidroError:
        raise
    except hub.GatedRepoError:
        raise CheckpointError("its makers ask you to accept their terms first", where=name, hint=_LICENCE) from None
    except hub.RevisionNotFoundError:
        what = f"there is no revision {name.partition('@')[2]!r} of this model"
        raise CheckpointError(what, where=name, hint="Leave it out for the newest.") from None
    except hub.RepositoryNotFoundError:
        hint = "Check the name; a private one needs hf auth login. A directory must exist here."
        raise CheckpointError(
            "there is no such model on the hub, and no such directory here", where=name, hint=hint
        ) from None
    except hub.HFValidationError:
        raise CheckpointError("this is not the name of a model on the hub", where=name) from None
    except hub.LocalEntryNotFoundError as problem:
        raise _unreachable(name, problem.__cause__ or problem) from None
    except hub.HfHubHTTPError as problem:
        raise _answered(name, problem) from None
    except Exception as problem:
        raise _other(name, problem) from problem


def _answered(name: str, problem: Any) -> CheckpointError:
    code = problem.response.status_code
    if code == 429:
        hint = "Wait some minutes, or log in for a larger share: hf auth login."
        return CheckpointError("the hub has had too many requests from here (429)", where=name, hint=hint)
    if code in (401, 403):
        return CheckpointError(f"the hub does not give it to you ({code})", where=name, hint=_LICENCE)
    hint = _AGAIN if code in _RETRIED else "Is HF_ENDPOINT right?"
    return CheckpointError(f"the hub answered {code}", where=name, hint=hint)


def _unreachable(name: str, problem: BaseException) -> CheckpointError:
    first = (str(problem).strip() or type(problem).__name__).splitlines()[0][:120]
    hint = f"Is there a network? {_AGAIN} A directory on this machine needs none."
    return CheckpointError(f"the hub cannot be reached ({first})", where=name, hint=hint)


def _other(name: str, problem: Exception) -> Exception:
    """Full disks, cut connections and sizes that are not as announced; our own mistakes stay what they are."""
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space, or move the hub's cache with HF_HOME; what arrived is kept."
        return StorageError("no space left on the disk", where=name, hint=hint)
    if isinstance(problem, OSError) and problem.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        hint = "Move the hub's cache with HF_HOME."
        return StorageError("the cache of the hub may not be written", where=name, hint=hint)
    module = type(problem).__module__.split(".")[0]
    if module in ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3") or isinstance(problem, OSError):
        return _unreachable(name, problem)
    return problem
