"""``vidro data`` and the cache it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidro.cli.main import main


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_vidro_writes_itself_is_always_here(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = {corpus["name"]: corpus["cached"] for corpus in out_of(capsys, "data", "list")["corpora"]}
    assert {name for name, cached in here.items() if cached} == {name for name in here if name.startswith("tinyworld")}
    assert here["tinyshakespeare"] is False


def test_a_validation_text_that_is_not_there_is_said_at_once(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "book.txt", "--tokenizer", "bytes", "--out", "tok", "--val", "no.txt"]) == 2
    assert capsys.readouterr().err.startswith("vidro: error: no.txt: there is no such file or folder.")
    assert not (desk / "tok").exists()


def test_info_shows_the_cache_that_is_used(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vidro.cli.places import cache_dir

    assert out_of(capsys, "info", "--no-measure")["cache_dir"] == str(cache_dir()) == str(desk.parent / "cache")
