"""A model as one GGUF file, for llama.cpp, Ollama and all that is built on them.

Tensors come from wherever they lie and go into the file one at a time, so a model need not fit into memory twice.
llama.cpp's habits are kept: norms, biases and positions stay 32-bit; a matrix whose rows cannot be cut into blocks of
32 keeps 16-bit numbers. Not here: tensor names (`vidro.checkpoint.names`), the tokenizer's keys (`vocabulary`), proof
that it computes the same (`verify`), reading (`read`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidro.checkpoint.gguf.vocabulary import Vocabulary
from vidro.checkpoint.names import to_foreign, to_foreign_lazily
from vidro.checkpoint.weights import Lazy
from vidro.config.schema import ModelConfig
from vidro.core.errors import ModelError, UsageError
from vidro.core.files import storage_errors
from vidro.core.version import VERSION
from vidro.model.positions import frequencies

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

KINDS = ("f32", "f16", "q8_0", "q4_0")
BLOCK = 32
"""Numbers that share one scale in Q8_0 and Q4_0; rows are made of whole blocks."""
QUANTIZATION_VERSION = 2
LARGEST_F16 = 65504.0
ROPE_FREQS = "rope_freqs.weight"
_AT_ONCE = 2**23
"""Numbers turned into blocks at once: bounds what the conversion needs beside the tensor."""


def import_gguf() -> Any:
    """The `gguf` package. Raises UsageError with how to get it."""
    try:
        import gguf
    except ImportError:
        hint = "Install it: pip install 'vidro[gguf]'"
        raise UsageError("writing GGUF needs the package gguf, which is not installed", hint=hint) from None
    return gguf


def check_model(config: ModelConfig, *, where: object = None) -> None:
    """Raise ModelError for a model that llama.cpp has no architecture for."""
    if config.labels:
        hint = "Export it with --format hf."
        raise ModelError("GGUF cannot express a classifier: llama.cpp has no such head", where=where, hint=hint)
    if config.family == "qwen3" and config.rope_scaling is not None:
        what = "GGUF cannot express a qwen3 with llama3's rotary scaling: llama.cpp would ignore the scaling"
        raise ModelError(what, where=where, hint="Export it with --format hf.")


def write_gguf(path: Path, config: ModelConfig, state: Lazy, words: Vocabulary, kind: str, name: str) -> list[str]:
    """Write the model whose tensors are `state` (our names; each asked for once) to `path`; remarks.

    `kind` is one of `KINDS`; `name` is what the file calls the model. Raises ModelError for what cannot be expressed,
    StorageError when the disk is full.
    """
    gguf = import_gguf()
    check_model(config)
    tensors = foreign_tensors(state, config)
    plan = planned_types(tensor_shapes(config), kind)
    writer = gguf.GGUFWriter(path, config.family)
    with storage_errors(path):
        try:
            add_settings(writer, config, kind, name)
            add_vocabulary(writer, words)
            _write(writer, tensors, plan)
        finally:
            writer.close()
    return _remarks(plan, kind)


def foreign_tensors(state: Lazy, config: ModelConfig) -> Lazy:
    """Tensors under GGUF's names, each made when it is asked for."""
    makers = dict(to_foreign_lazily(state, config, "gguf").makers)
    if config.rope_scaling is not None:
        makers[ROPE_FREQS] = lambda: rope_factors(config)
    return Lazy(makers)


def rope_factors(config: ModelConfig) -> Tensor:
    """[E/2]: by how much llama.cpp is to slow down each pair's rotation, for the stretched wavelengths of Llama 3."""
    plain = frequencies(config.d_head, config.rope_theta)
    return plain / frequencies(config.d_head, config.rope_theta, config.rope_scaling)


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the file and its shape, without reading one."""
    from vidro.checkpoint.huggingface import bare_model

    empty = to_foreign(bare_model(config).state_dict(), config, "gguf")
    factors = {} if config.rope_scaling is None else {ROPE_FREQS: (config.d_head // 2,)}
    return {**{name: tuple(tensor.shape) for name, tensor in empty.items()}, **factors}


def planned_types(shapes: Mapping[str, tuple[int, ...]], kind: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and kind of number of each tensor."""
    return {name: (shape, _type_of(name, shape, kind)) for name, shape in shapes.items()}


def _type_of(name: str, shape: tuple[int, ...], kind: str) -> str:
    if len(shape) == 1 or name == "position_embd.weight":
        return "f32"
    return "f16" if kind.startswith("q") and shape[-1] % BLOCK else kind


