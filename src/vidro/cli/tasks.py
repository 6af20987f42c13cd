"""``vidro evaluate --tasks``: tasks of lm-evaluation-harness, in this process, and a table of what came out.

Not here: flags (`evaluate`), running (`evals/tasks`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.evals.tasks import Measure, TaskScores

QUIET = ("TQDM_DISABLE", "DISABLE_MULTIPROC")
"""What the harness reads: no bars of its own among ours, no processes of its own for its resampling."""


def on_tasks(runs: Sequence[str], opened: Sequence[Run], tasks: str, options: dict[str, Any], *, json: bool) -> int:
    """Run the tasks on each run, and show or print what came out."""
    from vidro.api.evaluate import evaluate_tasks
    from vidro.cli.instructions import rows_progress
    from vidro.cli.terminal import note, print_json

    with quiet_harness(), rows_progress() as told:
        scores = evaluate_tasks(opened, task_names(tasks), on_progress=told, **options)
    for name, found in zip(runs, scores, strict=True):
        for message in found.notes():
            note(f"{name}: {message}")
    if json:
        plain = [{"run": name, **found.to_json()} for name, found in zip(runs, scores, strict=True)]
        print_json(plain[0] if len(plain) == 1 else {"results": plain})
        return 0
    show_rows(scores[0])
    show_measures(runs, scores)
    return 0


def task_names(tasks: str) -> list[str]:
    """The tasks named between commas. Raises UsageError where one is empty.

    >>> task_names("arc_easy, my/capitals.yaml")
    ['arc_easy', 'my/capitals.yaml']
    """
    names = [name.strip() for name in tasks.split(",")]
    if "" in names:
        raise UsageError(f"{tasks!r} names no task", where="tasks", hint="For example capitals.yaml or arc_easy.")
    return names


@contextlib.contextmanager
def quiet_harness() -> Iterator[None]:
    """Inside, the harness is told to be quiet. Bars only hear it before they are first imported."""
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(dict.fromkeys(QUIET, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def show_rows(scores: TaskScores) -> None:
    """What was asked, one task a line: the same of every run."""
    for each in scores.rows:
        part = f"{each.n:,} rows" if each.n == each.n_all else f"the first {each.n:,} of {each.n_all:,} rows"
        examples = "" if each.few_shot == 0 else f", solved examples before each: {each.few_shot}"
        print(f"{each.task}: {part}{examples}")
    print(f"lm-evaluation-harness {scores.harness_version}, seed {scores.seed}\n")


def show_measures(runs: Sequence[str], scores: Sequence[TaskScores]) -> None:
    """One metric a line, the runs side by side."""
    from vidro.cli.terminal import show, table

    first = scores[0].measures
    filters = len({(each.task, each.metric) for each in first}) < len(first)
    named = ("task", "metric", "filter") if filters else ("task", "metric")
    grid = table(*named, "better", *runs, right=tuple(runs))
    for line in zip(*(found.measures for found in scores), strict=True):
        one = line[0]
        which = (one.task, one.metric, one.filter) if filters else (one.task, one.metric)
        better = {True: "higher", False: "lower", None: "?"}[one.higher_is_better]
        grid.add_row(*which, better, *map(figure, line))
    show(grid)


def figure(measure: Measure) -> str:
    """A value with its standard error, where there is one."""
    if measure.value is None:
        return "none"
    value = f"{measure.value:,.4f}"
    return value if measure.stderr is None else f"{value} ± {measure.stderr:.4f}"
