"""Attention, rung 4: several heads, each with its own question.

Rung 3 gave each token one set of shares. Several small attentions side by side, each on its own slice of the width,
can look for several things at once; their results are joined and mixed by one more matrix, `out_proj`.

* `StackedHeads`: as said, a list of rung 3 attentions. Clear, and slow: three small products per head.
* `MultiHeadAttention`: the same numbers. All heads' matrices stand on top of each other in one, and the result is
  cut into heads by a reshape:  [B, T, H·E] → [B, T, H, E] → [B, H, T, E]. Then every head is one more batch row.

`MultiHeadAttention` computes what `vidro.model.attention` computes for gpt2 (tested with the same weights). What
that file has more of: a fused kernel, a cache, rotary positions, key/value heads shared by several queries. All but the
kernel are small things, and the next rung, `attention_5`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float
from vidro.learn.attention_3 import CausalAttention, masked_first


class StackedHeads(nn.Module):
    """`n_heads` causal attentions of width d_out / n_heads, joined: [B, T, d_in] → [B, T, d_out]."""

    def __init__(self, d_in: int, d_out: int, context_length: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        assert d_out % n_heads == 0, "the heads must share the width evenly"
        width = d_out // n_heads
        self.heads = nn.ModuleList(CausalAttention(d_in, width, context_length, dropout) for _ in range(n_heads))
        self.out_proj = nn.Linear(d_out, d_out)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D_out"]:
        """Each head's result, side by side, mixed."""
        return self.out_proj(torch.cat([head(x) for head in self.heads], dim=-1))


class MultiHeadAttention(nn.Module):
    """The same with one matrix each for all queries, keys and values: [B, T, d_in] → [B, T, d_out].

    >>> stacked = StackedHeads(d_in=3, d_out=4, context_length=5, n_heads=2, dropout=0.0)
    >>> joined = MultiHeadAttention.from_stacked(stacked)
    >>> x = torch.randn(2, 5, 3)
    >>> joined(x).shape
    torch.Size([2, 5, 4])
    >>> bool(torch.allclose(joined(x), stacked(x), atol=1e-6))
    True
    """

    def __init__(
        self, d_in: int, d_out: int, context_length: int, n_heads: int, dropout: float, *, bias: bool = False
    ) -> None:
        super().__init__()
        assert d_out % n_heads == 0, "the heads must share the width evenly"
        self.n_heads, self.context_length = n_heads, context_length
        self.W_query = nn.Linear(d_in, d_out, bias=bias)
        self.W_key = nn.Linear(d_in, d_out, bias=bias)
        self.W_value = nn.Linear(d_in, d_out, bias=bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D_out"]:
        """For each token and head: the values up to its own, mixed; then all heads mixed."""
        assert x.shape[1] <= self.context_length, "more tokens than the context holds"
        query, key, value = (self.split(layer(x)) for layer in (self.W_query, self.W_key, self.W_value))
        scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])  # [B, H, T, T]
        mixed = self.dropout(masked_first(scores)) @ value  # [B, H, T, E]
        return self.out_proj(mixed.transpose(1, 2).flatten(2))  # [B, T, H, E] → [B, T, H·E]

    def split(self, x: Float[Tensor, "B T D_out"]) -> Float[Tensor, "B H T E"]:
        """Cut the width into heads and put the heads where the batch is."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    @classmethod
    def from_stacked(cls, stacked: StackedHeads) -> MultiHeadAttention:
        """The same attention with the heads' matrices on top of each other."""
        heads: list[CausalAttention] = list(stacked.heads)  # pyright: ignore[reportAssignmentType]
        d_out, d_in = stacked.out_proj.out_features, heads[0].W_query.in_features
        joined = cls(d_in, d_out, heads[0].context_length, len(heads), heads[0].dropout.p)
        for name in ("W_query", "W_key", "W_value"):
            rows = torch.cat([getattr(head, name).weight for head in heads])
            getattr(joined, name).weight.data = rows.detach().clone()
        joined.out_proj.load_state_dict(stacked.out_proj.state_dict())
        return joined
