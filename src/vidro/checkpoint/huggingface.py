"""Model directories in Hugging Face form, out and in: ``AutoModelForCausalLM.from_pretrained(directory)`` opens them.

    config.json             shape of the model                    generation_config.json  special ids for generating
    model.safetensors       weights, Hugging Face names           tokenizer.json …        (`vidro.text.tokenizer`)

What others read wrongly is written so that it cannot be: RoPE settings in the old and the new form, head_dim and the
tie flag always, never a pad id that equals the end id. Not here: names of tensors (`names`), runs (`run`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vidro.checkpoint.names import from_foreign, from_foreign_lazily, to_foreign
from vidro.checkpoint.tensors import save_tensors
from vidro.checkpoint.weights import INDEX, WEIGHTS, open_weights
from vidro.config.load import build
from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.errors import CheckpointError, ModelError, UsageError
from vidro.core.files import atomic_path, read_json, write_json_atomic
from vidro.model.lora import merged_state
from vidro.model.transformer import Transformer

if TYPE_CHECKING:
    from vidro.text.tokenizer import Tokenizer

__all__ = ["CONFIG", "GENERATION", "INDEX", "WEIGHTS", "read_model", "write_model"]

CONFIG, GENERATION = "config.json", "generation_config.json"
MOST_ROTARY = 2**26
"""Numbers in a table of rotary positions (context x head width): 256 MB. A damaged file may ask for any."""

ARCHITECTURES = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
CLASSIFIERS = {
    "gpt2": "GPT2ForSequenceClassification",
    "llama": "LlamaForSequenceClassification",
    "qwen3": "Qwen3ForSequenceClassification",
}


def to_hf_config(
    config: ModelConfig, tokenizer: Tokenizer | None = None, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """``config.json``. Text starts and ends at the tokenizer's `start_id` and `eot_id`."""
    number = str(dtype).removeprefix("torch.")
    common = {
        "model_type": config.family,
        "architectures": [(CLASSIFIERS if config.labels else ARCHITECTURES)[config.family]],
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tie_embeddings,
        "dtype": number,
        "torch_dtype": number,
        "resid_pdrop": config.dropout,
        **_special_ids(tokenizer),
        **_label_keys(config, tokenizer),
    }
    return common | (_gpt2_keys(config) if config.family == "gpt2" else _llama_keys(config))


