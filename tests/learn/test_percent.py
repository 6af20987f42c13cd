"""Reading cells: as Jupytext reads them, whatever is in them; and every mistake named with its line."""

from __future__ import annotations

import contextlib

import jupytext
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import LessonError
from vidro.learn.percent import CODE, MARKDOWN, Cell, parse, title_of

LETTERS = st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))
WORDS = st.text(LETTERS, max_size=20).map(str.strip)
PROSE = st.lists(WORDS, min_size=1, max_size=5).map("\n".join)
STATEMENT = st.sampled_from(
    [
        "a = 1",
        "print(a)",
        "if a:\n    b = 2\n\n    c = 3",
        "# a comment",
        "",
        "def f():\n    return '# no %% marker'",
        "a",
    ]
)
PROGRAM = st.lists(STATEMENT, min_size=1, max_size=5).map("\n".join)
CELL = st.one_of(st.tuples(st.just("markdown"), PROSE), st.tuples(st.just("code"), PROGRAM))
CELLS = st.lists(CELL.filter(lambda cell: cell[1].strip() != ""), min_size=1, max_size=6)


def written(cells: list[tuple[str, str]]) -> str:
    """A lesson's source."""
    parts = []
    for kind, source in cells:
        lines = source.split("\n")
        commented = [f"# {line}".rstrip() for line in lines] if kind == "markdown" else lines
        parts.append("\n".join([MARKDOWN if kind == "markdown" else CODE, *commented]))
    return "\n\n".join(parts) + "\n"


@given(CELLS)
def test_what_was_written_is_read(cells: list[tuple[str, str]]) -> None:
    text = written(cells)
    read = parse(text)
    assert [cell.kind for cell in read] == [kind for kind, _ in cells]
    for cell, (kind, source) in zip(read, cells, strict=True):
        assert cell.source == bare(source if kind == "code" else "\n".join(map(str.rstrip, source.split("\n"))))
        first = cell.source.split("\n")[0]
        assert text.splitlines()[cell.line - 1] == (first if kind == "code" else f"# {first}")


@given(CELLS)
def test_it_is_what_jupytext_reads(cells: list[tuple[str, str]]) -> None:
    text = written(cells)
    theirs = jupytext.reads(text, fmt="py:percent")["cells"]
    expected = [(cell["cell_type"], bare(cell["source"])) for cell in theirs if cell["source"].strip()]
    assert [(cell.kind, bare(cell.source)) for cell in parse(text)] == expected


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    cells: list[Cell] = []
    with contextlib.suppress(LessonError):
        cells = parse(text)
    assert all(cell.source.strip() for cell in cells)


def bare(source: str) -> str:
    """Without blank lines around."""
    lines = source.split("\n")
    inside = [place for place, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[inside[0] : inside[-1] + 1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a lesson begins with a cell"),
        ("x = 1\n# %%\n", "a lesson begins with a cell"),
        ("# %% [markdown]\n# Fine\nnot so\n", "line 3 is not a comment"),
        ("# %% [markdown]\n#no blank\n", "line 2 is not a comment"),
        ("# %%\nx = 1\n%time x\n", "line 3 is a notebook's command: %time x"),
        ("# %%\n# !ls\n", "line 2 is a notebook's command: # !ls"),
        ("# %%\nx = 1\n\n# %% A title\nx\n", "line 4 is no beginning of a cell: # %% A title"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    with pytest.raises(LessonError) as caught:
        parse(text)
    assert caught.value.what == said


def test_the_title_is_the_first_heading() -> None:
    assert title_of(parse("# %% [markdown]\n# # Several heads\n#\n# More.\n")) == "Several heads"
    assert title_of(parse("# %%\nx = 1\n")) == ""
