"""Pictures of a run from its events alone: `plots/` with PNG and SVG of loss, perplexity, learning rate and speed.

Works while the run is going on, after it, and on any machine that has ``metrics.jsonl``. No screen is needed and
nothing of Matplotlib's global state is kept or changed. Not here: what is drawn (`charts`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from vidro.core.errors import RunError, UsageError
from vidro.core.events import read_events
from vidro.core.files import atomic_path
from vidro.evals.charts import (
    accuracy_chart,
    comparison_chart,
    learning_rate_chart,
    loss_chart,
    perplexity_chart,
    speed_chart,
)
from vidro.evals.curves import Curves, curves

CHARTS: dict[str, Callable[[Curves], Figure]] = {
    "loss": loss_chart,
    "perplexity": perplexity_chart,
    "learning-rate": learning_rate_chart,
    "speed": speed_chart,
}


CLASSIFIER_CHARTS: dict[str, Callable[[Curves], Figure]] = {
    "loss": loss_chart,
    "accuracy": accuracy_chart,
    "learning-rate": learning_rate_chart,
    "speed": speed_chart,
}


def plot_run(run_dir: Path) -> list[Path]:
    """Draw the four charts into the run's ``plots/``; the files written, PNG (1200 × 750) and SVG of each.

    Raises RunError when the run has not logged a step yet.
    """
    run = read_curves(run_dir)
    written: list[Path] = []
    with plain_style():
        for name, chart in (CLASSIFIER_CHARTS if run.accuracy else CHARTS).items():
            written += save_figure(chart(run), run_dir / "plots" / name)
    return written


def compare_runs(run_dirs: Iterable[Path]) -> Figure:
    """The validation curves of several runs in one figure (bits per byte over tokens); save it with `save_picture`.

    Raises UsageError when no run is given, RunError when one has not logged a step yet.
    """
    runs = [read_curves(run_dir) for run_dir in run_dirs]
    if not runs:
        raise UsageError("there are no runs to compare", hint="Name two or more.")
    with plain_style():
        return comparison_chart(runs)


def read_curves(run_dir: Path) -> Curves:
    """The lines of a run from its ``metrics.jsonl``."""
    run = curves(read_events(run_dir / "metrics.jsonl"), name=run_dir.resolve().name)
    if not run.train and not run.val:
        raise RunError("there is nothing to draw yet: the run has logged no step", where=run_dir)
    return run


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``STEM.png`` and ``STEM.svg``; the same figure gives the same bytes.

    Each canvas prints directly: `Figure.savefig` would draw everything twice.
    """
    return [save_picture(figure, stem.with_name(f"{stem.name}.{kind}")) for kind in ("png", "svg")]


def save_picture(figure: Figure, path: Path) -> Path:
    """Write one file, PNG or SVG by its ending. Raises UsageError for another ending."""
    check_picture(path)
    with plain_style(), atomic_path(path) as temporary:
        if path.suffix.lower() == ".png":
            FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
        else:
            FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None})
    FigureCanvasAgg(figure)
    return path


def check_picture(path: Path) -> None:
    """Raise UsageError when the ending is of no kind of picture that can be written."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise UsageError("a picture ends in .png or .svg", where=path)


@contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib's own defaults inside, whatever the user's settings are; everything as before afterwards.

    A run's name may have letters that the built-in font lacks: they show as boxes, without a warning.
    """
    own = {"svg.hashsalt": "vidro", "axes.unicode_minus": False}
    with matplotlib.style.context(["default", own]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
