"""The upload to the hub, by the real client against a small hub on this machine, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.checkpoint.fake_hub import Repository, serving

from vidro.checkpoint.push import check_push
from vidro.core.errors import UsageError

PROGRAM = """
import sys
from pathlib import Path
from vidro.checkpoint.push import check_push, push
from vidro.core.errors import VidroError
for place in sys.argv[2:]:
    try:
        check_push(place)
        print(push(Path(sys.argv[1]), place, lambda line: None))
    except VidroError as problem:
        print(f"{type(problem).__name__}: {problem}")
"""
GOOD = "ana/tale"


def pushed(folder: Path, url: str, *places: str, token: str | None = "hf_of_the_test", **environment: str) -> list[str]:
    """A line for each upload, to several places. The client reads its settings when it is imported: hence the process.

    Large files go the way that every version of the client has (LFS), not into the other store (Xet), which would want
    a server of its own.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    own |= {"HF_ENDPOINT": url, "HF_HOME": str(folder.parent / "home"), "HF_HUB_DISABLE_XET": "1", **environment}
    own |= {} if token is None else {"HF_TOKEN": token}
    command = [sys.executable, "-c", PROGRAM, str(folder), *(places or (GOOD,))]
    done = subprocess.run(command, capture_output=True, text=True, env=own, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three files, one of them not text."""
    made = tmp_path / "out"
    made.mkdir()
    (made / "README.md").write_text("# tale\n", encoding="utf-8")
    (made / "config.json").write_text("{}\n", encoding="utf-8")
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 9)
    return made


def test_every_file_arrives_as_it_is(folder: Path) -> None:
    """The small ones within the commit; the large one into the store first, and only once."""
    with serving() as hub:
        urls = pushed(folder, hub.url, GOOD, "ana/again")
    assert urls == [f"{hub.url}/{place}/commit/1234" for place in (GOOD, "ana/again")]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert [repository.files for repository in hub.repositories.values()] == [files, files]
    assert list(hub.store.values()) == [files["model.safetensors"]]
    assert [method for method, _, _ in hub.asked].count("PUT") == 1
    assert hub.tokens == {"Bearer hf_of_the_test"}


def test_a_refusal_is_one_line(folder: Path) -> None:
    expected = {
        "ana/r401": "the hub does not know this token. Log in again: hf auth login.",
        "ana/r403": "this token may not write there. Use a token with the right to write, or another --push user/name",
        "ana/r404": "the hub has no such user or place, or hides it from this token. Look at the name of --push.",
        "ana/r400": "the hub refused with 400 (refused by the fake hub). The export is whole on this disk; push it",
        "ana/s403": "this token may not write there. Use a token with the right to write, or another --push user/name",
        "ana/s400": "the hub refused with 400 (Bad request:). The export is whole on this disk; push it again",
    }
    with serving() as hub:
        for place in expected:
            status, refuses = int(place[-3:]), "/r" in place
            hub.repositories[place] = Repository(status=status) if refuses else Repository(store_status=status)
        lines = pushed(folder, hub.url, *expected)
    for line, (place, words) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"StorageError: {place}: {words}")
    assert not any(repository.files for repository in hub.repositories.values())


def test_no_network(folder: Path) -> None:
    (line,) = pushed(folder, "http://127.0.0.1:9")
    assert line.startswith("StorageError: ana/tale: the hub cannot be reached (")
    assert line.endswith("The export is whole on this disk; push it again with --overwrite --push.")


def test_a_hub_whose_other_store_is_not_there(folder: Path) -> None:
    """Where the client has Xet it asks for its token first; without it this is an upload like any other."""
    with serving() as hub:
        (line,) = pushed(folder, hub.url, HF_HUB_DISABLE_XET="0")
    if any("xet" in path for _, path, _ in hub.asked):
        assert line.startswith("StorageError: ana/tale: the hub cannot be reached (")
    else:
        assert line == f"{hub.url}/ana/tale/commit/1234"


def test_a_client_that_was_told_to_stay_offline(folder: Path) -> None:
    with serving() as hub:
        line = pushed(folder, hub.url, HF_HUB_OFFLINE="1")
    assert line == ["StorageError: ana/tale: the hub's client is set to stay offline. Unset HF_HUB_OFFLINE."]
    assert hub.asked == []


def test_nobody_is_logged_in(folder: Path) -> None:
    with serving() as hub:
        (line,) = pushed(folder, hub.url, token=None)
    assert line.startswith("UsageError: push: nobody is logged in to the Hugging Face hub here. Run: hf auth login")
    assert hub.asked == []


@pytest.mark.parametrize("name", ["tale", "ana/tale/more", "/tale", "ana/", "ana/a tale", "https://hub/ana/tale", ""])
def test_what_is_no_place(name: str) -> None:
    with pytest.raises(UsageError, match=r"is not a place on the hub, user/name. For example --push ana/book-model."):
        check_push(name)
