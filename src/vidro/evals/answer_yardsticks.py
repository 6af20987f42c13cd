"""What answers are worth that no model wrote: the yardsticks beside the scores of a model that was taught to answer.

The measures of `answers` count words in common, and an expected answer often repeats half of its question. So to say
the question again is worth something, and so is the answer to the most similar question among those learned from. A
model with less than these has learned the form of an answer and no more.

Not here: the measures (`answers`), how similar texts are (`baselines`), yardsticks of texts (`yardsticks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vidro.core.errors import DataError
from vidro.data.instructions import InstructionRow
from vidro.evals.answering import with_answer
from vidro.evals.answers import AnswerRow, AnswerScores, score_answers
from vidro.evals.baselines import MostSimilar

REPEATED = "repeat the question"
SIMILAR = "answer of the most similar question"
SHORT = {REPEATED: "the question", SIMILAR: "most similar"}
"""For a table in a terminal of 80 columns."""


@dataclass(frozen=True)
class AnswerYardstick:
    """Answers without a model, and their scores; `counts` say what there is to know of the rows they come from."""

    name: str
    answers: tuple[AnswerRow, ...]
    scores: AnswerScores
    counts: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the answers."""
        plain = self.scores.to_json()
        del plain["stopped_frac"], plain["n_stop_known"]  # nobody wrote them
        return {"name": self.name, **self.counts, **plain}

    def lines(self) -> list[str]:
        """What the scores alone do not say; nothing where there is nothing."""
        known, unlike = self.counts.get("n_known", 0), self.counts.get("n_unlike", 0)
        which = f"of {len(self.answers):,} questions"
        found = [f"{known:,} {which} stand among those learned from, word for word."] if known else []
        return found + ([f"{unlike:,} {which} share no word with those learned from: no answer."] if unlike else [])


def repeated_questions(rows: Sequence[InstructionRow], *, seed: int) -> AnswerYardstick:
    """Every question as its own answer: the instruction and, where there is one, its input."""
    answers = tuple(with_answer(row, row.prompt[-1].text, stopped=None) for row in rows)
    return AnswerYardstick(REPEATED, answers, score_answers(answers, seed=seed))


def similar_answers(rows: Sequence[InstructionRow], learned: Sequence[InstructionRow], *, seed: int) -> AnswerYardstick:
    """To every question the answer of the most similar one in `learned`. Raises DataError where there are none.

    `n_known` questions stand in `learned` themselves; `n_unlike` share no word with any and get an empty answer.
    """
    if not learned:
        raise DataError("there are no rows to look for similar questions in")
    places = MostSimilar([question(row) for row in learned]).places([question(row) for row in rows])
    found = ["" if place is None else learned[place].messages[-1].text for place in places]
    answers = tuple(with_answer(row, text, stopped=None) for row, text in zip(rows, found, strict=True))
    asked = {row.prompt for row in learned}
    counts = {
        "n_learned": len(learned),
        "n_known": sum(row.prompt in asked for row in rows),
        "n_unlike": places.count(None),
    }
    return AnswerYardstick(SIMILAR, answers, score_answers(answers, seed=seed), counts)


def question(row: InstructionRow) -> str:
    """All that was said before the answer, as one text."""
    return "\n".join(message.text for message in row.prompt)
