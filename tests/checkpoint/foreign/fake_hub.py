"""A hub on this machine that speaks what the real client asks for: model info, HEAD and GET of files, with ranges."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE = (".safetensors",)


@dataclass
class Repository:
    """What the hub has under one name, and how it misbehaves."""

    files: dict[str, bytes]
    commit: str = "c0ffee" + "0" * 34
    status: int | None = None
    """Answer everything so."""
    error_code: str | None = None
    busy: int = 0
    """Answer the first so many requests with 503."""
    spoil: str | None = None
    """The file whose bytes arrive altered."""
    cut: int | None = None
    """Close the connection of a large file after so many bytes, once."""


@dataclass
class FakeHub:
    """The server, what it has, and what was asked of it: (method, path, range)."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that runs until the block ends."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None: ...

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            hub.asked.append((self.command, path, self.headers.get("Range")))
            found = _find(hub, path)
            if found is None:
                return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
            repository, revision, file = found
            if repository.busy > 0:
                repository.busy -= 1
                return self.send(503, b"{}", {}, body=body)
            if repository.status is not None:
                code = {"X-Error-Code": repository.error_code} if repository.error_code else {}
                return self.send(repository.status, b"{}", code, body=body)
            if revision not in ("main", repository.commit):
                return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
            if file is None:
                return self.send(200, json.dumps(_info(repository)).encode(), {}, body=body)
            if file not in repository.files:
                return self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
            self.file(repository, file, body=body)

        def file(self, repository: Repository, file: str, *, body: bool) -> None:
            data = repository.files[file]
            headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{_etag(file, data)}"', "Accept-Ranges": "bytes"}
            if file == repository.spoil:
                data = data[:-1] + bytes([data[-1] ^ 1])
            start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0]
            status = 200
            if int(start):
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                status, data = 206, data[int(start) :]
            if body and repository.cut is not None and file.endswith(LARGE):
                cut, repository.cut = repository.cut, None
                self.send(status, data, headers, body=body, only=cut)
                self.close_connection = True
                self.connection.close()
                return
            self.send(status, data, headers, body=body)

        def send(
            self, status: int, data: bytes, headers: dict[str, str], *, body: bool, only: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data[:only])
                self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _find(hub: FakeHub, path: str) -> tuple[Repository, str, str | None] | None:
    """(repository, revision, file or None) of /api/models/NAME[/revision/REV] and /NAME/resolve/REV/FILE."""
    for name, repository in hub.repositories.items():
        if path.startswith(f"/api/models/{name}"):
            rest = path.removeprefix(f"/api/models/{name}")
            if rest in ("", "/") or rest.startswith("/revision/"):
                return repository, rest.removeprefix("/revision/") or "main", None
        if path.startswith(f"/{name}/resolve/"):
            revision, _, file = path.removeprefix(f"/{name}/resolve/").partition("/")
            return repository, revision, file
    return None


def _info(repository: Repository) -> dict[str, Any]:
    siblings = []
    for file, data in repository.files.items():
        entry: dict[str, Any] = {"rfilename": file, "size": len(data), "blobId": _git(data)}
        if file.endswith(LARGE):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        siblings.append(entry)
    return {"id": "user/name", "modelId": "user/name", "sha": repository.commit, "siblings": siblings, "tags": []}


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _etag(file: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if file.endswith(LARGE) else _git(data)


def repository_of(directory: Path, **changes: Any) -> Repository:
    """The files of a directory, as a repository."""
    return Repository({path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}, **changes)
