"""The upload to the hub, by the real client against a small hub on this machine, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.checkpoint.fake_hub import fake_hub

from vidro.checkpoint.push import check_push
from vidro.core.errors import UsageError

PROGRAM = """
import sys
from pathlib import Path
from vidro.checkpoint.push import check_push, push
from vidro.core.errors import VidroError
try:
    check_push(sys.argv[2])
    print(push(Path(sys.argv[1]), sys.argv[2], print))
except VidroError as problem:
    print(f"{type(problem).__name__}: {problem}")
"""


def pushed(folder: Path, address: str, *, token: str | None = "hf_of_the_test", **environment: str) -> str:
    """The last line that an upload prints. The client reads its settings when it is imported: hence the process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    own |= {"HF_ENDPOINT": address, "HF_HOME": str(folder.parent / "home"), **environment}
    own |= {} if token is None else {"HF_TOKEN": token}
    command = [sys.executable, "-c", PROGRAM, str(folder), "ana/tale"]
    done = subprocess.run(command, capture_output=True, text=True, env=own, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


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
    with fake_hub() as hub:
        assert pushed(folder, hub.address) == f"{hub.address}/ana/tale/commit/1234"
    assert hub.repos == {"ana/tale"}
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.tokens == {"Bearer hf_of_the_test"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "ana/tale: the hub does not know this token. Log in again: hf auth login."),
        (403, "ana/tale: this token may not write there. Use a token with the right to write, or another"),
        (404, "ana/tale: the hub has no such user or place, or hides it from this token. Look at the name"),
        (400, "ana/tale: the hub refused with 400 (refused by the fake hub). The export is whole on this disk"),
    ],
)
def test_a_refusal_is_one_line(status: int, expected: str, folder: Path) -> None:
    with fake_hub(refuses=status) as hub:
        assert pushed(folder, hub.address).startswith(f"StorageError: {expected}")
    assert hub.files == {}


def test_no_network(folder: Path) -> None:
    line = pushed(folder, "http://127.0.0.1:9")
    assert line.startswith("StorageError: ana/tale: the hub cannot be reached (")
    assert line.endswith("The export is whole on this disk; push it again with --overwrite --push.")


def test_a_client_that_was_told_to_stay_offline(folder: Path) -> None:
    with fake_hub() as hub:
        line = pushed(folder, hub.address, HF_HUB_OFFLINE="1")
    assert line == "StorageError: ana/tale: the hub's client is set to stay offline. Unset HF_HUB_OFFLINE."
    assert hub.seen == []


def test_nobody_is_logged_in(folder: Path) -> None:
    with fake_hub() as hub:
        line = pushed(folder, hub.address, token=None)
    assert line.startswith("UsageError: push: nobody is logged in to the Hugging Face hub here. Run: hf auth login")
    assert hub.seen == []


@pytest.mark.parametrize("name", ["tale", "ana/tale/more", "/tale", "ana/", "ana/a tale", "https://hub/ana/tale", ""])
def test_what_is_no_place(name: str) -> None:
    with pytest.raises(UsageError, match=r"is not a place on the hub, user/name. For example --push ana/book-model."):
        check_push(name)
