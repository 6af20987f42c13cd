"""A head for classes: the last token's vector, and as many outputs as there are classes.

What the rungs below lack: they end in a score for each of thousands of tokens. To sort messages there are two answers,
spam or not. The body that learned to read (embeddings, blocks, norm) is kept. Only the head is taken off, and a small
one put on: a matrix from the width of the model to the number of classes.

    ids ─ body ─ a vector for each token ─ that of the last real token ─ new head ─ a score for each class

Why the last: attention looks back only, so the last token is the only one that has seen all. Why the last *real* one:
a batch is padded to one length, and the vector of a padding token has seen the padding too.

>>> last_real([[7, 8, 9], [4]]), padded([[7, 8, 9], [4]], pad_id=0)
([2, 0], tensor([[7, 8, 9],
        [4, 0, 0]]))

`tests/equal/test_training_rungs_equal.py` proves it equal to `vidro.model.heads`. What is missing here is in
`vidro.train.classify`: weights for rare classes, watching the validation part. Next rung: `instructions`, answers in
words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float, Int
from vidro.learn.block import GPT


def with_class_head(model: GPT, n_classes: int) -> GPT:
    """Take the head off and put a smaller one on, in place: zeros, so that at first every class is equally probable.

    >>> model = GPT(vocab_size=50, context_length=6, d_model=8, n_layers=2, n_heads=2)
    >>> with_class_head(model, 2).head
    Linear(in_features=8, out_features=2, bias=False)
    """
    model.head = nn.Linear(model.head.in_features, n_classes, bias=False)
    nn.init.zeros_(model.head.weight)
    return model


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> Int[Tensor, "B T"]:
    """The rows side by side, filled up on the right to the longest."""
    length = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad_id] * (length - len(row))] for row in rows])


def last_real(rows: Sequence[Sequence[int]]) -> list[int]:
    """Where the last token of each row stands."""
    return [len(row) - 1 for row in rows]


def class_logits(model: nn.Module, ids: Int[Tensor, "B T"], last: Sequence[int]) -> Float[Tensor, "B C"]:
    """A score for each class of each row, read at its last real token."""
    scores = model(ids)  # [B, T, C]: a row of scores at every token
    return scores[torch.arange(len(ids)), torch.tensor(last)]


def class_loss(
    model: nn.Module, ids: Int[Tensor, "B T"], last: Sequence[int], labels: Int[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Mean surprise about the right classes, in nats: one question for each row, not for each token."""
    log_probabilities = class_logits(model, ids, last).log_softmax(dim=-1)
    return -log_probabilities.gather(-1, labels[:, None]).mean()


@torch.no_grad()
def accuracy(model: nn.Module, ids: Int[Tensor, "B T"], last: Sequence[int], labels: Int[Tensor, "B"]) -> float:
    """The share of rows whose class with the highest score is the right one."""
    return (class_logits(model, ids, last).argmax(dim=-1) == labels).float().mean().item()


def only_last_block_learns(model: GPT) -> None:
    """Freeze everything but the last block, the last norm and the head."""
    model.requires_grad_(False)
    for part in (model.blocks[-1], model.final_norm, model.head):
        part.requires_grad_(True)
