"""Adapters in: what is refused by its name, and that nothing is merged before it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vidro.checkpoint.adapter import write_adapter
from vidro.checkpoint.foreign.adapter import read
from vidro.checkpoint.foreign.model import ForeignModel
from vidro.config.schema import ModelConfig
from vidro.core.errors import VidroError
from vidro.model.lora import add_lora, merged_state
from vidro.model.transformer import Transformer

CONFIG = ModelConfig(
    family="llama", vocab_size=64, context_length=16, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2, d_head=8, d_ff=24
)
PATH = "base_model.model.model.layers.0.self_attn.q_proj"


def base() -> ForeignModel:
    return ForeignModel("a test", CONFIG, Transformer(CONFIG).state_dict())


def write(folder: Path, tensors: dict[str, Any] | None = None, **settings: Any) -> Path:
    """An adapter as peft writes it; `settings` replace those of a plain one."""
    folder.mkdir(exist_ok=True)
    plain = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**plain, **settings}))
    thin = {f"{PATH}.lora_A.weight": torch.ones(2, 16), f"{PATH}.lora_B.weight": torch.ones(16, 2)}
    save_file(thin if tensors is None else tensors, folder / "adapter_model.safetensors")
    return folder


def test_what_goes_out_comes_in_again(tmp_path: Path) -> None:
    model = Transformer(CONFIG)
    before = ForeignModel("a test", CONFIG, {name: tensor.clone() for name, tensor in model.state_dict().items()})
    add_lora(model, rank=3, alpha=5.0, targets=("q_proj", "down"), seed=0)
    model.head.weight.requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    assert write_adapter(tmp_path / "adapter", model, base=None)
    found = read(tmp_path / "adapter", before)
    expected = merged_state(model)
    assert set(found.state) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found.state[name], tensor, rtol=1e-6, atol=1e-6)
    assert "4 thin pairs, 1 whole tensors" in found.notes[-1]


def test_a_matrix_is_added_up_when_it_is_asked_for(tmp_path: Path) -> None:
    model = base()
    found = read(write(tmp_path / "a"), model)
    name = "blocks.0.attention.q_proj.weight"
    assert found.state["blocks.1.attention.q_proj.weight"] is model.state["blocks.1.attention.q_proj.weight"]
    assert found.state[name] is not found.state[name], "made anew each time, never kept"
    torch.testing.assert_close(found.state[name], model.state[name] + 2 * 2 * torch.ones(16, 16))


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    state = {name: tensor.bfloat16() for name, tensor in Transformer(CONFIG).state_dict().items()}
    found = read(write(tmp_path / "a"), ForeignModel("a test", CONFIG, state))
    assert {tensor.dtype for tensor in found.state.values()} == {torch.bfloat16}


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "another kind": ({"peft_type": "IA3"}, "the kind 'IA3' is not supported. Supported: LORA"),
    "DoRA": ({"use_dora": True}, "use_dora is more than plain LoRA. Merge it with peft"),
    "learned biases": ({"bias": "all"}, "bias = 'all' is more than plain LoRA"),
    "PiSSA": ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights = 'pissa_niter_16' is more"),
    "repeated layers": ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication is more than plain LoRA"),
    "single tokens": ({"trainable_token_indices": [3]}, "trainable_token_indices is more"),
    "alpha": ({"lora_alpha": "much"}, "lora_alpha is 'much'"),
    "alpha, not a number": ({"lora_alpha": None}, "lora_alpha is None"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_more_than_lora_is_refused(name: str, tmp_path: Path) -> None:
    settings, expected = BAD_SETTINGS[name]
    with pytest.raises(VidroError) as caught:
        read(write(tmp_path / "a", **settings), base())
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_TENSORS: dict[str, tuple[dict[str, Any], str]] = {
    "half a pair": ({f"{PATH}.lora_A.weight": torch.ones(2, 16)}, "do not fit together"),
    "two ranks": (
        {f"{PATH}.lora_A.weight": torch.ones(2, 16), f"{PATH}.lora_B.weight": torch.ones(16, 3)}, "do not fit together"
    ),
    "another width": (
        {f"{PATH}.lora_A.weight": torch.ones(2, 12), f"{PATH}.lora_B.weight": torch.ones(16, 2)},
        "for blocks.0.attention.q_proj.weight make [16, 12], and the base asks for [16, 16]",
    ),
    "another layer": (
        {"base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight": torch.ones(2, 16)},
        "model.layers.7.self_attn.q_proj.lora_A.weight does not belong to a llama model",
    ),
    "a magnitude": (
        {f"{PATH}.lora_magnitude_vector": torch.ones(16)}, "q_proj.lora_magnitude_vector does not belong to a llama"
    ),
    "a head of other size": (
        {"base_model.model.lm_head.weight": torch.ones(65, 16)}, "for head.weight is [65, 16], and the base asks"
    ),
    "integers": (
        {f"{PATH}.lora_A.weight": torch.ones(2, 16).int(), f"{PATH}.lora_B.weight": torch.ones(16, 2)}, "hold no floats"
    ),
    "one class": ({"base_model.model.score.weight": torch.ones(1, 16)}, "two or more classes"),
    "nothing": ({}, "there is nothing in it"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_tensors_that_do_not_fit_are_named(name: str, tmp_path: Path) -> None:
    tensors, expected = BAD_TENSORS[name]
    with pytest.raises(VidroError) as caught:
        read(write(tmp_path / "a", tensors), base())
    assert expected in str(caught.value), str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", base_model_name_or_path="someone/llama")
    with pytest.raises(VidroError, match=r"belongs to someone/llama, which is not a directory here. Get it first"):
        read(folder)
    write(tmp_path / "a")
    with pytest.raises(VidroError, match=r"does not say which model it belongs to\. Name the model"):
        read(folder)
    weights = folder / "adapter_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(VidroError, match="the weights cannot be read"):
        read(folder, base())
    weights.rename(folder / "adapter_model.bin")
    with pytest.raises(VidroError, match="Save it as safetensors"):
        read(folder, base())
    (folder / "adapter_config.json").write_text("[1]")
    with pytest.raises(VidroError, match="not a JSON object"):
        read(folder, base())
