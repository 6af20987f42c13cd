r"""Attention: every token collects what it needs from the tokens before it, and itself.

Each token asks a question (query), and each earlier token offers a label (key) and a content (value). Query times
key is a score, softmax makes shares that sum to 1, and the result is the values mixed in those shares (Vaswani et
al. 2017). Several heads do this side by side, on slices of the width. The ladder up to here, one idea a rung:
`vidro.learn.attention_1` to `attention_5`, whose last rung equals this file.

Grouped heads (Ainslie et al. 2023): H query heads share K key/value heads, H/K neighbours to each, so that the cache
shrinks by H/K. With H = 6 and K = 2:

    query heads       0   1   2   3   4   5
                       \  |  /     \  |  /
    key/value heads       0           1

Not here: what is remembered between calls (`cache`), where a token stands (`positions`). Next: `transformer`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.config.schema import ModelConfig
from vidro.core.shapes import Bool, Float, Int
from vidro.model.cache import KVCache
from vidro.model.init import Linear
from vidro.model.norm import make_norm
from vidro.model.positions import rotate
from vidro.model.trace import Trace


class Attention(nn.Module):
    """Causal attention with H query heads and K key/value heads of width E, for all three families.

    gpt2 has biases and drops attention shares while training; qwen3 normalises each query and key to a standard
    length (QK-norm), so that scores cannot run away. q, k and v are three matrices even where files store one.
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.d_head = config.d_head
        bias = config.family == "gpt2"
        queries, keys = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        self.q_proj = Linear(config.d_model, queries, bias=bias)
        self.k_proj = Linear(config.d_model, keys, bias=bias)
        self.v_proj = Linear(config.d_model, keys, bias=bias)
        self.o_proj = Linear(queries, config.d_model, bias=bias)
        self.qkv: nn.Module | None = None  # one product in place of the three: only in int8 (`quantized`)
        self.q_norm = make_norm(config, config.d_head) if config.family == "qwen3" else None
        self.k_norm = make_norm(config, config.d_head) if config.family == "qwen3" else None
        self.dropout = config.dropout if config.family == "gpt2" else 0.0

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rotary: tuple[Float[Tensor, "#B T 1 E"], Float[Tensor, "#B T 1 E"]] | None = None,
        *,
        mask: Bool[Tensor, "B 1 T S"] | None = None,
        cache: KVCache | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "B T D"]:
        """What attention adds to the residual. `mask` is True where a token may look; None means causal."""
        q, k, v = (self.q_proj(x), self.k_proj(x), self.v_proj(x)) if self.qkv is None else self.qkv(x)
        q = q.unflatten(-1, (-1, self.d_head))  # B T H E
        k = k.unflatten(-1, (-1, self.d_head))  # B T K E
        v = v.unflatten(-1, (-1, self.d_head))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # B heads T E
        if cache is not None:
            k, v = cache.append(self.layer, k, v)  # B K S E: all that was seen, these tokens included
        dropout = self.dropout if self.training else 0.0
        if trace is None:
            mixed = fast_attention(q, k, v, mask=mask, dropout=dropout)
        else:
            mixed, shares = explicit_attention(q, k, v, mask=mask, dropout=dropout)
            trace.attention.append(shares)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


def fast_attention(
    q: Float[Tensor, "B H T E"],
    k: Float[Tensor, "B K S E"],
    v: Float[Tensor, "B K S E"],
    *,
    mask: Bool[Tensor, "B 1 T S"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "B H T E"]:
    """`explicit_attention` by PyTorch's fused kernel, which never writes the T × S shares to memory.

    Without a mask, one token may look at everything it is given, and several are the whole text, hence causal.
    """
    causal = mask is None and q.shape[2] > 1
    grouped = q.shape[1] != k.shape[1]
    if grouped and q.device.type not in ("cpu", "cuda"):  # Apple's kernels share heads in the newest PyTorch only
        k, v, grouped = _one_per_query(k, q), _one_per_query(v, q), False
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal, enable_gqa=grouped)


def explicit_attention(
    q: Float[Tensor, "B H T E"],
    k: Float[Tensor, "B K S E"],
    v: Float[Tensor, "B K S E"],
    *,
    mask: Bool[Tensor, "B 1 T S"] | None = None,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "B H T E"], Float[Tensor, "B H T S"]]:
    """The same, step by step: scores, mask, softmax, mixture; also returns the shares."""
    k, v = _one_per_query(k, q), _one_per_query(v, q)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is None and q.shape[2] > 1:
        mask = torch.ones_like(scores, dtype=torch.bool).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    shares = scores.softmax(dim=-1)
    return F.dropout(shares, dropout) @ v, shares


def mask_of_pieces(pieces: Int[Tensor, "B T"]) -> Bool[Tensor, "B 1 T T"]:
    """Where a token may look when its row holds several pieces: back, and no further than its own piece begins.

    The kernel still computes what the mask hides, T² scores a row. On a GPU PyTorch's `varlen_attn` (pieces one behind
    the other, and where each begins) and `flex_attention` (whole blocks skipped, needs a compiler) would not; neither
    runs everywhere, so rows are kept short instead (`vidro.data.packing.row_length`).

    >>> mask_of_pieces(torch.tensor([[0, 0, 1]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    return (pieces[:, :, None] == pieces[:, None, :]).tril()[:, None]


def _one_per_query(shared: Float[Tensor, "B K S E"], q: Float[Tensor, "B H T E"]) -> Float[Tensor, "B H S E"]:
    """A key/value head for each query head, by copying."""
    return shared.repeat_interleave(q.shape[1] // shared.shape[1], dim=1)
