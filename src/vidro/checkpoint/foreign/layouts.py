"""Whose model a dictionary of tensors is, by names and shapes: the book's, nanoGPT's, minGPT's, Transformers' GPT-2.

    tok_emb.weight, trf_blocks.N.att.W_query.weight …     the book's GPTModel, plain or its faster variant; a classifier
    transformer.wte.weight, …c_attn.weight [3 D, D]       nanoGPT (head tied to the embedding) or minGPT (not tied)
    transformer.wte.weight, …c_attn.weight [D, 3 D]       GPT-2 as Transformers keeps it

Weights do not say everything. How many heads the vectors are cut into is asked for or known for GPT-2's sizes; what the
code around the weights computed cannot be seen in them. Not here: the names themselves (`vidro.checkpoint.names`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidro.checkpoint.names import cells, from_foreign
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError, ModelError, UsageError
from vidro.model.transformer import Transformer

KNOWN_HEADS = {768: 12, 1024: 16, 1280: 20, 1600: 25}
"""GPT-2's four sizes: width → heads."""

_FASTER = (  # the book's faster variants: PyTorch's LayerNorm, and query, key and value in one matrix
    (re.compile(r"(norm[12]|final_norm)\.weight$"), r"\1.scale"),
    (re.compile(r"(norm[12]|final_norm)\.bias$"), r"\1.shift"),
    (re.compile(r"\.att\.proj\."), ".att.out_proj."),
)
_BOOKS_OTHERS = ("ff.fc1.weight", "att.q_norm.scale", "att.W_DKV.weight", "ff.gate.weight")


@dataclass(frozen=True)
class Names:
    """Where a form keeps what tells the sizes."""

    embedding: str
    places: str
    head: str
    blocks: str
    widening: str


BOOK = Names("tok_emb", "pos_emb", "out_head", "trf_blocks", "ff.layers.0")
GPT2 = Names("transformer.wte", "transformer.wpe", "lm_head", "transformer.h", "mlp.c_fc")


@dataclass(frozen=True)
class Layout:
    """What the names tell: a column of the table of names, the shape, and the tensors under that column's names."""

    form: str
    """A key of `vidro.checkpoint.names.COLUMNS`."""
    config: ModelConfig
    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


def state_of(layout: Layout, where: Path) -> dict[str, Tensor]:
    """Our names to tensors, with zeros for the biases that the model does without. Raises CheckpointError."""
    zeros, tensors = _absent_biases(layout.tensors, layout.config, layout.form), layout.tensors
    try:
        state = from_foreign({**tensors, **zeros}, layout.config, layout.form)
    except CheckpointError as problem:
        raise CheckpointError(problem.what, where=where, hint="Is it a GPT of another design?") from None
    with torch.device("meta"):
        expected = Transformer(layout.config).state_dict()
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{list(tensor.shape)}, and the others ask for {list(expected[name].shape)}"
            raise CheckpointError(f"the tensor behind {name} has the shape {shapes}", where=where)
        if not tensor.is_floating_point():
            raise CheckpointError(f"the tensor behind {name} holds {tensor.dtype}, not floats", where=where)
    return state


def recognise(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any], *, n_heads: int | None, where: Path
) -> Layout:
    """The layout of a model under foreign names, with or without a wrapper's prefix (``module.``, ``_orig_mod.``).

    `settings` are numbers found beside the weights (`unpickle.settings`); `n_heads` is what the user said.
    Raises CheckpointError for names of no known model, UsageError where the number of heads must be said.
    """
    plain = _without_prefix(tensors, where)
    if any(".lora." in name or name.endswith((".linear.weight", ".lora_A.weight")) for name in plain):
        hint = (
            "In each layer: linear.weight.data += s * (lora.A @ lora.B).T, with your s; then save the merged weights."
        )
        raise CheckpointError("thin LoRA matrices lie beside its weights, without their scale", where=where, hint=hint)
    names = BOOK if "tok_emb.weight" in plain else GPT2
    plain = _book(plain, where) if names is BOOK else plain
    embedding, places = (_matrix(plain, f"{name}.weight", where) for name in (names.embedding, names.places))
    blocks, width = _blocks(plain, names.blocks, where), embedding.shape[1]
    form = "book" if names is BOOK else "nanogpt"
    if names is GPT2 and _matrix(plain, "transformer.h.0.attn.c_attn.weight", where).shape == (width, 3 * width):
        form = "hf"
    widened = _matrix(plain, f"{names.blocks}.0.{names.widening}.weight", where).shape
    heads, notes = _heads(width, settings, n_heads, where)
    plain, labels, tied, more = _head(plain, names.head, embedding, where)
    try:
        config = ModelConfig(
            family="gpt2", vocab_size=embedding.shape[0], context_length=places.shape[0], d_model=width,
            n_layers=blocks, n_heads=heads, n_kv_heads=heads, d_head=width // heads,
            d_ff=widened[1 if form == "hf" else 0], norm_eps=1e-5, tie_embeddings=tied, dropout=_dropout(settings),
            labels=labels,
        )  # fmt: skip
    except UsageError as problem:
        raise CheckpointError(f"these sizes do not make a model ({problem})", where=where) from None
    return Layout(form, config, plain, (*notes, *more))


