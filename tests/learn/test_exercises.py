"""Every exercise: our own rung passes all of it, the stub none of it."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from vidro.learn.exercise import exercise_names, grade, load_exercise
from vidro.learn.path import LESSONS


@pytest.mark.parametrize("name", exercise_names())
def test_our_rung_passes(name: str) -> None:
    exercise = load_exercise(name)
    path = importlib.import_module(exercise.solution).__file__
    assert path is not None
    assert [outcome.problem for outcome in grade(exercise, Path(path)) if outcome.state != "holds"] == []


@pytest.mark.parametrize("name", exercise_names())
def test_the_stub_is_still_to_be_written(name: str, tmp_path: Path) -> None:
    exercise = load_exercise(name)
    stub = tmp_path / "mine.py"
    stub.write_text(exercise.stub, encoding="utf-8")
    assert ast.get_docstring(ast.parse(exercise.stub)), "a stub says what to do"
    first, *others = grade(exercise, stub)
    assert first.state == "wrong"
    assert first.problem is not None
    assert "still to be written" in first.problem
    assert {outcome.state for outcome in others} == {"waits"}


@pytest.mark.parametrize("name", exercise_names())
def test_it_belongs_to_a_lesson(name: str) -> None:
    exercise = load_exercise(name)
    assert exercise.name == name
    assert name in LESSONS
    assert f"vidro learn check {name} " in exercise.stub
    assert len({step.title for step in exercise.steps}) == len(exercise.steps) >= 3
