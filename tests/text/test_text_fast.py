"""The quick engines: equal to the reference, and refused wherever that is not proved."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.text.fast import Bytes, Characters, Engine, Ranks, Reference, UnknownPiece, fast_engine
from vidro.text.layout import byte_bpe
from vidro.text.patterns import PATTERNS, byte_level
from vidro.text.tokenizer import FAST_FROM_CHARS, Tokenizer
from vidro.text.train import learn_merges

TRICKY = (
    "aZzésſKstdmrevl'’ \t\n\r\v\f\x1c\x85\u00a0\u200b\u2028\u3000\u0301\u093f019²Ⅷ٣௰_.,-!。，中の한ไ👍\u200d"
    "\0\ufffd\U000105c0"
)
tricky_texts = st.text(st.sampled_from(TRICKY), max_size=60) | st.text(max_size=30)


def engines(spec: dict[str, Any]) -> tuple[Engine | None, Reference]:
    engine = tokenizers.Tokenizer.from_str(json.dumps(spec))
    engine.encode_special_tokens = True
    reference = Reference(engine, cuttable=False)
    return fast_engine(spec, engine, reference), reference


def small_spec(pattern: str = "qwen2", *, ignore_merges: bool = False, n_merges: int = 600) -> dict[str, Any]:
    """A BPE over blanks, digits, accents and ordinary words, cut by any pattern."""
    generator = random.Random(5)
    texts = ["".join(generator.choices(TRICKY, k=200)) for _ in range(40)] + ["the cat sat on the mat 1999\n\n  " * 30]
    merges = learn_merges(texts, n_merges)
    tokens = [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges]
    vocab = {token: number for number, token in enumerate(tokens)}
    special = {"<|endoftext|>": len(tokens)}
    cutter = byte_level(pattern)
    return byte_bpe(vocab, merges, pre_tokenizer=cutter, special=special, ignore_merges=ignore_merges)


@pytest.fixture(scope="module", params=[(name, ignore) for name in PATTERNS for ignore in (False, True)], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Engine, Reference]:
    fast, reference = engines(small_spec(request.param[0], ignore_merges=request.param[1]))
    assert isinstance(fast, Ranks)
    return fast, reference


@settings(deadline=None, derandomize=True)
@given(text=tricky_texts)
def test_ranks_equal_merges_on_random_texts(pair: tuple[Engine, Reference], text: str) -> None:
    assert pair[0].encode(text).tolist() == pair[1].encode(text).tolist()


def test_ranks_equal_merges_on_nasty_texts(pair: tuple[Engine, Reference], nasty: list[str]) -> None:
    newest = "\U000105c0\U00016ea0\u0870 letters of Unicode 16, 17 and 14"
    for text in [*nasty, newest, "".join(nasty), " ".join(nasty) * 3]:
        assert pair[0].encode(text).tolist() == pair[1].encode(text).tolist()


def test_dictionaries_and_bytes_equal_the_reference(homemade: dict[str, Tokenizer], nasty: list[str]) -> None:
    for kind, expected in [("chars", Characters), ("chars-unk", Characters), ("bytes", Bytes)]:
        fast, reference = engines(json.loads(homemade[kind].to_json()))
        assert isinstance(fast, expected)
        for text in nasty:
            ids = fast.encode(text)
            assert ids.dtype == np.uint32
            assert ids.tolist() == reference.encode(text).tolist()


def test_an_unknown_character_is_found_by_both_engines(homemade: dict[str, Tokenizer]) -> None:
    for engine in engines(json.loads(homemade["chars"].to_json())):
        assert engine is not None
        with pytest.raises(UnknownPiece) as caught:
            engine.encode("a" * 70_000 + "\u2603\u2604")
        assert (caught.value.piece, caught.value.offset) == ("\u2604", 70_001)


@pytest.mark.parametrize("pattern", [r"\p{L}", r"\p{N}", r"\s", "(?i:s)"])
def test_both_engines_mean_the_same_by_letter_digit_and_blank(pattern: str) -> None:
    """Every plane that holds characters. Where this fails, the libraries were built with different Unicode tables."""
    codes = [*range(0xD800), *range(0xE000, 0x34000), *range(0xE0000, 0xE0200)]
    everything = "".join(map(chr, codes))
    quick = tiktoken.Encoding(
        "probe", pat_str=pattern, mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={}
    )
    found = set(quick.decode(quick.encode_ordinary(everything)))
    cutter = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
    left = {character for piece, _ in cutter.pre_tokenize_str(everything) for character in piece}
    assert found == set(everything) - left


ENDLESS: dict[str, Callable[[int], str]] = {
    "one letter": lambda size: "a" * size,
    "line ends": lambda size: "\n" * size,
    "blanks": lambda size: " " * size,
    "blanks, then a word": lambda size: " " * size + "x",
    "base64": lambda size: base64.b64encode(random.Random(0).randbytes(size * 3 // 4)).decode(),
    "hexadecimal": lambda size: random.Random(0).randbytes(size // 2).hex(),
    "punctuation": lambda size: "." * size,
    "one ideograph": lambda size: "中" * size,
    "emoji": lambda size: "👩‍👩‍👧" * (size // 5),
    "a word, then line ends": lambda size: "the" + "\r\n" * (size // 2) + "end",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_endless_runs_are_encoded_and_equal(what: str, bpe: Tokenizer) -> None:
    text = ENDLESS[what](200_000)
    fast, reference = engines(json.loads(bpe.to_json()))
    assert isinstance(fast, Ranks)
    ids = fast.encode(text)
    assert bpe.decode(ids) == text
    assert np.array_equal(ids, reference.encode(text))


def test_a_run_of_blanks_at_which_tiktoken_alone_gives_up(bpe: Tokenizer) -> None:
    text = " " * 1_100_000 + "x"
    assert bpe.decode(bpe.encode_batch([text])[0]) == text


def test_the_quick_engine_takes_over_when_there_is_enough_text(bpe: Tokenizer) -> None:
    tokenizer = Tokenizer.from_json(bpe.to_json())
    text = "The cat, 1999 times. "
    before = tokenizer.encode(text)
    tokenizer.encode_batch([text] * (FAST_FROM_CHARS // len(text) + 1))
    assert isinstance(tokenizer._fast, Ranks)
    assert tokenizer.encode(text) == before


# Refusals: each of these would give other ids than the reference.


def change_normalizer(spec: dict[str, Any]) -> None:
    spec["normalizer"] = {"type": "NFC"}


def change_pattern(spec: dict[str, Any]) -> None:
    spec["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] += r"|\w"


def change_prefix(spec: dict[str, Any]) -> None:
    spec["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = True


def change_dropout(spec: dict[str, Any]) -> None:
    spec["model"]["dropout"] = 0.5


def change_added(spec: dict[str, Any]) -> None:
    spec["added_tokens"][0]["special"] = False


def change_order(spec: dict[str, Any]) -> None:
    spec["model"]["merges"][:2] = reversed(spec["model"]["merges"][:2])


def change_ids(spec: dict[str, Any]) -> None:
    vocab = spec["model"]["vocab"]
    made = ["".join(merge.split(" ")) for merge in spec["model"]["merges"]]
    first, last = made[0], made[-1]
    vocab[first], vocab[last] = vocab[last], vocab[first]


def drop_a_merge(spec: dict[str, Any]) -> None:
    del spec["model"]["merges"][-1]


@pytest.mark.parametrize(
    "change",
    [
        change_normalizer, change_pattern, change_prefix, change_dropout, change_added, change_order, change_ids,
        drop_a_merge,
    ],
)  # fmt: skip
def test_no_quick_engine_without_the_proof(change: Callable[[dict[str, Any]], None]) -> None:
    spec = small_spec(n_merges=40)
    assert engines(spec)[0] is not None
    change(spec)
    assert engines(spec)[0] is None


def test_a_token_made_of_two_others_without_a_merge_is_refused() -> None:
    """The classic trap: "ab" is a token, but nothing merges a and b; ranks would join them."""
    spec = byte_bpe(
        {bytes([byte]): byte for byte in range(256)} | {b"ab": 256}, [], pre_tokenizer=byte_level("qwen2"), special={}
    )
    for ignore_merges in (False, True):
        spec["model"]["ignore_merges"] = ignore_merges
        assert engines(spec)[0] is None
