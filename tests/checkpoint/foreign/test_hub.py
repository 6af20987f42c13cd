"""Fetching from a hub: the real client against a hub on this machine, in processes of their own with its address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoint.fake_hub import FakeHub, Repository, repository_of, serving

import vidro
from vidro.checkpoint.foreign import hub as hub_module
from vidro.checkpoint.huggingface import write_model
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError, StorageError
from vidro.core.files import sha256_file
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

pytestmark = pytest.mark.slow  # each test starts two processes with the hub's address

PROGRAM = """
import json, sys
from vidro.checkpoint.foreign.hub import fetch
from vidro.core.errors import VidroError
found = []
for name in sys.argv[1:]:
    try:
        got = fetch(name, lambda line: None)
        found.append([str(got.path), got.revision])
    except VidroError as problem:
        found.append(f"{type(problem).__name__} {problem}")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model directory, with files beside it that nobody needs."""
    path = tmp_path_factory.mktemp("model")
    config = ModelConfig(
        family="llama", vocab_size=320, context_length=16, d_model=32, n_layers=2, n_heads=2, n_kv_heads=2, d_head=16,
        d_ff=48,
    )  # fmt: skip
    write_model(path, Transformer(config), build_bytes())
    (path / "README.md").write_text("long")
    (path / "modeling_llama.py").write_text("raise SystemExit")
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    return path


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as found:
        yield found


def ask(hub: FakeHub, home: Path, *names: str, **environment: str) -> list[Any]:
    """What a process finds that fetches these names, one after the other; an error is its line."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=True, timeout=120,
        env={
            **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",  # CI says otherwise
            "PYTHONPATH": str(Path(vidro.__file__).parents[1]), "NO_PROXY": "127.0.0.1", **environment,
        },
    )  # fmt: skip
    return json.loads(done.stdout)


def test_fetched_found_again_and_offline(hub: FakeHub, model: Path, tmp_path: Path) -> None:
    hub.repositories = {"user/good": repository_of(model), "short": repository_of(model)}
    hub.repositories["user/busy"] = repository_of(model, busy=2)
    (path, commit), (again, _), (short, _), (busy, _) = ask(
        hub, tmp_path, "user/good", "user/good", "short", "user/busy"
    )
    assert commit == hub.repositories["user/good"].commit == Path(path).name
    assert (again, Path(short).name) == (path, commit)
    assert Path(busy, "config.json").is_file()
    kept = {each.name for each in Path(path).iterdir()}
    assert kept == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    }
    assert sha256_file(Path(path) / "model.safetensors") == sha256_file(model / "model.safetensors")
    n_fetched = sum(
        method == "GET" and "good/resolve" in where and "safetensors" in where for method, where, _ in hub.asked
    )
    assert n_fetched == 1
    n_asked = len(hub.asked)
    found = ask(hub, tmp_path, "user/good", "user/good@" + commit, "user/absent", HF_HUB_OFFLINE="1")
    assert found[:2] == [[path, commit]] * 2
    assert found[2].startswith("CheckpointError user/absent: offline, and it is not in the cache of the hub. Fetch it")
    assert len(hub.asked) == n_asked, "offline asks nobody"
    (Path(path) / "model.safetensors").resolve().write_bytes(b"altered")
    (error,) = ask(hub, tmp_path, "user/good", HF_HUB_OFFLINE="1")
    assert "model.safetensors: it is not what was fetched (sha256" in error


def test_a_half_file_is_continued(hub: FakeHub, model: Path, tmp_path: Path) -> None:
    data = (model / "model.safetensors").read_bytes()
    hub.repositories = {"user/cut": repository_of(model, cut=10_000), "user/half": repository_of(model)}
    ((path, _),) = ask(hub, tmp_path / "a", "user/cut")
    assert (Path(path) / "model.safetensors").read_bytes() == data
    assert [place for _, where, place in hub.asked if "cut/resolve" in where and place] == ["bytes=10000-"]
    blob = tmp_path / "b" / "hub" / "models--user--half" / "blobs" / sha256_file(model / "model.safetensors")
    blob.parent.mkdir(parents=True)  # as a killed process leaves it
    blob.with_name(blob.name + ".part").write_bytes(data[:4000])
    blob.with_name(blob.name + ".part.tag").write_text(f'"{blob.name}"')
    ((path, _),) = ask(hub, tmp_path / "b", "user/half")
    assert (Path(path) / "model.safetensors").read_bytes() == data
    assert ("GET", f"/user/half/resolve/{'c0ffee' + '0' * 34}/model.safetensors", "bytes=4000-") in hub.asked


def test_whatever_goes_wrong_is_one_line(hub: FakeHub, model: Path, tmp_path: Path) -> None:
    other = {**repository_of(model).files, "config.json": b'{"model_type": "mamba"}'}
    pickled = {name: data for name, data in repository_of(model).files.items() if name != "model.safetensors"}
    hub.repositories = {
        "user/gated": Repository({}, status=403, error_code="GatedRepo"),
        "user/limited": Repository({}, status=429),
        "user/broken": Repository({}, status=503),
        "user/spoilt": repository_of(model, spoil="model.safetensors"),
        "user/spoilt-2": repository_of(model, spoil="tokenizer.json"),
        "user/pickled": Repository(pickled),
        "user/mamba": Repository(other),
        "user/empty": Repository({"README.md": b"x"}),
        "user/good": repository_of(model),
    }
    names = [*list(hub.repositories)[:-1], "user/good@v9", "user/nobody"]
    lines = dict(zip(names, ask(hub, tmp_path, *names), strict=True))
    expected = {
        "user/gated": "accept their terms first. Accept its terms on its page there",
        "user/limited": "too many requests from here (429). Wait some minutes",
        "user/broken": "the hub answered 503. Run the same command again",
        "user/spoilt": "model.safetensors: the checksum is wrong (sha256",
        "user/spoilt-2": "tokenizer.json did not arrive as it is on the hub (git hash",
        "user/pickled": "no weights as safetensors, only as a pickle (pytorch_model.bin)",
        "user/mamba": "the architecture 'mamba' is not supported",
        "user/empty": "there is no config.json in it",
        "user/good@v9": "there is no revision 'v9' of this model",
        "user/nobody": "there is no such model on the hub, and no such directory here",
    }
    for name, words in expected.items():
        assert words in lines[name], lines[name]
        assert "\n" not in lines[name]
    assert not any("safetensors" in where for _, where, _ in hub.asked if "mamba" in where), (
        "refused before its weights"
    )
    assert sum("/api/models/user/limited" in where for _, where, _ in hub.asked) == 4
    hub.url = "http://127.0.0.1:9"
    (line,) = ask(hub, tmp_path, "user/good")
    assert "the hub cannot be reached" in line
    assert "Is there a network?" in line


def test_full_disk_and_our_own_mistakes() -> None:
    with pytest.raises(StorageError, match="no space left on the disk"), hub_module._one_line("gpt2"):
        raise OSError(28, "No space left on device")
    with pytest.raises(ZeroDivisionError), hub_module._one_line("gpt2"):
        raise ZeroDivisionError
    with pytest.raises(CheckpointError, match="not the name of a model"), hub_module._one_line("a--b"):
        import huggingface_hub

        huggingface_hub.hf_hub_download("a--b", "config.json")
