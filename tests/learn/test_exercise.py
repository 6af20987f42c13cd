"""Grading: what a step says reaches the reader in one line, with the line of their file; nothing is left behind."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from vidro.core.errors import LessonError, UsageError
from vidro.learn.exercise import Exercise, Solution, Step, Wrong, grade, load_exercise


def doubles(solution: Solution) -> None:
    found = solution.get("double", "twice")(4)
    if found != 8:
        raise Wrong("double(4) is wrong", found=found, expected=8)


EXERCISE = Exercise("doubling", "", (Step("4 is doubled", doubles), Step("it stays so", doubles)), solution="")


def graded(tmp_path: Path, source: str) -> tuple[str, str | None]:
    file = tmp_path / "mine.py"
    file.write_text(source, encoding="utf-8")
    first, second = grade(EXERCISE, file)
    assert second.state == ("holds" if first.state == "holds" else "waits")
    return first.state, first.problem


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def double(x):\n    return x + 1\n", "double(4) is wrong (found 5, expected 8)"),
        ("def doubled(x):\n    pass\nclass A:\n    pass\n", "there is no double in mine.py. It defines doubled, A."),
        ("import math\n", "there is no double in mine.py. It defines nothing."),
        ("def double(x):\n    return x * y\n", "line 2: NameError: name 'y' is not defined"),
        ("def double(x):\n    raise NotImplementedError\n", "line 2: NotImplementedError: this is still to be written"),
        ("def double(x):\n    raise SystemExit(3)\n", "line 2: SystemExit: 3"),
        ("def double():\n    return 8\n", "TypeError: double() takes 0 positional arguments but 1 was given"),
        ("import math\ndef double(x):\n    return math.sqrt(-x)\n", "line 3: ValueError"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, source: str, problem: str) -> None:
    state, said = graded(tmp_path, source)
    assert state == "wrong"
    assert said is not None
    assert said.startswith(problem)
    assert "\n" not in said


@pytest.mark.parametrize("source", ["def double(x):\n    return 2 * x\n", "twice = lambda x: x + x\n"])
def test_what_is_right_holds(tmp_path: Path, source: str) -> None:
    assert graded(tmp_path, source) == ("holds", None)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def double(x)\n", "line 1: SyntaxError: expected ':'"),
        ("x = 1\nx / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("import nowhere_to_be_found\n", "line 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("\n\nexit(1)\n", "line 3: SystemExit: 1"),
    ],
)
def test_a_file_that_does_not_run_is_said(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(LessonError) as caught:
        graded(tmp_path, source)
    assert caught.value.what == said


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(LessonError, match="No such file"):
        grade(EXERCISE, tmp_path / "nothing.py")
    (tmp_path / "bytes.py").write_bytes(b"\0\xff")  # a ValueError in early 3.11
    with pytest.raises(LessonError, match="cannot contain null bytes"):
        grade(EXERCISE, tmp_path / "bytes.py")


def test_the_file_beside_can_be_imported_and_nothing_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "beside_mine.py").write_text("TWO = 2\n", encoding="utf-8")
    before = set(sys.modules), list(sys.path)
    source = "from dataclasses import dataclass\nfrom beside_mine import TWO\nprint('hello')\n"
    source += "@dataclass\nclass A:\n    x: int\n\ndef double(x):\n    return TWO * A(x).x\n"
    assert graded(tmp_path, source) == ("holds", None)
    assert set(sys.modules) - before[0] <= {"beside_mine"}
    assert sys.path == before[1]
    assert capsys.readouterr() == ("", "hello\n")
    sys.modules.pop("beside_mine")


def test_wrong_travels_between_processes() -> None:
    wrong = Wrong("no", found=1, expected=2, hint="Look.")
    assert str(pickle.loads(pickle.dumps(wrong))) == str(wrong) == "no (found 1, expected 2). Look."


def test_an_unknown_exercise_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="Did you mean attention-3"):
        load_exercise("attention3")
