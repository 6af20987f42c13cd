"""Temperature and top-k by hand: how to choose the next token when several are possible.

What the rungs below lack: `generating` always takes the most probable token. Its texts run in circles, and where the
model knows its training text by heart they repeat it. So the token is drawn, each as often as it is probable; and two
knobs decide how daring the draw is.

    logits ─ ÷ temperature ─ all but the k largest to -∞ ─ softmax ─ draw

Temperature divides the logits (Ackley, Hinton & Sejnowski 1985 drew so): below 1 the large become larger, above 1 all
draw near each other. Top-k (Fan et al. 2018) gives everything but the k best a logit of -∞, and e to the power of -∞ is
exactly 0.

>>> logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
>>> [round(p, 2) for p in with_temperature(logits, 1.0).tolist()]
[0.64, 0.24, 0.09, 0.03]
>>> [round(p, 2) for p in with_temperature(logits, 0.5).tolist()]
[0.86, 0.12, 0.02, 0.0]
>>> keep_top_k(logits, 2)
tensor([2., 1., -inf, -inf])

`tests/equal/test_training_rungs_equal.py` proves it equal to `vidro.model.sampling`, down to the drawn tokens. That has
more filters (top-p, min-p, repetition penalty) and rows side by side. Next: `classifier`, another head on the model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float


def with_temperature(logits: Float[Tensor, "V"], temperature: float) -> Float[Tensor, "V"]:
    """Softmax of the logits divided by the temperature.

    The largest logit is taken away first, which changes no probability and lets the temperature be tiny:

    >>> with_temperature(torch.tensor([1.0, 3.0]), 1e-40)
    tensor([0., 1.])
    """
    return ((logits - logits.max()) / temperature).softmax(dim=-1)


def keep_top_k(logits: Float[Tensor, "V"], k: int) -> Float[Tensor, "V"]:
    """The k largest as they are, the others -∞; all of them if there are fewer than k."""
    least_kept = logits.sort(descending=True).values[min(k, len(logits)) - 1]
    return torch.where(logits < least_kept, torch.tensor(-torch.inf), logits)


def draw(probabilities: Float[Tensor, "V"], dice: torch.Generator) -> int:
    """A token, each as often as it is probable: all tokens side by side on a line from 0 to 1, and a dart thrown at it.

    >>> dice = torch.Generator().manual_seed(0)
    >>> [draw(torch.tensor([0.2, 0.0, 0.8]), dice) for _ in range(10)]
    [2, 2, 2, 2, 2, 2, 0, 2, 2, 2]
    """
    ends = probabilities.double().cumsum(dim=-1)
    dart = torch.rand((), dtype=torch.float64, generator=dice) * ends[-1]
    return int((ends <= dart).sum())  # so many tokens end before the dart


def choose(logits: Float[Tensor, "V"], dice: torch.Generator, *, temperature: float = 1.0, top_k: int = 0) -> int:
    """The next token. Temperature 0 takes the most probable; `top_k` 0 keeps all."""
    if temperature == 0:
        return int(logits.argmax())
    if top_k > 0:
        logits = keep_top_k(logits, top_k)
    return draw(with_temperature(logits, temperature), dice)


@torch.no_grad()
def generate(
    model: nn.Module,
    ids: list[int],
    n_new: int,
    dice: torch.Generator,
    *,
    context_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
) -> list[int]:
    """The ids and `n_new` more; the model sees the last `context_length` of them.

    >>> counter = nn.Embedding.from_pretrained(9.0 * torch.eye(5).roll(1, dims=1))  # after 0 comes 1, after 1 comes 2 …
    >>> generate(counter, [2], 4, torch.Generator(), context_length=1, temperature=0.0)
    [2, 3, 4, 0, 1]
    """
    ids = list(ids)
    for _ in range(n_new):
        logits = model(torch.tensor([ids[-context_length:]]))[0, -1]
        ids.append(choose(logits, dice, temperature=temperature, top_k=top_k))
    return ids
