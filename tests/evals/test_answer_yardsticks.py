"""Answers without a model: the question again, the answer of the most similar question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidro.core.errors import DataError
from vidro.data.instructions import InstructionRow, read_instructions
from vidro.evals.answer_yardsticks import repeated_questions, similar_answers
from vidro.text.conversation import Message


def row(instruction: str, answer: str, text: str = "") -> InstructionRow:
    return InstructionRow((Message("user", instruction, text), Message("assistant", answer)))


LEARNED = [row("Name a red fruit.", "A cherry."), row("Convert to meters.", "2000 m", "2 km"), row("Spell it.", "cat")]
ASKED = [row("Convert to meters.", "5000 m", "5 km"), row("Name a red fruit.", "An apple."), row("Why?", "So.")]


def test_the_question_is_its_own_answer() -> None:
    found = repeated_questions(ASKED, seed=1)
    assert [one.answer for one in found.answers] == ["Convert to meters.\n5 km", "Name a red fruit.", "Why?"]
    assert [one.expected for one in found.answers] == ["5000 m", "An apple.", "So."]
    assert (found.scores.n, found.scores.exact.mean, found.lines()) == (3, 0.0, [])
    plain = json.loads(json.dumps(found.to_json()))
    assert (plain["name"], plain["f1"]["mean"]) == ("repeat the question", found.scores.f1.mean)
    assert "stopped_frac" not in plain


def test_the_most_similar_question_lends_its_answer() -> None:
    found = similar_answers(ASKED, LEARNED, seed=1)
    assert [one.answer for one in found.answers] == ["2000 m", "A cherry.", ""]
    assert found.counts == {"n_learned": 3, "n_known": 1, "n_unlike": 1}
    assert found.lines() == [
        "1 of 3 questions stand among those learned from, word for word.",
        "1 of 3 questions share no word with those learned from: no answer.",
    ]
    assert found.to_json()["n_unlike"] == 1
    with pytest.raises(DataError, match="there are no rows to look for similar questions in"):
        similar_answers(ASKED, [], seed=1)


def test_rows_that_were_learned_get_their_own_answers() -> None:
    found = similar_answers(LEARNED, LEARNED, seed=1)
    assert found.scores.exact.mean == 1.0
    assert found.counts["n_known"] == 3


def test_all_that_was_said_before_the_answer_is_compared() -> None:
    talk = (Message("user", "Name a red fruit."), Message("assistant", "A cherry."), Message("user", "Another."))
    other = (Message("user", "Name a river."), Message("assistant", "The Tagus."), Message("user", "Another."))
    learned = [InstructionRow((*other, Message("assistant", "The Douro."))),
               InstructionRow((*talk, Message("assistant", "A plum.")))]  # fmt: skip
    (answer,) = similar_answers([InstructionRow((*talk, Message("assistant", "A rose hip.")))], learned, seed=1).answers
    assert answer.answer == "A plum."


def test_the_books_questions_again_score_high(shared_data: Path) -> None:
    """Words in common are cheap, exact answers are not (docs/results.md)."""
    rows = read_instructions(shared_data / "instruct" / "instruction-data.json").rows
    learned, asked = [*rows[:935], *rows[1045:]], rows[935:1045]
    found = repeated_questions(asked, seed=1)
    similar = similar_answers(asked, learned, seed=1)
    assert (found.scores.exact.mean, similar.counts["n_known"]) == (0.0, 2)
    assert [round(each.scores.f1.mean, 3) for each in (found, similar)] == [0.476, 0.393]
