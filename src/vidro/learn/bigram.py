"""A bigram model: the smallest language model. Which token follows which is all that it knows.

What the rungs below lack: `cross_entropy` measures a prediction; nothing has learned to predict yet. Here are two ways
to learn the same table.

* By counting: row a of the table says how often each token came after a. Divided by its sum, it is a probability.
* By training: row a holds logits that begin at 0, and every step moves them against the gradient of the loss.

>>> counts = count_pairs([0, 1, 0, 1, 0, 2], vocab_size=3)
>>> counts
tensor([[0., 2., 1.],
        [2., 0., 0.],
        [0., 0., 0.]])
>>> shares(counts)[0]
tensor([0.0000, 0.6667, 0.3333])

They meet: no table has a lower loss on its text than the counted shares, and where the gradient is zero the softmax of
each row is its row of shares (the gradient of a row of logits is softmax minus shares, times how often the row was
asked). What counting cannot do is more context: a table for two known tokens has V² rows, for three V³, and nearly all
of them are empty. A model that is trained needs no table. `tests/learn/test_bigram.py` proves that both ways meet.
Next rung: `training`, the same loop for a model that sees more than one token.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float, Int


def count_pairs(ids: Sequence[int], vocab_size: int) -> Float[Tensor, "V V"]:
    """How often token b (column) came right after token a (row)."""
    counts = torch.zeros(vocab_size, vocab_size)
    for first, second in pairwise(ids):
        counts[first, second] += 1
    return counts


def shares(counts: Float[Tensor, "V V"], added: float = 0.0) -> Float[Tensor, "V V"]:
    """Each row divided by its sum. `added` is put to every count first: no pair is quite impossible then (Laplace).

    A token that nothing followed has no shares; all are equal then.

    >>> shares(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), added=1.0)
    tensor([[0.8000, 0.2000],
            [0.5000, 0.5000]])
    """
    counts = counts + added
    sums = counts.sum(dim=1, keepdim=True)
    return torch.where(sums > 0, counts / sums.clamp(min=1e-30), 1 / counts.shape[1])


def table_loss(table: Float[Tensor, "V V"], ids: Sequence[int]) -> float:
    """Mean surprise of the text in nats, from its second token on; infinite if a pair has probability 0."""
    first, second = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
    return -table[first, second].log().mean().item()


class Bigram(nn.Module):
    """The same table as logits that learn: [B, T] ids in, [B, T, V] logits out. Row t knows token t only.

    >>> Bigram(vocab_size=3)(torch.tensor([[0, 2]])).shape
    torch.Size([1, 2, 3])
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(vocab_size, vocab_size))

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """A look-up: the row of each token."""
        return self.logits[ids]


def learn(model: nn.Module, ids: Sequence[int], n_steps: int, lr: float) -> list[float]:
    """Plain gradient descent on the whole text; the loss before each step, in nats."""
    first, second = torch.tensor([ids[:-1]]), torch.tensor([ids[1:]])
    losses = []
    for _ in range(n_steps):
        loss = nn.functional.cross_entropy(model(first)[0], second[0])
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weights in model.parameters():
                assert weights.grad is not None
                weights -= lr * weights.grad
        losses.append(loss.item())
    return losses
