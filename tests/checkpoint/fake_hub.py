"""A very small Hugging Face hub on this machine: what the real client asks for to fetch a model and to upload one.

Down: what is known of a model, HEAD and GET of its files, with ranges. Up: a repository made, files sent within a
commit or, the large ones, into the store beside it (LFS) first. Each repository may misbehave in its own way.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE = (".safetensors",)
"""Files that a hub keeps in its store for large ones."""


@dataclass
class Repository:
    """What the hub has under one name, and how it misbehaves when it is asked for it."""

    files: dict[str, bytes] = field(default_factory=dict)
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
    store_status: int | None = None
    """Answer every file sent to the store for large ones so."""


@dataclass
class FakeHub:
    """The server, what it has, and what was asked of it: (method, path, range)."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    """What those who upload said they may."""
    store: dict[str, bytes] = field(default_factory=dict)
    """Large files by their SHA-256."""
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    """One request; `hub` is set by `serving`."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.fetch()

    def do_GET(self) -> None:
        self.fetch()

    # -- down: a model's facts and files -----------------------------------------------------------------------------

    def fetch(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        found = _find(self.hub, path)
        if found is None:
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        repository, revision, file = found
        if repository.busy > 0:
            repository.busy -= 1
            return self.send(503, b"{}")
        if repository.status is not None:
            code = {"X-Error-Code": repository.error_code} if repository.error_code else {}
            return self.send(repository.status, b"{}", code)
        if revision not in ("main", repository.commit):
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if file is None:
            return self.send(200, _json(_info(repository)))
        if file not in repository.files:
            return self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        self.send_file(repository, file)

    def send_file(self, repository: Repository, file: str) -> None:
        data = repository.files[file]
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{_etag(file, data)}"', "Accept-Ranges": "bytes"}
        if file == repository.spoil:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        status = 200
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            status, data = 206, data[start:]
        if self.command == "GET" and repository.cut is not None and file.endswith(LARGE):
            cut, repository.cut = repository.cut, None
            self.send(status, data, headers, only=cut)
            self.close_connection = True
            self.connection.close()
            return
        self.send(status, data, headers)

    # -- up: a repository, the store of large files, a commit --------------------------------------------------------

    def do_POST(self) -> None:
        body, hub = self.body(), self.hub
        hub.asked.append(("POST", self.path, None))
        hub.tokens.add(self.headers.get("Authorization"))
        if self.path == "/api/validate-yaml":
            return self.send(200, _json({"errors": [], "warnings": []}))
        wish = json.loads(body.splitlines()[0])
        if self.path == "/api/repos/create":
            name = f"{wish['organization']}/{wish['name']}"
        else:
            name = re.split(r"\.git/|/preupload/|/commit/", self.path.removeprefix("/api/models"))[0].lstrip("/")
        repository = hub.repositories.setdefault(name, Repository())
        if repository.status is not None:
            return self.send(repository.status, b"{}", {"X-Error-Message": "refused by the fake hub"})
        self.send(200, _json(self.done(name, repository, wish, body)))

    def done(self, name: str, repository: Repository, wish: dict[str, Any], body: bytes) -> dict[str, Any]:
        """What the hub says after a repository was made, files were announced, or a commit arrived."""
        url = f"{self.hub.url}/{name}"
        if "/preupload/" in self.path:
            modes = {each["path"]: "lfs" if each["path"].endswith(LARGE) else "regular" for each in wish["files"]}
            return {"files": [{"path": path, "uploadMode": modes[path], "shouldIgnore": False} for path in modes]}
        if self.path.endswith("/info/lfs/objects/batch"):
            return {"objects": [self.place_of(name, each) for each in wish["objects"]]}
        if "/commit/" in self.path:
            repository.files |= dict(filter(None, map(self.committed, body.splitlines())))
            return {"commitUrl": f"{url}/commit/1234", "commitOid": "1234", "success": True}
        return {"url": url, "name": name, "id": name}

    def place_of(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Where a large file is to be sent; nowhere, when the store has it."""
        known = {"oid": wanted["oid"], "size": wanted["size"]}
        place = {"actions": {"upload": {"href": f"{self.hub.url}/{name}/store/{wanted['oid']}"}}}
        return known if wanted["oid"] in self.hub.store else {**known, **place}

    def do_PUT(self) -> None:
        body, hub = self.body(), self.hub
        hub.asked.append(("PUT", self.path, None))
        name, _, oid = self.path.removeprefix("/").partition("/store/")
        status = hub.repositories[name].store_status
        if status is None:
            status = 200 if hashlib.sha256(body).hexdigest() == oid else 400
        if status == 200:
            hub.store[oid] = body
        self.send(status, b"")

    def committed(self, line: bytes) -> tuple[str, bytes] | None:
        """(path, bytes) of a line of a commit, or None for its heading."""
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "file":
            return value["path"], base64.b64decode(value["content"])
        return (value["path"], self.hub.store[value["oid"]]) if entry["key"] == "lfsFile" else None

    # -- both --------------------------------------------------------------------------------------------------------

    def body(self) -> bytes:
        """What was sent, in one piece or in many."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None, *, only: int | None = None) -> None:
        """An answer; `only`: no more than so many of its bytes."""
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:only])
            self.wfile.flush()


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that runs until the block ends."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
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


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def repository_of(directory: Path, **changes: Any) -> Repository:
    """The files of a directory, as a repository."""
    return Repository({path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}, **changes)
