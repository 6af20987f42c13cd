"""The one table of tensor names: ours on the left, one column for each way others store the same numbers.

A cell is the foreign name, and behind it how the numbers lie there: ``T`` for transposed ([in, out], as GPT-2's
Conv1D keeps them), ``1/3`` for the second of three matrices stored as one (GPT-2's c_attn), ``P`` for rows in pairs:
rotary positions turn rows 2i and 2i + 1 of a head there, i and i + E/2 here (only in llama; llama.cpp keeps Meta's
order). ``-``: not there. A new format is a new column, with a new mark where its numbers lie in a new way; the
functions below stay. Not here: files and settings (`huggingface`, `gguf`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vidro.checkpoint.weights import InFile, Lazy
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError

# fmt: off
TABLE = (
    # ours                        Hugging Face gpt2           Hugging Face llama, qwen3     GGUF gpt2                GGUF llama, qwen3     Raschka's book
    ("token_embedding.weight",    "transformer.wte.weight",   "model.embed_tokens.weight",  "token_embd.weight",     "token_embd.weight",  "tok_emb.weight"),
    ("position_embedding.weight", "transformer.wpe.weight",   "-",                          "position_embd.weight",  "-",                  "pos_emb.weight"),
    ("final_norm.weight",         "transformer.ln_f.weight",  "model.norm.weight",          "output_norm.weight",    "output_norm.weight", "final_norm.scale"),
    ("final_norm.bias",           "transformer.ln_f.bias",    "-",                          "output_norm.bias",      "-",                  "final_norm.shift"),
    ("head.weight",               "lm_head.weight",           "lm_head.weight",             "output.weight",         "output.weight",      "out_head.weight"),
)

BLOCK_PREFIX =   ("blocks.{n}.",  "transformer.h.{n}.",       "model.layers.{n}.",               "blk.{n}.",            "blk.{n}.",             "trf_blocks.{n}.")
BLOCK = (
    ("norm_1.weight",             "ln_1.weight",              "input_layernorm.weight",          "attn_norm.weight",    "attn_norm.weight",     "norm1.scale"),
    ("norm_1.bias",               "ln_1.bias",                "-",                               "attn_norm.bias",      "-",                    "norm1.shift"),
    ("attention.q_proj.weight",   "attn.c_attn.weight T 0/3", "self_attn.q_proj.weight",         "attn_qkv.weight 0/3", "attn_q.weight P",      "att.W_query.weight"),
    ("attention.k_proj.weight",   "attn.c_attn.weight T 1/3", "self_attn.k_proj.weight",         "attn_qkv.weight 1/3", "attn_k.weight P",      "att.W_key.weight"),
    ("attention.v_proj.weight",   "attn.c_attn.weight T 2/3", "self_attn.v_proj.weight",         "attn_qkv.weight 2/3", "attn_v.weight",        "att.W_value.weight"),
    ("attention.q_proj.bias",     "attn.c_attn.bias 0/3",     "-",                               "attn_qkv.bias 0/3",   "-",                    "att.W_query.bias"),
    ("attention.k_proj.bias",     "attn.c_attn.bias 1/3",     "-",                               "attn_qkv.bias 1/3",   "-",                    "att.W_key.bias"),
    ("attention.v_proj.bias",     "attn.c_attn.bias 2/3",     "-",                               "attn_qkv.bias 2/3",   "-",                    "att.W_value.bias"),
    ("attention.q_norm.weight",   "-",                        "self_attn.q_norm.weight",         "-",                   "attn_q_norm.weight",   "-"),
    ("attention.k_norm.weight",   "-",                        "self_attn.k_norm.weight",         "-",                   "attn_k_norm.weight",   "-"),
    ("attention.o_proj.weight",   "attn.c_proj.weight T",     "self_attn.o_proj.weight",         "attn_output.weight",  "attn_output.weight",   "att.out_proj.weight"),
    ("attention.o_proj.bias",     "attn.c_proj.bias",         "-",                               "attn_output.bias",    "-",                    "att.out_proj.bias"),
    ("norm_2.weight",             "ln_2.weight",              "post_attention_layernorm.weight", "ffn_norm.weight",     "ffn_norm.weight",      "norm2.scale"),
    ("norm_2.bias",               "ln_2.bias",                "-",                               "ffn_norm.bias",       "-",                    "norm2.shift"),
    ("feedforward.gate.weight",   "-",                        "mlp.gate_proj.weight",            "-",                   "ffn_gate.weight",      "-"),
    ("feedforward.up.weight",     "mlp.c_fc.weight T",        "mlp.up_proj.weight",              "ffn_up.weight",       "ffn_up.weight",        "ff.layers.0.weight"),
    ("feedforward.up.bias",       "mlp.c_fc.bias",            "-",                               "ffn_up.bias",         "-",                    "ff.layers.0.bias"),
    ("feedforward.down.weight",   "mlp.c_proj.weight T",      "mlp.down_proj.weight",            "ffn_down.weight",     "ffn_down.weight",      "ff.layers.2.weight"),
    ("feedforward.down.bias",     "mlp.c_proj.bias",          "-",                               "ffn_down.bias",       "-",                    "ff.layers.2.bias"),
)
# fmt: on

CLASS_HEAD = "score.weight"
"""The head of a classifier, whatever the family."""

COLUMNS = {
    "hf": {"gpt2": 1, "llama": 2, "qwen3": 2},
    "gguf": {"gpt2": 3, "llama": 4, "qwen3": 4},
    "book": {"gpt2": 5},
    "nanogpt": {"gpt2": 1},  # GPT-2's names, but its matrices lie as PyTorch keeps them: no T counts
}
"""Which column a family's tensors follow in each form."""

