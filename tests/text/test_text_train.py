"""Making tokenizers: sizes, notes, samples, and merges that give rustbpe's own ids."""

from __future__ import annotations

import random
from pathlib import Path
from unicodedata import ucd_3_2_0

import pytest
import rustbpe
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.core.errors import TokenizerError
from vidro.text.patterns import BLOCK_CHARS, QWEN2
from vidro.text.special import SPECIAL_TOKENS
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import (
    LONGEST_TOKEN_BYTES,
    OVERFLOW_BYTES,
    EvenSample,
    build_bytes,
    build_chars,
    build_words,
    learn_merges,
    short_blocks,
    train_bpe,
)

N_RHYMES = 400


@pytest.fixture(scope="module")
def rhymes() -> str:
    """A text with enough different words for a thousand merges."""
    generator = random.Random(3)
    syllables = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "st")]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 3))) for _ in range(500)]
    return "".join(" ".join(generator.choices(words, k=9)).capitalize() + ".\n" for _ in range(N_RHYMES))


@pytest.mark.parametrize("vocab_size", [320, 384, 1024])
def test_the_size_is_the_one_asked_for(rhymes: str, vocab_size: int) -> None:
    tokenizer = train_bpe([rhymes], vocab_size)
    assert tokenizer.vocab_size == vocab_size
    assert len(tokenizer.special_ids) == len(SPECIAL_TOKENS)  # no fillers
    assert tokenizer.notes == []
    assert len(tokenizer.model["merges"]) == vocab_size - 256 - 16


def test_training_gives_the_same_tokenizer_every_time(rhymes: str) -> None:
    pieces = rhymes.splitlines(keepends=True)
    assert train_bpe([rhymes], 512).fingerprint == train_bpe([rhymes], 512).fingerprint
    assert train_bpe(pieces, 512).fingerprint == train_bpe(iter(pieces), 512).fingerprint


@pytest.fixture(scope="module")
def trained(rhymes: str, nasty: list[str]) -> tuple[rustbpe.Tokenizer, Tokenizer]:  # pyright: ignore
    """The trainer itself, and our tokenizer from the same texts."""
    texts = [rhymes, *nasty * 3]
    trainer = rustbpe.Tokenizer()  # pyright: ignore
    trainer.train_from_iterator(iter(texts), 1024 - 16, pattern=QWEN2)
    return trainer, train_bpe(texts, 1024)


# Not the newest characters: two libraries may have been built with different Unicode tables.
settled = st.text(st.characters(exclude_categories=["Cs"]).filter(lambda c: ucd_3_2_0.category(c) != "Cn"))


@settings(deadline=None, derandomize=True)
@given(text=settled)
def test_our_merges_give_the_trainers_own_ids(trained: tuple, text: str) -> None:
    trainer, tokenizer = trained
    assert tokenizer.encode(text) == trainer.encode(text)


