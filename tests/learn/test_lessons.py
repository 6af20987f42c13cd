"""Every lesson of the path: it is there, reads as a notebook, runs, quotes what it prints, and leads to the next.

A stage of its own (`pytest -m lessons`), because lessons train small models.
"""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import pytest
import torch

from vidro.learn.lesson_run import Markdown, Piece, Printed, run_lesson
from vidro.learn.path import LESSONS, Lesson, next_of
from vidro.learn.percent import parse, title_of
from vidro.learn.quoted import unproved

pytestmark = pytest.mark.lessons
every_lesson = pytest.mark.parametrize("lesson", LESSONS.values(), ids=lambda lesson: lesson.name)


def source_of(lesson: Lesson) -> str:
    return lesson.file.read_text(encoding="utf-8")


def run(lesson: Lesson, seed: int) -> list[Piece]:
    torch.manual_seed(seed)
    return list(run_lesson(source_of(lesson), where=Path(str(lesson.file))))


@every_lesson
def test_it_is_a_notebook(lesson: Lesson) -> None:
    """Read as Jupytext reads it, with title and length as they should be."""
    text = source_of(lesson)
    ours = [(cell.kind, cell.source) for cell in parse(text)]
    theirs = [
        (cell["cell_type"], cell["source"].strip("\n")) for cell in jupytext.reads(text, fmt="py:percent")["cells"]
    ]
    assert ours == theirs
    assert title_of(parse(text)) == lesson.title
    assert 60 <= len(text.splitlines()) <= 170, "a lesson is read in one sitting"
    assert not re.search(r"https?://", text), "a lesson needs no network"


@every_lesson
def test_it_runs_and_quotes_what_it_prints(lesson: Lesson) -> None:
    pieces = run(lesson, seed=1)
    assert unproved(pieces) == []
    printed = [piece.text for piece in pieces if isinstance(piece, Printed)]
    assert printed
    again = [piece.text for piece in run(lesson, seed=2) if isinstance(piece, Printed)]
    assert printed == again, "a lesson sets its own seed, and prints no times"


@every_lesson
def test_it_ends_with_something_to_try_and_the_way_on(lesson: Lesson) -> None:
    words = "\n".join(cell.source for cell in parse(source_of(lesson)) if cell.kind == "markdown")
    headings = re.findall(r"^## (.+)$", words, re.MULTILINE)
    assert headings[-2:] == ["Try", "Next"]
    after = next_of(lesson.name)
    assert after is None or f"`vidro learn {after.name}`" in words.partition("## Next")[2]
    for named in re.findall(r"`vidro learn ([a-z0-9-]+)`", words):
        assert named in LESSONS


def test_the_last_piece_of_every_lesson_is_words() -> None:
    for lesson in LESSONS.values():
        assert parse(source_of(lesson))[-1].kind == "markdown", lesson.name


def test_a_wrong_number_would_be_found() -> None:
    text = "# %% [markdown]\n# It is `0.51` or `0.5`.\n# %%\nprint(0.5)\n"
    pieces = list(run_lesson(text, where=Path("half.py")))
    assert [(line, str(value)) for line, value in unproved(pieces)] == [(2, "0.51")]
    assert isinstance(pieces[0], Markdown)
