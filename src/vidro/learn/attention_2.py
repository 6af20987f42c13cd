"""Attention, rung 2: three learned matrices decide what is looked for, what is shown and what is given.

Rung 1 compared the tokens as they are, so only likeness could count. Here each token is seen through three matrices:

    query = x W_query    what I am looking for
    key   = x W_key      what I can be found by
    value = x W_value    what I hand over when I am found

and the score is query · key. A verb's query can now match a noun's key, whatever the two words look like.

The scores are divided by √d, the root of the width of a key: a dot product of d random numbers grows as √d, and
softmax of large numbers gives everything to one token, which leaves no gradient to learn from.

What is missing: a token sees what comes after it. A model that is to guess the next word would simply read it.
Next rung: `attention_3` hides the future.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from vidro.core.shapes import Float


class SelfAttention(nn.Module):
    """Attention with trainable weights: [T, d_in] in, [T, d_out] out.

    Chosen by hand instead of trained: the query asks with the first number, the key answers with the second.

    >>> import torch
    >>> attention = SelfAttention(d_in=2, d_out=1)
    >>> attention.set_weights(query=[[2.0, 0.0]], key=[[0.0, 1.0]], value=[[10.0, 0.0]])
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 3.0]])
    >>> attention.scores(x).tolist()
    [[0.0, 2.0, 6.0], [0.0, 0.0, 0.0], [0.0, 1.0, 3.0]]

    The first token asks loudest (2) and finds the third, whose key is 3, though the two are not alike. The second
    asks nothing (0) and so looks at all three equally: its result is the mean of the values 10, 0 and 5.

    >>> [round(number, 2) for number in attention(x).flatten().tolist()]
    [4.92, 5.0, 4.64]
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.W_query = nn.Linear(d_in, d_out, bias=False)
        self.W_key = nn.Linear(d_in, d_out, bias=False)
        self.W_value = nn.Linear(d_in, d_out, bias=False)

    def forward(self, x: Float[Tensor, "*B T D"]) -> Float[Tensor, "*B T E"]:
        """For each token: all values, mixed in the shares that its query finds."""
        return self.scores(x).softmax(dim=-1) @ self.W_value(x)

    def scores(self, x: Float[Tensor, "*B T D"]) -> Float[Tensor, "*B T S"]:
        """query · key / √d for every pair of tokens."""
        query, key = self.W_query(x), self.W_key(x)
        return query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])

    def set_weights(self, *, query: list, key: list, value: list) -> None:
        """Put in numbers of one's own, [d_out][d_in] each: a weight matrix has one row per output."""
        for layer, rows in ((self.W_query, query), (self.W_key, key), (self.W_value, value)):
            layer.weight.data = layer.weight.new_tensor(rows)