def test_our_merges_give_the_trainers_own_ids_on_real_text(trained: tuple, rhymes: str, nasty: list[str]) -> None:
    trainer, tokenizer = trained
    ranks = {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    quick = tiktoken.Encoding("test", pat_str=QWEN2, mergeable_ranks=ranks, special_tokens={})
    for text in [rhymes, *nasty]:
        assert tokenizer.encode(text) == trainer.encode(text) == quick.encode_ordinary(text)


def test_a_small_text_gives_a_smaller_vocabulary_and_says_so(rhymes: str) -> None:
    tokenizer = train_bpe([rhymes[:6000]], 4096)
    assert 320 < tokenizer.vocab_size < 4096
    assert tokenizer.vocab_size % 64 == 0
    size = f"{tokenizer.vocab_size:,}"
    assert tokenizer.notes == [f"The text supports {size} tokens, not 4,096: more would be seen only once."]


@pytest.mark.parametrize("text", ["x", "ab", "\n", "aaaa" * 9])
def test_a_tiny_text_is_filled_up_with_fillers(text: str) -> None:
    tokenizer = train_bpe([text], 320)
    assert tokenizer.vocab_size == 320
    fillers = [name for name in tokenizer.special_ids if name.startswith("<|filler_")]
    assert len(fillers) == 320 - 256 - 16 - len(tokenizer.model["merges"]) > 0
    assert tokenizer.decode(tokenizer.encode("anything ☃")) == "anything ☃"


def test_no_merge_is_kept_that_is_made_only_once() -> None:
    tokenizer = train_bpe(["abcd " * 50 + "a word that is here only once: uncopyrightable"], 320)
    merged = [tokenizer.token_text(number) for number in range(256, 256 + len(tokenizer.model["merges"]))]
    assert " abcd" in merged
    assert not any("copy" in token for token in merged)


@pytest.mark.parametrize("vocab_size", [0, -64, 256, 319, 1000])
def test_impossible_sizes(vocab_size: int) -> None:
    with pytest.raises(
        TokenizerError, match=rf"vocabulary of {vocab_size} tokens is not possible\. Choose a multiple of 64"
    ):
        train_bpe(["text"], vocab_size)


def test_no_text() -> None:
    for texts in ([], [""]):
        with pytest.raises(TokenizerError, match="there is no text to train a tokenizer on"):
            train_bpe(texts, 320)
        for build in (build_words, build_chars):
            with pytest.raises(TokenizerError, match="there is no text to make a dictionary of"):
                build(texts)


def test_half_a_surrogate_pair_in_the_text() -> None:
    for make in (lambda texts: train_bpe(texts, 320), build_words, build_chars):
        with pytest.raises(
            TokenizerError, match=r"^U\+D83D at offset 2 is half a surrogate pair\. Read the text again"
        ):
            make(["fine", "ab\ud83d"])


def test_the_sample_cannot_be_so_large_that_a_count_overflows() -> None:
    assert OVERFLOW_BYTES < 2**31
    with pytest.raises(TokenizerError, match=r"a sample of 2147483648 bytes is not possible\. At most 2147483647"):
        train_bpe(["text"], 320, sample_bytes=2**31)


def test_a_large_text_is_sampled_evenly_and_says_so(rhymes: str) -> None:
    texts = [f"{rhymes[:5000]} part{number:03d}" for number in range(100)]
    progress: list[int] = []
    tokenizer = train_bpe(texts, 320, sample_bytes=100_000, progress=progress.append)
    total = sum(len(text.encode()) for text in texts)
    assert progress[-1] == total
    assert progress == sorted(progress)
    assert len(progress) == 100
    assert len(tokenizer.notes) == 1
    assert f" of {total:,} bytes, evenly drawn." in tokenizer.notes[0]


@settings(deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(0, 50), max_size=200), capacity=st.integers(50, 300))
def test_even_samples(sizes: list[int], capacity: int) -> None:
    sample = EvenSample(capacity)
    blocks = [f"{number} ".ljust(size, "é") for number, size in enumerate(sizes)]
    for block in blocks:
        sample.add(block)
    assert sample.blocks == blocks[:: sample.stride]
    assert sample.kept_bytes == sum(len(block.encode()) for block in sample.blocks)
    assert sample.kept_bytes <= capacity or len(sample.blocks) == 1
    assert sample.seen_bytes == sum(len(block.encode()) for block in blocks)


def test_endless_runs_do_not_stop_the_trainer() -> None:
    for text in (" " * 1_200_000 + "x", "\n" * 300_000, "a" * 300_000):
        assert max(map(len, short_blocks(text))) <= 2 * BLOCK_CHARS
        assert "".join(short_blocks(text)) == text
        tokenizer = train_bpe([text], 320)
        assert tokenizer.decode(tokenizer.encode(text[:1000])) == text[:1000]
        assert tokenizer.token_byte_lengths().max() == LONGEST_TOKEN_BYTES


def test_merges_of_equal_count_go_by_the_smaller_ids() -> None:
    assert learn_merges(["ba ab"], 2) == [(b" ", b"a"), (b"b", b"a")]
    assert learn_merges(["zz\nyy\nxx"], 1) == [(b"x", b"x")]
    assert learn_merges(["a"], 5) == []


def test_bytes_are_their_own_ids() -> None:
    tokenizer = build_bytes()
    assert tokenizer.encode("aé\0") == [97, 0xC3, 0xA9, 0]
    assert tokenizer.vocab_size == 320


def test_words_and_characters_are_in_order() -> None:
    tokenizer = build_words(["the cat, the dog\n"])
    assert [tokenizer.token_text(number) for number in range(7)] == [
        "\n",
        " ",
        ",",
        "cat",
        "dog",
        "the",
        "<|filler_0|>",
    ]
    assert tokenizer.encode("dog, cat") == [4, 2, 1, 3]
    tokenizer = build_chars(["cab", "b!"], unk=True)
    assert [tokenizer.token_text(number) for number in range(5)] == ["!", "a", "b", "c", "<|unk|>"]


def test_a_dictionary_of_the_most_frequent_words() -> None:
    text = " ".join(f"w{number} " * number for number in range(1, 200))
    tokenizer = build_words([text], unk=True, vocab_size=64)
    assert tokenizer.vocab_size == 64
    assert tokenizer.decode(tokenizer.encode("w199 w1")) == "w199 <|unk|>"
    for size, unk in ((64, False), (100, True)):
        with pytest.raises(
            TokenizerError, match=rf"a dictionary of {size} words cannot hold every word\. Choose a multiple"
        ):
            build_words([text], unk=unk, vocab_size=size)


def test_real_novels(shared_data: Path) -> None:
    text = (shared_data / "text" / "the-verdict.txt").read_text(encoding="utf-8")
    tokenizer = train_bpe([text], 1024)
    assert tokenizer.vocab_size == 1024
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) < len(text) / 2.5
    dictionary = build_words([text])
    assert dictionary.decode(dictionary.encode(text)) == text
