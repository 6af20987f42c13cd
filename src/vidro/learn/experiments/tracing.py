"""Where in a model a fact is held: switch a part off and see what is lost, or bring one back and see what returns.

Ablation: what a part adds to the residual is replaced by its mean over stories, so that it says what it always says
and nothing about this text. Tracing (Meng et al. 2022): the subject's name is blurred with noise, so that the answer is
lost; then one part gets its clear result back. Both are done at the tokens of the name, at the tokens that have to know
the answer, or everywhere. Measured is the probability of the right answer, the mean over facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vidro.core.shapes import Bool, Float, Int
from vidro.learn.experiments.cloze import Question
from vidro.learn.experiments.patching import EMBEDDING, Part, Patch, parts_of, patched, sublayers
from vidro.learn.experiments.rows import Rows, answer_nats, rows_of
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer

SPANS = ("name", "answer", "all")
NOISE = 3.0  # standard deviations of the embedding, as in the paper


def spans_of(rows: Rows) -> dict[str, Bool[Tensor, "B T"]]:
    """The tokens at which parts are switched off or brought back, by the names in SPANS."""
    return {"name": rows.subject, "answer": rows.answering, "all": torch.ones_like(rows.subject)}


def mean_outputs(model: Transformer, windows: Int[Tensor, "B T"]) -> dict[Part, Float[Tensor, "D"]]:
    """What each part gives on average over the tokens of these windows."""
    with at_rest(model):
        return {part: result.mean(dim=(0, 1)) for part, result in parts_of(model, windows).items()}


def probability(model: Transformer, rows: Rows, patches: Sequence[Patch] = ()) -> Float[Tensor, "B"]:
    """The probability of each right answer while the patches are in place."""
    with at_rest(model), patched(model, patches):
        return answer_nats(model, rows).exp()


def ablate(
    model: Transformer, rows: Rows, means: Mapping[Part, Float[Tensor, "D"]]
) -> dict[tuple[Part, str], Float[Tensor, "B"]]:
    """How far each answer's probability falls when one part is switched off at one span: 0.4 is from 0.9 to 0.5."""
    whole = probability(model, rows)
    return {
        (part, span): whole - probability(model, rows, [Patch(part, where, means[part])])
        for part in sublayers(model)
        for span, where in spans_of(rows).items()
    }


def trace(
    model: Transformer, rows: Rows, *, seed: int
) -> tuple[Float[Tensor, "B"], dict[tuple[Part, str], Float[Tensor, "B"]]]:
    """The answers' probabilities with a blurred name, and by how much one part's clear result raises them."""
    with at_rest(model):
        clear = parts_of(model, rows.ids)
    noise = torch.randn(clear[EMBEDDING].shape, generator=torch.Generator().manual_seed(seed))
    blurred = clear[EMBEDDING] + NOISE * model.token_embedding.weight.std() * noise
    blur = Patch(EMBEDDING, rows.subject, blurred.detach())
    low = probability(model, rows, [blur])
    gains = {
        (part, span): probability(model, rows, [blur, Patch(part, where, clear[part])]) - low
        for part in sublayers(model)
        for span, where in spans_of(rows).items()
    }
    return low, gains


def in_batches(tokenizer: Tokenizer, questions: Sequence[Question], *, size: int = 32) -> list[Rows]:
    """The questions as rows, some at a time, those of like length together."""
    ordered = sorted(questions, key=lambda one: len(one.prompt) + len(one.answer))
    return [rows_of(tokenizer, ordered[start : start + size]) for start in range(0, len(ordered), size)]
