"""The training loop: predict, measure, take the gradient, take a step; and again.

What the rungs below lack: `block` builds a model whose weights are random, and `bigram` learns nothing but pairs. Here
all weights of a model learn, by one recipe for any model:

    ids ─ model ─ logits ─ loss ─ backward: for each weight, how the loss would change ─ a small step the other way

The step is AdamW's (Loshchilov & Hutter 2019). A weight moves by the running mean of its gradients, divided by the root
of the running mean of their squares: about `lr` where the gradients agree, less where they contradict each other.

>>> weight = nn.Parameter(torch.tensor([5.0]))
>>> optimizer = AdamW([weight], lr=0.1)
>>> for _ in range(3):
...     optimizer.zero_grad()
...     (weight - 2).square().sum().backward()  # least at 2
...     optimizer.step()
...     print(round(weight.item(), 2))
4.9
4.8
4.7

`tests/equal/test_training_rungs_equal.py` proves that production's step (`vidro.train.step`, `vidro.train.optim`) gives
the same losses and weights. What is missing here is in `vidro.train.loop`: a learning rate that rises and falls,
saving, going on after a break, a plan. Next rung: `sampling`, how to choose when several tokens are possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float, Int

Batch = tuple[Tensor, Tensor]
"""ids [B, T] and targets [B, T]: the token after each."""


@runtime_checkable
class Optimizer(Protocol):
    """What the loop needs of an optimizer; those of `torch.optim` have it too."""

    def zero_grad(self) -> None: ...
    def step(self) -> object: ...


def loss_of(model: nn.Module, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Mean surprise in nats: minus the logarithm of the probability that each right token was given.

    >>> model = nn.Embedding.from_pretrained(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))  # a row of logits for each token
    >>> round(loss_of(model, torch.tensor([[0, 1]]), torch.tensor([[1, 1]])).item(), 3)  # (ln 2 + 0.127) / 2
    0.41
    """
    log_probabilities = model(ids).log_softmax(dim=-1)
    return -log_probabilities.gather(-1, targets[..., None]).mean()


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Mean loss of all tokens of the batches: nothing is dropped, nothing is learned, each token weighs the same."""
    was_training = model.training
    model.eval()
    total, n_tokens = 0.0, 0
    for ids, targets in batches:
        total += loss_of(model, ids, targets).item() * targets.numel()
        n_tokens += targets.numel()
    model.train(was_training)
    return total / n_tokens


def train(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    *,
    clip: float = 0.0,
    look: Callable[[int], None] | None = None,
) -> list[float]:
    """A step for each batch; the loss of each, measured before its step. `look` is called with the steps done."""
    losses: list[float] = []
    for ids, targets in batches:
        model.train()
        optimizer.zero_grad()  # gradients add up: those of the last step must go
        loss = loss_of(model, ids, targets)
        loss.backward()
        if clip > 0:
            clip_gradients(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
        if look is not None:
            look(len(losses))
    return losses


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> float:
    """Shorten all gradients by one factor if together they are longer than `most`; how long they were.

    >>> weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_gradients([weight], most=1.0), [round(number, 1) for number in weight.grad.tolist()]
    (5.0, [0.6, 0.8])
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    length = sum(gradient.square().sum().item() for gradient in gradients) ** 0.5
    if length > most:
        for gradient in gradients:
            gradient.mul_(most / length)
    return length


class AdamW:
    """AdamW in its plain form: for each weight a running mean of its gradient and of the gradient's square."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.weight_decay, self.beta1, self.beta2, self.eps = lr, weight_decay, beta1, beta2, eps
        self.mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.square = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move each weight once. Matrices also shrink a little (weight decay); vectors do not."""
        self.steps += 1
        for weight, mean, square in zip(self.parameters, self.mean, self.square, strict=True):
            if weight.grad is None:
                continue
            mean.copy_(self.beta1 * mean + (1 - self.beta1) * weight.grad)
            square.copy_(self.beta2 * square + (1 - self.beta2) * weight.grad**2)
            # Both began at 0 and are too small at first; dividing by this makes up for it.
            fair_mean = mean / (1 - self.beta1**self.steps)
            fair_square = square / (1 - self.beta2**self.steps)
            if weight.ndim >= 2:
                weight.mul_(1 - self.lr * self.weight_decay)
            weight.sub_(self.lr * fair_mean / (fair_square.sqrt() + self.eps))


@dataclass
class Best:
    """The weights of the best look so far, against overfitting: what was learned later is thrown away."""

    loss: float = float("inf")
    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def look(self, model: nn.Module, step: int, loss: float) -> None:
        """Keep a copy of the model if its validation loss is the lowest so far."""
        if loss < self.loss:
            self.loss, self.step = loss, step
            self.weights = {name: numbers.clone() for name, numbers in model.state_dict().items()}
