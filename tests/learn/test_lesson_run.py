"""Running a lesson: pieces in order, one namespace, lines named, and nothing left behind."""

from __future__ import annotations

import linecache
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from vidro.core.errors import LessonError
from vidro.learn.lesson_run import Code, Markdown, Picture, Piece, Printed, run_lesson
from vidro.learn.quoted import unproved

FIGURE = """\
# %% [markdown]
# # Two figures

# %%
from vidro.learn.figures import bars, heat
print("before")
heat([[1.0]])

# %%
bars({"a": 1.0}, y="times")

# %% [markdown]
# Over.
"""


def run(text: str, where: Path = Path("lesson.py")) -> list[Piece]:
    return list(run_lesson(text, where=where))


def test_pieces_come_in_the_order_of_the_page() -> None:
    pieces = run(FIGURE)
    assert [type(piece) for piece in pieces] == [Markdown, Code, Printed, Picture, Code, Picture, Markdown]
    assert [piece.number for piece in pieces if isinstance(piece, Picture)] == [1, 2]
    assert all(isinstance(piece.figure, Figure) for piece in pieces if isinstance(piece, Picture))


def test_only_what_was_reached_runs() -> None:
    pieces = run_lesson("# %%\nprint(1)\n# %%\n1 / 0\n", where=Path("lesson.py"))
    assert isinstance(next(pieces), Code)
    assert next(pieces) == Printed("1")


def test_a_last_value_is_shown_as_in_a_notebook() -> None:
    assert run("# %%\nx = 3\nx * 2\n# %%\nx\n# %%\nNone\n")[1::2] == [Printed("6"), Printed("3")]
    assert run("# %%\nprint('a')\n'b'\n")[1] == Printed("a\n'b'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# %% [markdown]\n# Words\n\n# %%\nx = 1\n\nx / 0\n", "line 7: ZeroDivisionError: division by zero"),
        ("# %%\n\nx = 1\nif x\n    y\n", "line 4: SyntaxError: expected ':'"),
        ("# %%\ndef f():\n    raise ValueError\n# %%\nf()\n", "line 3: ValueError"),
    ],
)
def test_an_exception_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(LessonError) as caught:
        run(text)
    assert caught.value.what == said
    assert caught.value.where == "lesson.py"


def test_random_numbers_go_on_as_if_nothing_had_run() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run("# %%\nimport torch\ntorch.manual_seed(9)\nprint(torch.rand(1))\n")
    assert torch.equal(torch.rand(2), expected)
    torch.manual_seed(3)
    with pytest.raises(LessonError):
        run("# %%\nimport torch\ntorch.manual_seed(9)\n1 / 0\n")
    assert torch.equal(torch.rand(2), expected)


def test_lessons_share_no_names(tmp_path: Path) -> None:
    run("# %%\nx = 1\n")
    with pytest.raises(LessonError, match="name 'x' is not defined"):
        run("# %%\nx\n", tmp_path / "other.py")
    linecache.clearcache()


@pytest.mark.parametrize(
    ("words", "printed", "missing"),
    [
        ("It is `0.50`.", "0.5", []),
        ("`1,000` and `1e3`", "1000", []),
        ("`−2`", "-2", []),
        ("`[1, 2]` and `[1, 3]`", "1 2", ["3"]),
        ("`0.12`", "0.123", ["0.12"]),
        ("code `x[7]`, `attention_9`, `int16`, a year 2019", "", []),
        ("```\n`5`\n```", "", []),
    ],
)
def test_quoted_numbers(words: str, printed: str, missing: list[str]) -> None:
    pieces: list[Piece] = [Markdown(words, 1), Printed(printed)]
    assert [str(value) for _, value in unproved(pieces)] == missing
