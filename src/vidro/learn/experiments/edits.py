"""What comes of editing facts one at a time: does an edit hold, in other words too, and what else does it break?

Not here: the edit itself (`rank_one`), the report (`facts`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vidro.core.shapes import Float, Int
from vidro.data.tinyworld.facts import PEOPLE
from vidro.evals.perplexity import score_text
from vidro.learn.experiments.cloze import LEAD, Question
from vidro.learn.experiments.rank_one import Effort, edited
from vidro.learn.experiments.recall import Answered, ask, prompt_ids, share
from vidro.learn.experiments.rows import Rows, rows_of
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer

EDITED_KINDS = ("lives", "owns", "likes", "fears")
MOST_TEXTS = 3  # that a question is put behind when its key is taken: nothing, and stories that begin


@dataclass(frozen=True)
class Site:
    """Where an edit is made: a block (from 0), at the last token of the "name" or at the one before the "answer"."""

    block: int
    at: str


@dataclass(frozen=True)
class Edit:
    """One fact that is to be another: the question in its first wording, and the answer it is to get."""

    question: Question
    new: str

    def new_in(self, other: Question) -> str:
        """The new answer in another wording of the same fact."""
        return other.candidates[self.question.candidates.index(self.new)]


@dataclass(frozen=True)
class Result:
    """What one edit did. Shares are in per cent of what was right before; None where there is nothing to ask."""

    edit: Edit
    same_wording: bool
    other_wordings: float | None
    other_facts: float | None
    """Other facts of the same subject that are still right."""

    neighbours: float | None
    """Facts of the same kind of other subjects that are still right."""

    bits_per_byte: float
    """Of held-out stories, with the edit."""

    size: float
    """Of the change, relative to the matrix."""


def choose_edits(known: Sequence[Answered], n: int, *, seed: int) -> list[Edit]:
    """`n` edits (fewer where fewer facts are known), drawn from facts that the model knows."""
    draw = random.Random(seed)
    possible = [one.question for one in known if one.question.kind in EDITED_KINDS and one.right]
    chosen = draw.sample(possible, min(n, len(possible)))
    return [Edit(one, draw.choice([answer for answer in one.candidates if answer != one.answer])) for one in chosen]


def edit_rows(tokenizer: Tokenizer, edit: Edit, at: str, *, context_length: int) -> tuple[Rows, Int[Tensor, "B"]]:
    """The question behind several texts, with the new answer behind it, and the place of the edit in each row.

    At the answer it is the token after which old and new answer part: "in the" is the same for two houses.
    """
    question, old = edit.question, tokenizer.encode(edit.question.answer)
    new = tokenizer.encode(edit.new)
    leads = [LEAD.format(o=one) for one in PEOPLE.values() if one.name != question.subject]
    texts = [text for text in leads if not any(word in text for word in (question.answer.strip(), question.subject))]
    asked = [question, *(replace(question, prompt=text + question.prompt) for text in texts)]
    room = context_length - len(tokenizer.encode(edit.new + question.end)) + 1
    fitting = [one for one in asked if len(prompt_ids(tokenizer, one.prompt)) <= room][:MOST_TEXTS]
    rows = rows_of(tokenizer, fitting, [edit.new] * len(fitting))
    if at == "name":
        return rows, rows.name_end
    alike = next(i for i, (a, b) in enumerate(zip([*old, -1], [*new, -2], strict=False)) if a != b)
    return rows, rows.answering.int().argmax(dim=1) + alike


def try_edits(
    model: Transformer, tokenizer: Tokenizer, edits: Sequence[Edit], site: Site, C: Float[Tensor, "F F"],
    *, answered: Sequence[Answered], stories: Sequence[str], effort: Effort,
) -> list[Result]:  # fmt: skip
    """Each edit on its own, and what is then left. `answered`: all questions before any edit."""
    found = []
    for edit in edits:
        rows, places = edit_rows(tokenizer, edit, site.at, context_length=model.config.context_length)
        with edited(model, site.block, rows, places, C, effort) as size:
            found.append(_consequences(model, tokenizer, edit, answered, stories, size.item()))
    return found


def _consequences(
    model: Transformer, tokenizer: Tokenizer, edit: Edit, answered: Sequence[Answered], stories: Sequence[str],
    size: float,
) -> Result:  # fmt: skip
    asked = edit.question
    right = [one.question for one in answered if one.right]
    same_fact = [one.question for one in answered if one.question.fact == asked.fact]
    of_subject = [q for q in right if q.subject == asked.subject and q.kind != asked.kind and q.wording == 0]
    neighbours = [q for q in right if q.kind == asked.kind and q.subject != asked.subject and q.wording == 0]
    now = {one.question: one for one in ask(model, tokenizer, [*same_fact, *of_subject, *neighbours])}
    return Result(
        edit,
        same_wording=now[asked].best == edit.new,
        other_wordings=share(now[q].best == edit.new_in(q) for q in same_fact if q != asked),
        other_facts=share(now[q].right for q in of_subject),
        neighbours=share(now[q].right for q in neighbours),
        bits_per_byte=score_text(model, tokenizer, stories).bits_per_byte,
        size=size,
    )


def mean_and_spread(values: Sequence[float | None], digits: int = 0) -> str:
    """Mean ± standard deviation of those that are there.

    >>> mean_and_spread([100.0, 50.0, None]), mean_and_spread([None])
    ('75 ± 35', '-')
    """
    there = torch.tensor([value for value in values if value is not None], dtype=torch.float64)
    if len(there) == 0:
        return "-"
    spread = there.std().item() if len(there) > 1 else 0.0
    return f"{there.mean().item():.{digits}f} ± {spread:.{digits}f}"
