"""The cache of keys and values: what was computed for earlier tokens is kept, and only the new token is computed.

What the rung below lacks (`generating`): it runs the whole text through the model for every new token. But no token
looks ahead, so a new one changes nothing in those before it: their keys and values come out the same again. They can be
kept. The new token then needs only its own query, key and value in each layer, and looks back on what is kept.

    without     t1   t1 t2   t1 t2 t3   t1 t2 t3 t4      1 + 2 + 3 + 4 = 10 tokens through the model
    with        t1      t2         t3            t4      4 tokens

>>> [tokens_computed(prompt=1, made=n, cached=False) for n in (4, 100, 1000)]
[10, 5050, 500500]
>>> [tokens_computed(prompt=1, made=n, cached=True) for n in (4, 100, 1000)]
[4, 100, 1000]

Two things are easily done wrong. The new token is alone in its pass, but stands at its own place and not at place 0.
And when several tokens are fed at once behind others (a long prompt in pieces), each sees all that is kept and those
fed with it up to itself.

The price is memory: 2 · layers · width numbers for each token, key and value. And a text that has outgrown the context
moves to other places, so all that was kept is worth nothing: production keeps the last half and begins anew (`slid`).

`vidro.model.cache` does this for many texts of unequal length side by side, in memory taken once. Rung `attention_5`
has the same for today's attention. Equal: `tests/equal/test_generating_equal.py`. Next: `surprise`, how good is a text.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vidro.core.shapes import Float, Int
from vidro.learn.attention_4 import MultiHeadAttention
from vidro.learn.attention_5 import Memory, look_back
from vidro.learn.block import GPT


def attend(attention: MultiHeadAttention, x: Float[Tensor, "B T D"], memory: Memory) -> Float[Tensor, "B T D_out"]:
    """`attention(x)` for tokens that follow those in `memory`; they are remembered too.

    >>> attention = MultiHeadAttention(4, 4, context_length=5, n_heads=2, dropout=0.0)
    >>> text, memory = torch.randn(1, 5, 4), Memory()
    >>> pieces = [attend(attention, piece, memory) for piece in text.split([3, 1, 1], dim=1)]
    >>> bool(torch.allclose(torch.cat(pieces, dim=1), attention(text), atol=1e-6))
    True
    """
    layers = (attention.W_query, attention.W_key, attention.W_value)
    query, key, value = (attention.split(layer(x)) for layer in layers)
    key, value = memory.add(key, value)
    return attention.out_proj(look_back(query, key, value).transpose(1, 2).flatten(2))


class Reader:
    """A model that reads a text piece by piece and remembers: one `Memory` for each layer.

    >>> model = GPT(vocab_size=9, context_length=6, d_model=8, n_layers=2, n_heads=2)
    >>> reader = Reader(model)
    >>> pieces = [reader.read(torch.tensor([piece])) for piece in ([3, 1], [4], [1, 5])]
    >>> bool(torch.allclose(torch.cat(pieces, dim=1), model(torch.tensor([[3, 1, 4, 1, 5]])), atol=1e-5))
    True
    """

    def __init__(self, model: GPT) -> None:
        self.model = model
        self.memories = [Memory() for _ in model.blocks]

    @torch.no_grad()
    def read(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """`GPT.forward` of tokens that follow all that was read before."""
        model, start = self.model, len(self.memories[0])
        places = torch.arange(start, start + ids.shape[1])  # not from 0: the text goes on
        x = model.token_embedding(ids) + model.place_embedding(places)
        for block, memory in zip(model.blocks, self.memories, strict=True):
            x = x + attend(block.attention, block.norm_1(x), memory)  # pyright: ignore
            x = x + block.feedforward(block.norm_2(x))  # pyright: ignore
        return model.head(model.final_norm(x))


def generate(
    model: GPT, ids: Sequence[int], n_tokens: int, context_length: int, *, end_id: int | None = None
) -> list[int]:
    """The same tokens as `generating.generate`, each for the work of one; a full context goes on with its last half."""
    made: list[int] = []
    reader, new, text = Reader(model), list(ids), list(ids)
    while len(made) < n_tokens:
        scores = reader.read(torch.tensor([new]))[0, -1]
        chosen = int(scores.argmax())
        if chosen == end_id:
            break
        made.append(chosen)
        text, new = [*text, chosen], [chosen]
        if len(text) > context_length:
            text = slid(text, context_length)
            reader, new = Reader(model), text
    return made


def slid(ids: Sequence[int], context_length: int) -> list[int]:
    """What is kept of a text that has outgrown the context: its last half.

    >>> slid([1, 2, 3, 4, 5, 6, 7], context_length=6)
    [5, 6, 7]
    """
    return list(ids[-max(1, context_length // 2) :])


def tokens_computed(*, prompt: int, made: int, cached: bool) -> int:
    """How many tokens go through the model until `made` new ones are chosen, within one context."""
    return prompt + made - 1 if cached else sum(range(prompt, prompt + made))


def bytes_per_token(n_layers: int, width: int, bytes_per_number: int = 4) -> int:
    """What the cache keeps of one token: a key and a value of this width in each layer.

    The smallest GPT-2, 12 layers of width 768, 4 bytes a number:

    >>> bytes_per_token(12, 768)
    73728
    """
    return 2 * n_layers * width * bytes_per_number
