"""Preferences: the better of two answers becomes likelier than the worse one (DPO, Rafailov et al. 2023).

What the rung below lacks (`instructions`): it shows the model one right answer. Often there is none, and yet people can
say which of two they like better. Such a pair teaches too, without grades and without a second model that gives them:

    reward(answer) = beta · (ln p(answer) - ln p_before(answer))
    loss           = -ln sigmoid(reward(better) - reward(worse))

p is the model that learns, p_before a copy of it that does not. Before the first step both rewards are 0 and the loss
is ln 2. What counts is how far the two answers move apart, seen from where they were:

>>> before = torch.tensor([-10.0]), torch.tensor([-12.0])
>>> loss, better, worse = dpo_loss(*before, *before, beta=0.1)
>>> round(loss.item(), 4)
0.6931
>>> loss, better, worse = dpo_loss(torch.tensor([-8.0]), torch.tensor([-15.0]), *before, beta=0.1)
>>> [round(number.item(), 3) for number in (loss, better, worse)]
[0.474, 0.2, -0.3]

ln p(answer) is the *sum* over its tokens, the end token among them: the probability of the whole answer. Some code
takes the mean, in which a long answer may hide a few odd words.

`tests/equal/test_training_rungs_equal.py` proves it equal to `vidro.train.prefer`, which also computes p_before once
and keeps it. This is the last rung. Next: the code itself, `vidro.train.prefer`, and a model of your own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float, Int
from vidro.learn.instructions import IGNORE


def log_prob(model: nn.Module, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """ln of the probability of each row's answer: the logarithms of its tokens, added up. Targets of -100 are the task.

    >>> model = nn.Embedding.from_pretrained(torch.zeros(4, 4))  # four tokens, all equally probable
    >>> found = log_prob(model, torch.tensor([[0, 1, 2]]), torch.tensor([[-100, 2, 3]]))
    >>> round(found.item(), 3)  # 2 · ln 1/4
    -2.773
    """
    answer = targets != IGNORE
    log_probabilities = model(ids).log_softmax(dim=-1)
    at = targets.where(answer, torch.tensor(0))  # any token will do where it is not counted
    each = log_probabilities.gather(-1, at[..., None]).squeeze(-1)
    return (each * answer).sum(dim=-1)


def dpo_loss(
    better: Float[Tensor, "B"],
    worse: Float[Tensor, "B"],
    better_before: Float[Tensor, "B"],
    worse_before: Float[Tensor, "B"],
    beta: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean loss of the pairs, and the mean reward of their better and of their worse answers."""
    reward_better = beta * (better - better_before)
    reward_worse = beta * (worse - worse_before)
    loss = -nn.functional.logsigmoid(reward_better - reward_worse)
    return loss.mean(), reward_better.detach().mean(), reward_worse.detach().mean()


def weight_of(better_reward: float, worse_reward: float) -> float:
    """How strongly a pair still pulls: the loss's slope, sigmoid(worse - better). A pair that is settled lets go.

    >>> [round(weight_of(margin, 0.0), 2) for margin in (-4.0, 0.0, 4.0)]
    [0.98, 0.5, 0.02]
    """
    return torch.sigmoid(torch.tensor(float(worse_reward - better_reward))).item()
