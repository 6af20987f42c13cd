"""Texts that break tokenizers, and one home-made tokenizer of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words, train_bpe


@pytest.fixture(scope="session")
def nasty() -> list[str]:
    """Short texts with every kind of character, blank, line end and special name."""
    return json.loads(Path(__file__).with_name("nasty.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def bpe(nasty: list[str]) -> Tokenizer:
    """A small BPE that has merges inside words, blanks, punctuation, accents and emoji."""
    return train_bpe([*nasty * 3, "the cat sat on the mat and the dog sat on the cat\n" * 20], 512)


@pytest.fixture(scope="session")
def words(nasty: list[str]) -> Tokenizer:
    """A dictionary of all words of the nasty texts."""
    return build_words(nasty)


@pytest.fixture(scope="session")
def chars(nasty: list[str]) -> Tokenizer:
    """A dictionary of all characters of the nasty texts."""
    return build_chars(nasty)


@pytest.fixture(scope="session")
def homemade(bpe: Tokenizer, words: Tokenizer, chars: Tokenizer, nasty: list[str]) -> dict[str, Tokenizer]:
    """One of each kind, by name."""
    some = build_words(nasty[:20], unk=True), build_chars(nasty[:20], unk=True)
    return {
        "bpe": bpe,
        "words": words,
        "chars": chars,
        "bytes": build_bytes(),
        "words-unk": some[0],
        "chars-unk": some[1],
    }
