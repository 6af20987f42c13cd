"""``vidro data`` and the cache it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

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


def test_the_help_offers_no_tokenizer_that_cannot_be_had() -> None:
    from vidro.cli import data, tokenizer
    from vidro.config.load import leaves
    from vidro.config.schema import PretrainOptions

    said = [
        get_args(tokenizer.Which)[1].help,
        get_args(data.TokenizerName)[1].help,
        leaves(PretrainOptions)["tokenizer"][1].metadata["help"],
    ]
    assert all("bytes" in sentence and "gpt2" not in sentence for sentence in said)


def test_sizes_of_vocabularies_are_as_the_page_says(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vidro.cli.tokenizer import DEFAULT_VOCAB_SIZE

    page = (Path(__file__).parents[2] / "docs" / "tokenizer.md").read_text(encoding="utf-8")
    assert f"`vidro tokenizer train` takes {DEFAULT_VOCAB_SIZE:,}, whatever the text" in page
    assert "`tokenizer train --kind words --unk --vocab-size 2048`" in page
    words = ["--kind", "words", "--unk", "--vocab-size", "128"]
    assert out_of(capsys, "tokenizer", "train", "book.txt", "--out", "mine", *words)["vocab_size"] == 128
    assert (
        main(["pretrain", "book.txt", "--steps", "2", "--dry-run", "--tokenizer", "mine", "--vocab-size", "128"]) == 2
    )
    assert "vocab-size: only a bpe of your own has a size to choose" in capsys.readouterr().err
    assert main(["pretrain", "book.txt", "--steps", "2", "--dry-run", "--tokenizer", "mine", "--preset", "toy"]) == 0
