"""Our reader of GGUF against the `gguf` package: every kind of setting and tensor, and the numbers in the blocks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidro.checkpoint.foreign import gguf_file
from vidro.checkpoint.gguf.blocks import NUMBERS, TYPES
from vidro.checkpoint.gguf.read import open_gguf
from vidro.checkpoint.gguf.vocabulary import vocabulary
from vidro.checkpoint.gguf.write import write_gguf
from vidro.checkpoint.huggingface import model_of
from vidro.checkpoint.names import from_foreign
from vidro.checkpoint.weights import Lazy
from vidro.config.schema import ModelConfig, RopeScaling
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

gguf = pytest.importorskip("gguf")
Kind = gguf.GGMLQuantizationType


def test_sizes_of_all_types() -> None:
    for kind in Kind:
        assert TYPES[kind.value] == (kind.name, *gguf.GGML_QUANT_SIZES[kind])


def mixed_file(path: Path) -> dict[str, np.ndarray]:
    """All kinds of settings; a tensor of each type that is read, and of whole numbers."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    for bits in (8, 16, 32, 64):
        getattr(writer, f"add_uint{bits}")(f"test.u{bits}", 2**bits - 3)
        getattr(writer, f"add_int{bits}")(f"test.i{bits}", 3 - 2 ** (bits - 1))
    writer.add_float32("test.f32", 0.1)
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.true", True)
    writer.add_string("test.text", "Olá\n☃")
    writer.add_array("test.texts", ["", "a", "日本"])
    writer.add_array("test.whole", [-1, 2, -3])
    writer.add_array("test.real", [0.5, 0.25])
    writer.add_array("test.flags", [True, False])
    arrays = {
        "f32": rng.standard_normal((3, 5, 7)).astype(np.float32),
        "f16": rng.standard_normal((4, 6)).astype(np.float16),
        "i32": np.arange(5, dtype=np.int32),
        "f64": rng.standard_normal(3),
    }
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    numbers = (rng.standard_normal((5, 96)) * rng.uniform(0.01, 10, (5, 1))).astype(np.float32)
    for kind in (Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1):
        arrays[kind.name] = numbers
        writer.add_tensor(kind.name, gguf.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return arrays


def test_settings_and_tensors_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    arrays = mixed_file(path)
    ours, theirs = open_gguf(path), gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert list(ours.values) == list(fields)
    for name, expected in fields.items():
        found = ours.values[name]
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == expected
        assert isinstance(found, bool) == isinstance(expected, bool)
    weights, table = ours.weights(), {tensor.name: tensor for tensor in theirs.tensors}
    assert list(ours.tensors) == list(table) == list(arrays)
    for name, tensor in table.items():
        info = ours.tensors[name]
        assert (info.kind, info.start, info.n_bytes) == (tensor.tensor_type.name, tensor.data_offset, tensor.n_bytes)
        assert info.shape == tuple(tensor.shape.tolist()[::-1]) == arrays[name].shape
        if info.kind in NUMBERS:
            expected = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            assert np.array_equal(weights[name].float().numpy(), expected.reshape(info.shape)), name
    with pytest.raises(Exception, match="stored as Q5_1"):
        weights["Q5_1"]


def shape(family: str, **changes: Any) -> ModelConfig:
    sizes: dict[str, Any] = {
        "family": family, "vocab_size": 352, "context_length": 40, "d_model": 64, "n_layers": 2, "n_heads": 4,
        "n_kv_heads": 4, "d_head": 16, "d_ff": 96, "norm_eps": 1e-5,
    }  # fmt: skip
    return ModelConfig(**{**sizes, **changes})


SCALED = RopeScaling(factor=4.0, original_context_length=16)
CASES = {
    "gpt2 tied": shape("gpt2", tie_embeddings=True),
    "gpt2 untied": shape("gpt2"),
    "llama grouped, tied": shape("llama", n_kv_heads=2, tie_embeddings=True),
    "llama, heads of another width": shape("llama", d_head=20, rope_theta=500.0),
    "llama stretched": shape("llama", rope_scaling=SCALED),
    "llama 3.2's rotary": shape("llama", d_head=64, rope_theta=500_000.0, rope_scaling=RopeScaling()),
    "qwen3 grouped": shape("qwen3", n_kv_heads=2, d_head=20),
}


@pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_what_our_export_writes_comes_back(config: ModelConfig, kind: str, tmp_path: Path) -> None:
    """The same shape and tokenizer, the same numbers as the package reads, and logits as near as their rounding."""
    model, tokenizer = Transformer(config), build_bytes()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    path = tmp_path / "x.gguf"
    words = vocabulary(tokenizer, config.vocab_size)
    state = model.state_dict()
    lazily = Lazy({name: partial(state.__getitem__, name) for name in state})
    write_gguf(path, config, lazily, words, kind, "x")
    found = gguf_file.read(path)
    assert found.config == config
    assert found.tokenizer is not None
    assert found.tokenizer.fingerprint == tokenizer.fingerprint
    theirs = {
        tensor.name: torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
        for tensor in gguf.GGUFReader(path).tensors
    }
    for name, tensor in from_foreign(theirs, config, "gguf").items():
        assert torch.equal(found.state[name].float(), tensor), name
    ids = torch.randint(320, (2, 40), generator=generator)
    with torch.no_grad():
        mine, yours = model.eval()(ids), model_of(found.config, found.state).eval()(ids)
    allowed = {"f32": 0.0, "f16": 2e-3, "q8_0": 5e-2}[kind]
    assert yours.std() > 0.1
    assert (mine - yours).abs().max() <= allowed * mine.abs().max()