def _remarks(plan: Mapping[str, tuple[tuple[int, ...], str]], kind: str) -> list[str]:
    wide = [name for name, (shape, own) in plan.items() if len(shape) > 1 and own == "f16"]
    if not kind.startswith("q") or not wide:
        return []
    matrices = sum(len(shape) > 1 and name != "position_embd.weight" for name, (shape, _) in plan.items())
    why = f"their rows cannot be cut into blocks of {BLOCK}"
    return [
        f"{len(wide)} of {matrices} matrices stay 16-bit, since {why} ({wide[0]} has rows of {plan[wide[0]][0][-1]})."
    ]


def add_settings(writer: GGUFWriter, config: ModelConfig, kind: str, name: str) -> None:
    """What llama.cpp must know to compute; where it would guess, it is told."""
    gguf = import_gguf()
    writer.add_type("model")
    writer.add_name(name)
    writer.add_description(f"Made with Vidro {VERSION}")
    writer.add_file_type(
        {
            "f32": gguf.LlamaFileType.ALL_F32,
            "f16": gguf.LlamaFileType.MOSTLY_F16,
            "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
            "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
        }[kind]
    )
    writer.add_quantization_version(QUANTIZATION_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.n_heads)
    if config.family == "gpt2":
        writer.add_layer_norm_eps(config.norm_eps)
        return
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_key_length(config.d_head)
    writer.add_value_length(config.d_head)
    writer.add_rope_dimension_count(config.d_head)
    writer.add_rope_freq_base(config.rope_theta)


def add_vocabulary(writer: GGUFWriter, words: Vocabulary) -> None:
    """The tokenizer's keys."""
    writer.add_tokenizer_model("gpt2" if words.scored is None else "llama")
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.scored is None:
        writer.add_token_merges(words.merges)
    else:
        fillers = [0.0] * (len(words.tokens) - len(words.scored.scores))
        writer.add_token_scores([*words.scored.scores, *fillers])
        writer.add_add_space_prefix(words.scored.space_first)
    if words.unk is not None:
        writer.add_unk_token_id(words.unk)
    writer.add_bos_token_id(words.bos)
    writer.add_eos_token_id(words.eos)
    if words.eot is not None:
        writer.add_eot_token_id(words.eot)
    if words.pad is not None:
        writer.add_pad_token_id(words.pad)
    writer.add_add_bos_token(words.adds_bos)  # not said, it depends on `pre`
    if words.chat_template is not None:
        writer.add_chat_template(words.chat_template)


def _write(writer: GGUFWriter, tensors: Lazy, plan: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    gguf = import_gguf()
    kinds = {kind: gguf.GGMLQuantizationType[kind.upper()] for kind in KINDS}
    for name, (shape, kind) in plan.items():
        stored = gguf.quant_shape_to_byte_shape(shape, kinds[kind]) if kind.startswith("q") else shape
        dtype = np.dtype({"f32": np.float32, "f16": np.float16}.get(kind, np.uint8))
        writer.add_tensor_info(name, stored, dtype, int(np.prod(stored)) * dtype.itemsize, kinds[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, (_, kind) in plan.items():
        writer.write_tensor_data(converted(tensors[name], kind, kinds[kind]))


def converted(tensor: Tensor, kind: str, ggml: GGMLQuantizationType) -> NDArray[Any]:
    """A tensor's numbers as they lie in the file. Raises ModelError for weights that they cannot hold."""
    gguf = import_gguf()
    tensor = tensor.detach().cpu()
    check_range(tensor, LARGEST_F16 if kind == "f16" else torch.finfo(torch.float32).max)
    if not kind.startswith("q"):
        return tensor.to(torch.float16 if kind == "f16" else torch.float32).contiguous().numpy()
    rows = max(1, _AT_ONCE // tensor.shape[-1])
    pieces = [gguf.quantize(piece.float().contiguous().numpy(), ggml) for piece in tensor.split(rows)]
    return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]


def check_range(tensor: Tensor, largest: float) -> None:
    """Raise ModelError for a weight beyond `largest`, or that is no number at all."""
    low, high = (float(end) for end in tensor.aminmax())
    if math.isnan(low) or math.isinf(max(-low, high)):
        raise ModelError("a weight is not a number", hint="The training of this model went wrong.")
    if max(-low, high) > largest:
        raise ModelError("a weight is too large for 16-bit numbers", hint="Write 32-bit ones: leave out --quantize.")
