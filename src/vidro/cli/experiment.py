"""How experiments look on a terminal: the list, and what came of one as tables, sentences and figure files.

Not here: the experiments (`learn/experiments`), the command's flags (`learn`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.cli.terminal import note, print_json, show, table
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.learn.experiments.registry import Experiment, Report
    from vidro.learn.experiments.registry import Table as Measured

RUNS_DIR = Path("runs")
LONGEST_NUMBER = 24  # characters; a column with longer cells holds text
TINY_WORLD = ("quickstart", "tinyworld")  # stems of what `quickstart` and `--data tinyworld` train on


def all_experiments(*, json: bool) -> int:
    """The list, with the question and the minutes of each."""
    from vidro.learn.experiments.registry import EXPERIMENTS

    if json:
        print_json({"experiments": list(EXPERIMENTS.values())})
        return 0
    grid = table("experiment", "question", "minutes", right=("minutes",))
    for experiment in EXPERIMENTS.values():
        grid.add_row(experiment.name, experiment.question, str(experiment.minutes))
    show(grid)
    note(f"Minutes are those of two quiet cores. Next: vidro learn experiment {next(iter(EXPERIMENTS))}")
    return 0


def one_experiment(name: str, run: str | None, out: Path | None, *, json: bool) -> int:
    """Do one and say what came of it."""
    from vidro.cli.places import cache_dir
    from vidro.learn.experiments.registry import Request, find

    experiment, started = find(name), time.monotonic()
    chosen = chosen_run(experiment, run)
    note(f"{experiment.question} About {experiment.minutes} min on two quiet cores.")
    report = experiment.run(Request(chosen, note))
    figures = save_figures(report, out if out is not None else cache_dir() / "experiments" / name)
    if json:
        print_json(as_json(experiment, chosen, report, figures))
        return 0
    for measured in report.tables:
        show(f"[bold]{measured.title}[/bold]", drawn(measured), "")
    show(*report.findings, "", *(f"figure: {path}" for path in figures))
    note(f"{time.monotonic() - started:.0f} s")
    return 0


def chosen_run(experiment: Experiment, spec: str | None) -> Run | None:
    """The run to look at: the one that is named, or the newest that learned tiny world; None where none is needed."""
    from vidro.api.run import Run, load
    from vidro.checkpoint.run import list_runs, read_record

    if not experiment.needs_run:
        if spec is not None:
            raise UsageError(f"the experiment {experiment.name} trains its own models", hint="Leave out --run.")
        return None
    if spec is not None:
        run = load(spec, runs_dir=RUNS_DIR, device="cpu")
        if (kind := run.record.get("kind", "base")) != "base":
            raise UsageError(f"this run is of the kind {kind}", where=run.path, hint="Name the run it was made from.")
        return run
    for path in reversed(list_runs(RUNS_DIR)):
        record = read_record(path)
        stem = Path(record.get("data", {}).get("name", "")).stem
        if record.get("kind") == "base" and stem in TINY_WORLD:
            note(f"looking at {path}")
            return Run(path, device="cpu", say=note)
    raise UsageError("no run here has learned tiny world", where=RUNS_DIR, hint="Make one: vidro quickstart.")


def save_figures(report: Report, folder: Path) -> list[Path]:
    """Each figure as a PNG file."""
    from vidro.core.files import write_bytes_atomic
    from vidro.learn.figures import png

    paths = []
    for name, figure in report.figures.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(folder / f"{name}.png", png(figure))
        paths.append(folder / f"{name}.png")
    return paths


def as_json(experiment: Experiment, run: Run | None, report: Report, figures: list[Path]) -> dict[str, Any]:
    """The object of ``--json``."""
    return {
        "experiment": experiment.name,
        "run": None if run is None else run.path,
        "settings": report.settings,
        "tables": [{"title": one.title, "rows": [dict(zip(one.columns, row, strict=True)) for row in one.rows]}
                   for one in report.tables],
        "findings": report.findings,
        "figures": figures,
    }  # fmt: skip


def drawn(measured: Measured) -> Any:
    """A table for Rich: the first column is a name; the others are numbers, set to the right, or longer text."""
    from rich.markup import escape

    rows = [["-" if cell is None else str(cell) for cell in row] for row in measured.rows]
    columns = enumerate(measured.columns[1:], start=1)
    grid = table(*measured.columns, right=tuple(
        name for place, name in columns if all(len(row[place]) <= LONGEST_NUMBER for row in rows)
    ))  # fmt: skip
    for column in grid.columns:
        column.no_wrap = False  # with many columns of figures, those would be cut where a terminal is narrow
    for row in rows:
        grid.add_row(*map(escape, row))
    return grid
