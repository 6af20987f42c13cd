"""What stands in a written file, as the `gguf` package reads it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidro.checkpoint.gguf.vocabulary import vocabulary
from vidro.checkpoint.gguf.write import check_model, write_gguf
from vidro.checkpoint.names import in_pairs
from vidro.checkpoint.weights import Lazy
from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.errors import ModelError
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

gguf = pytest.importorskip("gguf")

SCALED = RopeScaling(factor=4.0, original_context_length=16)


def lazily(state: Mapping[str, torch.Tensor]) -> Lazy:
    return Lazy({name: partial(state.__getitem__, name) for name in state})


def written(path: Path, kind: str, **changes: Any) -> tuple[Any, Transformer, list[str]]:
    sizes: dict[str, Any] = {
        "vocab_size": 320, "context_length": 40, "d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4,
        "d_head": 16, "d_ff": 96, "norm_eps": 1e-5,
    }  # fmt: skip
    torch.manual_seed(5)
    model = Transformer(ModelConfig(**{**sizes, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    notes = write_gguf(path, model.config, lazily(model.state_dict()), vocabulary(build_bytes(), 320), kind, "mine")
    return gguf.GGUFReader(path), model, notes


def test_settings_of_a_llama(tmp_path: Path) -> None:
    changes = {"family": "llama", "n_kv_heads": 2, "d_head": 10, "rope_theta": 5e5, "rope_scaling": SCALED}
    reader, model, _ = written(tmp_path / "a.gguf", "f32", **changes)
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    expected = {
        "general.architecture": "llama", "general.name": "mine", "general.file_type": 0,
        "llama.context_length": 40, "llama.embedding_length": 64, "llama.block_count": 2, "llama.vocab_size": 320,
        "llama.feed_forward_length": 96, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 10, "llama.attention.value_length": 10, "llama.rope.dimension_count": 10,
        "llama.rope.freq_base": 5e5, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.add_bos_token": False,
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected
    stored = {tensor.name: tensor for tensor in reader.tensors}
    query = torch.from_numpy(stored["blk.1.attn_q.weight"].data.copy())
    assert torch.equal(query, in_pairs(model.state_dict()["blocks.1.attention.q_proj.weight"], 10))
    assert stored["rope_freqs.weight"].data[-1] == pytest.approx(4.0)
    assert stored["rope_freqs.weight"].data.shape == (5,)


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0"])
def test_kinds_of_numbers(kind: str, tmp_path: Path) -> None:
    reader, model, notes = written(tmp_path / "a.gguf", kind, family="gpt2", d_ff=80)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert {kinds[name] for name in kinds if "norm" in name or name.endswith("bias")} == {"F32"}
    assert kinds["position_embd.weight"] == "F32"
    assert kinds["token_embd.weight"] == kinds["output.weight"] == kind.upper()
    narrow = kind.startswith("q")
    assert kinds["blk.0.ffn_down.weight"] == ("F16" if narrow else kind.upper())
    assert [note[:23] for note in notes] == (["2 of 10 matrices stay 1"] if narrow else [])
    stored = {tensor.name: tensor for tensor in reader.tensors}["output.weight"]
    back = gguf.dequantize(stored.data, stored.tensor_type).astype(np.float32)
    wanted = model.head.weight.detach().numpy()
    largest = np.abs(back - wanted).max() / np.abs(wanted).max()
    assert largest <= {"f32": 0, "f16": 1e-3, "q8_0": 5e-3, "q4_0": 0.1}[kind]


def test_a_weight_too_large_for_16_bits(tmp_path: Path) -> None:
    config = ModelConfig(family="gpt2", vocab_size=320, d_model=64, n_layers=1, n_heads=4, n_kv_heads=4, d_head=16)
    state = {**Transformer(config).state_dict()}
    state["head.weight"] = torch.full_like(state["head.weight"], 1e6)
    words = vocabulary(build_bytes(), 320)
    with pytest.raises(ModelError, match="too large for 16-bit numbers"):
        write_gguf(tmp_path / "a.gguf", config, lazily(state), words, "f16", "a")
    state["head.weight"] = torch.full_like(state["head.weight"], torch.nan)
    with pytest.raises(ModelError, match="a weight is not a number"):
        write_gguf(tmp_path / "b.gguf", config, lazily(state), words, "q8_0", "a")


def test_what_llama_cpp_cannot_compute() -> None:
    with pytest.raises(ModelError, match="cannot express a classifier"):
        check_model(ModelConfig(labels=("a", "b")))
    with pytest.raises(ModelError, match="would ignore the scaling"):
        check_model(ModelConfig(family="qwen3", rope_scaling=SCALED))
