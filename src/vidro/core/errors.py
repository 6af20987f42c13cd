"""The error tree: what went wrong, where, and what to do about it, in one line.

    VidroError               the user's mistake; the command line prints one line and exits with 2
    ├── UsageError           a wrong option, name or value
    ├── DataError            a text, table or archive that cannot be read as asked
    ├── TokenizerError       a tokenizer that is damaged or does not fit
    ├── ModelError           sizes or weights that do not make a model
    ├── RunError             a run directory that is missing, taken, busy or has changed
    │   └── CheckpointError  a checkpoint that is torn or altered
    ├── TrainingError        training cannot go on (a loss that is not finite, say)
    ├── LessonError          a lesson, or your own solution of an exercise, that cannot be read or run
    └── StorageError         no space left, no permission

Anything else that escapes is our fault: exit code 1 and a request to report it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class VidroError(Exception):
    """The user's mistake, as one line: ``where: what. hint``.

    >>> str(DataError("the file is empty", where="book.txt", hint="Choose a text with at least one page."))
    'book.txt: the file is empty. Choose a text with at least one page.'
    """

    exit_code = 2

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        self.what = what.rstrip(".")
        self.where = None if where is None else str(where)
        self.hint = hint
        super().__init__(self.what, self.where, self.hint)

    def __reduce__(self) -> tuple[Any, ...]:
        """Comes back whole from another process."""
        return _rebuild, (type(self), self.what, self.where, self.hint)

    def __str__(self) -> str:
        line = self.what if self.where is None else f"{self.where}: {self.what}"
        if self.hint is None:
            return line
        return f"{line} {self.hint}" if line.endswith(("?", "!")) else f"{line}. {self.hint}"


def _rebuild(kind: type[VidroError], what: str, where: str | None, hint: str | None) -> VidroError:
    return kind(what, where=where, hint=hint)


class UsageError(VidroError):
    """A wrong option, name or value."""


class DataError(VidroError):
    """A text, table or archive that cannot be read as asked."""


class TokenizerError(VidroError):
    """A tokenizer that is damaged or does not fit."""


class ModelError(VidroError):
    """Sizes or weights that do not make a model."""


class RunError(VidroError):
    """A run directory that is missing, taken, busy or has changed."""


class CheckpointError(RunError):
    """A checkpoint that is torn or altered."""


class ExportError(VidroError):
    """What was written for others does not compute what the run computes."""


class TrainingError(VidroError):
    """Training cannot go on."""


class LessonError(VidroError):
    """A lesson, or one's own solution of an exercise, that cannot be read or run."""


class StorageError(VidroError):
    """No space left, or no permission to write."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them when none is near.

    >>> did_you_mean("lama", ["gpt2", "llama", "qwen3"])
    'Did you mean llama?'
    >>> did_you_mean("zzz", ["b", "a"])
    'Known: a, b.'
    """
    words = sorted(known)
    near = difflib.get_close_matches(name, words, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(words)}."