def gelu_difference(config: ModelConfig, state: Mapping[str, Tensor]) -> tuple[float, float]:
    """(largest difference, largest size) of a logit on 32 random tokens, between the exact GELU and GPT-2's tanh form.

    nanoGPT trains with the exact one, x · Φ(x); this model computes the other.
    """
    with torch.device("meta"):
        model = Transformer(config)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    model.eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (1, min(config.context_length, 32)), generator=generator)
    with torch.no_grad():
        here = model(ids)
        for block in model.blocks:
            part: Any = block.feedforward
            part.forward = lambda x, part=part: part.down(F.gelu(part.up(x)))
        there = model(ids)
    return (here - there).abs().max().item(), there.abs().max().item()


def fold_head_bias(weight: Tensor, bias: Tensor, shift: Tensor, where: Path) -> Tensor:
    """The shift of the last norm with which W h alone gives what W h + bias gave: shift + pinv(W) bias.

    Exact where the rows of W [C, D] are independent, as those of a few classes are; otherwise ModelError.
    """
    wide, wanted = weight.double(), bias.double()
    moved = torch.linalg.pinv(wide) @ wanted
    if not torch.allclose(wide @ moved, wanted, atol=1e-6 * max(1.0, wanted.abs().max().item())):
        raise ModelError("its head has a bias that this model cannot express", where=where)
    return (shift.double() + moved).to(shift.dtype)


