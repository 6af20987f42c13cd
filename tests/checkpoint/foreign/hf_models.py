"""Tiny models of each family as ``save_pretrained`` of Transformers writes them, for tests that read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from vidro.text.foreign import LLAMA3_SPECIAL
from vidro.text.train import train_bpe

TEXT = "Once upon a time there was a cat. It's 12 o'clock, said the cat; don't wake the dog!\n" * 30
LLAMA_TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim"
    " + '<|eot_id|>' }}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
CHATML_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
REWRITING_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{{- message['content'] + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "llama": {
        "max_position_embeddings": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "qwen3": {
        "max_position_embeddings": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True,
    },
}  # fmt: skip


def save_hf(
    directory: Path,
    family: str,
    *,
    dtype: torch.dtype = torch.float32,
    labels: int = 0,
    shard: str = "5GB",
    **changes: Any,
) -> Path:
    """A random model of `family` with a tokenizer, saved by Transformers; `changes` go into its config."""
    import transformers

    tokenizer_size = save_tokenizer(directory, family)
    kinds: dict[str, tuple[Any, Any, Any]] = {
        "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel, transformers.GPT2ForSequenceClassification),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, transformers.LlamaForSequenceClassification),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, transformers.Qwen3ForSequenceClassification),
    }
    config_class, language, classifier = kinds[family]
    more = {"num_labels": labels, "pad_token_id": 5} if labels else {}
    config = config_class(vocab_size=tokenizer_size + 7, **{**SIZES[family], **more, **changes})
    torch.manual_seed(len(family))
    model = (classifier if labels else language)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    model.to(dtype).save_pretrained(directory, max_shard_size=shard)
    return directory


def save_tokenizer(directory: Path, family: str) -> int:
    """tokenizer.json and tokenizer_config.json in the manner of the family; the number of tokens."""
    directory.mkdir(parents=True, exist_ok=True)
    spec = json.loads(train_bpe([TEXT], vocab_size=320).to_json())
    special = [token["content"] for token in spec["added_tokens"]]
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    if family == "llama":
        renamed = dict(zip(special, LLAMA3_SPECIAL, strict=False))
        _rename(spec, renamed)
        bos = "<|begin_of_text|>"
        number = next(token["id"] for token in spec["added_tokens"] if token["content"] == bos)
        spec["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [number], "tokens": [bos]}},
        }
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": "<|eot_id|>"}
    if family == "qwen3":
        settings["eos_token"] = "<|im_end|>"
    (directory / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return 1 + max(token["id"] for token in spec["added_tokens"])


def _rename(spec: dict[str, Any], renamed: dict[str, str]) -> None:
    for token in spec["added_tokens"]:
        token["content"] = renamed[token["content"]]
    spec["model"]["vocab"] = {renamed.get(name, name): number for name, number in spec["model"]["vocab"].items()}


def change_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; None removes one."""
    values = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}), encoding="utf-8")
