"""The readable twins in `learn` learn and give exactly what the engine does."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from unicodedata import ucd_3_2_0

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.learn import bpe as readable
from vidro.learn import words as dictionary
from vidro.learn.words import WordDictionary
from vidro.learn.words import cut as cut_words
from vidro.text.patterns import WORD, split_step
from vidro.text.special import UNK
from vidro.text.train import build_words, learn_merges, train_bpe

# Characters that every library has known for twenty years: newer ones are a letter to one and nothing to another.
settled = st.text(st.characters(exclude_categories=["Cs"]).filter(lambda c: ucd_3_2_0.category(c) != "Cn"))

NASTY: list[str] = json.loads((Path(__file__).parents[1] / "text" / "nasty.json").read_text(encoding="utf-8"))

CORPORA: dict[str, list[str]] = {
    "a rhyme": ["peas porridge hot, peas porridge cold, peas porridge in the pot nine days old\n" * 3],
    "ties everywhere": ["abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba"],
    "runs": ["aaaa aaa aaaaaaa aa", "bbbbbb\n\n\n\n\n    \n    \t\t\t"],
    "pairs that overlap": ["ababab abab aba", "banana bananana"],
    "Portuguese": ["ação, coração, emoção e oração; não são pães, são mãos e corações.\n" * 2],
    "Chinese and emoji": ["我能吞下玻璃。我能吞下玻璃而不伤身体。👍👍🏽👍"],
    "nasty": NASTY,
}


def as_bytes(bpe: readable.BPE) -> list[tuple[bytes, bytes]]:
    return [(bpe.token(left), bpe.token(right)) for left, right in bpe.merges]


@pytest.mark.parametrize("n_merges", [1, 20, 150])
@pytest.mark.parametrize("corpus", CORPORA)
def test_training_is_equal(corpus: str, n_merges: int) -> None:
    assert as_bytes(readable.train(CORPORA[corpus], n_merges)) == learn_merges(CORPORA[corpus], n_merges)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(texts=st.lists(st.text(st.sampled_from("ab c1\n'séã👍"), max_size=40), min_size=1, max_size=4))
def test_training_is_equal_on_random_texts(texts: list[str]) -> None:
    assert as_bytes(readable.train(texts, 30)) == learn_merges(texts, 30)


@pytest.fixture(scope="module")
def twins() -> tuple[readable.BPE, object]:
    engine = train_bpe(NASTY * 3, 512)
    bpe = readable.train(NASTY * 3, len(engine.model["merges"]))
    return bpe, engine


def test_ids_are_equal_on_nasty_texts(twins) -> None:
    bpe, engine = twins
    for text in [*NASTY, "".join(NASTY)]:
        ids = bpe.encode(text)
        assert ids == engine.encode(text)
        assert bpe.decode(ids) == engine.decode(ids) == text


@settings(deadline=None, derandomize=True)
@given(text=settled)
def test_ids_are_equal_on_random_texts(twins, text: str) -> None:
    bpe, engine = twins
    assert bpe.encode(text) == engine.encode(text)


@settings(deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(0, 400), max_size=30))
def test_decoding_is_equal_on_random_ids(twins, ids: list[int]) -> None:
    bpe, engine = twins
    known = [number for number in ids if number < 256 + len(bpe.merges)]
    assert bpe.decode(known) == engine.decode(known)


def test_real_text(shared_data: Path) -> None:
    text = (shared_data / "text" / "the-verdict.txt").read_text(encoding="utf-8")
    bpe, engine = readable.train([text], 112), train_bpe([text], 256 + 112 + 16)
    assert as_bytes(bpe) == learn_merges([text], 112)
    assert bpe.encode(text) == engine.encode(text)


def test_the_dictionary_of_words_is_equal() -> None:
    text = "\n".join(NASTY[:40])
    twin, engine = WordDictionary.of(text), build_words([text], unk=True)
    n_words = len(twin.words) - 2
    assert twin.words[:n_words] == [engine.decode([number]) for number in range(n_words)]
    assert twin.words[n_words] == UNK
    for sample in [*NASTY, "one that it never had, 12345!"]:
        assert twin.encode(sample) == engine.encode(sample)
        assert twin.decode(twin.encode(sample)) == engine.decode(engine.encode(sample))


@settings(deadline=None, derandomize=True)
@given(text=settled)
def test_words_are_cut_alike(text: str) -> None:
    cutter = tokenizers.pre_tokenizers.Split(tokenizers.Regex(split_step(WORD)["pattern"]["Regex"]), "isolated")
    assert cut_words(text) == [piece for piece, _ in cutter.pre_tokenize_str(text)]


@pytest.mark.parametrize("lesson", [readable, dictionary])
def test_examples_in_docstrings(lesson) -> None:
    result = doctest.testmod(lesson)
    assert result.attempted > 5
    assert result.failed == 0
