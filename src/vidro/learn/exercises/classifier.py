"""Exercise for classifier: a small head on a body, read at the last real token, and a part that learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.learn.adapt import build
from vidro.learn.block import GPT
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor, same

STUB = '''\
"""Exercise classifier: a head for classes. Check it with: vidro learn check classifier FILE

The model is the GPT of vidro.learn.block: it has .blocks (a list), .final_norm and .head, an nn.Linear without bias.
"""

import torch
from torch import nn


def with_class_head(model, n_classes):
    """The model with a new .head: from the same width to n_classes, without bias, zeros. Nothing else changes."""
    raise NotImplementedError


def last_real(rows):
    """For each row of ids (a list of lists, not yet padded): the place of its last token, from 0."""
    raise NotImplementedError


def class_logits(model, ids, last):
    """[B, C]: model(ids) gives [B, T, C]; take row i at place last[i]."""
    raise NotImplementedError


def class_loss(model, ids, last, labels):
    """The mean surprise about the labels [B], in nats, as a tensor."""
    raise NotImplementedError


def accuracy(model, ids, last, labels):
    """The share of rows whose highest score belongs to the right class, as a number."""
    raise NotImplementedError


def only_last_block_learns(model):
    """In place: only the last block, the last norm and the head learn."""
    raise NotImplementedError
'''

ROWS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]
LAST = [4, 1, 2]
LABELS = torch.tensor([1, 0, 2])


def body() -> GPT:
    """A small model whose weights are known."""
    torch.manual_seed(0)
    return GPT(vocab_size=12, context_length=6, d_model=8, n_layers=3, n_heads=2)


def headed(solution: Solution) -> Any:
    """With the reader's head, filled with known numbers."""
    model = body()
    answer = build(solution.get("with_class_head", "add_class_head"), model=model, n_classes=3, num_classes=3)
    model = model if answer is None else answer
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear) or head.out_features != 3:
        raise Wrong("the model's head gives no three numbers", found=str(head), hint="Set model.head to an nn.Linear.")
    return model


def filled(solution: Solution) -> Any:
    """The same, no longer silent."""
    model = headed(solution)
    model.head.weight.data.copy_(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)))
    return model


def batch() -> Tensor:
    """The rows, filled up with 0."""
    return torch.tensor([[*row, *[0] * (5 - len(row))] for row in ROWS])


def the_head_fits(solution: Solution) -> None:
    """Three classes, no bias, zeros, the same body."""
    model = headed(solution)
    if model.head.bias is not None:
        raise Wrong("the head has a bias", hint="bias=False")
    if model.head.weight.any():
        raise Wrong("the head does not begin at zero: at first every class should be equally probable")
    old = body().state_dict()
    changed = [name for name, numbers in model.state_dict().items()
               if not name.startswith("head") and not torch.equal(numbers, old[name])]  # fmt: skip
    if changed:
        raise Wrong(f"the body must stay as it is, and {changed[0]} is another")


def the_last_place_is_found(solution: Solution) -> None:
    """Of each row."""
    found = [int(place) for place in build(solution.get("last_real", "last_tokens"), rows=ROWS, batch=ROWS)]
    if found == [len(row) for row in ROWS]:
        raise Wrong("places count from 0: this is the length", found=found, expected=LAST)
    if found == [-1] * 3 or found == [4] * 3:
        raise Wrong("this is the last column of the padded table, which is filling for short rows", found=found,
                    expected=LAST)  # fmt: skip
    if found != LAST:
        raise Wrong("the places are not right", found=found, expected=LAST)


def logits_by(solution: Solution, model: Any, ids: Tensor, last: Sequence[int]) -> Tensor:
    """The reader's scores."""
    return as_tensor(solution.get("class_logits", "classify")(model, ids, list(last)))


def the_right_token_is_asked(solution: Solution) -> None:
    """Each row at its own place."""
    model = filled(solution)
    scores = model(batch()).detach()
    wrong = {
        "every row is asked at the last column, where short rows have filling": scores[:, -1],
        "every row is asked at its first token, which has seen nothing else": scores[:, 0],
        "the mean of all tokens is taken, the filling among them": scores.mean(1),
    }
    found = logits_by(solution, model, batch(), LAST)
    if list(found.shape) == [3, 3, 3]:
        raise Wrong("each row is asked at the places of all rows", hint="scores[torch.arange(B), last] pairs them up.")
    same(found, torch.stack([scores[row, place] for row, place in enumerate(LAST)]), wrong, what="the scores")


def company_does_not_matter(solution: Solution) -> None:
    """A row alone and in a batch."""
    model = filled(solution)
    alone = logits_by(solution, model, torch.tensor([ROWS[1]]), [1])
    together = logits_by(solution, model, batch(), LAST)
    same(together[1], alone[0], what="a row's scores beside a longer one")


def the_loss_is_right(solution: Solution) -> None:
    """Mean cross-entropy; ln 3 at first."""
    model = filled(solution)
    scores = torch.stack([model(batch())[row, place] for row, place in enumerate(LAST)]).detach()
    wrong = {
        "it is the sum: take the mean": F.cross_entropy(scores, LABELS, reduction="sum"),
        "softmax is taken twice: cross_entropy wants scores": F.cross_entropy(scores.softmax(-1), LABELS),
        "every token is asked, not only the last real one": F.cross_entropy(
            model(batch()).detach().transpose(1, 2), LABELS[:, None].expand(3, 5)
        ),
    }
    found = solution.get("class_loss", "calc_loss_batch")(model, batch(), LAST, LABELS)
    if not isinstance(found, Tensor) or not found.requires_grad:
        raise Wrong("no gradient can be taken of the loss", hint="Return the tensor itself; no no_grad here.")
    same(found, F.cross_entropy(scores, LABELS), wrong, what="the loss")


def right_ones_are_counted(solution: Solution) -> None:
    """One of three, then all."""
    model = filled(solution)
    best = torch.stack([model(batch())[row, place] for row, place in enumerate(LAST)]).argmax(-1)
    for labels, right in ((best, 1.0), (torch.stack([best[0], (best[1] + 1) % 3, (best[2] + 1) % 3]), 1 / 3)):
        found = float(solution.get("accuracy", "calc_accuracy")(model, batch(), LAST, labels))
        if abs(found - right) > 1e-5:
            raise Wrong("the share of right rows", found=round(found, 3), expected=round(right, 3))


def a_part_learns(solution: Solution) -> None:
    """Which parameters."""
    model = headed(solution)
    solution.get("only_last_block_learns", "freeze")(model)
    found = {name for name, weights in model.named_parameters() if weights.requires_grad}
    right = {name for name, _ in model.named_parameters() if name.startswith(("blocks.2.", "final_norm.", "head."))}
    if missing := sorted(right - found):
        raise Wrong(f"{missing[0]} does not learn, and should")
    if extra := sorted(found - right):
        raise Wrong(f"{extra[0]} learns, and should not", hint="First freeze everything, then free the three parts.")


EXERCISE = Exercise(
    "classifier",
    STUB,
    (
        Step("the new head fits, and the body stays", the_head_fits),
        Step("the last real token is found", the_last_place_is_found),
        Step("each row is asked at its last real token", the_right_token_is_asked),
        Step("company changes no row's scores", company_does_not_matter),
        Step("the loss is right", the_loss_is_right),
        Step("right rows are counted", right_ones_are_counted),
        Step("only the last block, the norm and the head learn", a_part_learns),
    ),
    solution="vidro.learn.classifier",
)
