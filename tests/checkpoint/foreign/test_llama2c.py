from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tests.checkpoint.foreign.llama2c_files import (
    CONTEXT,
    DIM,
    HEADS,
    HIDDEN,
    KV,
    LAYERS,
    VOCAB,
    parts,
    version_0,
    version_1,
    words,
)  # fmt: skip

from vidro.checkpoint.foreign import llama2c
from vidro.core.errors import VidroError
from vidro.text.train import build_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.bin").write_bytes(words())
    return tmp_path


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("version", [0, 1])
def test_every_tensor_lies_where_it_should(version: int, tied: bool, folder: Path) -> None:
    numbers = parts()
    path = folder / "x.bin"
    path.write_bytes((version_1 if version else version_0)(numbers, tied=tied))
    found = llama2c.read(path)
    config, state = found.config, found.state
    assert (config.family, config.vocab_size, config.context_length, config.d_model) == ("llama", VOCAB, CONTEXT, DIM)
    assert (config.n_layers, config.n_heads, config.n_kv_heads, config.d_ff) == (LAYERS, HEADS, KV, HIDDEN)
    assert (config.norm_eps, config.rope_theta, config.tie_embeddings) == (1e-5, 10_000.0, tied)
    names = {
        "attn_norm": "norm_1", "v": "attention.v_proj", "o": "attention.o_proj", "ffn_norm": "norm_2",
        "w1": "feedforward.gate", "w2": "feedforward.down", "w3": "feedforward.up",
    }  # fmt: skip
    for n in range(LAYERS):
        for theirs, ours in names.items():
            assert np.array_equal(state[f"blocks.{n}.{ours}.weight"].numpy(), numbers[theirs][n]), ours
        for theirs, heads in (("q", HEADS), ("k", KV)):  # neighbours 2i, 2i + 1 there, halves here
            rows = numbers[theirs][n].reshape(heads, 2, 2, DIM).transpose(0, 2, 1, 3).reshape(-1, DIM)
            assert np.array_equal(state[f"blocks.{n}.attention.{theirs}_proj.weight"].numpy(), rows)
    assert np.array_equal(state["token_embedding.weight"].numpy(), numbers["embedding"])
    assert np.array_equal(state["head.weight"].numpy(), numbers["embedding" if tied else "head"])
    assert np.array_equal(state["final_norm.weight"].numpy(), numbers["norm"])
    assert found.notes[0] == f"stored in float32, llama2.c version {version}"


def test_the_tokenizer_beside_it(folder: Path) -> None:
    path = folder / "x.bin"
    path.write_bytes(version_0(parts(), tied=True))
    tokenizer = llama2c.read(path).tokenizer
    assert tokenizer is not None
    assert tokenizer.vocab_size == VOCAB
    assert tokenizer.encode("abc a\n") == [262, 261, 260, 13]  # ▁ first, then the best scores: ab, ▁a, abc
    assert tokenizer.decode([262, 261, 260, 13]) == "abc a\n"
    assert (tokenizer.start_id, tokenizer.eot_id, tokenizer.special_ids["</s>"]) == (1, 1, 2)


def refusal(path: Path, data: bytes, tokenizer: Path | None = None) -> str:
    path.write_bytes(data)
    with pytest.raises(VidroError) as caught:
        llama2c.read(path, tokenizer)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_files_that_are_refused(folder: Path) -> None:
    path, good = folder / "x.bin", version_0(parts(), tied=True)
    assert "it is too short" in refusal(path, good[:20])
    assert "and a model of these sizes" in refusal(path, good[:-4])
    assert "and a model of these sizes" in refusal(path, good + b"\0")
    assert "version 2 of llama2.c's format is not read (int8 in groups)" in refusal(
        path, version_1(parts(), tied=True, version=2)
    )
    assert "its header is damaged" in refusal(path, version_1(parts(), tied=True)[:99])
    assert "its sizes would be" in refusal(path, struct.pack("<7i", 8, 12, 2, 3, 1, 300, 16) + good[28:])
    assert "its sizes would be" in refusal(path, struct.pack("<7i", 2**31 - 1, *[2**31 - 1] * 6) + good[28:])
    assert "do not make a model" in refusal(path, struct.pack("<7i", 8, 12, 2, 4, 3, 300, 16) + good[28:])
    with pytest.raises(VidroError, match="there is no such file"):
        llama2c.read(folder / "none.bin")


def test_tokenizers_that_are_refused(folder: Path) -> None:
    path, good = folder / "x.bin", version_0(parts(), tied=True)
    other = folder / "other.bin"
    other.write_bytes(words("d"))
    assert "the tokenizer has 267 tokens, but the model knows 266" in refusal(path, good, other)
    other.write_bytes(words()[:-1])
    assert "token 265 is cut short" in refusal(path, good, other)
    other.write_bytes(words() + b"\0")
    assert "this is no llama2.c tokenizer" in refusal(path, good, other)
    other.write_bytes(words()[:4] + struct.pack("<fi", 0.0, 2**30))
    assert "token 0 has 1,073,741,824 bytes" in refusal(path, good, other)
    other.write_bytes(words()[13:])
    assert "other.bin" in refusal(path, good, other)
    build_bytes().save(folder)
    assert "the tokenizer has 320 tokens, but the model knows 266" in refusal(path, good, folder / "tokenizer.json")
    (folder / "tokenizer.bin").unlink()
    (folder / "tokenizer.json").unlink()
    assert "Put it there as tok266.bin or tokenizer.bin, or name it: --tokenizer FILE" in refusal(path, good)