NOT_WEIGHTS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", ".att.mask", "rope_freqs.weight")
"""Constants (causal masks, wavelengths) that some files keep among the weights."""


@dataclass(frozen=True)
class Cell:
    """Where one of our tensors lies in a foreign file."""

    name: str
    transposed: bool
    paired: bool
    piece: int
    pieces: int

    @staticmethod
    def parse(text: str) -> Cell:
        """The cell behind the table's notation."""
        name, *marks = text.split()
        piece, pieces = next((mark.split("/") for mark in marks if "/" in mark), ("0", "1"))
        return Cell(name, "T" in marks, "P" in marks, int(piece), int(pieces))


def cells(config: ModelConfig, form: str = "hf") -> Iterator[tuple[str, Cell]]:
    """Every tensor of this model, once: our name and where it lies. A tied head is not stored.

    `form` is a key of `COLUMNS`; KeyError where it does not know this family.
    """
    column = COLUMNS[form][config.family]

    def cell(text: str) -> Cell:
        found = Cell.parse(text)
        turned, paired = found.transposed and form != "nanogpt", found.paired and config.family == "llama"
        return replace(found, transposed=turned, paired=paired)

    for row in TABLE:
        if row[column] != "-" and not (row[0] == "head.weight" and config.tie_embeddings):
            yield row[0], cell(CLASS_HEAD if row[0] == "head.weight" and config.labels else row[column])
    for n in range(config.n_layers):
        for row in BLOCK:
            normalised = row[0] in ("attention.q_norm.weight", "attention.k_norm.weight")
            if row[column] != "-" and (config.family == "qwen3" or not normalised):
                ours, theirs = (BLOCK_PREFIX[i].format(n=n) + row[i] for i in (0, column))
                yield ours, cell(theirs)


def to_foreign(state: Mapping[str, Tensor], config: ModelConfig, form: str = "hf") -> dict[str, Tensor]:
    """Our tensors under foreign names, lying as they lie there (views where possible)."""
    return dict(to_foreign_lazily(_lazy(state), config, form))


def to_foreign_lazily(state: Lazy, config: ModelConfig, form: str = "hf") -> Lazy:
    """The same, each made when it is asked for."""
    parts: dict[str, list[tuple[str, Cell]]] = {}
    for ours, cell in cells(config, form):
        parts.setdefault(cell.name, []).append((ours, cell))

    def make(pieces: list[tuple[str, Cell]]) -> Tensor:
        tensors = [in_pairs(state[ours], config.d_head) if cell.paired else state[ours] for ours, cell in pieces]
        turned = pieces[0][1].transposed
        tensors = [tensor.mT for tensor in tensors] if turned else tensors  # before they are joined: still views
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1 if turned else 0)

    return Lazy({name: partial(make, pieces) for name, pieces in parts.items()})


def from_foreign(
    tensors: Mapping[str, Tensor], config: ModelConfig, form: str = "hf", *, where: object = None
) -> dict[str, Tensor]:
    """The exact inverse of `to_foreign`; a tied head is the embedding again.

    GPT-2 files without the ``transformer.`` in front are read too. Raises CheckpointError for tensors that are
    missing or unknown; shapes are the reader's affair.
    """
    found = from_foreign_lazily(_lazy(tensors), config, form, where=where)
    state = {name: found[name] for name in found if name != "head.weight" or not config.tie_embeddings}
    return state | ({"head.weight": state["token_embedding.weight"]} if config.tie_embeddings else {})


