"""Attention, rung 1: a token looks at the others, with nothing to learn yet.

A token arrives as a list of numbers that knows nothing of its neighbours: "bank" is the same list beside "river" and
beside "money". Attention mixes the neighbours in, each as much as it resembles the token:

1. scores: the dot product of the token with every token (large when they point the same way);
2. shares: softmax of the scores (positive, sum 1, larger scores take more);
3. context: the tokens themselves, mixed in these shares.

What is missing: likeness is all there is. A verb cannot look for its subject unless the two happen to be alike.
Next rung: `attention_2` learns what to look for.
"""

from __future__ import annotations

from torch import Tensor

from vidro.core.shapes import Float


def simple_attention(x: Float[Tensor, "*B T D"]) -> Float[Tensor, "*B T D"]:
    """Replace every token by a mixture of all tokens, weighted by likeness.

    Three tokens of two numbers: the first and the last are nearly alike.

    >>> import torch
    >>> x = torch.tensor([[2.0, 0.0], [0.0, 1.0], [2.0, 0.5]])  # cats, chase, kittens
    >>> scores(x)
    tensor([[4.0000, 0.0000, 4.0000],
            [0.0000, 1.0000, 0.5000],
            [4.0000, 0.5000, 4.2500]])

    So the first token takes almost all of its new self from itself and its like, and little from the middle one:

    >>> torch.set_printoptions(precision=2, sci_mode=False)
    >>> shares(x)
    tensor([[0.50, 0.01, 0.50],
            [0.19, 0.51, 0.31],
            [0.43, 0.01, 0.55]])
    >>> simple_attention(x)
    tensor([[1.98, 0.26],
            [0.99, 0.66],
            [1.97, 0.29]])
    >>> torch.set_printoptions(profile="default")

    A mixture lies between what it is made of: no number grows past the largest in its column.
    """
    return shares(x) @ x


def scores(x: Float[Tensor, "*B T D"]) -> Float[Tensor, "*B T S"]:
    """How alike each token (row) is to each token (column): all dot products at once, as one matrix product."""
    return x @ x.transpose(-1, -2)


def shares(x: Float[Tensor, "*B T D"]) -> Float[Tensor, "*B T S"]:
    """The scores as shares of attention: softmax(s)_j = e^s_j / Σ_k e^s_k, along each row.

    >>> import torch
    >>> bool(torch.allclose(shares(torch.randn(4, 3)).sum(dim=-1), torch.ones(4)))
    True
    """
    return scores(x).softmax(dim=-1)
