"""An adapter that peft trained and saved, merged here, computes what peft computes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.foreign.hf_models import save_hf

from vidro.checkpoint.foreign import adapter, directory
from vidro.checkpoint.foreign.model import ForeignModel
from vidro.model.transformer import Transformer

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

CASES: dict[str, tuple[str, dict[str, Any]]] = {  # what → family, settings of LoRA
    "gpt2, query, key and value in one": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "llama, all": ("llama", {"target_modules": "all-linear"}),
    "llama, rank-stabilised": ("llama", {"target_modules": ["q_proj", "v_proj"], "use_rslora": True, "r": 5}),
    "llama, ranks and alphas of their own": (
        "llama",
        {"target_modules": ["q_proj", "down_proj"], "rank_pattern": {"q_proj": 2},
         "alpha_pattern": {r"layers\.1\.mlp\.down_proj": 24}},
    ),
    "llama, head whole": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens"]}),
    "qwen3, tied, LoRA on one block": ("qwen3", {"target_modules": ["o_proj", "up_proj"], "layers_to_transform": [1]}),
    "qwen3, tied, head whole": ("qwen3", {"target_modules": ["o_proj"], "modules_to_save": ["lm_head"]}),
    "qwen3, tied, thin beside the head": ("qwen3", {"target_modules": ["o_proj", "lm_head"]}),
    "llama, classifier": ("llama", {"target_modules": ["v_proj"], "task_type": "SEQ_CLS"}),
}  # fmt: skip


def learned(model: Any) -> Any:
    """All that an adapter learns, random, so that nothing is zero by chance."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model.eval()


def logits(model: ForeignModel, ids: torch.Tensor) -> torch.Tensor:
    ours = Transformer(model.config).eval()
    ours.load_state_dict({name: model.state[name] for name in model.state})
    with torch.no_grad():
        return ours(ids)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_same_as_peft(name: str, tmp_path: Path) -> None:
    family, options = CASES[name]
    classes = 3 if options.get("task_type") == "SEQ_CLS" else 0
    base = save_hf(tmp_path / "base", family)
    kind = transformers.AutoModelForSequenceClassification if classes else transformers.AutoModelForCausalLM
    more = {"num_labels": classes, "pad_token_id": 0} if classes else {}
    torch.manual_seed(0)
    body = kind.from_pretrained(base, dtype=torch.float32, **more)
    settings = peft.LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 12, **options})
    theirs = learned(peft.get_peft_model(body, settings))
    theirs.save_pretrained(tmp_path / "adapter")

    merged = adapter.read(tmp_path / "adapter", directory.read(base))
    ids = torch.randint(60, (1, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(ids).logits
    mine = logits(merged, ids)[:, -1] if classes else logits(merged, ids)
    assert expected.std() > 0.01
    assert (mine - expected).abs().max() < 1e-4 * expected.abs().max()
    if not classes:  # and the adapter did something
        assert (logits(directory.read(base), ids) - expected).abs().max() > 1e-2 * expected.abs().max()
    if name.startswith("llama, rank-st"):
        assert math.isclose(merged.state._thin["blocks.0.attention.q_proj.weight"][0].scale, 12 / math.sqrt(5))  # pyright: ignore


def test_the_base_that_the_adapter_names_is_found(tmp_path: Path) -> None:
    base = save_hf(tmp_path / "base", "llama")
    body = transformers.AutoModelForCausalLM.from_pretrained(base)
    settings = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
    peft.get_peft_model(body, settings).save_pretrained(tmp_path / "adapter")
    found = adapter.read(tmp_path / "adapter")
    assert found.form.endswith("with a peft adapter")
    assert found.tokenizer is not None
