"""The pages beside the lessons: every lesson has its place, and every lesson, module and letter is a real one."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from vidro.core import shapes
from vidro.learn.path import LESSONS

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIRST_CELLS = re.compile(r"^\| (.*?) \| (.*?) \| (.*?) \|", re.MULTILINE)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def lessons_in(text: str) -> set[str]:
    """Names in backticks that are lessons; "`a` to `b`" means those between as well."""
    names = list(LESSONS)
    found = {name for name in re.findall(r"`([a-z0-9-]+)`", text) if name in LESSONS}
    for first, last in re.findall(r"`([a-z0-9-]+)` to `([a-z0-9-]+)`", text):
        if first in LESSONS:
            last = last if last in LESSONS else first[:-1] + last[-1]
            found.update(names[names.index(first) : names.index(last) + 1])
    return found


def test_the_books_sections_lead_to_the_lessons_that_treat_them() -> None:
    text = page("book.md")
    assert lessons_in(text) == {name for name, lesson in LESSONS.items() if lesson.book} | {
        "attention-5", "kv-cache", "bits-per-byte", "bigram",
    }  # fmt: skip
    rows = [row for row in FIRST_CELLS.findall(text) if row[0][0].isdigit() or row[0][0] in "ADE"]
    assert len(rows) >= 20
    for section, _, cell in rows:
        numbers = re.findall(r"\d\.\d|\b[ADE]\b|^\d", section)
        for name in re.findall(r"`([a-z0-9-]+)`", cell):
            if name in ("bits-per-byte", "training"):  # the end of a span; several sections
                continue
            assert LESSONS[name].book[0] == numbers[0][0], (section, name)


@pytest.mark.parametrize("name", ["glossary.md", "papers.md"])
def test_every_lesson_stands_in_the_page(name: str) -> None:
    missing = set(LESSONS) - lessons_in(page(name))
    beyond = {"glossary.md": {"bigram"}, "papers.md": {"words", "windows", "neuron", "generating", "cross-entropy",
              "perplexity", "bigram", "saving"}}  # fmt: skip
    assert missing <= beyond[name]


def test_modules_are_there() -> None:
    for path in re.findall(r"`((?:text|data|model|learn|infer|evals|train|checkpoint)/\w+)`", page("book.md")):
        assert find_spec("vidro." + path.replace("/", ".")), path


def test_the_letters_are_those_of_the_code() -> None:
    legend = set(re.findall(r"\| ([A-Z]) ", shapes.__doc__ or ""))
    assert legend == set(re.findall(r"\| ([A-Z]) (?=\|)", page("glossary.md")))
