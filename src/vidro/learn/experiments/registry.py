"""The list of experiments: name, question, minutes; and what one gives back.

Not here: the experiments themselves (a module each, named in the list), printing (`cli/experiment`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vidro.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vidro.api.run import Run


@dataclass(frozen=True)
class Table:
    """Numbers that were measured. A cell is text, a number that is shown as it is, or None for "not asked"."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Report:
    """What came of an experiment: tables, figures by name, and the sentences that the numbers allow."""

    tables: list[Table]
    findings: list[str]
    figures: dict[str, Figure] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """What it was done with: seed, sizes, steps."""


@dataclass(frozen=True)
class Request:
    """What an experiment is given: a run (only those that look at one), and where its remarks go."""

    run: Run | None = None
    say: Callable[[str], None] = print


@dataclass(frozen=True)
class Experiment:
    """One experiment. `minutes` is about what it takes on two quiet cores."""

    name: str
    question: str
    minutes: int
    needs_run: bool
    """Whether it looks at a model of the reader's, trained on tiny world."""

    def run(self, request: Request) -> Report:
        """Do it."""
        return import_module(f"vidro.learn.experiments.{self.name}").run(request)


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("facts", "Where does your model keep a fact, and can one be changed?", 1, needs_run=True),
        Experiment("context", "How much do the words before help your model?", 1, needs_run=True),
        Experiment("temperature", "What do temperature, top-k and top-p trade?", 1, needs_run=True),
        Experiment("classifier", "What is your model's pretraining worth to a classifier?", 3, needs_run=True),
        Experiment("memorisation", "How often must a passage be read to be known by heart?", 4, needs_run=False),
        Experiment("parts", "What is each part of a block worth?", 2, needs_run=False),
        Experiment("sizes", "What do heads, depth, width and the vocabulary do?", 2, needs_run=False),
        Experiment("scaling", "How does the loss fall as models grow, and the speed?", 2, needs_run=False),
        Experiment("overfitting", "A small text, read too often: what helps?", 1, needs_run=False),
    )
}


def find(name: str) -> Experiment:
    """The experiment of this name. Raises UsageError with the nearest name.

    >>> find("facts").needs_run
    True
    """
    if name not in EXPERIMENTS:
        raise UsageError(f"there is no experiment {name!r}", hint=did_you_mean(name, EXPERIMENTS))
    return EXPERIMENTS[name]
