"""What a vocabulary is like."""

from __future__ import annotations

import doctest
import importlib

import pytest

from vidro.core.errors import TokenizerError
from vidro.text.describe import describe
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_chars, train_bpe


def test_a_trained_vocabulary() -> None:
    tokenizer = train_bpe(["the cat sat on the mat; the cat, the cat é\n" * 9], 4096)
    report = describe(tokenizer, "the cat é", n_examples=3)
    assert (report.kind, report.vocab_size, report.n_special) == (
        "bpe",
        tokenizer.vocab_size,
        len(tokenizer.special_ids),
    )
    assert report.first_merges[0] == ("a", "t")
    assert len(report.first_merges) == len(report.longest) == 3
    assert [len(text) for text in report.longest] == sorted((len(text) for text in report.longest), reverse=True)
    assert report.n_merges == len(tokenizer.model["merges"])
    assert "".join(text for _, text in report.sample) == "the cat é"
    assert report.chars_per_token == 9 / len(report.sample)
    assert report.bytes_per_token == 10 / len(report.sample)
    assert report.notes == tokenizer.notes != []


def test_a_dictionary_has_no_merges_and_may_have_no_sample(homemade: dict[str, Tokenizer]) -> None:
    for tokenizer in homemade.values():
        report = describe(tokenizer)
        assert report.sample == []
        assert report.chars_per_token is None
        assert (report.n_merges > 0) == (tokenizer.kind == "bpe")
    with pytest.raises(TokenizerError, match="is not in the vocabulary"):
        describe(build_chars(["abc"]), "xyz")


@pytest.mark.parametrize("name", ["decoding", "layout", "patterns", "special", "stream"])
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"vidro.text.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
