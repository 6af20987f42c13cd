"""A very small Hugging Face hub on this machine: enough for the real client to make a repository and commit files."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What the hub holds: repositories, their files, the requests it saw. `refuses`: a status for every answer."""

    refuses: int | None = None
    repos: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def fake_hub(refuses: int | None = None) -> Iterator[Hub]:
    """A hub that listens while the block runs."""
    hub = Hub(refuses)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def answer(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status >= 400:
                self.send_header("X-Error-Message", value["error"])
            self.end_headers()
            self.wfile.write(body)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def do_GET(self) -> None:
            hub.seen.append(f"GET {self.path}")
            self.answer(404, {"error": "nothing of that name"})

        def do_POST(self) -> None:
            body = self.body()
            hub.seen.append(f"POST {self.path}")
            hub.tokens.add(str(self.headers.get("Authorization")))
            if hub.refuses is not None:
                self.answer(hub.refuses, {"error": "refused by the fake hub"})
            elif self.path == "/api/repos/create":
                wish = json.loads(body)
                name = f"{wish['organization']}/{wish['name']}"
                hub.repos.add(name)
                self.answer(200, {"url": f"{hub.address}/{name}", "name": name, "id": name})
            elif self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                named = json.loads(body)["files"]
                told = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in named]
                self.answer(200, {"files": told})
            elif "/commit/" in self.path:
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                commit = {"commitUrl": f"{hub.address}/ana/tale/commit/1234", "commitOid": "1234", "success": True}
                self.answer(200, commit)
            else:
                self.answer(404, {"error": "no such address"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
