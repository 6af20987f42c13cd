"""The one table of tensor names: ours on the left, one column for each way others store the same numbers.

A cell is the foreign name, and behind it how the numbers lie there: ``T`` for transposed ([in, out], as GPT-2's
Conv1D keeps them), ``1/3`` for the second of three matrices stored as one (GPT-2's c_attn). ``-``: not there.
A new format is a new column, with a new mark where its numbers lie in a new way; the functions below stay.
Not here: files and settings (`huggingface`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError

# fmt: off
TABLE = (
    # ours                      Hugging Face gpt2           Hugging Face llama, qwen3
    ("token_embedding.weight",  "transformer.wte.weight",   "model.embed_tokens.weight"),
    ("position_embedding.weight", "transformer.wpe.weight", "-"),
    ("final_norm.weight",       "transformer.ln_f.weight",  "model.norm.weight"),
    ("final_norm.bias",         "transformer.ln_f.bias",    "-"),
    ("head.weight",             "lm_head.weight",           "lm_head.weight"),
)

BLOCK_PREFIX = ("blocks.{n}.",  "transformer.h.{n}.",       "model.layers.{n}.")
BLOCK = (
    ("norm_1.weight",           "ln_1.weight",              "input_layernorm.weight"),
    ("norm_1.bias",             "ln_1.bias",                "-"),
    ("attention.q_proj.weight", "attn.c_attn.weight T 0/3", "self_attn.q_proj.weight"),
    ("attention.k_proj.weight", "attn.c_attn.weight T 1/3", "self_attn.k_proj.weight"),
    ("attention.v_proj.weight", "attn.c_attn.weight T 2/3", "self_attn.v_proj.weight"),
    ("attention.q_proj.bias",   "attn.c_attn.bias 0/3",     "-"),
    ("attention.k_proj.bias",   "attn.c_attn.bias 1/3",     "-"),
    ("attention.v_proj.bias",   "attn.c_attn.bias 2/3",     "-"),
    ("attention.q_norm.weight", "-",                        "self_attn.q_norm.weight"),
    ("attention.k_norm.weight", "-",                        "self_attn.k_norm.weight"),
    ("attention.o_proj.weight", "attn.c_proj.weight T",     "self_attn.o_proj.weight"),
    ("attention.o_proj.bias",   "attn.c_proj.bias",         "-"),
    ("norm_2.weight",           "ln_2.weight",              "post_attention_layernorm.weight"),
    ("norm_2.bias",             "ln_2.bias",                "-"),
    ("feedforward.gate.weight", "-",                        "mlp.gate_proj.weight"),
    ("feedforward.up.weight",   "mlp.c_fc.weight T",        "mlp.up_proj.weight"),
    ("feedforward.up.bias",     "mlp.c_fc.bias",            "-"),
    ("feedforward.down.weight", "mlp.c_proj.weight T",      "mlp.down_proj.weight"),
    ("feedforward.down.bias",   "mlp.c_proj.bias",          "-"),
)
# fmt: on

CLASS_HEAD = "score.weight"
"""The head of a classifier, whatever the family."""

COLUMNS = {"gpt2": 1, "llama": 2, "qwen3": 2}
"""Which column a family's Hugging Face files follow."""

NOT_WEIGHTS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Constants (causal masks, wavelengths) that old files keep among the weights."""


@dataclass(frozen=True)
class Cell:
    """Where one of our tensors lies in a foreign file."""

    name: str
    transposed: bool
    piece: int
    pieces: int

    @staticmethod
    def parse(text: str) -> Cell:
        """The cell behind the table's notation."""
        name, *marks = text.split()
        piece, pieces = next((mark.split("/") for mark in marks if "/" in mark), ("0", "1"))
        return Cell(name, "T" in marks, int(piece), int(pieces))


def cells(config: ModelConfig) -> Iterator[tuple[str, Cell]]:
    """Every tensor of this model, once: our name and where it lies. A tied head is not stored."""
    column = COLUMNS[config.family]
    for row in TABLE:
        if row[column] != "-" and not (row[0] == "head.weight" and config.tie_embeddings):
            yield row[0], Cell.parse(CLASS_HEAD if row[0] == "head.weight" and config.labels else row[column])
    for n in range(config.n_layers):
        for row in BLOCK:
            normalised = row[0] in ("attention.q_norm.weight", "attention.k_norm.weight")
            if row[column] != "-" and (config.family == "qwen3" or not normalised):
                ours, theirs = (BLOCK_PREFIX[i].format(n=n) + row[i] for i in (0, column))
                yield ours, Cell.parse(theirs)


def to_foreign(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Our tensors under foreign names, lying as they lie there (views where possible)."""
    parts: dict[str, list[Tensor]] = {}
    turned: set[str] = set()
    for ours, cell in cells(config):
        parts.setdefault(cell.name, []).append(state[ours])
        if cell.transposed:
            turned.add(cell.name)
    whole = {name: pieces[0] if len(pieces) == 1 else torch.cat(pieces) for name, pieces in parts.items()}
    return {name: tensor.mT if name in turned else tensor for name, tensor in whole.items()}


def from_foreign(tensors: Mapping[str, Tensor], config: ModelConfig, *, where: object = None) -> dict[str, Tensor]:
    """The exact inverse of `to_foreign`; a tied head is the embedding again.

    GPT-2 files without the ``transformer.`` in front are read too. Raises CheckpointError for tensors that are
    missing or unknown; shapes are the reader's affair.
    """
    table = list(cells(config))
    found = _known(tensors, {cell.name for _, cell in table}, config, where)
    state: dict[str, Tensor] = {}
    for ours, cell in table:
        tensor = found[cell.name]
        tensor = tensor.mT if cell.transposed and tensor.dim() == 2 else tensor
        if tensor.dim() == 0 or tensor.shape[0] % cell.pieces:
            raise CheckpointError(f"the tensor {cell.name} cannot be cut into {cell.pieces}", where=where)
        state[ours] = tensor.chunk(cell.pieces)[cell.piece]
    if config.tie_embeddings:
        state["head.weight"] = state["token_embedding.weight"]
    return state


def _known(tensors: Mapping[str, Tensor], wanted: set[str], config: ModelConfig, where: object) -> dict[str, Tensor]:
    """The tensors under the table's names, with nothing missing and nothing left over."""
    found = {name: tensor for name, tensor in tensors.items() if not name.endswith(NOT_WEIGHTS)}
    if config.family == "gpt2" and "wte.weight" in found:
        heads = ("lm_head.", "score.")
        found = {n if n.startswith(heads) else f"transformer.{n}": tensor for n, tensor in found.items()}
    if config.tie_embeddings and "lm_head.weight" in found:
        embedding = found.get("transformer.wte.weight", found.get("model.embed_tokens.weight"))
        if embedding is not None and not torch.equal(found.pop("lm_head.weight"), embedding):
            hint = "Set tie_word_embeddings to false in config.json if the head is meant."
            raise CheckpointError("the file has a head of its own, but config.json ties it", where=where, hint=hint)
    missing, extra = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
    for names, what in ((missing, "is missing"), (extra, "is not known to this kind of model")):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise CheckpointError(f"the tensor {names[0]}{more} {what}", where=where, hint="Does config.json match?")
    return found
