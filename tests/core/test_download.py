"""Downloads from a real server that cuts connections, changes files, refuses and lies about ranges."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from vidro.core.download import download
from vidro.core.errors import DataError, StorageError

BODY = bytes(range(256)) * 2000
SHA = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """What the server does, and what it was asked."""

    url: str = ""
    body: bytes = BODY
    etag: str | None = '"v1"'
    cut_after: list[int] = field(default_factory=list)  # for each coming answer: bytes before the connection drops
    status: int = 200
    ranges: bool = True
    wrong_range: bool = False
    requests: list[str | None] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        wanted = self.headers.get("Range")
        site.requests.append(wanted)
        assert self.headers["Accept-Encoding"] == "identity"
        if site.status != 200:
            self.send_error(site.status)
            return
        start, status = 0, 200
        if wanted and site.ranges and self.headers.get("If-Range") in (None, site.etag):
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
        if start >= len(site.body) and status == 206:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(site.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(site.body) - start))
        if status == 206:
            shown = start + 5 if site.wrong_range else start
            self.send_header("Content-Range", f"bytes {shown}-{len(site.body) - 1}/{len(site.body)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        self.end_headers()
        data = site.body[start:]
        if site.cut_after:
            data = data[: site.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()
    handler = type("Bound", (Handler,), {"site": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/file.bin"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def failure(url, path, **how) -> str:
    with pytest.raises(DataError) as caught:
        download(url, path, **how)
    return str(caught.value).removeprefix(f"{url}: ")


def test_a_file_arrives_with_progress_and_checksum(site, tmp_path):
    told = []
    path = tmp_path / "new" / "file.bin"
    assert download(site.url, path, sha256=SHA, progress=lambda done, total: told.append((done, total))) == SHA
    assert path.read_bytes() == BODY
    assert [item.name for item in path.parent.iterdir()] == ["file.bin"]
    assert told[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_cut_connection_is_taken_up_again(site, tmp_path):
    site.cut_after = [100_000, 50_000]
    assert download(site.url, tmp_path / "f") == SHA
    assert site.requests == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(site, tmp_path):
    site.cut_after = [100_000, 0, 0]
    line = failure(site.url, tmp_path / "f")
    assert line.startswith("the connection was cut after 100,000 bytes (")
    assert line.endswith("Run the same command again: it goes on where it stopped.")
    assert not (tmp_path / "f").exists()
    site.requests.clear()
    assert download(site.url, tmp_path / "f", sha256=SHA) == SHA
    assert site.requests == ["bytes=100000-"]
    assert [item.name for item in tmp_path.iterdir()] == ["f"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(site, tmp_path):
    site.cut_after = [100_000, 0, 0]
    failure(site.url, tmp_path / "f")
    site.body, site.etag = BODY[::-1], '"v2"'
    assert download(site.url, tmp_path / "f") == hashlib.sha256(BODY[::-1]).hexdigest()


@pytest.mark.parametrize("change", [{"ranges": False}, {"etag": None}, {"wrong_range": True}])
def test_servers_that_cannot_continue_or_do_it_wrongly(site, tmp_path, change):
    for name, value in change.items():
        setattr(site, name, value)
    site.cut_after = [100_000]
    assert download(site.url, tmp_path / "f", sha256=SHA) == SHA


def test_a_finished_part_that_only_lacks_its_name(site, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY)
    (tmp_path / "f.part.tag").write_text('"v1"')
    assert download(site.url, tmp_path / "f", sha256=SHA) == SHA
    assert site.requests == [f"bytes={len(BODY)}-"]


def test_a_wrong_checksum_throws_the_file_away(site, tmp_path):
    assert failure(site.url, tmp_path / "f", sha256="0" * 64) == (
        f"the checksum is wrong (sha256 {SHA[:12]}… instead of 000000000000…); the file was thrown away. "
        "It has changed at its source or on the way. Try again, or use a copy of the right one: --mirror DIR"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_one_line(site, tmp_path):
    site.status = 404
    assert failure(site.url, tmp_path / "f") == (
        "the server answered 404 Not Found. With a copy of the file on this machine: --mirror DIR"
    )


def test_no_network_is_one_line(tmp_path):
    line = failure("http://127.0.0.1:9/f", tmp_path / "f")
    assert line.startswith("127.0.0.1 cannot be reached (")
    assert line.endswith("). Is there a network? With a copy of the file on this machine: --mirror DIR")


@pytest.mark.parametrize("url", ["ftp://host/f", "host/f", "http://host:port/f"])
def test_addresses_that_cannot_be_used(url, tmp_path):
    line = failure(url, tmp_path / "f")
    assert "this is not an http or https address" in line or "this address cannot be used" in line


def test_a_place_that_cannot_be_written(site, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="a part of this path is a file, not a folder"):
        download(site.url, tmp_path / "file" / "sub" / "f")
