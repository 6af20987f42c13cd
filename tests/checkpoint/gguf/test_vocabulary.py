"""A tokenizer as llama.cpp keeps one, and what it cannot keep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vidro.checkpoint.gguf.vocabulary import BYTE, CONTROL, NEVER, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, vocabulary
from vidro.core.errors import TokenizerError
from vidro.data.tinyworld import text
from vidro.text.layout import to_letters
from vidro.text.patterns import byte_level
from vidro.text.sentencepiece import scored_bpe
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words, train_bpe

TALE = text(seed=4, n_bytes=8_000)
BPE = train_bpe([TALE], 320)


SPECIAL = {"<unk>": 0, "<s>": 1, "</s>": 2}
PIECES = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "ab", "▁ab", "a", "b", "▁"]


def pieces(**parts: Any) -> Tokenizer:
    """A vocabulary of SentencePiece's form."""
    scores = [0.0] * 259 + [-5.0, -7.0, -9.0, -10.0, -11.0]
    spec = scored_bpe(PIECES, scores, special=SPECIAL, unk="<unk>", start="<s>")
    return Tokenizer({**spec, **parts}, eot="</s>")


def altered(**parts: Any) -> Tokenizer:
    spec = json.loads(BPE.to_json())
    model = {**spec["model"], **parts.pop("model", {})}
    return Tokenizer.from_json(json.dumps({**spec, "model": model, **parts}))


def test_byte_level_bpe() -> None:
    words = vocabulary(BPE, 384, end_token="<|im_end|>", chat_template="{{ messages }}", spelled=["<|user|>"])
    assert (words.pre, words.adds_bos, words.notes) == ("qwen2", False, ())
    assert words.tokens[32] == "Ġ" == to_letters(b" ")
    assert words.types[:256] == [NORMAL] * 256
    assert (words.tokens[BPE.eot_id], words.types[BPE.eot_id]) == ("<|endoftext|>", CONTROL)
    assert (words.bos, words.eos, words.pad) == (BPE.eot_id, BPE.eot_id, BPE.pad_id)
    assert words.eot == BPE.special_ids["<|im_end|>"]
    assert words.types[BPE.special_ids["<|user|>"]] == UNUSED
    assert (words.tokens[-1], words.types[-1]) == ("[PAD383]", UNUSED)
    assert len(words.tokens) == len(words.types) == len(set(words.tokens)) == 384
    assert len(words.merges) == 320 - 256 - 16


def test_tokens_that_are_never_text_but_not_special() -> None:
    spec = json.loads(BPE.to_json())
    spec["added_tokens"][-1]["special"] = False
    words = vocabulary(Tokenizer.from_json(json.dumps(spec)), 320)
    assert words.types[-1] == USER_DEFINED


def test_bytes_and_characters_have_a_merge_that_never_happens() -> None:
    assert vocabulary(build_bytes(), 320).merges == [NEVER]
    words = vocabulary(build_chars(["a b\nc"]), 64)
    assert words.tokens[:5] == ["Ċ", "Ġ", "a", "b", "c"]
    assert words.merges == [NEVER]
    assert "leaves out characters" in words.notes[0]


def test_pieces_with_scores() -> None:
    words = vocabulary(pieces(), 266)
    assert (words.pre, words.merges, words.unk, words.bos, words.eos) == ("default", [], 0, 1, 2)
    assert words.adds_bos
    assert words.tokens[:3] + words.tokens[259:] == [*SPECIAL, *PIECES[259:], "[PAD264]", "[PAD265]"]
    assert words.types == [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * 5, UNUSED, UNUSED]
    assert words.scored is not None
    assert words.scored.space_first
    assert words.scored.scores[259] > words.scored.scores[260] > max(words.scored.scores[261:])


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (build_words(["a b c"]), "GGUF cannot express words"),
        (build_chars(["abc"], unk=True), r"characters with <\|unk\|>"),
        (build_chars(["aço é"]), r"outside of ASCII as tokens, and this vocabulary has 2 \('ç' 'é'\)"),
        (altered(pre_tokenizer=byte_level("cl100k")), "the pattern cl100k, which llama.cpp has no name for"),
        (
            altered(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}),
            "changes texts before",
        ),
        (altered(normalizer={"type": "NFC"}), "changes texts before"),
        (altered(pre_tokenizer=byte_level("llama3")), "does not take a piece as it is"),
        (altered(model={"ignore_merges": True}), "takes a piece as it is"),
        (pieces(normalizer={"type": "NFC"}), "SentencePiece's form: it changes texts"),
    ],
    ids=["words", "unk", "letters", "cl100k", "prefix space", "normalizer", "merges", "no merges", "pieces"],
)
def test_what_llama_cpp_has_no_word_for_is_refused(tokenizer: Tokenizer, message: str) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        vocabulary(tokenizer, tokenizer.vocab_size)
    assert "--format hf" in str(caught.value)


def test_more_tokens_than_embeddings() -> None:
    with pytest.raises(TokenizerError, match="320 tokens, but the model knows 300"):
        vocabulary(BPE, 300)
