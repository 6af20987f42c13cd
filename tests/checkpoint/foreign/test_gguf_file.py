from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoint.gguf.raw_gguf import Raw, tiny_llama

from vidro.checkpoint.foreign import gguf_file
from vidro.checkpoint.huggingface import model_of
from vidro.config.schema import RopeScaling
from vidro.core.errors import VidroError
from vidro.model.positions import frequencies
from vidro.text.train import build_bytes


def saved(tmp_path: Path, raw: Raw) -> Path:
    path = tmp_path / "x.gguf"
    path.write_bytes(raw.bytes())
    return path


def test_what_the_settings_say(tmp_path: Path) -> None:
    found = gguf_file.read(saved(tmp_path, tiny_llama()))
    config = found.config
    assert (config.family, config.vocab_size, config.context_length, config.d_model) == ("llama", 259, 32, 16)
    assert (config.n_layers, config.n_heads, config.n_kv_heads, config.d_head, config.d_ff) == (2, 2, 1, 8, 24)
    assert (config.norm_eps, config.rope_theta, config.rope_scaling) == (1e-5, 500.0, None)
    assert config.tie_embeddings
    assert found.tokenizer is not None
    assert (found.tokenizer.vocab_size, found.tokenizer.start_id, found.tokenizer.eot_id) == (258, 256, 257)
    assert found.chat_template == "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert found.notes == ("stored in F32 (20 tensors)", "every text begins with <s>, as this file asks for")


def test_rows_are_paired_back_for_llama(tmp_path: Path) -> None:
    """llama.cpp turns rows 2i and 2i + 1, we i and i + E/2: the scores of attention are the same."""
    raw = tiny_llama()
    state = gguf_file.read(saved(tmp_path, raw)).state
    theirs = raw.tensors["blk.0.attn_q.weight"]
    ours = state["blocks.0.attention.q_proj.weight"].numpy()
    assert np.array_equal(ours[:4], theirs[0:8:2])
    assert np.array_equal(ours[4:8], theirs[1:8:2])
    model = model_of(gguf_file.read(tmp_path / "x.gguf").config, state)
    assert model(torch.arange(10)[None]).shape == (1, 10, 259)


