"""Where a reader is on the path: which lessons were read to the end, which exercises passed.

Kept in ``learn.json`` in a folder that the caller names, as two lists of names. Nothing else is kept, and nothing is
sent anywhere. Not here: which folder (`cli/places`), the order of lessons (`path`).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vidro.core.errors import LessonError
from vidro.core.files import write_json_atomic
from vidro.learn.path import LESSONS, Lesson

FILE = "learn.json"


@dataclass(frozen=True)
class Progress:
    """Names of lessons, in the order in which they were first done."""

    read: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()

    def with_read(self, name: str) -> Progress:
        """The same and one more lesson read."""
        return self if name in self.read else replace(self, read=(*self.read, name))

    def with_passed(self, name: str) -> Progress:
        """The same and one more exercise passed."""
        return self if name in self.passed else replace(self, passed=(*self.passed, name))

    def is_done(self, name: str, exercises: Collection[str]) -> bool:
        """A lesson with an exercise is done when that passed, another when it was read."""
        return name in (self.passed if name in exercises else self.read)

    def next(self, exercises: Collection[str]) -> Lesson | None:
        """The first lesson that is not done; None when all are.

        >>> Progress(read=("words",)).next(exercises=()).name
        'bpe'
        >>> Progress(read=("words",)).next(exercises=("words",)).name
        'words'
        """
        return next((lesson for lesson in LESSONS.values() if not self.is_done(lesson.name, exercises)), None)


def load_progress(folder: Path) -> Progress:
    """What is kept in the folder; nothing yet where there is no file. Raises LessonError for a damaged one."""
    path = folder / FILE
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Progress(**{name: tuple(str(each) for each in kept[name]) for name in ("read", "passed")})
    except FileNotFoundError:
        return Progress()
    except (ValueError, KeyError, TypeError):
        hint = "Remove it to begin anew."
        raise LessonError("this record of your lessons is damaged", where=path, hint=hint) from None


def save_progress(folder: Path, progress: Progress) -> None:
    """Write it, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / FILE, asdict(progress))
