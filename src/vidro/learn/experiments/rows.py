"""Questions as rows of ids, and which tokens are the subject's name and which have to know the answer.

Not here: the questions (`cloze`), what is done to the rows (`tracing`, `rank_one`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidro.core.shapes import Bool, Float, Int
from vidro.learn.experiments.cloze import Question
from vidro.learn.experiments.recall import prompt_ids
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Rows:
    """Prompts with their answers behind them, padded on the right, where no token that counts looks."""

    ids: Int[Tensor, "B T"]
    subject: Bool[Tensor, "B T"]
    """The tokens of the subject's name, wherever the prompt has it."""

    name_end: Int[Tensor, "B"]
    """Place of the last token of the name's last mention."""

    answering: Bool[Tensor, "B T"]
    """The tokens after which a token of the answer is to come: the prompt's last, then the answer's."""


def rows_of(tokenizer: Tokenizer, questions: Sequence[Question], answers: Sequence[str] | None = None) -> Rows:
    """The questions with their own answers behind them, or with these."""
    given = [question.answer for question in questions] if answers is None else answers
    prompts = [prompt_ids(tokenizer, question.prompt) for question in questions]
    wanted = [tokenizer.encode(answer + one.end) for one, answer in zip(questions, given, strict=True)]
    shape = (len(prompts), max(len(p) + len(w) for p, w in zip(prompts, wanted, strict=True)))
    ids = torch.zeros(shape, dtype=torch.long)
    subject, answering = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    ends = torch.zeros(len(prompts), dtype=torch.long)
    for row, (question, prompt, answer) in enumerate(zip(questions, prompts, wanted, strict=True)):
        ids[row, : len(prompt) + len(answer)] = torch.tensor([*prompt, *answer])
        places = name_places(tokenizer, prompt, question.mention)
        subject[row, places] = True
        ends[row] = places[-1]
        answering[row, len(prompt) - 1 : len(prompt) + len(answer) - 1] = True
    return Rows(ids, subject, ends, answering)


def name_places(tokenizer: Tokenizer, ids: Sequence[int], name: str) -> list[int]:
    """The places of the tokens that hold a part of the name; ids begin with a token that is no text."""
    ends, text = [0], b""
    for token in ids[1:]:
        text += tokenizer.token_bytes(token)
        ends.append(len(text))
    spans = [match.span() for match in re.finditer(re.escape(name.encode()), text)]
    assert spans, f"{name} is not in the prompt"
    return [i for i in range(1, len(ends)) if any(ends[i - 1] < stop and start < ends[i] for start, stop in spans)]


def answer_nats(model: Transformer, rows: Rows) -> Float[Tensor, "B"]:
    """ln of the probability of each row's answer; gradients flow where they are wanted."""
    hidden = model.hidden(rows.ids)
    row, place = rows.answering.nonzero(as_tuple=True)
    logprobs = model.head(hidden[row, place]).log_softmax(dim=-1)
    of_tokens = logprobs.gather(1, rows.ids[row, place + 1][:, None])[:, 0]
    return torch.zeros(len(rows.ids)).index_add(0, row, of_tokens)
