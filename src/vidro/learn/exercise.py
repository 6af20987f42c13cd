"""Exercises that grade themselves: a file to fill in, and steps that look at what was filled in.

An exercise is a stub and a list of steps. `grade` loads the reader's file and takes one step after the other until one
does not hold; what that step has to say is one line: what is wrong, what was found, what was expected, and where the
reader's code stopped if it stopped. The file is the reader's own and runs as such, in this process. Not here: the
exercises (`exercises/`), how a class of any sensible shape is built, filled with weights and called (`adapt`).
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vidro.core.errors import LessonError, UsageError, VidroError, did_you_mean
from vidro.learn.lesson_run import said_of


class Wrong(VidroError):
    """What a step found wrong with a solution.

    >>> str(Wrong("the shares of token 2 do not add up to 1", found=0.7, expected=1.0))
    'the shares of token 2 do not add up to 1 (found 0.7, expected 1.0)'
    """

    def __init__(
        self, what: str, *, where: object = None, hint: str | None = None, found: object = None, expected: object = None
    ) -> None:
        seen = [f"{word} {value}" for word, value in (("found", found), ("expected", expected)) if value is not None]
        super().__init__(what + (f" ({', '.join(seen)})" if seen else ""), where=where, hint=hint)


@dataclass(frozen=True)
class Solution:
    """The reader's module, and what is defined in it."""

    module: types.ModuleType
    path: Path

    def names(self) -> list[str]:
        """Functions and classes that the file itself defines, in its order."""
        own = self.module.__name__
        return [name for name, value in vars(self.module).items() if getattr(value, "__module__", None) == own]

    def get(self, *wanted: str) -> Any:
        """The first of the names that the file has. Raises Wrong, which says what it has instead."""
        for name in wanted:
            if hasattr(self.module, name):
                return getattr(self.module, name)
        there = ", ".join(self.names()) or "nothing"
        raise Wrong(f"there is no {wanted[0]} in {self.path.name}", hint=f"It defines {there}.")


@dataclass(frozen=True)
class Step:
    """One thing that a solution must do: a title that is true when it holds, and a look that raises when not."""

    title: str
    check: Callable[[Solution], None]


@dataclass(frozen=True)
class Exercise:
    """A stub to fill in, steps to take, and the module of ours that takes them all (a rung)."""

    name: str
    stub: str
    steps: tuple[Step, ...]
    solution: str


@dataclass(frozen=True)
class Outcome:
    """How one step went: it holds, it is wrong (and what is), or it waits for an earlier one."""

    title: str
    state: Literal["holds", "wrong", "waits"]
    problem: str | None = None


def load_exercise(name: str) -> Exercise:
    """The exercise of a lesson. Raises UsageError when there is none of that name."""
    known = exercise_names()
    if name not in known:
        raise UsageError(f"there is no exercise {name!r}", hint=did_you_mean(name, known))
    return importlib.import_module(f"vidro.learn.exercises.{name.replace('-', '_')}").EXERCISE


def exercise_names() -> list[str]:
    """The lessons that have an exercise."""
    package = importlib.import_module("vidro.learn.exercises")
    files = sorted(Path(package.__path__[0]).glob("*.py"))
    return [path.stem.replace("_", "-") for path in files if not path.stem.startswith("_")]


def grade(exercise: Exercise, path: Path) -> list[Outcome]:
    """Load the reader's file and take the steps in order; after the first that is wrong, the others wait.

    Whatever the file prints goes to stderr. Raises LessonError when the file cannot be read or does not run at all.
    """
    outcomes: list[Outcome] = []
    with contextlib.redirect_stdout(sys.stderr), loaded(path) as solution:
        for step in exercise.steps:
            if outcomes and outcomes[-1].state != "holds":
                outcomes.append(Outcome(step.title, "waits"))
                continue
            problem = _problem(step, solution)
            outcomes.append(Outcome(step.title, "holds" if problem is None else "wrong", problem))
    return outcomes


def _problem(step: Step, solution: Solution) -> str | None:
    """What is wrong, in one line; None if the step holds. `NotImplementedError` is a stub that was not filled in."""
    try:
        step.check(solution)
    except Wrong as wrong:
        return str(wrong)
    except NotImplementedError as problem:
        return f"{said_of(problem, solution.path)}: this is still to be written"
    except (Exception, SystemExit) as problem:
        return said_of(problem, solution.path)
    return None


@contextlib.contextmanager
def loaded(path: Path) -> Iterator[Solution]:
    """The reader's file as a module; its folder can be imported from while it is in use, and nothing is left behind."""
    try:
        source = path.read_bytes()
    except OSError as problem:
        raise LessonError("this file cannot be read", where=path, hint=problem.strerror) from None
    module = types.ModuleType(f"solution_{uuid.uuid4().hex}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickles look a class's module up
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as problem:
        raise LessonError(said_of(problem, path), where=path) from problem
    else:
        yield Solution(module, path)
    finally:
        sys.path.remove(str(path.resolve().parent))
        del sys.modules[module.__name__]
