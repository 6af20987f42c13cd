"""Exercise for dpo: the log-probability of an answer, summed, and the loss of a pair."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import same

STUB = '''\
"""Exercise dpo: the better of two answers. Check it with: vidro learn check dpo FILE"""

import torch


def log_prob(model, ids, targets):
    """ln of the probability of each row's answer, [B]: added up over its tokens, targets of -100 left out.

    ids and targets are [B, T]; model(ids) gives logits [B, T, V].
    """
    raise NotImplementedError


def dpo_loss(better, worse, better_before, worse_before, beta):
    """Four tensors [B] of log-probabilities. Three numbers in tensors: the mean loss, and the mean reward of the
    better and of the worse answers (without gradients).

    reward = beta · (now − before);  loss = −ln sigmoid(reward of the better − reward of the worse)
    """
    raise NotImplementedError
'''

V, IGNORE = 6, -100
LOG_PROB = ("log_prob", "compute_logprobs", "answer_log_prob", "log_probs")
LOSS = ("dpo_loss", "compute_dpo_loss")


def small_model() -> nn.Module:
    """Logits for each token, known."""
    return nn.Embedding.from_pretrained(torch.randn(V, V, generator=torch.Generator().manual_seed(1)), freeze=False)


def rows() -> tuple[Tensor, Tensor]:
    """Two rows whose answers are three tokens and one token long."""
    ids = torch.tensor([[1, 2, 3, 4, 5], [5, 0, 2, 0, 0]])
    targets = torch.tensor([[IGNORE, 3, 4, 5, IGNORE], [IGNORE, 2, IGNORE, IGNORE, IGNORE]])
    return ids, targets


def each_token(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """ln p of each learned token, 0 elsewhere."""
    return -F.cross_entropy(model(ids).transpose(1, 2), targets, reduction="none", ignore_index=IGNORE)


def found_by(solution: Solution, ids: Tensor, targets: Tensor, model: nn.Module) -> Any:
    """The reader's log-probabilities."""
    return build(solution.get(*LOG_PROB), model=model, ids=ids, targets=targets, x=ids, y=targets, labels=targets)


def one_number_for_each_row(solution: Solution) -> None:
    """[B], with a gradient."""
    found = found_by(solution, *rows(), small_model())
    if not isinstance(found, Tensor) or list(found.shape) != [2]:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise Wrong("two rows give two numbers", found=shape, expected=[2])
    if not found.requires_grad:
        raise Wrong("no gradient goes through", hint="No no_grad and no .item() here.")


def it_is_the_sum(solution: Solution) -> None:
    """Over the answer, or which mistake."""
    model, (ids, targets) = small_model(), rows()
    each = each_token(model, ids, targets).detach()
    n = (targets != IGNORE).sum(-1)
    zero = each_token(model, ids, targets.clamp(min=0)).detach()
    shifted = each_token(model, ids[:, :-1], targets[:, 1:]).detach()
    wrong = {
        "it is the mean over the answer's tokens: take the sum": each.sum(-1) / n,
        "the sign is wrong: a logarithm of a probability is below 0": -each.sum(-1),
        "the task is counted too: leave targets of -100 out": zero.sum(-1),
        "targets are shifted already: do not shift them once more": shifted.sum(-1),
        "it is the probability: take its logarithm": each.sum(-1).exp(),
        "it is the mean over all places, the task among them: take the sum": each.mean(-1),
    }
    same(found_by(solution, ids, targets, model), each.sum(-1), wrong, what="the log-probabilities")


# Of two pairs, (better, worse).
NOW = torch.tensor([-3.0, -5.0]), torch.tensor([-4.0, -2.2])
BEFORE = torch.tensor([-4.0, -4.5]), torch.tensor([-3.5, -3.0])
BETA = 0.5


def losses(solution: Solution, now: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor], beta: float) -> list[Tensor]:
    """The reader's three numbers."""
    found = solution.get(*LOSS)(now[0], now[1], before[0], before[1], beta)
    if not isinstance(found, tuple | list) or len(found) != 3:
        raise Wrong("dpo_loss gives three things: loss, better reward, worse reward", found=type(found).__name__)
    if not all(isinstance(part, Tensor) and part.ndim == 0 for part in found):
        raise Wrong("each of the three is one number in a tensor", found=[getattr(p, "shape", p) for p in found])
    return list(found)


