"""The many names of a model's sizes, and the small sizes a check uses where the reader names none.

Every course has its own words: `emb_dim`, `n_embd`, `hidden_size` are one thing. Here stands which are which, so that
a model is built, and its vocabulary found, whatever its author calls things. Next: `building`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

NAMES: dict[str, tuple[str, ...]] = {
    "vocab_size": ("n_vocab", "vocab", "num_tokens", "n_tokens", "vocabulary_size", "num_embeddings", "ntoken"),
    "context_length": (
        "block_size", "n_positions", "n_ctx", "max_position_embeddings", "max_seq_len", "max_seq_length", "seq_len",
        "seq_length", "max_len", "max_length", "context_size", "ctx_len", "context", "sequence_length", "max_context",
    ),
    "d_model": (
        "emb_dim", "n_embd", "n_embed", "embed_dim", "embedding_dim", "embed_size", "emb_size", "hidden_size", "dim",
        "d_embed", "d_emb", "width", "model_dim", "embedding_size",
    ),
    "n_layers": ("n_layer", "num_layers", "num_hidden_layers", "depth", "n_blocks", "num_blocks", "layers"),
    "n_heads": ("n_head", "num_heads", "num_attention_heads", "heads", "nhead"),
    "n_kv_heads": ("n_kv_head", "num_kv_heads", "num_key_value_heads", "n_kv_groups", "num_kv_groups"),
    "d_head": ("head_dim", "head_size", "dim_head", "head_width"),
    "d_ff": (
        "hidden_dim", "intermediate_size", "ffn_dim", "dim_feedforward", "n_inner", "d_inner", "mlp_dim", "ff_dim",
        "ffn_hidden", "ff_hidden", "mlp_hidden",
    ),
    "dropout": ("drop_rate", "dropout_rate", "p_drop", "drop_p", "pdrop"),
    "qkv_bias": ("bias", "use_bias", "attention_bias"),
    "rope_theta": ("rope_base", "theta", "rope_freq_base"),
    "norm_eps": ("eps", "rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps"),
    "qk_norm": ("use_qk_norm",),
}  # fmt: skip

SMALL: dict[str, Any] = {
    "vocab_size": 97, "context_length": 24, "d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_head": 8,
    "d_ff": 64, "dropout": 0.1, "qkv_bias": False, "rope_theta": 10_000.0, "norm_eps": 1e-5, "qk_norm": True,
}  # fmt: skip
"""What a model is built with where nothing is said: big enough to show every fault, small enough for a second."""

SHRUNK = ("vocab_size", "context_length", "d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff")
"""The sizes that are made small whatever the model's defaults, so that a check takes seconds; the rest stays."""

_MEANING = {name: meaning for meaning, names in NAMES.items() for name in (meaning, *names)}


def meaning(name: str) -> str | None:
    """Which size a name stands for; None for a name nobody knows.

    >>> meaning("n_embd"), meaning("attn_pdrop"), meaning("colour")
    ('d_model', 'dropout', None)
    """
    word = name.lower().lstrip("_")
    if word in _MEANING:
        return _MEANING[word]
    return "dropout" if "drop" in word else None


def find_size(holder: Any, wanted: str) -> int | None:
    """The whole number that `holder` (a dict or an object) keeps under any name of the size `wanted`.

    >>> find_size({"n_embd": 8}, "d_model"), find_size({"n_embd": 8}, "n_layers")
    (8, None)
    """
    for name in (wanted, *NAMES[wanted]):
        value = holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def by_meaning(values: dict[str, Any], names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """`values` under the names that are really there, and those that fit none.

    >>> by_meaning({"n_layers": 3, "colour": 1}, ["n_layer", "n_head"])
    ({'n_layer': 3}, ['colour'])
    """
    known = list(names)
    placed: dict[str, Any] = {}
    strange: list[str] = []
    for name, value in values.items():
        same = [own for own in known if own == name] or [
            own for own in known if meaning(name) is not None and meaning(own) == meaning(name)
        ]
        placed.update(dict.fromkeys(same, value))
        if not same:
            strange.append(name)
    return placed, strange
