"""GGUF files of GPT-2, Llama and Qwen3: what their settings say about the model.

The head is the embedding where ``output.weight`` is missing, or is the same bytes. Llama 3's stretched wavelengths are
not settings here but a tensor of factors, ``rope_freqs.weight``, from which the settings are found again; they must
give the same factors, or the file is refused. Not here: the file itself (`checkpoint/gguf/read`), its tokenizer
(`checkpoint/gguf/tokenizer_in`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidro.checkpoint.foreign.model import ForeignModel
from vidro.checkpoint.gguf.read import GgufFile, open_gguf, shown
from vidro.config.load import build
from vidro.config.schema import ModelConfig, RopeScaling
from vidro.core.errors import CheckpointError, ModelError, TokenizerError, UsageError

if TYPE_CHECKING:
    from vidro.text.tokenizer import Tokenizer

FORM = "a GGUF file"
FAMILIES = ("gpt2", "llama", "qwen3")
EMBEDDING, HEAD, FACTORS = "token_embd.weight", "output.weight", "rope_freqs.weight"
LARGEST_SIZE, MOST_LAYERS, MOST_ROTARY = 2**24, 10_000, 2**26

# What changes the computation, with the values at which it does not; any other value is refused.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "expert_count": (0,), "rope.scaling.type": ("none",), "rope.scale_linear": (1.0,), "logit_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0), "residual_scale": (0.0, 1.0), "attention.scale": (0.0,), "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,), "attention.max_alibi_bias": (0.0,), "use_parallel_residual": (False,),
    "attention.sliding_window": (0,), "pooling_type": (0,),
}  # fmt: skip
# What is used, or says nothing about the computation.
_KNOWN = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "rope.freq_base",
    "rope.dimension_count", "attention.key_length", "attention.value_length", "vocab_size", "rope.scaling.factor",
    "rope.scaling.original_context_length", "rope.scaling.finetuned", "expert_used_count", "tensor_data_layout",
}  # fmt: skip


def read(path: Path, *, tokenizer: Tokenizer | None = None) -> ForeignModel:
    """The model of a file; with `tokenizer`, that one instead of the file's own.

    Weights are read when they are asked for; names, sizes and types are checked here. Raises CheckpointError for a
    damaged file, ModelError for what this model cannot compute, TokenizerError for a tokenizer that cannot be read.
    """
    from vidro.checkpoint.gguf.tokenizer_in import read_tokenizer
    from vidro.checkpoint.names import from_foreign_lazily

    file = open_gguf(path)
    file.check_types()
    tensors, twice = file.weights(), _head_is_embedding(file)
    config = _config(file, tied=HEAD not in file.tensors or twice)
    _check_shapes(file, config)
    if twice:
        tensors = type(tensors)({name: maker for name, maker in tensors.makers.items() if name != HEAD})
    state = from_foreign_lazily(tensors, config, "gguf", where=path)
    tokenizer = read_tokenizer(file.values, where=path) if tokenizer is None else tokenizer
    if tokenizer.vocab_size > config.vocab_size:
        what = f"the tokenizer has {tokenizer.vocab_size:,} tokens, but the model knows {config.vocab_size:,}"
        raise TokenizerError(what, where=path, hint="They do not belong together.")
    notes = [_stored(file), *(_not_used(file) or ()), *tokenizer.notes]
    if config.rope_scaling is not None:
        notes.append("the stretched rotary wavelengths (llama3) were found again from their factors")
    template = file.values.get("tokenizer.chat_template")
    template = template if isinstance(template, str) and template.strip() else None
    return ForeignModel(FORM, config, state, tokenizer, template, tuple(notes))


def _stored(file: GgufFile) -> str:
    kinds = Counter(info.kind for info in file.tensors.values())
    return "stored in " + ", ".join(f"{kind} ({n} tensor{'s' * (n > 1)})" for kind, n in kinds.most_common())


def _head_is_embedding(file: GgufFile) -> bool:
    """Whether the head is a copy of the embedding, as some converters write it."""
    head, embedding = file.tensors.get(HEAD), file.tensors.get(EMBEDDING)
    if head is None or embedding is None or (head.shape, head.kind) != (embedding.shape, embedding.kind):
        return False
    return bool(np.array_equal(file.raw(HEAD), file.raw(EMBEDDING)))


def _not_used(file: GgufFile) -> Iterator[str]:
    prefix = f"{file.values['general.architecture']}."
    names = (name.removeprefix(prefix) for name in file.values if name.startswith(prefix))
    unknown = sorted(name for name in names if name not in _KNOWN and name not in _NEUTRAL)
    if unknown:
        yield f"not understood and not used: {', '.join(shown(prefix + name) for name in unknown[:8])}"


# -- settings ------------------------------------------------------------------------------------------------------


class Sizes:
    """The settings of one architecture, each asked for by its name and checked."""

    def __init__(self, file: GgufFile, family: str) -> None:
        self.values, self.family, self.path = file.values, family, file.path

    def get(self, name: str) -> Any:
        """The value, or None."""
        return self.values.get(f"{self.family}.{name}")

    def whole(self, name: str, default: int | None = None) -> int:
        """A size."""
        found = self.get(name)
        if isinstance(found, np.ndarray) and len(set(found.tolist())) == 1:  # one number for each block, all the same
            found = found.tolist()[0]
        if found is None and default is not None:
            return default
        if type(found) is not int or not 0 < found <= LARGEST_SIZE:
            what = "is missing" if found is None else f"cannot be {found!r:.80}"
            if isinstance(found, np.ndarray):
                what = "differs from block to block, which is not supported"
                raise ModelError(f"{self.family}.{name} {what}", where=self.path)
            raise CheckpointError(f"{self.family}.{name} {what}", where=self.path, hint="The file is damaged.")
        return found

    def real(self, name: str, default: float | None = None) -> float:
        """A number above 0, without the digits that single precision made up (1e-5 is 9.99999974e-6 there)."""
        found = default if self.get(name) is None else self.get(name)
        if not isinstance(found, float) or not 0 < found < math.inf:
            what = "is missing" if found is None else f"cannot be {found!r:.80}"
            raise CheckpointError(f"{self.family}.{name} {what}", where=self.path, hint="The file is damaged.")
        return float(np.format_float_scientific(np.float32(found), unique=True))


def _config(file: GgufFile, *, tied: bool) -> ModelConfig:
    family = file.values.get("general.architecture")
    if family not in FAMILIES:
        hint = f"Supported: {', '.join(FAMILIES)}."
        raise ModelError(f"the architecture {family!a:.80} is not supported", where=file.path, hint=hint)
    sizes = Sizes(file, family)
    for name, neutral in _NEUTRAL.items():
        value = sizes.get(name)
        if value is not None and (isinstance(value, np.ndarray) or value not in neutral):
            raise ModelError(f"{family}.{name} = {value!a:.80} is not supported", where=file.path)
    width, heads = sizes.whole("embedding_length"), sizes.whole("attention.head_count")
    fields: dict[str, Any] = {
        "family": family, "vocab_size": _n_rows(file), "context_length": sizes.whole("context_length"),
        "d_model": width, "n_layers": sizes.whole("block_count"), "n_heads": heads,
        "n_kv_heads": sizes.whole("attention.head_count_kv", heads), "d_ff": sizes.whole("feed_forward_length"),
        "tie_embeddings": tied,
    }  # fmt: skip
    fields["d_head"] = sizes.whole("attention.key_length", width // heads) if family != "gpt2" else width // heads
    if fields["n_layers"] > MOST_LAYERS:
        raise CheckpointError(f"{fields['n_layers']:,} blocks are more than any model has", where=file.path)
    norm = "attention.layer_norm_epsilon" if family == "gpt2" else "attention.layer_norm_rms_epsilon"
    fields["norm_eps"] = sizes.real(norm)
    if family != "gpt2":
        fields |= _rotary(file, sizes, fields["d_head"], fields["context_length"])
    try:
        return build(ModelConfig, fields)
    except (UsageError, TypeError, ValueError) as problem:
        raise CheckpointError(f"these sizes do not make a model ({problem})", where=file.path) from None


def _n_rows(file: GgufFile) -> int:
    found = file.tensors.get(EMBEDDING)
    if found is None or len(found.shape) != 2:
        raise CheckpointError(f"the tensor {EMBEDDING} is missing", where=file.path, hint="It may be one of several.")
    return found.shape[0]


def _check_shapes(file: GgufFile, config: ModelConfig) -> None:
    """The sizes that much is made of, before anything is made; the other tensors are checked as they are read."""
    rows, width = config.n_heads * config.d_head, config.d_model
    expected: dict[str, tuple[int, ...]] = {
        EMBEDDING: (config.vocab_size, width),
        "blk.0.ffn_up.weight": (config.d_ff, width),
    }
    if config.family == "gpt2":
        expected |= {"position_embd.weight": (config.context_length, width), "blk.0.attn_qkv.weight": (3 * rows, width)}
    else:
        kv_rows = config.n_kv_heads * config.d_head
        expected |= {"blk.0.attn_q.weight": (rows, width), "blk.0.attn_k.weight": (kv_rows, width)}
    for name, shape in expected.items():
        found = file.tensors[name].shape if name in file.tensors else shape
        if found != shape:
            what = f"the tensor {name} has the shape {list(found)}, and the settings ask for {list(shape)}"
            raise CheckpointError(what, where=file.path, hint="The file is damaged.")


def _rotary(file: GgufFile, sizes: Sizes, d_head: int, context: int) -> dict[str, Any]:
    for name in ("attention.value_length", "rope.dimension_count"):
        if sizes.whole(name, d_head) != d_head:
            what = f"{sizes.family}.{name} = {sizes.get(name)!r:.40}, where a head has {d_head}, is not supported"
            raise ModelError(what, where=file.path)
    if context * d_head > MOST_ROTARY:
        raise ModelError(f"a context of {context:,} tokens is more than is supported", where=file.path)
    theta = sizes.real("rope.freq_base", 10_000.0)
    scaling = None
    if FACTORS in file.tensors:
        factors = file.weights()[FACTORS].double().numpy().reshape(-1)
        original = sizes.get("rope.scaling.original_context_length")
        scaling = scaling_of(factors, d_head, theta, original if type(original) is int and original > 0 else None)
        if scaling is None and not np.array_equal(factors, np.ones(d_head // 2)):
            what = f"the rotary factors of {FACTORS} are not those of Llama 3's scaling"
            raise ModelError(what, where=file.path, hint="Supported: no scaling, llama3.")
    return {"rope_theta": theta, "rope_scaling": scaling}


def scaling_of(factors: np.ndarray, d_head: int, theta: float, original: int | None = None) -> RopeScaling | None:
    """The settings that stretch wavelengths by these factors (one for each pair), or None.

    The usual settings are tried first, then those that the blended wavelengths lead to: between the short ones (factor
    1) and the long ones the inverse factor is a straight line in the frequency. Every guess is computed and compared,
    so another guess that comes to the same factors is as good as the one that was meant.
    """
    if factors.shape != (d_head // 2,) or not np.isfinite(factors).all() or factors.min() < 0.999:
        return None
    for guess in _guesses(factors, d_head, theta, original):
        if np.allclose(factors, _factors(guess, d_head, theta), rtol=1e-5, atol=0):
            return None if factors.max() == 1 else guess
    return None


def _guesses(factors: np.ndarray, d_head: int, theta: float, original: int | None) -> Iterator[RopeScaling]:
    longest = float(f"{factors.max():.6g}")  # in single precision 5.5 came out as 5.50000048
    for factor in dict.fromkeys((longest, 8.0, 32.0, 2.0, 4.0, 16.0, 64.0)):
        if factor <= 1:
            continue
        for context in dict.fromkeys((*((original,) if original else ()), 8192, *(2**n for n in range(4, 21)))):
            yield RopeScaling(factor=factor, original_context_length=context)
        blended = (factors > 1.0001) & (factors < factor * 0.9999)
        if blended.sum() >= 2:
            kept = (1 / factors[blended] - 1 / factor) / (1 - 1 / factor)
            slope, start = np.polyfit(_cycles(d_head, theta)[blended], kept, 1)
            if slope > 0 > start:  # a low frequency factor of 1 sets the scale
                high = float(1 - 1 / start)
                context = round(slope * (high - 1))
                if 0 < context <= 2**31:
                    yield RopeScaling(
                        factor=factor, low_freq_factor=1.0, high_freq_factor=round(high, 4),
                        original_context_length=context,
                    )  # fmt: skip


def _cycles(d_head: int, theta: float) -> np.ndarray:
    """Full turns per token of each pair."""
    return theta ** -(np.arange(0, d_head, 2) / d_head) / (2 * math.pi)


def _factors(scaling: RopeScaling, d_head: int, theta: float) -> np.ndarray:
    """By how much `model.positions.frequencies` stretches each wavelength."""
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = (scaling.original_context_length * _cycles(d_head, theta) - low) / (high - low)
    kept = kept.clip(0, 1)
    return 1 / (kept + (1 - kept) / scaling.factor)
