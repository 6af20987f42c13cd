"""How surprised a model is by the expected answers: nats per token of the answers, their end tokens included.

The same loss as in instruction tuning: prompts are read and not counted, and the sum over all rows is divided once by
all counted tokens. It tells models apart whose written answers all score alike. A token is what the run's tokenizer
makes of the text, so runs with different tokenizers cannot be compared by it.

Not here: the loss of one batch (`model/loss`), padding and masks (`data/collate`), written answers (`answering`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vidro.data.collate import Example, collate, make_example
from vidro.data.instructions import InstructionRow
from vidro.infer.answering import Answerer
from vidro.model.loss import lm_loss
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer

ROWS_AT_ONCE = 64

Progress = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True)
class AnswerLoss:
    """The mean over `n_tokens` of `n_rows`; `n_too_long` rows do not fit into the context with their answer.

    `n_left_out` rows were not counted: they are too long for this run or another one. With no row left the mean is
    None.
    """

    nats_per_token: float | None
    n_tokens: int
    n_rows: int
    n_too_long: int
    n_left_out: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def answer_losses(
    answerers: Sequence[Answerer], rows: Sequence[InstructionRow], *, on_progress: Progress | None = None
) -> list[AnswerLoss]:
    """The loss of each model over the rows that fit into the contexts of all, each framed in the model's own style."""
    made = [[make_example(each.style, each.tokenizer, row) for row in rows] for each in answerers]
    room = [
        [example.n_inputs <= each.context_length for example in own] for each, own in zip(answerers, made, strict=True)
    ]
    shared = [all(fit) for fit in zip(*room, strict=True)]
    total = len(answerers) * sum(shared)
    found = []
    for number, (answerer, own, fit) in enumerate(zip(answerers, made, room, strict=True)):
        kept = [example for example, keep in zip(own, shared, strict=True) if keep]
        before = number * len(kept)

        def told(done: int, before: int = before) -> None:
            if on_progress is not None:
                on_progress(before + done, total)

        nats, n = examples_loss(answerer.session.model, kept, pad_id=answerer.tokenizer.padding_id, on_rows=told)
        mean = nats / n if n else None
        found.append(AnswerLoss(mean, n, len(kept), fit.count(False), len(rows) - len(kept)))
    return found


def examples_loss(
    model: Transformer, examples: Sequence[Example], *, pad_id: int, on_rows: Callable[[int], None] | None = None
) -> tuple[float, int]:
    """(sum of nats, counted tokens) of the examples, those of similar length together; `on_rows`: how many are done."""
    ordered = sorted(examples, key=lambda example: example.n_inputs)
    device = model.token_embedding.weight.device
    nats, n = 0.0, 0
    with at_rest(model):
        for first in range(0, len(ordered), ROWS_AT_ONCE):
            group = ordered[first : first + ROWS_AT_ONCE]
            ids, targets = (torch.from_numpy(each).to(device) for each in collate(group, pad_id=pad_id))
            total, counted = lm_loss(model, ids, targets)
            nats, n = nats + total.item(), n + int(counted)
            if on_rows is not None:
                on_rows(first + len(group))
    return nats, n
