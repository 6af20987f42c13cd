"""The list of lessons: names once, in an order in which everything needed comes before; files and modules exist."""

from __future__ import annotations

from pathlib import Path

import pytest

import vidro
from vidro.core.errors import LessonError, UsageError
from vidro.learn.path import LESSONS, Lesson, find, next_of
from vidro.learn.percent import parse, title_of
from vidro.learn.progress import FILE, Progress, load_progress, save_progress

SOURCE = Path(vidro.__file__).parent
every_lesson = pytest.mark.parametrize("lesson", LESSONS.values(), ids=lambda lesson: lesson.name)


@every_lesson
def test_a_lesson_exists_with_its_title(lesson: Lesson) -> None:
    assert title_of(parse(lesson.file.read_text(encoding="utf-8"))) == lesson.title


@every_lesson
def test_its_modules_exist(lesson: Lesson) -> None:
    assert lesson.modules
    for module in lesson.modules:
        path = SOURCE.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or path.is_dir(), module


@every_lesson
def test_what_it_needs_comes_before(lesson: Lesson) -> None:
    names = list(LESSONS)
    assert all(names.index(needed) < names.index(lesson.name) for needed in lesson.after)
    assert lesson.idea.endswith((".", "?"))
    assert len(lesson.idea) <= 80


def test_every_lesson_file_is_on_the_path() -> None:
    there = {path.stem.replace("_", "-") for path in (SOURCE / "learn" / "lessons").glob("*.py")} - {"--init--"}
    assert there <= set(LESSONS)


def test_names_are_unique_and_found() -> None:
    assert [lesson.name for lesson in LESSONS.values()] == list(LESSONS)
    assert next_of(list(LESSONS)[-1]) is None
    with pytest.raises(UsageError, match="Did you mean attention-3"):
        find("atention-3")


def test_progress_is_kept_and_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert load_progress(folder) == Progress()
    progress = Progress().with_read("words").with_read("bpe").with_read("words").with_passed("words")
    save_progress(folder, progress)
    assert load_progress(folder) == Progress(read=("words", "bpe"), passed=("words",))
    assert progress.is_done("words", exercises=("words",))
    assert not progress.is_done("bpe", exercises=("bpe",))
    everything = Progress(read=tuple(LESSONS))
    assert everything.next(exercises=()) is None


@pytest.mark.parametrize("content", ["", "[]", '{"read": 3}', '{"read": [], "passed": 1}'])
def test_a_damaged_record_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(LessonError, match=r"damaged\. Remove it to begin anew"):
        load_progress(tmp_path)
