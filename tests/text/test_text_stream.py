"""Streaming: never half a character, and together exactly what decode gives."""

from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.core.errors import TokenizerError
from vidro.text.stream import StreamDecoder
from vidro.text.tokenizer import Tokenizer


def sentencepiece_like() -> Tokenizer:
    """A vocabulary like Llama 2's: ▁ for blanks, one put in front, single bytes for what is unknown."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefgh", "▁a", "▁ab", "▁▁"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    model = tokenizers.models.BPE(
        vocab=vocab, merges=[("▁", "a"), ("▁a", "b"), ("▁", "▁")], byte_fallback=True, unk_token="<unk>", fuse_unk=True
    )
    engine = tokenizers.Tokenizer(model)
    engine.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    decoders = tokenizers.decoders
    engine.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    engine.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer.from_json(engine.to_str())


def wordpiece_like() -> Tokenizer:
    """A vocabulary like BERT's: ## goes on, blanks in between."""
    vocab = {piece: number for number, piece in enumerate(["[UNK]", "[SEP]", "play", "##ing", "##s", ".", ",", "the"])}
    engine = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    engine.decoder = tokenizers.decoders.WordPiece()
    engine.add_special_tokens(["[UNK]", "[SEP]"])
    return Tokenizer.from_json(engine.to_str())


@pytest.fixture(scope="module")
def every(homemade: dict[str, Tokenizer]) -> dict[str, Tokenizer]:
    return {**homemade, "sentencepiece": sentencepiece_like(), "wordpiece": wordpiece_like()}


NAMES = ["bpe", "words", "chars", "bytes", "words-unk", "chars-unk", "sentencepiece", "wordpiece"]


@pytest.mark.parametrize("skip_special", [False, True])
@pytest.mark.parametrize("kind", NAMES)
@settings(deadline=None, derandomize=True)
@given(data=st.data())
def test_the_pieces_are_the_whole(
    kind: str, skip_special: bool, every: dict[str, Tokenizer], data: st.DataObject
) -> None:
    tokenizer = every[kind]
    known = sorted(tokenizer.table.bytes_of)
    ids = data.draw(st.lists(st.sampled_from(known), max_size=40))
    decoder = StreamDecoder(tokenizer, skip_special=skip_special)
    pieces = [decoder.push(number) for number in ids] + [decoder.flush()]
    assert "".join(pieces) == tokenizer.decode(ids, skip_special=skip_special)
    # After flush it starts afresh.
    assert "".join([*map(decoder.push, ids), decoder.flush()]) == "".join(pieces)


@pytest.mark.parametrize("kind", ["bpe", "bytes"])
@settings(deadline=None, derandomize=True)
@given(text=st.text())
def test_whole_characters_only(kind: str, every: dict[str, Tokenizer], text: str) -> None:
    decoder = StreamDecoder(every[kind])
    shown = ""
    for number in every[kind].encode(text):
        shown += decoder.push(number)
        assert text.startswith(shown)
    assert decoder.flush() == ""
    assert shown == text


def test_emoji_arrive_whole(every: dict[str, Tokenizer]) -> None:
    decoder = StreamDecoder(every["bytes"])
    assert [decoder.push(byte) for byte in "é👍".encode()] == ["", "é", "", "", "", "👍"]
    decoder = StreamDecoder(every["sentencepiece"])
    assert "".join(map(decoder.push, every["sentencepiece"].encode("ab é cab"))) == "ab é cab"


def test_bytes_that_are_no_character_are_marked_as_in_decode(every: dict[str, Tokenizer]) -> None:
    cases = [
        b"\xff",
        b"\xc3",
        b"\xe2\x98",
        b"\xf0\x9f\x91",
        b"\xc3(",
        b"\xe2\x98a",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"a\x80b",
    ]
    for data in cases:
        decoder = StreamDecoder(every["bytes"])
        streamed = "".join([*map(decoder.push, data), decoder.flush()])
        assert streamed == every["bytes"].decode(list(data)) == data.decode("utf-8", errors="replace")
        assert "\ufffd" in streamed


def test_an_id_outside_of_the_vocabulary(every: dict[str, Tokenizer]) -> None:
    for kind in ("bpe", "sentencepiece"):
        with pytest.raises(TokenizerError, match="id 100000 is not in the vocabulary"):
            StreamDecoder(every[kind]).push(100_000)


def test_foreign_tokens_are_described_as_bytes() -> None:
    tokenizer = sentencepiece_like()
    assert not tokenizer.lossless
    assert tokenizer.kind == "other"
    assert tokenizer.token_bytes(3 + 0xE2) == b"\xe2"
    assert tokenizer.token_text(3 + 0xE2) == "\\xe2"
    vocab = json.loads(tokenizer.to_json())["model"]["vocab"]
    assert tokenizer.token_bytes(vocab["▁ab"]) == b" ab"
    assert wordpiece_like().token_text(3) == "ing"
    assert tokenizer.eot_id == 2
