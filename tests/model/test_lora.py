"""Thin matrices beside frozen ones: nothing changes at first, one matrix afterwards, and only they learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vidro.checkpoint.adapter import write_adapter
from vidro.checkpoint.huggingface import read_model, write_model
from vidro.config.schema import FAMILIES, ModelConfig, OptimOptions
from vidro.core.errors import UsageError
from vidro.model.init import initialise
from vidro.model.lora import LoRALinear, add_lora, lora_layers, lora_tensors, merged_state, whole_tensors
from vidro.model.loss import lm_loss
from vidro.model.transformer import Transformer
from vidro.train.defaults import optimizer_settings
from vidro.train.optim import Optimizer

TINY = ModelConfig(
    vocab_size=64, context_length=16, d_model=32, n_layers=2, n_heads=2, n_kv_heads=2, d_head=16, d_ff=64
)


def tiny(family: str = "qwen3") -> Transformer:
    """A model whose head and outputs are not zero, so that every part matters."""
    config = replace(TINY, family=family, tie_embeddings=family == "gpt2")
    model = Transformer(config)
    initialise(model, seed=3, scheme="pytorch")
    return model


def thin(model: Transformer, *, random: bool = True, **changes: object) -> Transformer:
    settings = {"rank": 4, "alpha": 8.0, "targets": ("q_proj", "down"), "seed": 1, **changes}
    add_lora(model, **settings)  # pyright: ignore[reportArgumentType]
    if random:
        for number, (_, layer) in enumerate(lora_layers(model)):
            torch.nn.init.normal_(layer.lora_b, std=0.1, generator=torch.Generator().manual_seed(number))
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(64, (3, 12), generator=torch.Generator().manual_seed(0))


def test_nothing_changes_before_the_first_step(ids: torch.Tensor) -> None:
    model = tiny()
    before = model(ids)
    assert torch.equal(thin(model, random=False)(ids), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_is_the_same_model(family: str, ids: torch.Tensor) -> None:
    model = thin(tiny(family))
    plain = Transformer(model.config)
    plain.load_state_dict(merged_state(model))
    torch.testing.assert_close(plain(ids), model(ids), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain(ids), tiny(family)(ids), atol=1e-3)  # it was not a test of nothing


def test_only_the_thin_matrices_learn(ids: torch.Tensor) -> None:
    model = thin(tiny(), random=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = Optimizer(model, optimizer_settings(OptimOptions(), model.config))
    for _ in range(2):  # B is zero at first, so A has no gradient in the first step
        optimizer.zero_grad()
        lm_loss(model, ids[:, :-1], ids[:, 1:])[0].backward()
        optimizer.step(1.0)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(lora_tensors(model))
    assert len(changed) == 2 * 2 * 2  # two targets in each of two blocks
    assert not optimizer.muon.stacks


def test_a_written_model_is_the_merged_one(tmp_path: Path, ids: torch.Tensor) -> None:
    model = thin(tiny())
    write_model(tmp_path, model)
    torch.testing.assert_close(read_model(tmp_path)(ids), model(ids), atol=1e-5, rtol=1e-5)


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(UsageError, match="there is no matrix 'gates'") as problem:
        add_lora(tiny(), rank=2, alpha=4.0, targets=["gates"], seed=0)
    assert "gate" in str(problem.value)
    with pytest.raises(UsageError, match="there is no matrix 'gate'"):
        add_lora(tiny("gpt2"), rank=2, alpha=4.0, targets=["gate"], seed=0)


def test_gpt2_has_no_adapter_file(tmp_path: Path) -> None:
    assert not write_adapter(tmp_path / "adapter", thin(tiny("gpt2")), base=None)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_peft_opens_the_adapter(family: str, tmp_path: Path, ids: torch.Tensor) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = tiny(family)
    write_model(tmp_path / "base", base)
    model = thin(base, targets=("q_proj", "o_proj", "gate", "down"))
    assert write_adapter(tmp_path / "adapter", model, base=str(tmp_path / "base"))
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["target_modules"] == ["down_proj", "gate_proj", "o_proj", "q_proj"]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter")(ids).logits
        torch.testing.assert_close(adapted, model(ids), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("family", "tied"), [("llama", False), ("qwen3", False), ("qwen3", True)])
def test_peft_opens_an_adapter_whose_head_learned(family: str, tied: bool, tmp_path: Path, ids: torch.Tensor) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = Transformer(replace(TINY, family=family, tie_embeddings=tied))
    initialise(base, seed=3, scheme="pytorch")
    write_model(tmp_path / "base", base)
    before = base(ids)
    model = thin(base)
    model.head.requires_grad_(True)
    with torch.no_grad():
        model.head.weight.add_(torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(5)))
    assert set(whole_tensors(model)) == {"token_embedding.weight" if tied else "head.weight"}
    assert write_adapter(tmp_path / "adapter", model, base=str(tmp_path / "base"))
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["modules_to_save"] == (["embed_tokens", "lm_head"] if tied else ["lm_head"])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter")(ids).logits
        torch.testing.assert_close(adapted, model(ids), atol=1e-4, rtol=1e-4)
        assert (adapted - before).abs().max() > 0.5  # the head's part is large: it was not a test of nothing


def test_without_thin_matrices_nothing_stands_beside_them() -> None:
    assert whole_tensors(tiny()) == {}


def test_the_scale_is_alpha_by_rank() -> None:
    layer = next(layer for _, layer in lora_layers(thin(tiny(), rank=4, alpha=8.0)))
    assert isinstance(layer, LoRALinear)
    torch.testing.assert_close(layer.merged(), layer.weight + 2.0 * layer.lora_b @ layer.lora_a)