def _without_prefix(tensors: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """The tensors as the bare model names them, found by its embedding."""
    found = [name for name in tensors if name.endswith(("tok_emb.weight", "wte.weight"))]
    if len(found) != 1:
        some = ", ".join(list(tensors)[:3])
        hint = "Known: the book's GPTModel, nanoGPT, minGPT, GPT-2 of Transformers."
        raise CheckpointError(f"its tensors ({some} …) are those of no known model", where=where, hint=hint)
    bare = "tok_emb.weight" if found[0].endswith("tok_emb.weight") else "wte.weight"
    prefix = found[0].removesuffix(bare).removesuffix("transformer.")
    if prefix and not prefix.endswith("."):
        raise CheckpointError(f"its embedding has an unknown name ({found[0]})", where=where)
    strange = next((name for name in tensors if not name.startswith(prefix)), None)
    if strange is not None:
        raise CheckpointError(f"the tensor {strange} is not part of the model {prefix}…", where=where)
    plain = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if "wte.weight" in plain:
        plain = {name if name.startswith("lm_head.") else f"transformer.{name}": each for name, each in plain.items()}
    return plain


def _book(plain: dict[str, Tensor], where: Path) -> dict[str, Tensor]:
    """The book's tensors under the names of its first GPTModel."""
    if any(name.endswith(_BOOKS_OTHERS) for name in plain):
        hint = "Only the book's GPTModel is read; import a Llama or Qwen3 from its Hugging Face directory."
        raise CheckpointError(
            "this is another of the book's models (Llama, Qwen3 or a variant)", where=where, hint=hint
        )
    renamed: dict[str, Tensor] = {}
    for name, tensor in plain.items():
        for pattern, new in _FASTER:
            name = pattern.sub(new, name)
        before, fused, kind = name.partition(".att.qkv.")
        if fused and tensor.dim() and tensor.shape[0] % 3 == 0:
            for part, piece in zip(("W_query", "W_key", "W_value"), tensor.chunk(3), strict=True):
                renamed[f"{before}.att.{part}.{kind}"] = piece
        else:
            renamed[name] = tensor
    return renamed


def _absent_biases(tensors: Mapping[str, Tensor], config: ModelConfig, form: str) -> dict[str, Tensor]:
    """Zeros for biases that the whole model does without: the book's of q, k and v, or nanoGPT's of everything."""
    named = {cell.name: (ours, cell.pieces) for ours, cell in cells(config, form) if ours.endswith(".bias")}
    absent = {name: each for name, each in named.items() if name not in tensors}
    without = [name for name in named if form != "book" or ".att.W_" in name]
    if sorted(absent) != sorted(without):
        return {}  # some are there: what is missing is missing
    sizes = {"feedforward.up.bias": config.d_ff}
    some = next(iter(tensors.values()))
    return {
        name: torch.zeros(pieces * next((n for end, n in sizes.items() if ours.endswith(end)), config.d_model)).to(some)
        for name, (ours, pieces) in absent.items()
    }


def _head(
    plain: dict[str, Tensor], head: str, embedding: Tensor, where: Path
) -> tuple[dict[str, Tensor], tuple[str, ...], bool, list[str]]:
    """(tensors, classes, tied, notes): equal to the embedding it is tied; other rows than tokens are classes."""
    weight, bias = plain.get(f"{head}.weight"), plain.get(f"{head}.bias")
    notes: list[str] = []
    if weight is None and bias is None and head == "lm_head":
        return plain, (), True, notes
    weight = _matrix(plain, f"{head}.weight", where)
    if weight.shape[1] != embedding.shape[1]:
        raise CheckpointError(
            f"the head has the shape {list(weight.shape)}, not [·, {embedding.shape[1]}]", where=where
        )
    classifier = head == "out_head" and weight.shape[0] != embedding.shape[0]
    if bias is not None:
        shift = "final_norm.shift" if head == "out_head" else "transformer.ln_f.bias"
        if bias.shape != weight.shape[:1] or shift not in plain:
            raise CheckpointError(f"{head}.bias does not belong to its head", where=where)
        plain = {**plain, shift: fold_head_bias(weight, bias, plain[shift], where)}
        del plain[f"{head}.bias"]
        notes.append("the bias of the head went into the last norm, which gives the same numbers")
    if classifier:
        plain = {**plain, "score.weight": weight}
        del plain[f"{head}.weight"]
        labels = tuple(f"LABEL_{number}" for number in range(weight.shape[0]))
        notes.append(f"a classifier of {len(labels)} classes, whose names no .pth holds ({', '.join(labels[:3])} …)")
        return plain, labels, False, notes
    tied = weight is embedding or (weight.shape == embedding.shape and torch.equal(weight, embedding))
    if tied:
        plain = {name: tensor for name, tensor in plain.items() if name != f"{head}.weight"}
        if head == "out_head":
            notes.append("its head equals its embedding and is kept once")
    return plain, (), tied, notes


def _heads(width: int, settings: Mapping[str, Any], said: int | None, where: Path) -> tuple[int, list[str]]:
    """How many heads: as said, as written beside the weights, or as in GPT-2 of this width."""
    written = {v for key, v in settings.items() if key.split(".")[-1] in ("n_head", "n_heads", "num_heads")}
    counts = {value for value in written if isinstance(value, int) and not isinstance(value, bool) and value > 0}
    notes: list[str] = []
    if said is None and len(counts) == 1:
        said = counts.pop()
    elif said is not None and counts and said not in counts:
        raise UsageError(f"the file itself says {sorted(counts)[0]}, not {said}", where="n-heads")
    if said is None and width in KNOWN_HEADS:
        said = KNOWN_HEADS[width]
        notes.append(f"{said} heads, as GPT-2 has at this width; the weights do not say it (--n-heads)")
    if said is None:
        hint = f"Say --n-heads, as in the settings of your model; it divides the width {width}."
        raise UsageError("how many heads it has does not stand in the weights", where=where, hint=hint)
    if said < 1 or width % said:
        raise UsageError(f"{said} heads do not divide the width {width}", where="n-heads")
    return said, notes


def _dropout(settings: Mapping[str, Any]) -> float:
    """The share of activations dropped while it was trained, where that is written beside the weights."""
    for key, value in settings.items():
        if key.split(".")[-1] in ("dropout", "drop_rate") and isinstance(value, int | float) and 0 <= value <= 0.95:
            return float(value)
    return 0.0


def _blocks(names: Iterable[str], prefix: str, where: Path) -> int:
    """How many blocks there are, numbered from 0 without a gap."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d{{1,6}})\.")
    numbers = {int(match[1]) for match in map(pattern.match, names) if match}
    if not numbers or numbers != set(range(len(numbers))):
        raise CheckpointError(f"its blocks ({prefix}.N) are not numbered from 0 without a gap", where=where)
    return len(numbers)


def _matrix(tensors: Mapping[str, Tensor], name: str, where: Path) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None:
        raise CheckpointError(f"the tensor {name} is missing", where=where)
    if tensor.dim() != 2 or not all(tensor.shape) or not tensor.is_floating_point():
        raise CheckpointError(f"the tensor {name} is no matrix of floats ({list(tensor.shape)})", where=where)
    return tensor
