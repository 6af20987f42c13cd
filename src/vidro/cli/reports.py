"""The pages of ``vidro evaluate --report``: gathered from what was measured, and written.

Not here: measuring and the screen (`scores`, `instructions`, `memorisation`), what stands on a page
(`evals/report_pages`, `evals/report_texts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.evals.accuracy import ClassScores
    from vidro.evals.copying import Memorisation
    from vidro.evals.instructions import Comparison
    from vidro.evals.perplexity import TextScore
    from vidro.evals.report import Page
    from vidro.evals.report_curves import RunCurves


def curves_of(names: Sequence[str], opened: Sequence[Run]) -> RunCurves:
    """How the runs were trained, under these names."""
    from vidro.evals.report_curves import training_curves

    return training_curves({name: run.path for name, run in zip(names, opened, strict=True)})


def write_text_page(
    scores: Mapping[str, TextScore], bars: Mapping[str, float] | None, opened: Sequence[Run], data: str, path: Path
) -> None:
    """The page of ``--text``: `scores` in the order of the runs; `bars` are yardsticks after the first run's text."""
    from vidro.checkpoint.run import versions
    from vidro.evals.report_texts import TextPrediction, text_page

    names = list(scores)
    without = "The training text cannot be read any more, so there are no yardsticks." if bars is None else ""
    known = {} if bars is None else bars
    found = TextPrediction(data, scores, known, names[0], without)
    write(text_page(found, versions=versions(), curves=curves_of(names, opened)), path)


def write_label_page(scores: Mapping[str, ClassScores], opened: Sequence[Run], data: str, path: Path) -> None:
    """The page of ``--labels``: `scores` in the order of the runs."""
    from vidro.checkpoint.run import versions
    from vidro.evals.report_pages import Labelled, label_page

    found = [Labelled(name, score) for name, score in scores.items()]
    write(label_page(found, data=data, versions=versions(), curves=curves_of(list(scores), opened)), path)


def write_instruction_page(asked: Comparison, opened: Sequence[Run], path: Path) -> None:
    """The page of ``--instructions``."""
    from vidro.checkpoint.run import versions
    from vidro.evals.report_pages import instruction_page

    curves = curves_of([one.run for one in asked.runs], opened)
    write(instruction_page(asked, versions=versions(), curves=curves), path)


def write_memorisation_page(found: Sequence[Memorisation], opened: Sequence[Run], path: Path) -> None:
    """The page of ``--memorisation``."""
    from vidro.checkpoint.run import versions
    from vidro.evals.report_texts import memorisation_page

    curves = curves_of([one.run for one in found], opened)
    write(memorisation_page(found, versions=versions(), curves=curves), path)


def write(page: Page, path: Path) -> None:
    """Write the page and say where it is."""
    from vidro.cli.terminal import note
    from vidro.evals.report import write_report

    write_report(page, path)
    note(f"Report: {path}")
