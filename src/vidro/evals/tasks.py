"""Running tasks of lm-evaluation-harness on a Vidro model, in this process, and what came out.

The harness puts the questions, looks at the answers and takes the means, so the figures are the ones that other models
have in its tables. Seeds are fixed; the same model gives the same figures. Warnings of the harness are passed on, once.

Not here: finding tasks (`task_files`), answering (`harness`), the screen (`cli/tasks`).
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import torch

from vidro.core.errors import DataError, UsageError, VidroError
from vidro.evals.task_files import FoundTasks, find_tasks, harness_module, offline
from vidro.infer.session import Session

if TYPE_CHECKING:
    from vidro.evals.harness import Fit, Progress, VidroLM

BOOTSTRAPS = 1000  # resamples behind the error of a metric that has no formula (F1, perplexity)


@dataclass(frozen=True)
class Measure:
    """One figure of one task or group."""

    task: str
    metric: str
    filter: str
    """Which of the harness's ways to read an answer out of a text; "none" for most tasks."""

    value: float | None
    """None where the harness has no number."""

    stderr: float | None
    higher_is_better: bool | None


@dataclass(frozen=True)
class TaskRows:
    """How much of a task was asked."""

    task: str
    n: int
    n_all: int
    """Rows that there are; `limit` takes the first."""

    few_shot: int
    """Solved examples before each question."""


