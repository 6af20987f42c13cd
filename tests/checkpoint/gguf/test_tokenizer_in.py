from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.checkpoint.gguf.raw_gguf import tiny_llama

from vidro.checkpoint.gguf.tokenizer_in import PREFIX, read_tokenizer
from vidro.checkpoint.gguf.vocabulary import vocabulary
from vidro.core.errors import TokenizerError
from vidro.text.layout import BYTE_LETTERS, byte_bpe
from vidro.text.patterns import byte_level
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, train_bpe

TEXT = "Once upon a time there was a cat. It's 12 o'clock, said the cat; don't wake the dog!\n" * 40
NASTY = "  Olá\t☃ 1234 don't\r\n\n  <|endoftext|> 👍🏽 x²  "


def written(tokenizer: Tokenizer, n_tokens: int) -> dict[str, Any]:
    """The settings that our own export writes."""
    words = vocabulary(tokenizer, n_tokens)
    return {
        PREFIX + key: found
        for key, found in {
            "model": "gpt2", "pre": words.pre, "tokens": words.tokens, "merges": words.merges,
            "token_type": np.array(words.types, dtype=np.int32), "bos_token_id": words.bos, "eos_token_id": words.eos,
            "padding_token_id": words.pad, "add_bos_token": words.adds_bos,
        }.items()
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["bpe", "bytes", "chars"])
def test_our_own_come_back_as_they_were(kind: str) -> None:
    made = {"bpe": lambda: train_bpe([TEXT], 384), "bytes": build_bytes, "chars": lambda: build_chars([TEXT])}[kind]()
    found = read_tokenizer(written(made, made.vocab_size + 64))
    assert found.kind == kind
    assert found.fingerprint == made.fingerprint
    assert (found.eot_id, found.pad_id, found.start_id) == (made.eot_id, made.pad_id, made.start_id)


@pytest.mark.parametrize(("pre", "ours"), [("gpt-2", "gpt2"), ("llama-bpe", "llama3"), ("qwen2", "qwen2")])
def test_the_names_of_patterns(pre: str, ours: str) -> None:
    trained = train_bpe([TEXT], 384)
    settings = {**written(trained, 384), PREFIX + "pre": pre, PREFIX + "add_bos_token": False}
    found = read_tokenizer(settings)
    model = trained.model
    tokens = {name: number for name, number in model["vocab"].items() if name not in trained.special_ids}
    from vidro.text.layout import from_letters

    vocab = {from_letters(name) or b"": number for name, number in tokens.items()}
    merges = [(from_letters(a) or b"", from_letters(b) or b"") for a, b in (m.split(" ") for m in model["merges"])]
    same = byte_bpe(
        vocab, merges, pre_tokenizer=byte_level(ours), special=trained.special_ids, ignore_merges=ours == "llama3"
    )
    assert found.fingerprint == Tokenizer(same).fingerprint
    assert found.decode(found.encode(NASTY)) == NASTY


def test_smollm_cuts_each_digit() -> None:
    found = read_tokenizer({**written(train_bpe(["1234 " + TEXT] * 30, 384), 384), PREFIX + "pre": "smollm"})
    assert [found.token_text(number) for number in found.encode("a 123")][-3:] == ["1", "2", "3"]
    assert found.decode(found.encode(NASTY)) == NASTY


def test_llama3_begins_a_text_with_its_own_token_even_where_the_file_is_silent() -> None:
    settings = {**tiny_llama().values, PREFIX + "pre": "llama-bpe"}
    del settings[PREFIX + "add_bos_token"]
    settings[PREFIX + "token_type"] = np.array(settings[PREFIX + "token_type"], dtype=np.int32)
    found = read_tokenizer(settings)
    assert (found.start_id, found.eot_id) == (256, 257)
    assert found.notes == ["every text begins with <s>, as this file asks for"]
    assert read_tokenizer({**settings, PREFIX + "add_bos_token": False}).start_id == 257


def test_the_end_of_a_turn_is_not_the_end_of_a_text() -> None:
    made = build_bytes()
    settings = {**written(made, 320), PREFIX + "eos_token_id": made.special_ids["<|im_end|>"]}
    found = read_tokenizer(settings)
    assert found.eot_id == made.eot_id
    assert found.notes == ["texts end with <|endoftext|>, answers with <|im_end|>"]


def test_tokens_that_users_defined_are_taken_from_texts() -> None:
    settings = written(build_bytes(), 320)
    settings[PREFIX + "tokens"][300] = "<think>"
    settings[PREFIX + "token_type"][300] = 4
    found = read_tokenizer(settings)
    assert found.encode("a<think>b") == [97, 300, 98]
    assert not found.is_special(300)


def test_scores() -> None:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁a", "▁", "a", "<|im_end|>"]
    settings: dict[str, Any] = {
        PREFIX + "model": "llama", PREFIX + "tokens": tokens, PREFIX + "bos_token_id": 1, PREFIX + "eos_token_id": 2,
        PREFIX + "scores": np.array([0.0] * 259 + [-1, -2, -3, 0], dtype=np.float32),
        PREFIX + "token_type": np.array([2, 3, 3, *[6] * 256, 1, 1, 1, 4], dtype=np.int32),
    }  # fmt: skip
    found = read_tokenizer(settings)
    assert found.encode("a\n") == [259, 13]
    assert (found.start_id, found.eot_id) == (1, 2)
    assert found.is_special(262)
    assert read_tokenizer({**settings, PREFIX + "add_space_prefix": False}).encode("a a") == [261, 259]
    del settings[PREFIX + "scores"]
    with pytest.raises(TokenizerError, match="have no scores"):
        read_tokenizer(settings)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no tokenizer": ({"model": None}, "there is no tokenizer in this file"),
    "another kind": ({"model": "bert"}, "its tokenizer 'bert' is not read"),
    "an unknown name": ({"pre": "banana"}, "way to cut a text, 'banana', is not known. Known: gpt-2"),
    "no name": ({"pre": None}, "it does not say how a text is cut"),
    "no tokens": ({"tokens": None}, "its list of tokens is missing"),
    "too few types": ({"token_type": np.array([1, 1], dtype=np.int32)}, "are not 320 whole numbers"),
    "an end that is no token": ({"eos_token_id": 5000}, "its eos token has the id 5000, which is no token"),
    "half a merge": ({"merges": ["a"]}, "the merge 'a' is not two tokens"),
    "a merge to nothing": ({"merges": ["t h"], "tokens": [*BYTE_LETTERS, *"x" * 64]}, "in its vocabulary twice"),
    "not in byte letters": (
        {"tokens": ["一", *build_bytes().model["vocab"]][:320]},
        "not written in GPT-2's byte letters",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    changes, expected = BAD[name]
    settings = written(build_bytes(), 320) | {PREFIX + key: found for key, found in changes.items()}
    with pytest.raises(TokenizerError) as caught:
        read_tokenizer({key: found for key, found in settings.items() if found is not None}, where="x.gguf")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("x.gguf: ")


def test_a_merge_that_makes_no_token_among_others_that_do() -> None:
    settings = written(train_bpe([TEXT], 384), 384)
    settings[PREFIX + "merges"] = [*settings[PREFIX + "merges"], "z z"]
    with pytest.raises(TokenizerError, match="makes no token"):
        read_tokenizer(settings)
