"""Attention, rung 5: as in today's models. Order by turning, shared keys and values, a standard length, a memory.

Rung 4 has four gaps, and each is closed by one small thing:

* it does not know the order of the tokens it looks back on. `turn`: each query and key is turned by an angle that
  grows with its place, so that a score depends on how far apart two tokens are (rotary positions, Su et al. 2021);
* every head keeps keys and values of its own. Here several query heads share one pair (Ainslie et al. 2023);
* scores can grow without limit while training. Each query and key is brought to a standard length first (QK-norm,
  Henry et al. 2020);
* writing one more token repeats the work for all the others. `Memory` keeps their keys and values.

`ModernAttention` computes what `vidro.model.attention` computes for qwen3, and without `qk_norm` for llama (tested with
the same weights). That file has a fused kernel, batches of unequal texts and gpt2's biases besides.
Next: the other half of a block, `feed_forward`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float, Int

THETA = 10_000.0


def speeds(d_head: int, theta: float = THETA) -> Float[Tensor, "half_E"]:
    """By what angle (radians) each pair of numbers is turned per place: the first by 1, each next one more slowly.

    >>> [round(speed, 3) for speed in speeds(8).tolist()]
    [1.0, 0.1, 0.01, 0.001]
    """
    return theta ** (-torch.arange(0, d_head, 2) / d_head)


def turn(x: Float[Tensor, "*B T E"], places: Int[Tensor, "T"], theta: float = THETA) -> Float[Tensor, "*B T E"]:
    """Turn each pair (a, b) = (x[i], x[i + E/2]) by place · speed: (a cos - b sin, b cos + a sin).

    One pair, which turns by 1 radian (57 degrees) per place. At place 0 nothing happens:

    >>> arrow = torch.tensor([[1.0, 0.0]])
    >>> for place in (0, 1, 2):
    ...     print([round(number, 2) for number in turn(arrow, torch.tensor([place]))[0].tolist()])
    [1.0, 0.0]
    [0.54, 0.84]
    [-0.42, 0.91]

    The score of two turned arrows says how far apart they stand, wherever they stand:

    >>> def score(here, there):
    ...     return (turn(arrow, torch.tensor([here])) @ turn(arrow, torch.tensor([there])).T).item()
    >>> [f"{score(here, there):.4f}" for here, there in ((3, 1), (10, 8), (90, 88))]
    ['-0.4161', '-0.4161', '-0.4161']
    """
    angles = places[:, None] * speeds(x.shape[-1], theta)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), dim=-1)


def look_back(
    query: Float[Tensor, "B H T E"], key: Float[Tensor, "B K S E"], value: Float[Tensor, "B K S E"]
) -> Float[Tensor, "B H T E"]:
    """Causal attention of the last T of S tokens; H/K neighbouring query heads share each key and value head.

    Of 5 tokens the last 2 ask: the first of these may see 4, the other all 5.

    >>> alike, values = torch.zeros(1, 1, 5, 5), torch.eye(5)[None, None]
    >>> look_back(alike[:, :, 3:], alike, values)[0, 0]
    tensor([[0.2500, 0.2500, 0.2500, 0.2500, 0.0000],
            [0.2000, 0.2000, 0.2000, 0.2000, 0.2000]])
    """
    sharing = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(sharing, dim=1), value.repeat_interleave(sharing, dim=1)
    scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])  # [B, H, T, S]
    asked, seen = scores.shape[-2:]
    later = torch.ones(asked, seen, dtype=torch.bool).triu(diagonal=1 + seen - asked)
    return scores.masked_fill(later, -torch.inf).softmax(dim=-1) @ value


class Memory:
    """The keys (already turned) and values of all tokens so far; empty at first."""

    def __init__(self) -> None:
        self.key: Float[Tensor, "B K S E"] | None = None
        self.value: Float[Tensor, "B K S E"] | None = None

    def __len__(self) -> int:
        return 0 if self.key is None else self.key.shape[2]

    def add(self, key: Float[Tensor, "B K T E"], value: Float[Tensor, "B K T E"]) -> tuple[Tensor, Tensor]:
        """Put new tokens behind the others; gives all there are."""
        if self.key is not None and self.value is not None:
            key, value = torch.cat((self.key, key), dim=2), torch.cat((self.value, value), dim=2)
        self.key, self.value = key, value
        return key, value


class ModernAttention(nn.Module):
    """Rotary, grouped, normed attention with a memory: [B, T, d_model] → [B, T, d_model].

    A text at once, and the same text token by token with a memory: the same results.

    >>> attention = ModernAttention(d_model=8, n_heads=4, n_kv_heads=2)
    >>> text, memory = torch.randn(1, 5, 8), Memory()
    >>> one_by_one = [attention(text[:, place : place + 1], memory) for place in range(5)]
    >>> bool(torch.allclose(torch.cat(one_by_one, dim=1), attention(text), atol=1e-6))
    True
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, *, qk_norm: bool = True) -> None:
        super().__init__()
        assert d_model % n_heads == 0, "the heads must share the width evenly"
        assert n_heads % n_kv_heads == 0, "each key/value head serves equally many query heads"
        self.d_head = d_model // n_heads
        self.W_query = nn.Linear(d_model, d_model, bias=False)
        self.W_key = nn.Linear(d_model, n_kv_heads * self.d_head, bias=False)
        self.W_value = nn.Linear(d_model, n_kv_heads * self.d_head, bias=False)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)
        self.query_norm = nn.RMSNorm(self.d_head, eps=1e-6) if qk_norm else nn.Identity()
        self.key_norm = nn.RMSNorm(self.d_head, eps=1e-6) if qk_norm else nn.Identity()

    def forward(self, x: Float[Tensor, "B T D"], memory: Memory | None = None) -> Float[Tensor, "B T D"]:
        """The text so far is in `memory`, if there is one; x is what comes next, and is remembered too."""
        start = 0 if memory is None else len(memory)
        places = torch.arange(start, start + x.shape[1])
        query, key, value = (self.split(layer(x)) for layer in (self.W_query, self.W_key, self.W_value))
        query, key = turn(self.query_norm(query), places), turn(self.key_norm(key), places)
        if memory is not None:
            key, value = memory.add(key, value)
        return self.out_proj(look_back(query, key, value).transpose(1, 2).flatten(2))

    def split(self, x: Float[Tensor, "B T heads_times_E"]) -> Float[Tensor, "B heads T E"]:
        """Cut the width into heads of width E and put the heads where the batch is."""
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)
