"""Embeddings: a token is a row of numbers that can be learned, and so is its place.

What the rung below lacks (`windows`): it hands out ids, and an id is only a name. 7 is not more than 3, and 4 is no
neighbour of 5. A model needs numbers that can say what a token is like, and it should find them itself. So each id
picks a row of a table of V rows and D columns. The numbers are random at first and are learned like all others.

That is the same as a matrix product. Write the id as a row of zeros with a single one ("one-hot"); times the table it
gives that very row, since all other products are 0:

>>> table = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
>>> one_hot(torch.tensor([2, 0]), 3)
tensor([[0., 0., 1.],
        [1., 0., 0.]])
>>> one_hot(torch.tensor([2, 0]), 3) @ table
tensor([[0.5000, 0.6000],
        [0.1000, 0.2000]])
>>> table[torch.tensor([2, 0])]
tensor([[0.5000, 0.6000],
        [0.1000, 0.2000]])

Looking up is what is done, because nobody wants to multiply by zeros 50,000 times.

A second table has a row for each *place*, and the two rows are added. Without it "dog bites man" and "man bites dog"
would be the same three rows, and attention, which sees no order, could not tell them apart.

What this rung lacks: a place beyond the table has no row, and places 5 and 6 must each be learned. `attention_5` turns
queries and keys by an angle instead (Su et al. 2021). Next rung: `neuron`, the smallest thing that looks at such a row.
Production: `vidro.model.transformer`; `tests/equal/test_text_rungs_equal.py` proves both equal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float, Int


def one_hot(ids: Int[Tensor, "*N"], vocab_size: int) -> Float[Tensor, "*N V"]:
    """Each id as a row of zeros with a single one, at the place of the id."""
    return (ids[..., None] == torch.arange(vocab_size)).float()


class Embeddings(nn.Module):
    """Ids [B, T] in, vectors [B, T, d_model] out: the token's row plus the place's row.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> embeddings = Embeddings(vocab_size=10, d_model=4, context_length=8)
    >>> ids = torch.tensor([[3, 5, 3]])
    >>> x = embeddings(ids)
    >>> list(x.shape)
    [1, 3, 4]
    >>> bool((x[0, 0] == x[0, 2]).all())  # the same token, at another place
    False
    """

    def __init__(self, vocab_size: int, d_model: int, context_length: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(vocab_size, d_model))
        self.position = nn.Parameter(torch.randn(context_length, d_model))

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The row of each token plus the row of its place; the places are the same in every text of the batch."""
        n_tokens = ids.shape[1]
        assert n_tokens <= len(self.position), "more tokens than there are places"
        return self.token[ids] + self.position[:n_tokens]
