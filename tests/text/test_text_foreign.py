"""Other people's vocabularies: small ones made here; the published ones are in tests/reference."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from vidro.core.errors import TokenizerError
from vidro.text.foreign import LLAMA3_SPECIAL, load_any, load_gpt2, load_tiktoken
from vidro.text.layout import BYTE_LETTERS
from vidro.text.special import EOT
from vidro.text.tokenizer import Tokenizer

MERGES = ["t h", "Ġ th", "Ġth e"]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A vocabulary in the format of GPT-2's release, with four tokens that are not bytes."""
    vocab = {letter: number for number, letter in enumerate(BYTE_LETTERS)}
    vocab |= {"th": 256, "Ġth": 257, "Ġthe": 258, EOT: 259}
    (tmp_path / "encoder.json").write_text(json.dumps(vocab), encoding="utf-8")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    return tmp_path / "encoder.json", tmp_path / "vocab.bpe"


@pytest.fixture
def ranks(tmp_path: Path) -> Path:
    """The same tokens as a rank file."""
    tokens = [bytes([byte]) for byte in range(256)] + [b"th", b" th", b" the"]
    lines = [base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)]
    (tmp_path / "small.tiktoken").write_bytes(b"".join(lines))
    return tmp_path / "small.tiktoken"


def test_a_pair_of_files(pair: tuple[Path, Path]) -> None:
    tokenizer = load_gpt2(*pair)
    assert tokenizer.encode("the the") == [256, ord("e"), 258]
    assert tokenizer.special_ids == {EOT: 259}
    assert tokenizer.eot_id == 259
    assert tokenizer.vocab_size == 260
    assert tokenizer.pad_id is None
    assert tokenizer.lossless


def test_a_rank_file_gives_the_same_ids(pair: tuple[Path, Path], ranks: Path, nasty: list[str]) -> None:
    of_ranks = load_tiktoken(ranks, pattern="gpt2", special={EOT: 300})
    of_pair = load_gpt2(*pair)
    assert of_ranks.special_ids == {EOT: 300}
    assert of_ranks.vocab_size == 301
    for text in [*nasty, "the the theth"]:
        assert of_ranks.encode(text) == of_pair.encode(text)
    with pytest.raises(TokenizerError, match="id 280 is not in the vocabulary"):
        of_ranks.decode([280])  # a hole before the special token


def test_zipped_files_are_the_same(pair: tuple[Path, Path], tmp_path: Path) -> None:
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    for path in pair:
        (zipped / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    again = load_gpt2(zipped / "encoder.json.gz", zipped / "vocab.bpe.gz")
    assert again.fingerprint == load_gpt2(*pair).fingerprint


def test_damaged_pairs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    encoder, merges = pair
    good = encoder.read_text()
    with pytest.raises(TokenizerError, match=r"missing\.json: there is no such file"):
        load_gpt2(tmp_path / "missing.json", merges)
    for content, message in [
        ("{", r"encoder\.json: this is not valid JSON"),
        ('{"a": "b"}', r"encoder\.json: this is not a list of tokens with their ids\. It should look like"),
        (good.replace('"th"', '"t h"'), r"encoder\.json: the token 't h' is not written in GPT-2's byte letters"),
        (good.replace('"th"', '"tx"'), r"this tokenizer\.json cannot be used"),
    ]:
        encoder.write_text(content)
        with pytest.raises(TokenizerError, match=message):
            load_gpt2(encoder, merges)
    encoder.write_text(good)
    merges.write_text("#version: 0.2\nt h\nĠ t h\n", encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"vocab\.bpe, line 3: this line is not two tokens"):
        load_gpt2(encoder, merges)
    short = tmp_path / "vocab.bpe.gz"
    short.write_bytes(gzip.compress(b"t h\n" * 1000)[:-20])
    with pytest.raises(
        TokenizerError, match=r"vocab\.bpe\.gz: the gzip file is damaged or cut short .*\. Fetch it again\."
    ):
        load_gpt2(encoder, short)
    merges.write_text("\n".join(MERGES), encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"there is no pattern 'gpt3'\. Did you mean gpt2\?"):
        load_gpt2(encoder, merges, pattern="gpt3")


def test_damaged_rank_files(ranks: Path) -> None:
    with pytest.raises(
        TokenizerError, match=r"the way this vocabulary cuts a text is not known\. Give pattern= \(gpt2"
    ):
        load_tiktoken(ranks)
    good = ranks.read_bytes()
    ranks.write_bytes(good + b"%%%% 259\n")
    with pytest.raises(TokenizerError, match=r"small\.tiktoken, line 260: this line is not base64\(token\) and rank"):
        load_tiktoken(ranks, pattern="gpt2")
    for content in (good[100:], good + b"dGg= 3\n"):
        ranks.write_bytes(content[content.index(b"\n") + 1 :])
        with pytest.raises(
            TokenizerError,
            match=r"this rank file is damaged: a byte is missing or a rank is there twice\. Fetch it again\.",
        ):
            load_tiktoken(ranks, pattern="gpt2")


def test_load_any(pair: tuple[Path, Path], bpe: Tokenizer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bpe.save(run)
    assert load_any(run).fingerprint == bpe.fingerprint
    assert load_any(str(run / "tokenizer.json")).fingerprint == bpe.fingerprint
    assert load_any("bytes").kind == "bytes"
    with pytest.raises(TokenizerError, match="a pair of files with 260 tokens is neither GPT-2's nor Llama 3's"):
        load_any(tmp_path)
    with pytest.raises(TokenizerError, match="a pair of files with 260 tokens"):
        load_any(pair[0])


def test_load_any_says_what_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    (tmp_path / "book.txt").touch()
    for spec, message in [
        (
            "gpt2",
            r"the GPT-2 vocabulary is not on this machine\. Name the directory that holds encoder\.json and vocab",
        ),
        ("bpe", r"'bpe' is a kind of tokenizer that is made from a text; none is given here\. Make one with vidro tok"),
        ("gtp2", r"gtp2: there is no such tokenizer\. Give a file or a directory, or .* words, chars, bytes\.$"),
        (tmp_path, r"there is no tokenizer in this directory\. It would be a tokenizer\.json"),
        (
            tmp_path / "model.gguf",
            r"model\.gguf: a vocabulary in a GGUF or SentencePiece file is read with its model only\. vidro import",
        ),
        (tmp_path / "book.txt", r"book\.txt: this is not a tokenizer file\. Known: tokenizer\.json"),
    ]:
        with pytest.raises(TokenizerError, match=message):
            load_any(spec)
    with pytest.raises(TokenizerError, match="is not on this machine"):
        load_any("gpt2", cache_dir=tmp_path)


def test_gpt2_by_name_comes_from_the_cache(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "gpt2").mkdir()
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / "gpt2" / name).write_bytes((shared_data / "tokenizers" / "gpt2" / name).read_bytes())
    tokenizer = load_any("gpt2", cache_dir=tmp_path)
    assert tokenizer.kind == "gpt2"
    assert tokenizer.encode("Every effort moves you") == [6109, 3626, 6100, 345]


def test_llama3_has_256_special_tokens() -> None:
    assert sorted(LLAMA3_SPECIAL.values()) == list(range(128_000, 128_256))
    assert LLAMA3_SPECIAL["<|eot_id|>"] == 128_009
    assert LLAMA3_SPECIAL["<|reserved_special_token_4|>"] == 128_008
    assert LLAMA3_SPECIAL["<|reserved_special_token_250|>"] == 128_255
