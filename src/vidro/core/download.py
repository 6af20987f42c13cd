"""Downloads that survive a cut connection: bytes go to ``NAME.part``, the next attempt asks for the rest.

The file gets its name only when it is complete and its checksum, where one is known, is right. Not here: what there is
to download (`data/corpora`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from vidro.core.errors import DataError
from vidro.core.files import sha256_file, storage_errors, sync_directory, sync_file, write_text_atomic

Progress = Callable[[int, int | None], None]

_ATTEMPTS = 3
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "vidro"}
_AGAIN = "Run the same command again: it goes on where it stopped."
_TIMEOUT_S = httpx.Timeout(60.0, connect=15.0)


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Fetch `url` to `path` and return the SHA-256 of its bytes; `progress` is told (bytes so far, bytes in all).

    `headers` are sent too; one that logs in goes to the first host only, never to where it redirects.

    Goes on from an earlier ``.part`` when the server can and the file there has not changed. Raises DataError (no
    network, refused, cut off, wrong checksum) and StorageError.
    """
    part = path.with_name(path.name + ".part")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with httpx.Client(follow_redirects=True, timeout=_TIMEOUT_S, headers={**(headers or {}), **_HEADERS}) as client:
            _fetch(client, url, part, progress)
        found = sha256_file(part)
        if sha256 is not None and found != sha256:
            _forget(part)
            what = f"the checksum is wrong (sha256 {found[:12]}… instead of {sha256[:12]}…); the file was thrown away"
            hint = "It has changed at its source or on the way. Try again, or use a copy of the right one: --mirror DIR"
            raise DataError(what, where=url, hint=hint)
        sync_file(part)
        part.replace(path)
        _tag_path(part).unlink(missing_ok=True)
        sync_directory(path.parent)
    return found


def _fetch(client: httpx.Client, url: str, part: Path, progress: Progress | None) -> None:
    """Fill `part` to the end; a cut connection is taken up again as long as each attempt brings something."""
    attempts = 0
    while True:
        before = _size(part)
        try:
            _attempt(client, url, part, progress)
            return
        except (httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout) as problem:
            attempts = 1 if _size(part) > before else attempts + 1
            if attempts >= _ATTEMPTS:
                what = f"the connection was cut after {_size(part):,} bytes ({_reason(problem)})"
                raise DataError(what, where=url, hint=_AGAIN) from None
        except httpx.TransportError as problem:
            raise _unreachable(url, problem) from None
        except (httpx.InvalidURL, httpx.TooManyRedirects) as problem:
            raise DataError(f"this address cannot be used ({_reason(problem)})", where=url) from None


def _attempt(client: httpx.Client, url: str, part: Path, progress: Progress | None) -> None:
    """One request for what is missing; the server's tag of the file makes sure that old and new bytes fit together."""
    have, tag = _size(part), _read_tag(part)
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return  # all bytes were there already; only the last rename was missing
            _forget(part)
            raise httpx.RemoteProtocolError("the server refused to continue")
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            what = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
            raise DataError(what, where=url, hint="With a copy of the file on this machine: --mirror DIR")
        continues = response.status_code == httpx.codes.PARTIAL_CONTENT and _range_start(response) == have
        if response.status_code == httpx.codes.PARTIAL_CONTENT and not continues:
            _forget(part)
            raise httpx.RemoteProtocolError("the server sent another range than asked for")
        if not continues:
            have = 0
        _write_tag(part, _tag(response))
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        with part.open("ab" if continues else "wb") as stream:
            for block in response.iter_raw():
                stream.write(block)
                have += len(block)
                if progress is not None:
                    progress(have, total)
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and have < total:
        raise httpx.ReadError("it ended early")


def _tag(response: httpx.Response) -> str | None:
    """A strong name of this version of the file: its ETag, or its date; None when the server gives neither."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _range_start(response: httpx.Response) -> int | None:
    """The first byte's place in a partial answer (``Content-Range: bytes 100-199/200``)."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _unreachable(url: str, problem: httpx.TransportError) -> DataError:
    host = httpx.URL(url).host or url
    if isinstance(problem, httpx.UnsupportedProtocol):
        return DataError("this is not an http or https address", where=url)
    if "CERTIFICATE" in str(problem).upper():
        what = f"the identity of {host} cannot be verified ({_reason(problem)})"
        return DataError(what, where=url, hint="Is a proxy in between, or the clock wrong?")
    hint = "Is there a network? With a copy of the file on this machine: --mirror DIR"
    return DataError(f"{host} cannot be reached ({_reason(problem)})", where=url, hint=hint)


def _reason(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:120]


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _tag_path(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _read_tag(part: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _tag_path(part).read_text(encoding="utf-8").strip() or None
    return None


def _write_tag(part: Path, tag: str | None) -> None:
    if tag is None:
        _tag_path(part).unlink(missing_ok=True)
    else:
        write_text_atomic(_tag_path(part), tag)


def _forget(part: Path) -> None:
    """Remove what is left of an unfinished download."""
    for path in (part, _tag_path(part)):
        path.unlink(missing_ok=True)
