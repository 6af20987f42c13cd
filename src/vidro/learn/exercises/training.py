"""Exercise for training: the loss, a fair evaluation, and the loop with its order of four lines."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import same

STUB = '''\
"""Exercise training: the training loop. Check it with: vidro learn check training FILE"""

import torch


def loss_of(model, ids, targets):
    """model(ids) gives logits [B, T, V]. The mean surprise about targets [B, T], in nats, as a tensor."""
    raise NotImplementedError


def evaluate(model, batches):
    """The mean loss of all tokens of the batches, as a number. A batch is a pair (ids, targets); they differ in size.

    Nothing is learned and nothing is dropped; afterwards the model is in the mode (train or eval) that it was in.
    """
    raise NotImplementedError


def train(model, optimizer, batches):
    """A step for each batch, in train mode: optimizer.zero_grad(), loss, backward, optimizer.step().

    A list with the loss of each batch as a number.
    """
    raise NotImplementedError
'''

V = 7
LOSS = ("loss_of", "calc_loss_batch", "batch_loss", "loss")
EVALUATE = ("evaluate", "calc_loss_loader", "mean_loss")
Batches = list[tuple[Tensor, Tensor]]


def small_model(*, dropout: float = 0.0) -> nn.Module:
    """A model of pairs, with known weights."""
    dice = torch.Generator().manual_seed(4)
    model = nn.Sequential(nn.Embedding(V, 6), nn.Dropout(dropout), nn.Linear(6, V))
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn(weights.shape, generator=dice))
    return model


def some_batches() -> Batches:
    """Batches of 4 × 5, 4 × 5 and 1 × 3 tokens."""
    dice = torch.Generator().manual_seed(2)
    rows = [torch.randint(V, size, generator=dice) for size in ((4, 6), (4, 6), (1, 4))]
    return [(each[:, :-1], each[:, 1:]) for each in rows]


def loss_by(solution: Solution, model: nn.Module, ids: Tensor, targets: Tensor) -> Any:
    """The reader's loss, whatever it calls what it is given."""
    called = {"x": ids, "inputs": ids, "input_batch": ids, "idx": ids, "y": targets, "target_batch": targets}
    return build(solution.get(*LOSS), model=model, ids=ids, targets=targets, device="cpu", **called)


def evaluated_by(solution: Solution, model: nn.Module, batches: Batches) -> float:
    """The reader's evaluation, as a number."""
    called = {"loader": batches, "data_loader": batches, "device": "cpu"}
    found = build(solution.get(*EVALUATE), model=model, batches=batches, **called)
    if not isinstance(found, float | int | Tensor):
        raise Wrong("evaluate answers with a number", found=type(found).__name__, hint="Is there a return?")
    return float(found)