def _label_keys(config: ModelConfig, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Names of the classes; and a pad id always, by which others find a text's last token (no text holds the end)."""
    if not config.labels:
        return {}
    numbered = dict(enumerate(config.labels))
    return {
        "id2label": {str(number): label for number, label in numbered.items()},
        "label2id": {label: number for number, label in numbered.items()},
        "problem_type": "single_label_classification",
        **({} if tokenizer is None else {"pad_token_id": tokenizer.padding_id}),
    }


def _gpt2_keys(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_positions": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
    }


def _llama_keys(config: ModelConfig) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling is not None:
        rope = {
            "rope_type": "llama3",
            "factor": config.rope_scaling.factor,
            "low_freq_factor": config.rope_scaling.low_freq_factor,
            "high_freq_factor": config.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": config.rope_scaling.original_context_length,
        }
    return {
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.d_head,
        "max_position_embeddings": config.context_length,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_parameters": {"rope_theta": config.rope_theta, **rope},  # read by transformers 5
        "rope_theta": config.rope_theta,  # read by transformers 4 and most converters
        "rope_scaling": None if config.rope_scaling is None else rope,
    }


def _special_ids(tokenizer: Tokenizer | None) -> dict[str, Any]:
    """A pad id that equals the end id would make others ignore, or stop at, every end: it is left out."""
    eot = None if tokenizer is None else tokenizer.eot_id
    pad = None if tokenizer is None or tokenizer.pad_id == eot else tokenizer.pad_id
    return {"bos_token_id": None if tokenizer is None else tokenizer.start_id, "eos_token_id": eot, "pad_token_id": pad}


def generation_settings(tokenizer: Tokenizer | None, end_token: str | None = None) -> dict[str, Any]:
    """``generation_config.json``: what a text begins with, and what ends it; where `end_token` ends an answer, both."""
    ids = {key: value for key, value in _special_ids(tokenizer).items() if value is not None}
    if tokenizer is not None and end_token is not None and tokenizer.special_ids[end_token] != tokenizer.eot_id:
        ids["eos_token_id"] = [tokenizer.special_ids[end_token], tokenizer.eot_id]
    return ids


def from_hf_config(values: Any, *, where: object = CONFIG) -> ModelConfig:
    """The shape that a ``config.json`` describes, with the defaults that Transformers gives to absent keys.

    Raises ModelError for what this model cannot compute, by name; CheckpointError for a file that lacks a size.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError("this is not a JSON object", where=where)
    family = values.get("model_type")
    known = ", ".join(ARCHITECTURES)
    if not isinstance(family, str) or family not in ARCHITECTURES:
        raise ModelError(f"the architecture {family!r} is not supported", where=where, hint=f"Supported: {known}.")
    try:
        config = _from_values(values, family, where)
    except KeyError as problem:
        raise CheckpointError(f"{problem.args[0]} is missing", where=where) from None
    except (UsageError, TypeError, AttributeError, ValueError, ArithmeticError) as problem:
        raise CheckpointError(f"these sizes do not make a model ({problem})", where=where) from None
    if config.family != "gpt2" and config.context_length * config.d_head > MOST_ROTARY:
        what = f"a context of {config.context_length:,} tokens is more than is supported"
        raise ModelError(what, where=where, hint="Set max_position_embeddings to fewer.")
    return config


def _from_values(values: Mapping[str, Any], family: str, where: object) -> ModelConfig:
    architectures = values.get("architectures") or ()
    for architecture in architectures:
        if architecture not in (ARCHITECTURES[family], CLASSIFIERS[family], "GPT2Model"):
            hint = f"Supported: {', '.join(ARCHITECTURES)}."
            raise ModelError(f"{architecture} is not a language model", where=where, hint=hint)
    labels = _labels(values) if CLASSIFIERS[family] in architectures else ()
    fields = _from_gpt2(values, where) if family == "gpt2" else _from_llama(values, where)
    if labels:  # the head is one of its own, whatever the file says of the language model's
        fields |= {"labels": labels, "tie_embeddings": False}
    return build(ModelConfig, {"family": family, "vocab_size": values["vocab_size"], **fields})


def _labels(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes' names by their numbers; Transformers' own where there are none but two."""
    named = values.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    return tuple(str(named[str(number)]) for number in range(len(named)))


def _from_gpt2(values: Mapping[str, Any], where: object) -> dict[str, Any]:
    _refuse(values, where, "activation_function", ("gelu_new", "gelu_pytorch_tanh"), "gelu_new")
    _refuse(values, where, "scale_attn_weights", (True,), True)
    _refuse(values, where, "scale_attn_by_inverse_layer_idx", (False,), False)
    _refuse(values, where, "add_cross_attention", (False,), False)
    width, heads, inner = values["n_embd"], values["n_head"], values.get("n_inner")
    return {
        "context_length": values["n_positions"],
        "d_model": width,
        "n_layers": values["n_layer"],
        "n_heads": heads,
        "n_kv_heads": heads,
        "d_head": width // heads,
        "d_ff": 4 * width if inner is None else inner,
        "norm_eps": float(values.get("layer_norm_epsilon", 1e-5)),
        "tie_embeddings": values.get("tie_word_embeddings", True),
        "dropout": float(values.get("resid_pdrop", 0.1)),
    }


def _from_llama(values: Mapping[str, Any], where: object) -> dict[str, Any]:
    _refuse(values, where, "hidden_act", ("silu",), "silu")
    for key in ("attention_bias", "mlp_bias", "use_sliding_window"):
        _refuse(values, where, key, (False,), False)
    for kind in values.get("layer_types") or ():
        _refuse({"layer_types": kind}, where, "layer_types", ("full_attention",), "full_attention")
    width, heads = values["hidden_size"], values["num_attention_heads"]
    head_width = values.get("head_dim")
    if head_width is None:
        head_width = 128 if values["model_type"] == "qwen3" else width // heads
    kv_heads = values.get("num_key_value_heads")
    theta, scaling = _from_rope(values, where)
    return {
        "context_length": values["max_position_embeddings"],
        "d_model": width,
        "n_layers": values["num_hidden_layers"],
        "n_heads": heads,
        "n_kv_heads": heads if kv_heads is None else kv_heads,
        "d_head": head_width,
        "d_ff": values["intermediate_size"],
        "norm_eps": float(values.get("rms_norm_eps", 1e-6)),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "tie_embeddings": values.get("tie_word_embeddings", False),
        "dropout": float(values.get("resid_pdrop", 0.0)),
    }


def _from_rope(values: Mapping[str, Any], where: object) -> tuple[float, RopeScaling | None]:
    """Theta and scaling from the new form (`rope_parameters`), else from the old one."""
    new, old = values.get("rope_parameters") or {}, values.get("rope_scaling") or {}
    rope = new or old
    theta = new.get("rope_theta", values.get("rope_theta", 10_000.0))
    _refuse(rope, where, "partial_rotary_factor", (1.0,), 1.0)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return float(theta), None
    if kind != "llama3":
        hint = "Supported: default, llama3."
        raise ModelError(f"the rotary scaling {kind!r} is not supported", where=where, hint=hint)
    return float(theta), RopeScaling(
        factor=float(rope["factor"]),
        low_freq_factor=float(rope["low_freq_factor"]),
        high_freq_factor=float(rope["high_freq_factor"]),
        original_context_length=rope["original_max_position_embeddings"],
    )


def _refuse(values: Mapping[str, Any], where: object, key: str, possible: tuple[Any, ...], default: Any) -> None:
    if values.get(key, default) not in possible:
        hint = f"Supported: {', '.join(str(value) for value in possible)}."
        raise ModelError(f"{key} = {values[key]!r} is not supported", where=where, hint=hint)


def to_hf_tensors(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Our state under Hugging Face names; a tied head is left out (safetensors refuses shared tensors)."""
    return to_foreign(state, config)


def from_hf_tensors(tensors: Mapping[str, Tensor], config: ModelConfig, *, where: object = None) -> dict[str, Tensor]:
    """The inverse of `to_hf_tensors`, ready for `load_state_dict`. Raises CheckpointError."""
    return from_foreign(tensors, config, where=where)


def write_model(
    directory: Path,
    model: Transformer,
    tokenizer: Tokenizer | None = None,
    dtype: torch.dtype | None = None,
    *,
    piece_bytes: int | None = None,
    end_token: str | None = None,
) -> None:
    """Write the complete model directory; each file is replaced in one step.

    `end_token`: the special token that ends an answer, where the model was taught to answer. `dtype` converts the
    weights on their way out (None: as they are); weights of more than `piece_bytes` are cut into several files. Raises
    ModelError when the tokenizer has more tokens than the model, StorageError when the disk is full.
    """
    if tokenizer is not None:
        check_vocabulary(tokenizer, model.config)
    kind = model.token_embedding.weight.dtype if dtype is None else dtype
    write_json_atomic(directory / CONFIG, to_hf_config(model.config, tokenizer, kind))
    if not model.config.labels:
        write_json_atomic(directory / GENERATION, generation_settings(tokenizer, end_token))
    if tokenizer is not None:
        tokenizer.save(directory)
    write_weights(directory, model, dtype, piece_bytes=piece_bytes)


def write_weights(
    directory: Path, model: Transformer, dtype: torch.dtype | None = None, *, piece_bytes: int | None = None
) -> None:
    """Replace ``model.safetensors`` in one step; thin matrices (LoRA) are merged into their big ones.

    Where the weights are larger than `piece_bytes`: ``model-00001-of-00002.safetensors`` … and their index, into a
    directory that has no weights yet.
    """
    tensors = to_hf_tensors(merged_state(model), model.config)
    stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    files, index = {WEIGHTS: list(stored)}, None
    if piece_bytes is not None and sum(tensor.nbytes for tensor in stored.values()) > piece_bytes:
        files, index = _pieces(stored, piece_bytes)
    for file, names in files.items():
        with atomic_path(directory / file) as temporary:
            save_tensors({name: stored[name] for name in names}, temporary, metadata={"format": "pt"})
    if index is not None:
        write_json_atomic(directory / INDEX, index)


def _pieces(stored: dict[str, Tensor], piece_bytes: int) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Which tensors go into which file, and the index that says so."""
    from huggingface_hub import split_torch_state_dict_into_shards  # here: it takes a moment to import

    split = split_torch_state_dict_into_shards(stored, max_shard_size=piece_bytes)
    return split.filename_to_tensors, {"metadata": split.metadata, "weight_map": split.tensor_to_filename}


def read_model(
    directory: Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = torch.float32
) -> Transformer:
    """The model of a directory, ours or saved by Transformers, in training mode; `dtype` None keeps what is stored.

    Raises CheckpointError for files that are missing, cut short or do not fit each other, ModelError for kinds of
    models that are not supported.
    """
    config = from_hf_config(read_json(directory / CONFIG, error=CheckpointError), where=directory / CONFIG)
    state = from_foreign_lazily(open_weights(directory), config, where=directory, settled=True)
    model = model_of(config, state, device, dtype, where=directory)
    return model.to(device)  # the rotary tables


def model_of(
    config: ModelConfig,
    state: Mapping[str, Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = torch.float32,
    *,
    where: object = None,
) -> Transformer:
    """A model with these weights, taken one after the other: in memory are the model and one tensor.

    Raises CheckpointError where one does not fit.
    """
    model = bare_model(config, where)
    own: dict[str, Tensor] = {}
    for name, expected in model.state_dict().items():
        if name == "head.weight" and config.tie_embeddings:
            continue
        tensor = state[name]
        check_tensor(name, tensor, expected.shape, where)
        own[name] = _alone(tensor.to(device, dtype))
        del tensor
    if config.tie_embeddings:
        own["head.weight"] = own["token_embedding.weight"]
    model.load_state_dict(own, assign=True)
    if config.tie_embeddings:
        model.head.weight = model.token_embedding.weight
    return model


def bare_model(config: ModelConfig, where: object = None) -> Transformer:
    """The model without weights: no memory, no random numbers. Raises CheckpointError for sizes past all bounds."""
    try:
        with torch.device("meta"):
            return Transformer(config)
    except (RuntimeError, OverflowError, TypeError) as problem:  # sizes that no tensor can have
        first = str(problem).splitlines()[0][:120]
        raise CheckpointError(f"these sizes do not make a model ({first})", where=where) from None


def check_tensor(name: str, tensor: Tensor, shape: Sequence[int], where: object) -> None:
    """Raise CheckpointError where a tensor has another shape than its model asks for, or holds no floats."""
    if list(tensor.shape) != list(shape):
        sizes = f"{list(tensor.shape)}, and config.json asks for {list(shape)}"
        raise CheckpointError(f"the tensor {name} has the shape {sizes}", where=where)
    if not tensor.is_floating_point():
        raise CheckpointError(f"the tensor {name} holds {tensor.dtype}, not floats", where=where)


def _alone(tensor: Tensor) -> Tensor:
    """The tensor in memory of its own: a part of a larger one would keep all of it."""
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole and tensor.is_contiguous() else tensor.clone(memory_format=torch.contiguous_format)


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig) -> None:
    """Raise ModelError when the tokenizer can make ids that the model has no embedding for."""
    if tokenizer.vocab_size > config.vocab_size:
        what = f"the tokenizer has {tokenizer.vocab_size} tokens, but the model knows {config.vocab_size}"
        raise ModelError(what, hint="They do not belong together.")
