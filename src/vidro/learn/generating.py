"""Generating: one row of logits becomes a token, the token is put behind the text, and the model is asked again.

What the rung below lacks (`block`): a model gives a score for every token that might come next, and writes nothing. A
text is made from it in a loop. The model sees the text so far; the last row of its logits scores the next token; the
highest wins (*greedy*, there is no chance in it); it becomes part of the text. What comes out goes back in: such a
model is called *autoregressive*.

A model that always scores the token after the last one highest, asked to go on from 1:

>>> def counting(ids):  # [B, T] ids → [B, T, V] logits, for V = 5
...     return torch.nn.functional.one_hot((ids + 1) % 5, 5).float()
>>> generate(counting, [1], n_tokens=6, context_length=4)
[2, 3, 4, 0, 1, 2]

Two things end a text: enough tokens, or the end mark. The mark itself is no part of the text.

>>> generate(counting, [1], n_tokens=6, context_length=4, end_id=0)
[2, 3, 4]

A model sees `context_length` tokens at most. Of a longer text it gets the last ones (`visible`) and has forgotten the
rest. Production (`vidro.infer.decode`) keeps the last half instead, once the window is full: it keeps what it computed,
and with every token that leaves at the front it would have to begin anew. Up to there both give the same tokens
(`tests/equal/test_generating_equal.py`).

What is missing: for each new token the whole text is computed again. Next rung: `kv_cache`. How to choose by chance is
`sampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vidro.core.shapes import Float

Model = Callable[[Tensor], Tensor]
"""[B, T] ids → [B, T, V] logits: a `GPT`, or anything that behaves like one."""


def visible(ids: Sequence[int], context_length: int) -> list[int]:
    """The part of a text that the model still sees: its last `context_length` tokens.

    >>> visible([5, 6, 7, 8], context_length=3)
    [6, 7, 8]
    """
    return list(ids[-context_length:])


@torch.no_grad()
def next_logits(model: Model, ids: Sequence[int], context_length: int) -> Float[Tensor, "V"]:
    """The scores of every token that may follow these: the last row, and the only one that is needed."""
    logits = model(torch.tensor([visible(ids, context_length)]))
    return logits[0, -1]


def generate(
    model: Model, ids: Sequence[int], n_tokens: int, context_length: int, *, end_id: int | None = None
) -> list[int]:
    """Continue a text by the likeliest token, again and again; gives what was added.

    Of equally likely tokens the one with the smallest id is taken.
    """
    assert ids, "there must be a token to continue from"
    text = list(ids)
    while len(text) < len(ids) + n_tokens:
        scores = next_logits(model, text, context_length)
        chosen = int(scores.argmax())
        if chosen == end_id:
            break
        text.append(chosen)
    return text[len(ids) :]
