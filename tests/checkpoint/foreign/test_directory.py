"""Hugging Face directories: heads, biases, prefixes, masks, shards and vocabularies as people have them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vidro.checkpoint.foreign import directory
from vidro.checkpoint.foreign.write import write_foreign
from vidro.checkpoint.huggingface import read_model, write_model
from vidro.checkpoint.weights import open_weights, write_streamed
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError, ModelError
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

TOKENIZER = build_bytes()


def config(family: str = "gpt2", *, tied: bool = False, labels: tuple[str, ...] = ()) -> ModelConfig:
    return ModelConfig(
        family=family, vocab_size=330, context_length=16, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2, d_head=8,
        d_ff=24, tie_embeddings=tied, labels=labels,
    )  # fmt: skip


def saved(path: Path, shape: ModelConfig) -> Path:
    """A directory with shaken weights."""
    path.mkdir()
    model = Transformer(shape)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    write_model(path, model, TOKENIZER)
    return path


def again(path: Path) -> Transformer:
    """The model of a directory after it was read as foreign and written as ours."""
    out = path.parent / "out"
    out.mkdir()
    write_foreign(out, directory.read(path))
    return read_model(out).eval()


@pytest.mark.parametrize(("family", "tied"), [("gpt2", True), ("gpt2", False), ("llama", True), ("qwen3", False)])
def test_the_same_numbers(family: str, tied: bool, tmp_path: Path) -> None:
    path = saved(tmp_path / "in", config(family, tied=tied))
    ids = torch.arange(12)[None]
    assert torch.equal(again(path)(ids), read_model(path).eval()(ids))


def test_old_files_of_gpt2(tmp_path: Path) -> None:
    path = saved(tmp_path / "in", config(tied=True))
    expected, tensors = read_model(path).eval()(torch.arange(9)[None]), load_file(path / "model.safetensors")
    old = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    masks = {f"h.{n}.attn.{name}": torch.ones(1, 1, 16, 16) for n in (0, 1) for name in ("bias", "masked_bias")}
    save_file({**old, **masks, "lm_head.weight": old["wte.weight"].clone()}, path / "model.safetensors")
    assert torch.equal(again(path)(torch.arange(9)[None]), expected)


def test_a_bias_of_the_class_head_goes_into_the_norm(tmp_path: Path) -> None:
    path = saved(tmp_path / "in", config(labels=("a", "b", "c")))
    bias, ids = torch.tensor([0.5, -1.0, 2.0]), torch.arange(9)[None]
    expected = read_model(path).eval()(ids) + bias
    save_file({**load_file(path / "model.safetensors"), "score.bias": bias}, path / "model.safetensors")
    assert any("bias of the class head" in note for note in directory.read(path).notes)
    assert torch.allclose(again(path)(ids), expected, atol=1e-5)


def test_a_bias_of_a_llama_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "in", config("llama", labels=("a", "b")))
    save_file({**load_file(path / "model.safetensors"), "score.bias": torch.ones(2)}, path / "model.safetensors")
    with pytest.raises(ModelError, match="which this family cannot express"):
        directory.read(path)


def test_a_head_that_is_missing(tmp_path: Path) -> None:
    path = saved(tmp_path / "in", config("llama"))
    tensors = load_file(path / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"there is no head .* does not tie it"):
        directory.read(path)


def test_llama_ranks_begin_a_text(tmp_path: Path) -> None:
    lines = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
    (tmp_path / "tokenizer.model").write_text("\n".join(lines))
    tokenizer, notes = directory.read_tokenizer(tmp_path)
    assert tokenizer.start_id == tokenizer.special_ids["<|begin_of_text|>"] != tokenizer.eot_id
    assert tokenizer.encode("Hi") == [72, 105]
    assert any("begins with <|begin_of_text|>" in note for note in notes)


def test_streamed_files_are_safetensors(tmp_path: Path) -> None:
    source = {"a": torch.randn(3, 5), "b": torch.randn(7).bfloat16(), "c": torch.empty(0, 2), "d": torch.tensor(2.0)}
    save_file(source, tmp_path / "model.safetensors")
    write_streamed(tmp_path / "new", open_weights(tmp_path), metadata={"format": "pt"})
    back = load_file(tmp_path / "new")
    assert back.keys() == source.keys()
    assert all(torch.equal(back[name], source[name]) and back[name].dtype == source[name].dtype for name in source)
