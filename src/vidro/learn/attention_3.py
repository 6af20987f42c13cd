"""Attention, rung 3: causal, no token sees what comes after it.

Rung 2 let every token look everywhere. A model that learns to guess the next token must not: it would copy. So the
shares of later tokens are taken away. Two ways, one result:

* after softmax: multiply by a lower triangle of ones, divide each row by what is left of it (`renormalised`);
* before softmax: set the scores of later tokens to -∞, whose e^s is 0 (`masked_first`).

They are equal. For token i let Z = Σ_k e^s_k over all tokens and A = Σ_{k ≤ i} e^s_k over those it may see. The first
way gives (e^s_j / Z) / (A / Z) = e^s_j / A for j ≤ i, and 0 otherwise: Z cancels. The second gives e^s_j / A at once.
In exact numbers, that is; in floats the first can meet a row whose allowed shares are all rounded to 0, and divide 0
by 0. Hence production takes the second.

Dropout: while training, some shares are set to 0 and the rest enlarged, so that nothing relies on one neighbour.

What is missing: one question per token. A word may need its subject and its tense at the same time.
Next rung: `attention_4` asks several questions side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float
from vidro.learn.attention_2 import SelfAttention


def renormalised(scores: Float[Tensor, "*B T T"]) -> Float[Tensor, "*B T T"]:
    """Softmax → multiply by the lower triangle → divide each row by its sum.

    >>> scores = torch.tensor([[1.0, 5.0, 2.0], [0.0, 0.0, 9.0], [0.0, 0.0, 0.0]])
    >>> torch.set_printoptions(precision=2, sci_mode=False)
    >>> scores.softmax(dim=-1)
    tensor([[0.02, 0.94, 0.05],
            [0.00, 0.00, 1.00],
            [0.33, 0.33, 0.33]])
    >>> renormalised(scores)
    tensor([[1.00, 0.00, 0.00],
            [0.50, 0.50, 0.00],
            [0.33, 0.33, 0.33]])
    >>> bool(torch.allclose(renormalised(scores), masked_first(scores)))
    True
    >>> torch.set_printoptions(profile="default")
    """
    shares = scores.softmax(dim=-1).tril()
    return shares / shares.sum(dim=-1, keepdim=True)


def masked_first(scores: Float[Tensor, "*B T T"]) -> Float[Tensor, "*B T T"]:
    """Later tokens' scores become -∞, then softmax.

    >>> masked_first(torch.zeros(3, 3))[1]
    tensor([0.5000, 0.5000, 0.0000])
    """
    later = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
    return scores.masked_fill(later, -torch.inf).softmax(dim=-1)


class CausalAttention(SelfAttention):
    """`SelfAttention` that looks back only: [B, T, d_in] in, [B, T, d_out] out, T up to `context_length`.

    >>> attention = CausalAttention(d_in=2, d_out=2, context_length=4, dropout=0.0)
    >>> text = torch.randn(1, 4, 2)
    >>> changed = text.clone()
    >>> changed[0, 3] += 1.0  # another last token …
    >>> bool((attention(text)[0, :3] == attention(changed)[0, :3]).all())  # … changes nothing before it
    True
    """

    def __init__(self, d_in: int, d_out: int, context_length: int, dropout: float) -> None:
        super().__init__(d_in, d_out)
        self.context_length = context_length
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*B T D"]) -> Float[Tensor, "*B T E"]:
        """For each token: the values up to its own, mixed."""
        assert x.shape[-2] <= self.context_length, "more tokens than the context holds"
        shares = masked_first(self.scores(x))
        return self.dropout(shares) @ self.W_value(x)