def test_a_head_that_is_a_copy_is_tied_and_another_is_not(tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.tensors["output.weight"] = raw.tensors["token_embd.weight"].copy()
    assert gguf_file.read(saved(tmp_path, raw)).config.tie_embeddings
    raw.tensors["output.weight"][0, 0] += 1
    found = gguf_file.read(saved(tmp_path, raw))
    assert not found.config.tie_embeddings
    assert np.array_equal(found.state["head.weight"].numpy(), raw.tensors["output.weight"])


def test_a_tokenizer_that_is_given_replaces_the_files(tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.values["tokenizer.ggml.pre"] = "banana"
    given = build_bytes()
    with pytest.raises(VidroError, match="the tokenizer has 320 tokens, but the model knows 259"):
        gguf_file.read(saved(tmp_path, raw), tokenizer=given)
    raw.tensors["token_embd.weight"] = np.zeros((320, 16), dtype=np.float32)
    assert gguf_file.read(saved(tmp_path, raw), tokenizer=given).tokenizer is given


def test_settings_that_are_not_understood_are_said(tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.values["llama.novelty"] = 3
    assert "not understood and not used: llama.novelty" in gguf_file.read(saved(tmp_path, raw)).notes


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another architecture": (
        {"general.architecture": "bert"},
        "'bert' is not supported. Supported: gpt2, llama, qwen3",
    ),
    "no architecture": ({"general.architecture": None}, "the architecture None is not supported"),
    "experts": ({"llama.expert_count": 8}, "llama.expert_count = 8 is not supported"),
    "yarn": ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type = 'yarn' is not supported"),
    "half rotary": ({"llama.rope.dimension_count": 4}, "rope.dimension_count = 4, where a head has 8"),
    "wide values": ({"llama.attention.value_length": 16}, "attention.value_length = 16"),
    "no context": ({"llama.context_length": None}, "llama.context_length is missing"),
    "a text for a size": ({"llama.block_count": "two"}, "llama.block_count cannot be 'two'"),
    "different blocks": ({"llama.feed_forward_length": [24, 32]}, "differs from block to block"),
    "more blocks than tensors": ({"llama.block_count": 3000}, "the settings ask for 3,000 blocks"),
    "odd heads": ({"llama.attention.head_count_kv": 3}, "2 heads cannot share 3 key/value heads evenly"),
    "another width": (
        {"llama.embedding_length": 32, "llama.attention.key_length": 8},
        "token_embd.weight has the shape [259, 16], and the settings ask for [259, 32]",
    ),
    "endless context": ({"llama.context_length": 2**24}, "a context of 16,777,216 tokens"),
    "no epsilon": ({"llama.attention.layer_norm_rms_epsilon": None}, "layer_norm_rms_epsilon is missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_computed_is_named(name: str, tmp_path: Path) -> None:
    changes, expected = REFUSED[name]
    raw = tiny_llama()
    raw.values = {key: found for key, found in (raw.values | changes).items() if found is not None}
    with pytest.raises(VidroError) as caught:
        gguf_file.read(saved(tmp_path, raw))
    assert expected in str(caught.value)


def test_tensors_that_are_missing_or_unknown(tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.tensors["blk.0.attn_q.bias"] = np.zeros(16, dtype=np.float32)
    with pytest.raises(VidroError, match=r"the tensor blk\.0\.attn_q\.bias is not known"):
        gguf_file.read(saved(tmp_path, raw))
    del raw.tensors["blk.0.attn_q.bias"], raw.tensors["blk.1.ffn_up.weight"]
    with pytest.raises(VidroError, match=r"the tensor blk\.1\.ffn_up\.weight is missing"):
        gguf_file.read(saved(tmp_path, raw))


def factors(d_head: int, theta: float, scaling: RopeScaling) -> np.ndarray:
    return (frequencies(d_head, theta) / frequencies(d_head, theta, scaling)).numpy()


SCALINGS = {
    "Llama 3.1": (128, 500_000.0, RopeScaling(factor=8.0)),
    "Llama 3.2": (64, 500_000.0, RopeScaling()),
    "another context": (64, 10_000.0, RopeScaling(factor=4.0, original_context_length=512)),
    "few pairs": (8, 10_000.0, RopeScaling(factor=4.0, original_context_length=16)),
}


@pytest.mark.parametrize("name", SCALINGS)
def test_the_scaling_is_found_again_from_its_factors(name: str) -> None:
    d_head, theta, scaling = SCALINGS[name]
    found = gguf_file.scaling_of(factors(d_head, theta, scaling), d_head, theta)
    assert found is not None
    assert np.allclose(frequencies(d_head, theta, found), frequencies(d_head, theta, scaling), rtol=1e-5, atol=0)
    if d_head >= 64:
        assert found == scaling


def test_a_scaling_with_factors_of_its_own_is_found_as_one_that_is_equal() -> None:
    scaling = RopeScaling(factor=5.5, low_freq_factor=2.0, high_freq_factor=9.0, original_context_length=1000)
    found = gguf_file.scaling_of(factors(64, 10_000.0, scaling), 64, 10_000.0)
    assert found == RopeScaling(factor=5.5, low_freq_factor=1.0, high_freq_factor=4.5, original_context_length=500)


def test_other_factors_are_refused(tmp_path: Path) -> None:
    raw = tiny_llama()
    raw.tensors["rope_freqs.weight"] = np.array([1, 1, 1, 1], dtype=np.float32)
    assert gguf_file.read(saved(tmp_path, raw)).config.rope_scaling is None
    for odd in ([1, 2, 3, 2], [0.5, 1, 1, 1], [1, 1, np.nan, 1], [1, 1, 1]):
        raw.tensors["rope_freqs.weight"] = np.array(odd, dtype=np.float32)
        with pytest.raises(VidroError, match="are not those of Llama 3's scaling"):
            gguf_file.read(saved(tmp_path, raw))
