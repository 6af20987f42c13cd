"""Thin matrices alone, as peft keeps them: ``PeftModel.from_pretrained(base, adapter)`` opens them.

    adapter/adapter_config.json        rank, alpha, which matrices, what they stand beside
    adapter/adapter_model.safetensors  base_model.model.PATH.lora_A.weight [rank, in], .lora_B.weight [out, rank]
                                       base_model.model.PATH.weight of what learned whole: the head, usually

Not for gpt2, which keeps query, key and value in one matrix, of which peft cannot adapt a third: there the merged model
at the run's root is the only form. Not here: what LoRA is (`vidro.model.lora`).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from vidro.checkpoint.names import cells
from vidro.checkpoint.tensors import save_tensors
from vidro.core.files import atomic_path, write_json_atomic
from vidro.model.lora import lora_layers, whole_tensors
from vidro.model.transformer import Transformer

FOLDER = "adapter"


def write_adapter(folder: Path, model: Transformer, *, base: str | None) -> bool:
    """Write both files into `folder`; False, and nothing written, for a model that has no such form."""
    layers = dict(lora_layers(model))
    if not layers or model.config.family == "gpt2":
        return False
    theirs = {ours: cell.name.removesuffix(".weight") for ours, cell in cells(model.config)}
    tensors, targets = {}, set()
    for name, layer in layers.items():
        path = theirs[f"{name}.weight"]
        targets.add(path.rpartition(".")[2])
        tensors[f"base_model.model.{path}.lora_A.weight"] = layer.lora_a.detach().cpu().contiguous()
        tensors[f"base_model.model.{path}.lora_B.weight"] = layer.lora_b.detach().cpu().contiguous()
    whole = foreign_whole(model)
    tensors |= {f"base_model.model.{path}": tensor.cpu().contiguous() for path, tensor in whole.items()}
    some = next(iter(layers.values()))
    rank = some.lora_a.shape[0]
    folder.mkdir(exist_ok=True)
    with atomic_path(folder / "adapter_model.safetensors") as temporary:
        save_tensors(tensors, temporary, metadata={"format": "pt"})
    write_json_atomic(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "SEQ_CLS" if model.config.labels else "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": rank,
            "lora_alpha": some.scale * rank,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted(targets),
            "modules_to_save": sorted(path.split(".")[-2] for path in whole) or None,
            "inference_mode": True,
        },
    )
    return True


def foreign_whole(model: Transformer) -> dict[str, Tensor]:
    """What learned whole, by its name in Transformers; of a tied head both ends, since peft parts them."""
    theirs = {ours: cell.name for ours, cell in cells(model.config)}
    found = {theirs[name]: tensor for name, tensor in whole_tensors(model).items()}
    if model.config.tie_embeddings and theirs["token_embedding.weight"] in found:
        found["lm_head.weight"] = found[theirs["token_embedding.weight"]].clone()
    return found
