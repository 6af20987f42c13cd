"""The Tokenizer: round trips, special names as text, tables, files, errors by message."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.core.errors import TokenizerError
from vidro.text.special import EOT, UNK
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words

KINDS = ["bpe", "words", "chars", "bytes"]


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_gives_the_text_back(kind: str, homemade: dict[str, Tokenizer], nasty: list[str]) -> None:
    tokenizer = homemade[kind]
    assert tokenizer.lossless
    for text in nasty:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode("\n".join(nasty))) == "\n".join(nasty)


@pytest.mark.parametrize("kind", ["bpe", "bytes"])
@settings(deadline=None, derandomize=True)
@given(text=st.text())
def test_bytes_and_bpe_know_every_text(kind: str, homemade: dict[str, Tokenizer], text: str) -> None:
    ids = homemade[kind].encode(text)
    assert homemade[kind].decode(ids) == text
    assert b"".join(map(homemade[kind].token_bytes, ids)) == text.encode()


@pytest.mark.parametrize("kind", [*KINDS, "words-unk", "chars-unk"])
def test_special_names_in_a_text_are_text(kind: str, homemade: dict[str, Tokenizer], nasty: list[str]) -> None:
    special = set(homemade[kind].special_ids.values())
    for name in homemade["bpe"].special_ids:
        if kind in ("bpe", "bytes") or name in nasty:
            ids = homemade[kind].encode(name)
            unknown = {homemade[kind].special_ids[UNK]} if kind.endswith("-unk") else set()
            assert not special - unknown & set(ids)
            assert len(ids) > 1


def test_names_are_shown_or_skipped_when_decoding(bpe: Tokenizer) -> None:
    ids = [*bpe.encode("one"), bpe.eot_id, *bpe.encode("two"), bpe.vocab_size - 1]
    assert bpe.decode(ids) == "one<|endoftext|>two<|unused_7|>"
    assert bpe.decode(ids, skip_special=True) == "onetwo"
    assert bpe.decode(np.array(ids, dtype=np.uint32)) == bpe.decode(ids)


def test_batches_are_arrays_and_equal_single_texts(homemade: dict[str, Tokenizer], nasty: list[str]) -> None:
    for tokenizer in homemade.values():
        batch = tokenizer.encode_batch(nasty)
        assert all(ids.dtype == np.uint32 and ids.ndim == 1 for ids in batch)
        assert [ids.tolist() for ids in batch] == [tokenizer.encode(text) for text in nasty]


def test_byte_lengths_add_up_to_the_size_of_the_text(homemade: dict[str, Tokenizer], nasty: list[str]) -> None:
    for kind in KINDS:
        tokenizer = homemade[kind]
        lengths = tokenizer.token_byte_lengths()
        assert lengths.shape == (tokenizer.vocab_size,)
        assert lengths.dtype == np.int32
        assert lengths[list(tokenizer.special_ids.values())].sum() == 0
        for text in nasty:
            assert lengths[tokenizer.encode(text)].sum() == len(text.encode())


def test_tokens_for_display_never_hold_the_replacement_character(homemade: dict[str, Tokenizer]) -> None:
    for tokenizer in homemade.values():
        shown = [tokenizer.token_text(number) for number in range(tokenizer.vocab_size)]
        assert not any("\ufffd" in text or "\0" in text for text in shown)
    of_bytes = build_bytes()
    assert of_bytes.token_text(0xC3) == "\\xc3"
    assert of_bytes.token_text(ord("a")) == "a"
    assert of_bytes.token_text(of_bytes.eot_id) == EOT
    assert of_bytes.token_bytes(of_bytes.eot_id) == b""


def test_saved_and_loaded_it_is_the_same(homemade: dict[str, Tokenizer], nasty: list[str], tmp_path: Path) -> None:
    for kind, tokenizer in homemade.items():
        tokenizer.save(tmp_path / kind)
        copies = [
            Tokenizer.load(tmp_path / kind), Tokenizer.load(tmp_path / kind / "tokenizer.json"),
            Tokenizer.from_json(tokenizer.to_json()), pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer),
        ]  # fmt: skip
        for other in copies:
            assert other.fingerprint == tokenizer.fingerprint
            assert (other.kind, other.vocab_size, other.lossless) == (
                tokenizer.kind,
                tokenizer.vocab_size,
                tokenizer.lossless,
            )
            assert (other.eot_id, other.pad_id) == (tokenizer.eot_id, tokenizer.pad_id)
            known = [text for text in nasty if tokenizer.lossless or kind.endswith("-unk")]
            assert [other.encode(text) for text in known] == [tokenizer.encode(text) for text in known]
    assert len({tokenizer.fingerprint for tokenizer in homemade.values()}) == len(homemade)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_works_in_other_processes(method: str, bpe: Tokenizer, nasty: list[str]) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    tokenizer = Tokenizer.from_json(bpe.to_json())
    tokenizer.encode_batch(["warmed up " * 20_000])  # the quick engine is there, as in a long-running parent
    texts = [*nasty, "the cat sat " * 20_000]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        there = pool.submit(tokenizer.encode_batch, texts).result()
    assert [ids.tolist() for ids in there] == [ids.tolist() for ids in tokenizer.encode_batch(texts)]


def test_what_changes_the_text_is_not_called_lossless(bpe: Tokenizer) -> None:
    assert bpe.lossless
    for change in (
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"decoder": None},
    ):
        changed = Tokenizer.from_json(json.dumps({**json.loads(bpe.to_json()), **change}))
        assert not changed.lossless
    spec = json.loads(bpe.to_json())
    spec["added_tokens"][-1] |= {"special": False, "lstrip": True}
    assert not Tokenizer.from_json(json.dumps(spec)).lossless


def test_the_fingerprint_does_not_depend_on_the_order_or_the_look_of_the_file(bpe: Tokenizer) -> None:
    spec = json.loads(bpe.to_json())
    shuffled = json.dumps(dict(reversed(spec.items())), indent=7, ensure_ascii=True)
    assert Tokenizer.from_json(shuffled).fingerprint == bpe.fingerprint
    spec["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    cut_short = Tokenizer.from_json(json.dumps(spec))
    assert cut_short.encode("a long text is not cut short") == bpe.encode("a long text is not cut short")
    spec["model"]["vocab"]["extra"] = 9999
    assert Tokenizer.from_json(json.dumps(spec)).fingerprint != bpe.fingerprint


def test_settings_file_says_what_transformers_must_know(homemade: dict[str, Tokenizer], tmp_path: Path) -> None:
    homemade["words-unk"].save(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
        "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>", "unk_token": "<|unk|>",
        "model_input_names": ["input_ids", "attention_mask"],
    }  # fmt: skip


def test_the_settings_file_may_name_other_tokens(bpe: Tokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "<|im_end|>"}, "pad_token": "<|end|>"}')
    loaded = Tokenizer.load(tmp_path)
    assert loaded.eot_id == loaded.special_ids["<|im_end|>"]
    assert loaded.pad_id == loaded.special_ids["<|end|>"]
    assert pickle.loads(pickle.dumps(loaded)).eot_id == loaded.eot_id
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|nothing|>"}')
    with pytest.raises(TokenizerError, match=r"names the token '<\|nothing\|>', which the vocabulary lacks"):
        Tokenizer.load(tmp_path)


# Errors


def test_an_unknown_character_is_named_with_code_point_and_offset() -> None:
    tokenizer = build_chars(["abc "])
    with pytest.raises(TokenizerError, match=r"^the character 'ã' \(U\+00E3\) at offset 3 is not in the vocabulary\. "):
        tokenizer.encode("ab ã")
    with pytest.raises(TokenizerError, match=r"^text 1: the character '\\n' \(U\+000A\) at offset 200000 is not"):
        tokenizer.encode_batch(["abc", "a" * 200_000 + "\n"])


def test_an_unknown_word_is_named_with_its_offset() -> None:
    tokenizer = build_words(["one two I"])
    with pytest.raises(TokenizerError, match=r"^the word 'three' at offset 4 is not in the vocabulary\. .*--unk"):
        tokenizer.encode("one three")
    with pytest.raises(TokenizerError, match=r"^the word 'a' at offset 4"):
        tokenizer.encode("one a")
    with pytest.raises(TokenizerError, match=r"^the character '!' \(U\+0021\) at offset 3"):
        tokenizer.encode("one!")


def test_with_unk_the_unknown_becomes_unk_and_the_loss_is_admitted() -> None:
    for tokenizer in (build_words(["one two"], unk=True), build_chars(["one tw"], unk=True)):
        assert not tokenizer.lossless
        assert "<|unk|>" in tokenizer.decode(tokenizer.encode("one zero"))
        assert tokenizer.decode(tokenizer.encode("two one")) == "two one"


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_surrogate_pair_is_the_users_mistake(kind: str, homemade: dict[str, Tokenizer]) -> None:
    for text in ("a\udc80", "a\ud83d"):
        with pytest.raises(
            TokenizerError, match=r"^U\+D[8C][0-9A-F]{2} at offset 1 is half a surrogate pair\. Read the"
        ):
            homemade[kind].encode(text)


def test_an_id_outside_of_the_vocabulary(bpe: Tokenizer) -> None:
    for number in (-1, bpe.vocab_size):
        with pytest.raises(TokenizerError, match=rf"^id {number} is not in the vocabulary\. Ids go from 0 to 511\."):
            bpe.decode([1, number])
        with pytest.raises(TokenizerError, match="is not in the vocabulary"):
            bpe.token_bytes(number)


def test_missing_and_damaged_files(bpe: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: there is no such file"):
        Tokenizer.load(tmp_path)
    file = tmp_path / "tokenizer.json"
    for content, message in [
        ("", r"this is not valid JSON .*\. The file is cut short or altered\."),
        (bpe.to_json()[:5000], r"this is not valid JSON"),
        ('{"a": 0, "b": 1}', r"this is JSON, but not a tokenizer\.json\. A vocab\.json needs its merges\.txt"),
        ("[1]", r"this is JSON, but not a tokenizer\.json"),
        ('{"model": {"type": "BPE"}}', r"this tokenizer\.json cannot be used \("),
        (bpe.to_json().replace('"merges": ["', '"merges": ["q q q'), r"this tokenizer\.json cannot be used \("),
    ]:
        file.write_text(content, encoding="utf-8")
        with pytest.raises(TokenizerError, match=message) as caught:
            Tokenizer.load(tmp_path)
        assert str(caught.value).startswith(str(file))
        assert "\n" not in str(caught.value)
    file.write_bytes(b'{"\xff": 1}')
    with pytest.raises(TokenizerError, match=r"this is not UTF-8 text \(byte 2\)"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: this is not valid JSON"):
        Tokenizer.load(tmp_path)


def test_special_ids_that_the_library_would_shift_are_refused(bpe: Tokenizer) -> None:
    spec = json.loads(bpe.to_json())
    spec["added_tokens"][3]["content"] = "<|new|>"
    with pytest.raises(TokenizerError, match=r"the added token '<\|new\|>' cannot have the id \d+"):
        Tokenizer.from_json(json.dumps(spec))


def test_two_tokens_with_one_id_are_refused(bpe: Tokenizer) -> None:
    spec = json.loads(bpe.to_json())
    spec["model"]["vocab"]["a"] = spec["model"]["vocab"]["b"]
    with pytest.raises(TokenizerError, match="two tokens of this vocabulary have the same id"):
        Tokenizer.from_json(json.dumps(spec))


def test_no_end_of_text_is_said_when_it_is_asked_for() -> None:
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}
    tokenizer = Tokenizer.from_json(json.dumps({"version": "1.0", "model": model, "added_tokens": []}))
    assert tokenizer.kind == "other"
    assert tokenizer.pad_id is None
    with pytest.raises(TokenizerError, match=r"has no end-of-text token\. Say which token it is"):
        _ = tokenizer.eot_id


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_an_altered_file_loads_or_is_one_line(bpe: Tokenizer, data: st.DataObject) -> None:
    text = bpe.to_json()
    position = data.draw(st.integers(0, len(text) - 1))
    kind = data.draw(st.sampled_from(["cut", "replace", "drop"]))
    rest = {
        "cut": "",
        "replace": data.draw(st.sampled_from('0x"{[-,:')) + text[position + 1 :],
        "drop": text[position + 9 :],
    }
    try:
        loaded = Tokenizer.from_json(text[:position] + rest[kind])
        loaded.encode("the cat sat")
        message = ""
    except TokenizerError as problem:
        message = str(problem)
    assert "\n" not in message