@dataclass(frozen=True)
class TaskScores:
    """Everything that came out of a run of tasks."""

    measures: tuple[Measure, ...]
    rows: tuple[TaskRows, ...]
    fit: Fit
    """What was too long for the model's context."""

    limit: int | None
    seed: int
    harness_version: str

    def value(self, task: str, metric: str, filter: str | None = None) -> float | None:
        """One figure; of the first filter where none is named. Raises KeyError."""
        for each in self.measures:
            if (each.task, each.metric) == (task, metric) and filter in (None, each.filter):
                return each.value
        raise KeyError((task, metric, filter))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and texts."""
        tasks = [asdict(each) for each in self.rows]
        fit = {f"n_{kind}": getattr(self.fit, f"n_{kind}") for kind in ("requests", "cut", "cut_tokens", "slid")}
        how = {"limit": self.limit, "seed": self.seed, "lm_eval": self.harness_version}
        return {"tasks": tasks, "measures": [asdict(each) for each in self.measures], **fit, **how}

    def notes(self) -> list[str]:
        """Sentences about what did not fit."""
        fit, found = self.fit, []
        if fit.n_cut:
            found.append(
                f"{fit.n_cut:,} of {fit.n_requests:,} requests were longer than the model's context and lost their "
                f"beginning ({fit.n_cut_tokens:,} tokens in all)."
            )
        if fit.n_slid:
            found.append(f"{fit.n_slid:,} texts grew longer than the model's context: it forgot how they began.")
        return found


def run_tasks(
    sessions: Sequence[tuple[str, Session]],
    names: Sequence[str],
    *,
    limit: int | None = None,
    few_shot: int | None = None,
    seed: int,
    say: Callable[[str], None],
    on_progress: Progress | None = None,
) -> list[TaskScores]:
    """Ask each model (its name, its session) the first `limit` rows of each task, after `few_shot` solved examples.

    None: all rows, and as many examples as the task says. `names`: tasks of the harness, YAML files, folders.
    Raises UsageError without the harness, for an unknown name, and for a number of examples where the task wants none;
    DataError for a task that cannot be run here.
    """
    vidro_lm = harness_module("vidro.evals.harness").VidroLM
    scores = []
    with offline(), remarks(say), same_draws(seed), contextlib.redirect_stdout(sys.stderr):  # the harness prints
        found = find_tasks(names, say=say)
        for name, task in found.tasks.items():
            set_shots(name, task, few_shot)
            check(name, task)
        for whose, session in sessions:
            told = None if on_progress is None else partial(_of_whom, on_progress, whose)
            scores.append(ask_tasks(vidro_lm(session, seed=seed, on_progress=told), found, limit=limit, seed=seed))
    return scores


def _of_whom(on_progress: Progress, whose: str, what: str, done: int, total: int) -> None:
    on_progress(f"{what}, {whose}", done, total)


def ask_tasks(lm: VidroLM, found: FoundTasks, *, limit: int | None, seed: int) -> TaskScores:
    """Ask one model tasks that were checked. Raises DataError where a row does not fit its task."""
    for task in found.tasks.values():
        task.set_fewshot_seed(seed=seed)
    with same_draws(seed):
        try:
            results = harness_module("lm_eval.evaluator").evaluate(
                lm, found.to_harness(), limit=limit, bootstrap_iters=BOOTSTRAPS, log_samples=False
            )
        except jinja2.TemplateError as problem:
            raise _not_runnable(", ".join(found.tasks), problem) from None
    version = harness_module("lm_eval").__version__
    return TaskScores(measures(results), rows(results, found), lm.fit, limit, seed, version)


def set_shots(name: str, task: Any, few_shot: int | None) -> None:
    """Fix the number of solved examples. Raises UsageError where the task wants none, DataError where it has none."""
    own = task.get_config("num_fewshot")
    if few_shot:
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            raise UsageError("whole texts are read without examples", where=name, hint="Leave --few-shot out.")
        if own == 0:
            hint = "Leave --few-shot out, or take num_fewshot: 0 out of the task."
            raise UsageError("this task is asked without examples", where=name, hint=hint)
    shots = (own or 0) if few_shot is None else few_shot
    if shots and _shows_its_own_answer(task):
        hint = "Name others: fewshot_split: train. Or fewshot_split: test, which leaves the question itself out."
        raise DataError("the examples would come from the rows that are asked", where=name, hint=hint)
    task.set_config(key="num_fewshot", value=shots)


def _shows_its_own_answer(task: Any) -> bool:
    """Whether examples are drawn from the test rows without a look at which row is asked (as the harness does where a
    task has only test rows and names no split for examples)."""
    settings = getattr(task, "fewshot_cfg", None)
    if settings is None or settings.split is not None or settings.samples is not None:
        return False
    return task.has_test_docs() and not task.has_training_docs() and not task.has_validation_docs()


def check(name: str, task: Any) -> None:
    """Put the first question together. Raises DataError where the task, its rows or its examples do not allow it."""
    if getattr(task, "UNSAFE_CODE", False):
        raise DataError("this task runs programs that the model writes, which Vidro does not", where=name)
    if getattr(task, "MULTIMODAL", False):
        raise DataError("this task shows pictures, which this model does not see", where=name)
    try:
        if len(task.eval_docs) == 0:
            raise DataError("this task has no rows", where=name)
        task.build_all_requests(limit=1, rank=0, world_size=1)
    except VidroError:
        raise
    except Exception as problem:  # templates and functions of the task meet its rows for the first time
        raise _not_runnable(name, problem) from None


def _not_runnable(name: str, problem: Exception) -> DataError:
    words = " ".join(str(problem).split())
    what = f"this task cannot be run ({type(problem).__name__}: {words[:160]})"
    if "larger than population" in words or "fewshot samples" in words:
        what = "this task does not have that many solved examples"
    return DataError(what, where=name)


def measures(results: Any) -> tuple[Measure, ...]:
    """The harness's table as one list: tasks and groups in its order, each metric with its error beside it."""
    found = []
    for task, figures in results["results"].items():
        better = results["higher_is_better"].get(task, {})
        for key, value in figures.items():
            metric, comma, way = key.partition(",")
            if comma and not metric.endswith("_stderr"):
                stderr = figures.get(f"{metric}_stderr,{way}")
                found.append(Measure(task, metric, way, _number(value), _number(stderr), better.get(metric)))
    return tuple(found)


def rows(results: Any, found: FoundTasks) -> tuple[TaskRows, ...]:
    """How much of each task was asked."""
    counts, shots = results["n-samples"], results["n-shot"]
    return tuple(
        TaskRows(name, counts[name]["effective"], counts[name]["original"], shots[name]) for name in found.tasks
    )


def _number(value: Any) -> float | None:
    """A figure of the harness, which says "N/A" where it has none."""
    return float(value) if isinstance(value, int | float | np.number) else None


@contextlib.contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Inside, the three generators that everybody shares start from `seed`; afterwards they are as they were.

    Tasks are programs of other people, and draw where they like.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


class _Remarks(logging.Handler):
    """Passes on each warning once, but for those about defaults of known metrics, which the results show."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.say = say
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        words = " ".join(record.getMessage().split())
        if words not in self.said and "using default" not in words:
            self.said.add(words)
            self.say(f"lm-eval: {words}")


@contextlib.contextmanager
def remarks(say: Callable[[str], None]) -> Iterator[None]:
    """Inside, warnings of the harness go to `say` and nowhere else."""
    logger, handler = logging.getLogger("lm_eval"), _Remarks(say)
    passes_on = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = passes_on