def it_begins_at_ln_2(solution: Solution) -> None:
    """Nothing has moved."""
    found = losses(solution, BEFORE, BEFORE, BETA)[0].item()
    if abs(found - math.log(2)) > 1e-5:
        raise Wrong("where nothing has moved the loss is ln 2", found=round(found, 4), expected=0.6931)


def the_loss_is_right(solution: Solution) -> None:
    """By hand, or which mistake."""
    better, worse = (BETA * (now - before) for now, before in zip(NOW, BEFORE, strict=True))
    right = -F.logsigmoid(better - worse).mean()
    wrong = {
        "better and worse are exchanged, or now and before": -F.logsigmoid(worse - better).mean(),
        "beta is missing": -F.logsigmoid((better - worse) / BETA).mean(),
        "the logarithm is missing": -(better - worse).sigmoid().mean(),
        "the model from before is not used": -F.logsigmoid(BETA * (NOW[0] - NOW[1])).mean(),
        "the sign is wrong: minus the logarithm": F.logsigmoid(better - worse).mean(),
        "the logarithm is taken of the mean: each pair has its own": -F.logsigmoid((better - worse).mean()),
        "it is the sum over pairs: take the mean": -F.logsigmoid(better - worse).sum(),
        "sigmoid is missing": -(better - worse).mean(),
    }
    same(losses(solution, NOW, BEFORE, BETA)[0], right, wrong, what="the loss")


def the_rewards_are_right(solution: Solution) -> None:
    """beta · (now − before), without gradient."""
    now = tuple(part.clone().requires_grad_() for part in NOW)
    _, *found = losses(solution, (now[0], now[1]), BEFORE, BETA)
    right = torch.stack([BETA * (after - before).mean() for after, before in zip(NOW, BEFORE, strict=True)])
    wrong = {"beta is not in the rewards": right / BETA, "the two rewards are exchanged": right.flip(0)}
    same(torch.stack([part.detach() for part in found]), right, wrong, what="the rewards")
    if any(part.requires_grad for part in found):
        raise Wrong("a reward keeps its whole computation in memory", hint="They are only looked at: detach().")


def it_does_not_overflow(solution: Solution) -> None:
    """A pair that is very wrong."""
    far = torch.tensor([-2000.0]).requires_grad_(), torch.tensor([0.0]).requires_grad_()
    loss = losses(solution, far, (torch.tensor([0.0]), torch.tensor([-2000.0])), 1.0)[0]
    if not loss.isfinite() or abs(loss.item() - 4000) > 1:
        hint = "sigmoid of a very negative number is rounded to 0: torch.nn.functional.logsigmoid does both at once."
        raise Wrong("a pair that is very wrong gives no finite loss", found=loss.item(), expected=4000.0, hint=hint)


def it_pulls_both_ways(solution: Solution) -> None:
    """The better up, the worse down, the model from before nowhere."""
    now = tuple(part.clone().requires_grad_() for part in NOW)
    losses(solution, (now[0], now[1]), BEFORE, BETA)[0].backward()
    if any(part.grad is None for part in now):
        raise Wrong("no gradient reaches the answers", hint="Is the loss detached?")
    if not (now[0].grad < 0).all() or not (now[1].grad > 0).all():  # pyright: ignore[reportOptionalOperand]
        raise Wrong("a step against the gradient must make the better answer likelier and the worse one rarer")


EXERCISE = Exercise(
    "dpo",
    STUB,
    (
        Step("log_prob gives a number for each row", one_number_for_each_row),
        Step("it is the sum over the answer's tokens", it_is_the_sum),
        Step("where nothing has moved the loss is ln 2", it_begins_at_ln_2),
        Step("the loss is right", the_loss_is_right),
        Step("the rewards are right", the_rewards_are_right),
        Step("a pair that is very wrong has a finite loss", it_does_not_overflow),
        Step("the better answer is pulled up, the worse one down", it_pulls_both_ways),
    ),
    solution="vidro.learn.dpo",
)
