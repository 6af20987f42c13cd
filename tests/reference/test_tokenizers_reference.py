"""Our ids are everybody's ids: published vectors, tiktoken itself, `tokenizers` and `transformers` on saved files."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import tokenizers

from vidro.text.foreign import TIKTOKEN_FILES, load_any
from vidro.text.tokenizer import FAST_FROM_CHARS, Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words, train_bpe

NASTY: list[str] = json.loads((Path(__file__).parents[1] / "text" / "nasty.json").read_text(encoding="utf-8"))
NAMED = [text for text in NASTY if "<|" in text and text != "<|endoftext|"]
PLAIN = [text for text in NASTY if text not in NAMED]

MAKERS = {
    "bpe": lambda: train_bpe(NASTY * 3, 512),
    "words": lambda: build_words(NASTY),
    "words-unk": lambda: build_words(NASTY[:20], unk=True),
    "chars": lambda: build_chars(NASTY),
    "chars-unk": lambda: build_chars(NASTY[:20], unk=True),
    "bytes": build_bytes,
}


@pytest.fixture(scope="module", params=MAKERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Path]:
    """A home-made tokenizer and the directory it was saved to."""
    tokenizer, directory = MAKERS[request.param](), tmp_path_factory.mktemp(request.param)
    tokenizer.save(directory)
    return tokenizer, directory


def test_transformers_loads_the_same_ids(saved: tuple[Tokenizer, Path]) -> None:
    ours, directory = saved
    theirs = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(directory)
    assert (theirs.eos_token_id, theirs.pad_token_id) == (ours.eot_id, ours.pad_id)
    assert len(theirs) == ours.vocab_size
    for text in PLAIN:
        assert theirs(text)["input_ids"] == ours.encode(text)
    for text in NASTY:
        ids = ours.encode(text)
        assert theirs(text, split_special_tokens=True)["input_ids"] == ids
        assert theirs.decode(ids) == ours.decode(ids)
    with_names = [*ours.encode("a"), ours.eot_id, *ours.encode("b"), ours.vocab_size - 1]
    assert theirs.decode(with_names) == ours.decode(with_names)
    assert theirs.decode(with_names, skip_special_tokens=True) == ours.decode(with_names, skip_special=True)


def test_transformers_takes_names_for_special_tokens_unless_told_otherwise(saved: tuple[Tokenizer, Path]) -> None:
    """The convention of the ecosystem, which chat templates need; our own `encode` never does this."""
    ours, directory = saved
    theirs = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(directory)
    assert theirs("<|endoftext|>")["input_ids"] == [ours.eot_id]
    assert ours.eot_id not in ours.encode("<|endoftext|>")


def test_tokenizers_loads_the_same_ids(saved: tuple[Tokenizer, Path]) -> None:
    ours, directory = saved
    theirs = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert theirs.get_vocab_size(with_added_tokens=True) == ours.vocab_size
    for text in PLAIN:
        assert theirs.encode(text).ids == ours.encode(text)
    theirs.encode_special_tokens = True
    for text in NAMED:
        assert theirs.encode(text).ids == ours.encode(text)


def test_an_unknown_character_is_an_error_for_transformers_too(tmp_path: Path) -> None:
    build_chars(["abc"]).save(tmp_path)
    theirs = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(Exception, match="UNK"):
        theirs("abcd")


@pytest.fixture(scope="module")
def published(shared_data: Path) -> dict[str, Tokenizer]:
    """The four published vocabularies of the shared data."""
    folder = shared_data / "tokenizers"
    return {
        "gpt2": load_any(folder / "gpt2"),
        "llama3": load_any(folder / "llama3-bpe"),
        "r50k_base": load_any(folder / "tiktoken" / "r50k_base.tiktoken"),
        "cl100k_base": load_any(folder / "tiktoken" / "cl100k_base.tiktoken"),
    }


@pytest.fixture(scope="module")
def novels(shared_data: Path) -> list[str]:
    """The beginning of an English and of a Portuguese novel."""

    def begin() -> Iterator[str]:
        for name in ("english-novels", "portuguese-novels"):
            with gzip.open(shared_data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
                yield json.loads(next(lines))["text"][:150_000]

    return list(begin())


def vectors(stem: Path) -> list[tuple[str, list[int]]]:
    inputs = stem.with_suffix(".gguf.inp").read_bytes().decode("utf-8").split("\n__ggml_vocab_test__\n")
    outputs = stem.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")
    return [(text, [int(number) for number in ids.split()]) for text, ids in zip(inputs, outputs, strict=True)]


@pytest.mark.parametrize(
    ("name", "stem"), [("gpt2", "gpt2/ggml-vocab-gpt-2"), ("llama3", "llama3-bpe/ggml-vocab-llama-bpe")]
)
def test_the_vectors_of_llama_cpp(name: str, stem: str, published: dict[str, Tokenizer], shared_data: Path) -> None:
    cases = vectors(shared_data / "tokenizers" / stem)
    assert sum(bool(text) for text, _ in cases) >= 45
    tokenizer = Tokenizer.from_json(published[name].to_json())
    slow = [tokenizer.encode(text) for text, _ in cases]
    tokenizer.encode_batch(["x y " * (FAST_FROM_CHARS // 4 + 1)])
    quick = [tokenizer.encode(text) for text, _ in cases]
    assert type(tokenizer._fast).__name__ == "Ranks"
    assert slow == quick == [ids for _, ids in cases]
    assert [tokenizer.decode(ids) for ids in slow] == [text for text, _ in cases]


@pytest.mark.parametrize("name", ["gpt2", "llama3", "r50k_base", "cl100k_base"])
def test_the_quick_engine_equals_the_reference_on_novels(
    name: str, published: dict[str, Tokenizer], novels: list[str]
) -> None:
    tokenizer = published[name]
    assert tokenizer.lossless
    for ids, text in zip(tokenizer.encode_batch([*novels, *NASTY]), [*novels, *NASTY], strict=True):
        assert np.array_equal(ids, tokenizer._reference.encode(text))
        assert tokenizer.decode(ids) == text
    assert type(tokenizer._fast).__name__ == "Ranks"


# As tiktoken has them, in its own spelling.
TIKTOKEN_PATTERNS = {
    "r50k_base": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
}


@pytest.mark.parametrize("name", TIKTOKEN_PATTERNS)
def test_rank_files_give_tiktokens_own_ids(
    name: str, published: dict[str, Tokenizer], novels: list[str], shared_data: Path
) -> None:
    lines = (shared_data / "tokenizers" / "tiktoken" / f"{name}.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    special = TIKTOKEN_FILES[name][1]
    theirs = tiktoken.Encoding(name, pat_str=TIKTOKEN_PATTERNS[name], mergeable_ranks=ranks, special_tokens=special)
    ours = published[name]
    assert ours.vocab_size == theirs.n_vocab
    assert ours.eot_id == theirs.eot_token
    ends = [" ", "\n", " \n", "\n ", "  \n  ", "\r\n\t", " 's", "  x"]
    for text in [*novels, *NASTY, *("end" + end for end in ends), *("end" + end + "x" for end in ends)]:
        assert ours.encode(text) == theirs.encode_ordinary(text)
        assert ours._reference.encode(text).tolist() == theirs.encode_ordinary(text)


def test_gpt2_and_r50k_are_the_same_vocabulary(published: dict[str, Tokenizer], novels: list[str]) -> None:
    for text in [*novels, *NASTY]:
        assert published["gpt2"].encode(text) == published["r50k_base"].encode(text)


def test_a_published_vocabulary_saved_by_us_is_loaded_by_transformers(
    published: dict[str, Tokenizer], tmp_path: Path
) -> None:
    theirs_from = pytest.importorskip("transformers").AutoTokenizer.from_pretrained
    for name in ("gpt2", "cl100k_base"):
        published[name].save(tmp_path / name)
        theirs = theirs_from(tmp_path / name)
        assert theirs.eos_token_id == published[name].eot_id
        assert Tokenizer.load(tmp_path / name).fingerprint == published[name].fingerprint
        for text in PLAIN:
            assert theirs(text)["input_ids"] == published[name].encode(text)


def test_known_figures(published: dict[str, Tokenizer], shared_data: Path) -> None:
    verdict = (shared_data / "text" / "the-verdict.txt").read_bytes().decode("utf-8")
    shakespeare = (shared_data / "text" / "tinyshakespeare.txt").read_bytes().decode("utf-8")
    cut = int(0.9 * len(shakespeare))
    ids = published["gpt2"].encode_batch([verdict, shakespeare[:cut], shakespeare[cut:]])
    assert [len(each) for each in ids] == [5_145, 301_966, 36_059]
    assert (published["llama3"].vocab_size, published["llama3"].eot_id) == (128_256, 128_001)