def surprises(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """Of each token, in nats."""
    return nn.functional.cross_entropy(model(ids).transpose(1, 2), targets, reduction="none")


def the_loss_is_right(solution: Solution) -> None:
    """The mean over tokens, or which mistake."""
    model, (ids, targets) = small_model(), some_batches()[0]
    found = loss_by(solution, model, ids, targets)
    if not isinstance(found, Tensor) or found.ndim > 0:
        raise Wrong("the loss is one number in a tensor", found=getattr(found, "shape", type(found).__name__))
    each, logits = surprises(model, ids, targets), model(ids)
    twice = nn.functional.cross_entropy(logits.softmax(-1).transpose(1, 2), targets)
    wrong = {
        "the loss is the sum over tokens: take the mean": each.sum(),
        "softmax is taken twice: cross_entropy wants logits": twice,
        "the logarithm is to base 2: take nats": each.mean() / math.log(2),
        "this is perplexity: the loss is its logarithm": each.mean().exp(),
        "the sign is wrong: surprise is minus the logarithm": -each.mean(),
        "only the last token of each row is counted": each[:, -1].mean(),
        "ids are shifted already: do not shift them once more": surprises(model, ids[:, :-1], targets[:, 1:]).mean(),
        "this is the mean probability: take logarithms first": (-each).exp().mean(),
    }
    same(found, each.mean().detach(), {name: number.detach() for name, number in wrong.items()}, what="the loss")


def gradients_flow(solution: Solution) -> None:
    """`backward` works on what came back."""
    model, (ids, targets) = small_model(), some_batches()[0]
    found = loss_by(solution, model, ids, targets)
    if not found.requires_grad:
        raise Wrong("the loss has no gradient", hint="Return the tensor itself, not .item(), and no no_grad here.")


def each_token_weighs_the_same(solution: Solution) -> None:
    """Not each batch."""
    model, batches = small_model(), some_batches()
    each = [surprises(model, *batch).detach() for batch in batches]
    wrong = {
        "a short batch weighs as much as a long one: divide the sum over all tokens by their number": torch.stack(
            [one.mean() for one in each]
        ).mean(),
        "only the last batch is counted": each[-1].mean(),
        "only the first batch is counted": each[0].mean(),
        "it is the sum over batches: divide": torch.stack([one.mean() for one in each]).sum(),
    }
    right = torch.cat([one.flatten() for one in each]).mean()
    same(evaluated_by(solution, model, batches), right, wrong, what="the mean loss")


def looking_changes_nothing(solution: Solution) -> None:
    """Dropout is off, no graph is built, the mode comes back."""
    model, batches = small_model(dropout=0.5), some_batches()
    grads: list[bool] = []
    model.register_forward_hook(lambda _, __, answer: grads.append(answer.requires_grad))
    for mode in (True, False):
        model.train(mode)
        if evaluated_by(solution, model, batches) != evaluated_by(solution, model, batches):
            raise Wrong("two evaluations of one model differ: dropout is still on", hint="Call model.eval() first.")
        if model.training is not mode:
            before, after = ("train", "eval") if mode else ("eval", "train")
            raise Wrong(f"the model was in {before} mode, and evaluate left it in {after} mode")
    if any(grads):
        raise Wrong("gradients are prepared although nothing is learned", hint="Use torch.no_grad().")


def by_hand(model: nn.Module, batches: Batches, *, mistake: str = "") -> tuple[Tensor, list[float]]:
    """All weights after a step of plain gradient descent for each batch, and the losses; or with a mistake."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.5), []
    for ids, targets in batches:
        if "add up" not in mistake:
            optimizer.zero_grad()
        loss = surprises(model, ids, targets).mean()
        loss.backward()
        if "cleared between" in mistake:
            optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return torch.cat([weights.detach().flatten() for weights in model.parameters()]), losses


MISTAKES = (
    "the gradients of earlier steps add up: call optimizer.zero_grad() in each step",
    "nothing moves: the gradients are cleared between backward and step, or there is no step",
)


def trained_by(solution: Solution, model: nn.Module, batches: Iterable[Any], lr: float = 0.5) -> Any:
    """The reader's loop with plain gradient descent."""
    return solution.get("train", "training_loop")(model, torch.optim.SGD(model.parameters(), lr=lr), batches)


def it_takes_the_steps(solution: Solution) -> None:
    """Weights after three steps."""
    batches = some_batches()
    model = small_model()
    trained_by(solution, model, batches)
    found = torch.cat([weights.detach().flatten() for weights in model.parameters()])
    right, _ = by_hand(small_model(), batches)
    wrong = {mistake: by_hand(small_model(), batches, mistake=mistake)[0] for mistake in MISTAKES}
    wrong["only the first batch is learned: is the return inside the loop?"] = by_hand(small_model(), batches[:1])[0]
    same(found, right, wrong, what="the weights after three steps")


def it_tells_the_losses(solution: Solution) -> None:
    """One for each batch, from before its step, as numbers."""
    batches = some_batches()
    found = trained_by(solution, small_model(), batches)
    if not isinstance(found, list) or len(found) != len(batches):
        raise Wrong("train answers with a list of one loss for each batch", found=found)
    if isinstance(found[0], Tensor) and found[0].requires_grad:
        raise Wrong("a loss in the list keeps its whole computation in memory", hint="Keep loss.item().")
    _, losses = by_hand(small_model(), batches)
    same([float(loss) for loss in found], torch.tensor(losses), what="the losses")


def it_trains_in_train_mode(solution: Solution) -> None:
    """Also where the model came in eval mode."""
    model, modes = small_model(dropout=0.5).eval(), []
    model.register_forward_hook(lambda part, _, __: modes.append(part.training))
    trained_by(solution, model, some_batches())
    if not all(modes):
        raise Wrong(
            "the model came in eval mode and was trained in it: dropout did nothing", hint="Call model.train()."
        )


def it_learns_by_heart(solution: Solution) -> None:
    """A hundred times the same window."""
    model, ids = small_model(), torch.tensor([[0, 1, 2, 3, 4, 5]])
    before = copy.deepcopy(model)
    trained_by(solution, model, [(ids, (ids + 1) % V)] * 100)
    start, end = (surprises(each, ids, (ids + 1) % V).mean().item() for each in (before, model))
    if end > 0.1:
        raise Wrong(f"after 100 steps on one window the loss went from {start:.1f} to {end:.1f} only")


EXERCISE = Exercise(
    "training",
    STUB,
    (
        Step("the loss is the mean surprise", the_loss_is_right),
        Step("a gradient can be taken of it", gradients_flow),
        Step("evaluate: each token weighs the same", each_token_weighs_the_same),
        Step("evaluate: nothing is dropped, nothing is kept, the mode comes back", looking_changes_nothing),
        Step("train: the weights after three steps are right", it_takes_the_steps),
        Step("train: one loss for each batch", it_tells_the_losses),
        Step("train: dropout is on", it_trains_in_train_mode),
        Step("a window can be learned by heart", it_learns_by_heart),
    ),
    solution="vidro.learn.training",
)