def from_foreign_lazily(
    tensors: Lazy, config: ModelConfig, form: str = "hf", *, where: object = None, settled: bool = False
) -> Lazy:
    """The same, each made when it is asked for (only names are checked before); a fused matrix is read once.

    With `settled` those that lie transposed in a file come as a model keeps them, row after row in memory of their
    own, and are turned while they are read. Without, they are views, which cost nothing to write back.
    """
    if config.n_layers > len(tensors):
        what = f"the settings ask for {config.n_layers:,} blocks, and there are {len(tensors)} tensors"
        raise CheckpointError(what, where=where, hint="Does config.json match?")
    table = list(cells(config, form))
    found = _known(tensors, {cell.name for _, cell in table}, config, form, where)
    kept: dict[str, dict[int, Tensor]] = {}  # what is left of the fused matrix that was read last, and of its bias

    def cut(cell: Cell) -> dict[int, Tensor]:
        """All pieces of the tensor that it lies in, turned to our side, by their numbers."""
        maker = tensors.makers[found[cell.name]]
        if settled and cell.transposed and isinstance(maker, InFile) and maker.can_turn(cell.pieces):
            return dict(enumerate(maker.turned(cell.pieces)))
        tensor = maker()
        tensor = tensor.mT if cell.transposed and tensor.dim() == 2 else tensor
        if tensor.dim() == 0 or tensor.shape[0] % cell.pieces:
            raise CheckpointError(f"the tensor {cell.name} cannot be cut into {cell.pieces}", where=where)
        return dict(enumerate(tensor.chunk(cell.pieces)))

    def make(cell: Cell) -> Tensor:
        """Our tensor, from where it lies there."""
        if cell.piece not in kept.get(cell.name, {}):
            while len(kept) > 1:
                kept.pop(next(iter(kept)))
            kept[cell.name] = cut(cell)
        piece = kept[cell.name].pop(cell.piece)
        if not kept[cell.name]:
            kept.pop(cell.name)
        if cell.paired and piece.shape[0] % config.d_head:
            raise CheckpointError(f"the tensor {cell.name} cannot be cut into heads of {config.d_head}", where=where)
        return in_halves(piece, config.d_head) if cell.paired else piece

    makers = {ours: partial(make, cell) for ours, cell in table}
    if config.tie_embeddings:
        makers["head.weight"] = makers["token_embedding.weight"]
    return Lazy(makers)


def in_pairs(rows: Tensor, d_head: int) -> Tensor:
    """[H*E, ...] with the rows of each head from halves to pairs: 0, E/2, 1, E/2 + 1, …"""
    return rows.unflatten(0, (-1, 2, d_head // 2)).transpose(1, 2).flatten(0, 2)


def in_halves(rows: Tensor, d_head: int) -> Tensor:
    """The inverse of `in_pairs`: 0, 2, 4, … and then 1, 3, 5, … of each head."""
    return rows.unflatten(0, (-1, d_head // 2, 2)).transpose(1, 2).flatten(0, 2)


def _lazy(tensors: Mapping[str, Tensor]) -> Lazy:
    """Any mapping, as one that nobody reads to find out what is in it."""
    return (
        tensors if isinstance(tensors, Lazy) else Lazy({name: partial(tensors.__getitem__, name) for name in tensors})
    )


def _known(tensors: Lazy, wanted: set[str], config: ModelConfig, form: str, where: object) -> dict[str, str]:
    """For each of the table's names the one in `tensors`, with nothing missing and nothing left over."""
    found = {name: name for name in tensors if not name.endswith(NOT_WEIGHTS)}
    if form == "hf" and config.family == "gpt2" and "wte.weight" in found:
        heads = ("lm_head.", "score.")
        found = {name if name.startswith(heads) else f"transformer.{name}": name for name in found}
    embedding, head = (TABLE[row][COLUMNS[form][config.family]] for row in (0, -1))
    tied_twice = config.tie_embeddings and head in found and embedding in found
    if tied_twice and not torch.equal(tensors[found.pop(head)], tensors[found[embedding]]):
        hint = "Set tie_word_embeddings to false in config.json if the head is meant."
        raise CheckpointError("the file has a head of its own, but config.json ties it", where=where, hint=hint)
    missing, extra = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
    for names, what in ((missing, "is missing"), (extra, "is not known to this kind of model")):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise CheckpointError(f"the tensor {names[0]}{more} {what}", where=where, hint="Does config.json match?")
    return found
