"""Asking a model to fill the gaps of `cloze`: is the right answer the likeliest of its kind?

Not here: the questions (`cloze`), looking for the place of a fact (`tracing`), changing one (`rank_one`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vidro.core.errors import UsageError
from vidro.evals.continuations import Ids, score_continuations
from vidro.learn.experiments.cloze import Question
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Answered:
    """What a model makes of a question."""

    question: Question
    best: str
    """The candidate that it finds likeliest."""

    greedy: bool
    """Whether it writes the right answer when it always takes its likeliest token."""

    nats: dict[str, float]
    """ln of the probability of each candidate, with what ends it."""

    @property
    def right(self) -> bool:
        """Whether the right answer ranks first."""
        return self.best == self.question.answer


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> Ids:
    """A prompt as the model met it: at the beginning of a document."""
    return (tokenizer.eot_id, *tokenizer.encode(prompt))


def ask(model: Transformer, tokenizer: Tokenizer, questions: Sequence[Question]) -> list[Answered]:
    """All candidates of all questions, weighed. Raises UsageError where a question does not fit into the context."""
    pairs, owners = [], []
    for number, question in enumerate(questions):
        prompt = prompt_ids(tokenizer, question.prompt)
        for candidate in question.candidates:
            pairs.append((prompt, tuple(tokenizer.encode(candidate + question.end))))
            owners.append((number, candidate))
    longest = max((len(prompt) + len(answer) - 1 for prompt, answer in pairs), default=0)
    if longest > model.config.context_length:
        what = f"the questions need {longest} tokens, and the model reads {model.config.context_length}"
        raise UsageError(what, hint="Take a model with a longer context: vidro quickstart makes one.")
    nats: list[dict[str, float]] = [{} for _ in questions]
    greedy = [False] * len(questions)
    for (number, candidate), found in zip(owners, score_continuations(model, pairs), strict=True):
        nats[number][candidate] = found.logprob_nats
        greedy[number] |= found.greedy and candidate == questions[number].answer
    every = zip(questions, nats, greedy, strict=True)
    return [Answered(question, max(seen, key=lambda one: seen[one]), wrote, seen) for question, seen, wrote in every]


def share(outcomes: Iterable[bool]) -> float | None:
    """The share of true ones in per cent; None of none.

    >>> share([True, False, True, True]), share([])
    (75.0, None)
    """
    held = list(outcomes)
    return 100 * sum(held) / len(held) if held else None
