"""Where a long text may be cut, and which pre-tokenizers are recognised."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.text.layout import BYTE_LETTERS, byte_bpe, from_letters, to_letters
from vidro.text.patterns import PATTERNS, WORD, blocks, byte_level, byte_level_step, known_pattern, split_step

# Characters on which the patterns turn: kinds of letters, marks, digits, blanks, line ends, quotes, contractions.
TRICKY = (
    "aZzésſKstdmrevl'’ \t\n\r\v\f\x1c\x85\u00a0\u200b\u2028\u3000\u0301\u093f019²Ⅷ٣௰_.,-!。，中の한ไ👍\u200d"
    "\0\ufffd\U000105c0"
)
tricky_texts = st.text(st.sampled_from(TRICKY), max_size=60) | st.text(max_size=30)


def pieces_of(part: dict[str, Any], text: str) -> list[str]:
    spec = byte_bpe({bytes([byte]): byte for byte in range(256)}, [], pre_tokenizer=part, special={})
    engine = tokenizers.Tokenizer.from_str(json.dumps(spec))
    assert engine.pre_tokenizer is not None
    return [piece for piece, _ in engine.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", PATTERNS)
@settings(deadline=None, derandomize=True)
@given(text=tricky_texts, size=st.integers(1, 12))
def test_pieces_of_blocks_are_the_pieces_of_the_whole(name: str, text: str, size: int) -> None:
    cut = list(blocks(text, size))
    assert "".join(cut) == text
    assert all(cut)
    assert [piece for block in cut for piece in pieces_of(byte_level(name), block)] == pieces_of(byte_level(name), text)


@settings(deadline=None, derandomize=True)
@given(text=tricky_texts, size=st.integers(1, 12))
def test_blocks_are_cut_between_words_too(text: str, size: int) -> None:
    part = split_step(WORD)
    assert [piece for block in blocks(text, size) for piece in pieces_of(part, block)] == pieces_of(part, text)


def test_blocks_have_about_the_size_asked_for() -> None:
    text = "It was the best of times, it was the worst of times. " * 50
    sizes = [len(block) for block in blocks(text, 100)]
    assert all(100 <= size < 110 for size in sizes[:-1])
    chinese = "他说：“好。”我们走吧，" * 50
    assert max(len(block) for block in blocks(chinese, 100)) < 110
    assert [len(block) for block in blocks("a" * 1000, 100)] == [1000]
    assert list(blocks("", 100)) == []


def test_published_pre_tokenizers_are_recognised_and_others_are_not() -> None:
    for name, pattern in PATTERNS.items():
        assert known_pattern(byte_level(name)) == pattern
    # As GPT-2's and Llama 3's own files have it.
    assert known_pattern({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}) == PATTERNS["gpt2"]
    llama = byte_level("llama3")
    llama["pretokenizers"][1]["trim_offsets"] = True
    assert known_pattern(llama) == PATTERNS["llama3"]
    # A space put in front, another behaviour, one step only, something else: all change the ids.
    assert known_pattern({"type": "ByteLevel", "trim_offsets": True}) is None
    llama["pretokenizers"][0]["behavior"] = "MergedWithNext"
    assert known_pattern(llama) is None
    assert known_pattern({"type": "Sequence", "pretokenizers": [split_step(PATTERNS["qwen2"])]}) is None
    assert known_pattern(byte_level_step(use_regex=False)) is None
    assert known_pattern({"type": "Whitespace"}) is None
    assert known_pattern(None) is None


def test_digits_stand_alone_in_our_own_pattern() -> None:
    assert pieces_of(byte_level("qwen2"), "in 1999") == ["in", "Ġ", "1", "9", "9", "9"]
    assert pieces_of(byte_level("llama3"), "in 1999") == ["in", "Ġ", "199", "9"]


def test_byte_letters_are_those_of_gpt2() -> None:
    assert len(set(BYTE_LETTERS)) == 256
    assert to_letters(b" \n\0~\x7f\xad") == "ĠĊĀ~ġŃ"
    assert [
        letter for (letter, _) in tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str("\n")
    ]
    assert set(BYTE_LETTERS) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert all(from_letters(to_letters(bytes([byte]))) == bytes([byte]) for byte in range(256))
    assert from_letters("a b") is None
    assert from_letters("\xad") is None
    assert from_letters("中") is None
