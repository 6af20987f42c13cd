"""Asking one run or several the rows of a file: the same rows of each, kept and scored. And tasks of the harness.

Not here: what an answer is worth (`evals/answers`), a judge (`evals/instructions`), tasks (`evals/tasks`), the screen
(`cli/instructions`, `cli/tasks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.config.load import resolve
from vidro.config.schema import Settings, setting
from vidro.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.data.instructions import InstructionRow, InstructionTable
    from vidro.evals.accuracy import ClassScores
    from vidro.evals.answer_loss import AnswerLoss
    from vidro.evals.answer_yardsticks import AnswerYardstick
    from vidro.evals.answering import Progress
    from vidro.evals.instructions import Comparison, RunAnswers, Stages
    from vidro.evals.judge_client import JudgeTarget
    from vidro.evals.tasks import TaskScores
    from vidro.infer.answering import Answerer
    from vidro.infer.session import Session


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(Settings):
    """Which rows are asked, and who judges the answers."""

    rows: int | None = setting(None, "Ask at most this many of the rows, evenly spaced, instead of all.", ge=1)
    answer_tokens: int = setting(256, "Longest answer.", ge=1, unit="tokens")
    style: str | None = setting(
        None, "How questions are framed for runs that were not taught to answer: alpaca, chatml … or jinja:FILE."
    )
    judge: str | None = setting(
        None, "A model that scores the answers: ollama:MODEL, ollama:MODEL@ADDRESS or openai:MODEL@ADDRESS."
    )
    out: str | None = setting(None, "Where answers and the judge's replies are kept; otherwise RUN/evaluations/FILE.")
    seed: int = setting(1337, "Same seed, same answers: same intervals.", ge=0)


@dataclass(frozen=True, kw_only=True)
class TaskLimits(Settings):
    """How much of a task of the harness is asked."""

    limit: int | None = setting(None, "Ask only the first rows of each task, instead of all.", ge=1)
    few_shot: int | None = setting(
        None, "Put this many solved examples before each question; otherwise what the task says.", ge=0
    )


@dataclass(frozen=True, kw_only=True)
class TaskOptions(TaskLimits):
    """The same, and the draw of examples."""

    seed: int = setting(AnswerOptions.seed, "Same seed: same examples and samples.", ge=0)


def answer_options(said: Mapping[str, Any]) -> AnswerOptions:
    """AnswerOptions from keywords. Raises UsageError for a name nobody knows."""
    return resolve(AnswerOptions, flags={k: str(v) if isinstance(v, Path) else v for k, v in said.items()})


def judge_target(options: AnswerOptions, key: str | None) -> JudgeTarget | None:
    """Who judges, checked before anything is asked; None where nobody shall. Raises UsageError."""
    from vidro.evals.judge_client import parse_judge

    if options.judge is None:
        if key is not None:
            raise UsageError("there is a key, but no judge", hint="Say which: --judge openai:MODEL@ADDRESS.")
        return None
    return parse_judge(options.judge, key=key)


def read_key(path: Path) -> str:
    """The judge's key from a file that holds nothing else. Raises UsageError."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, IsADirectoryError):
        hint = "It holds the judge's key and nothing else."
        raise UsageError("there is no such file", where=path, hint=hint) from None
    except UnicodeDecodeError:
        raise UsageError("this is not a text file", where=path, hint="It holds the judge's key.") from None


def evaluate_instructions(
    runs: Sequence[Run],
    data: str | Path,
    *,
    skip_empty: bool = False,
    judge_key: str | None = None,
    on_progress: Stages | None = None,
    **options: Any,
) -> Comparison:
    """Ask the runs the same rows and let a judge, where one is named, score the answers. Keywords: AnswerOptions.

    Raises UsageError and DataError; what was answered before stays in the files.
    """
    from vidro.evals.instructions import judge_answers

    chosen = answer_options(options)
    target = judge_target(chosen, judge_key)
    asked = ask_runs(runs, data, chosen, skip_empty=skip_empty, on_progress=on_progress)
    return asked if target is None else judge_answers(asked, target, seed=chosen.seed, on_progress=on_progress)


def evaluate_tasks(
    runs: Sequence[Run],
    tasks: str | Path | Sequence[str | Path],
    *,
    on_progress: Stages | None = None,
    **options: Any,
) -> list[TaskScores]:
    """Ask the runs tasks of lm-evaluation-harness: names, YAML files or folders. Keywords: TaskOptions.

    Remarks go to the first run's `say`. Raises UsageError and DataError.
    """
    from vidro.evals.tasks import run_tasks

    chosen = resolve(TaskOptions, flags=options)
    names = [tasks] if isinstance(tasks, str | Path) else list(tasks)
    if not names:
        raise UsageError("no task is named", hint="Name one of the harness, or a YAML file of your own.")
    return run_tasks(
        [(name, task_session(run)) for name, run in zip(names_of(runs), runs, strict=True)],
        [str(name) for name in names],
        limit=chosen.limit,
        few_shot=chosen.few_shot,
        seed=chosen.seed,
        say=runs[0].say,
        on_progress=on_progress,
    )


def task_session(run: Run) -> Session:
    """What a run writes with: one that was taught to answer ends its texts as it was taught. Raises UsageError."""
    return run.session if run.style is None else run.answerer.session


def ask_runs(
    runs: Sequence[Run],
    data: str | Path,
    options: AnswerOptions,
    *,
    skip_empty: bool = False,
    on_progress: Stages | None = None,
) -> Comparison:
    """The answers of each run to the rows of the file that all of them have room for, and their scores.

    Remarks go to the runs' `say`. Raises DataError where the file is none of instructions or no row fits, UsageError
    for a run that neither was taught to answer nor got a style.
    """
    from vidro.data.instructions import read_instructions
    from vidro.evals.answer_loss import answer_losses
    from vidro.evals.answering import evenly
    from vidro.evals.instructions import Comparison

    table = read_instructions(Path(data), skip_empty=skip_empty)
    for message in table.notes:
        runs[0].say(message)
    answerers = answerers_of(runs, options.style)
    shared, unanswerable = shared_rows(runs, answerers, table)
    chosen = evenly(shared, len(shared) if options.rows is None else options.rows)
    found = []
    for run, name, answerer, n in zip(runs, names_of(runs), answerers, unanswerable, strict=True):
        folder = folder_of(run, data, options.out, alone=len(runs) == 1)
        told = None if on_progress is None else partial(on_progress, f"answers of {name}")
        one = ask_run(run, answerer, chosen, folder, options, on_progress=told)
        bars = yardsticks_of(run, chosen, seed=options.seed)
        found.append(replace(one, run=name, n_unanswerable=n, yardsticks=bars))
    told = None if on_progress is None else partial(on_progress, "loss of the expected answers")
    losses = answer_losses(answerers, chosen, on_progress=told)
    say_of_losses(runs, losses)
    found = [replace(one, loss=loss) for one, loss in zip(found, losses, strict=True)]
    settings = {k: v for k, v in asdict(options).items() if v is not None and k not in ("judge", "out")}
    lines = tuple(row.line for row in chosen)
    return Comparison(str(data), table.form, len(table.rows), lines, tuple(found), {**settings, "greedy": True})


def ask_run(
    run: Run,
    answerer: Answerer,
    rows: Sequence[InstructionRow],
    folder: Path,
    options: AnswerOptions,
    *,
    on_progress: Progress | None = None,
) -> RunAnswers:
    """One run's answers to the rows, kept in the folder."""
    from vidro.evals.answering import answer_rows
    from vidro.evals.answers import score_answers
    from vidro.evals.instructions import RESPONSES, RunAnswers

    sha256, most = weights_sha256(run), options.answer_tokens
    answers = answer_rows(answerer, rows, folder / RESPONSES, model=sha256, max_tokens=most, on_progress=on_progress)
    return RunAnswers(
        run=run.reference,
        style=answerer.style.name,
        folder=folder,
        answers=answers.rows,
        scores=score_answers(answers.rows, seed=options.seed),
        n_resumed=answers.n_resumed,
        facts=facts_of(run, sha256),
    )


def yardsticks_of(run: Run, rows: Sequence[InstructionRow], *, seed: int) -> tuple[AnswerYardstick, ...]:
    """Answers to the rows without a model; those of similar questions only where the run's own rows can be read."""
    from vidro.api.texts import learned_questions
    from vidro.core.errors import VidroError
    from vidro.evals.answer_yardsticks import repeated_questions, similar_answers

    repeated = repeated_questions(rows, seed=seed)
    try:
        learned = learned_questions(run)
    except VidroError as problem:
        run.say(f"No similar questions beside {run.reference}: {problem}")
        return (repeated,)
    return (repeated,) if learned is None else (repeated, similar_answers(rows, learned, seed=seed))


def say_of_losses(runs: Sequence[Run], losses: Sequence[AnswerLoss]) -> None:
    """What a reader of the losses must know: rows that are not in them, and tokens that cannot be compared."""
    for run, loss in zip(runs, losses, strict=True):
        if loss.n_too_long:
            some = f"{loss.n_too_long:,} of {loss.n_rows + loss.n_left_out:,} expected answers"
            run.say(f"{some} do not fit into the context of {run.reference}: not in the loss.")
    if len({run.tokenizer.fingerprint for run in runs}) > 1:
        runs[0].say("The runs have different tokenizers: their losses are of different tokens, not to be compared.")


def names_of(runs: Sequence[Run]) -> list[str]:
    """What to call the runs in tables: the names of their folders, or their paths where two names are the same."""
    short = [Path(run.reference).name for run in runs]
    return short if len(set(short)) == len(short) else [run.reference for run in runs]


def answerers_of(runs: Sequence[Run], style: str | None) -> list[Answerer]:
    """Each run as it was taught to answer, and in `style` where it was not. Raises UsageError.

    A style that no run needs is an error; one that some do not need is said to be for the others.
    """
    from vidro.infer.answering import Answerer
    from vidro.text.styles import get_style

    own = [run.style for run in runs]
    if style is not None and None not in own:
        hint = "Leave --style out."
        raise UsageError("each of these runs has the style that it was taught with", hint=hint)
    found = []
    for run, taught in zip(runs, own, strict=True):
        if taught is None and style is None:
            known = next((each.name for each in own if each is not None), "alpaca")
            hint = f"Say how to ask it: --style {known}."
            raise UsageError("this run was not taught to answer", where=run.path, hint=hint)
        if taught is not None and style is not None and taught.name != style:
            run.say(f"{run.reference} is asked in the style that it was taught with, {taught.name}.")
        chosen = get_style(str(style), run.tokenizer) if taught is None else taught
        found.append(Answerer(run.model, run.tokenizer, chosen))
    return found


def shared_rows(
    runs: Sequence[Run], answerers: Sequence[Answerer], table: InstructionTable
) -> tuple[list[InstructionRow], list[int]]:
    """The rows that every run has room for, and how many each has none for. Raises DataError where none is left."""
    from vidro.evals.answering import fits

    able = [[fits(answerer, row) for row in table.rows] for answerer in answerers]
    unanswerable = [each.count(False) for each in able]
    for run, answerer, n in zip(runs, answerers, unanswerable, strict=True):
        if n:
            room = f"the {answerer.context_length:,} tokens of {run.reference}"
            which = "" if len(runs) == 1 else " of any run"
            run.say(f"{n:,} of {len(table.rows):,} questions do not fit into {room}: not asked{which}.")
    shared = [row for row, each in zip(table.rows, zip(*able, strict=True), strict=True) if all(each)]
    if not shared:
        raise DataError("no question is short enough for the context", hint="Ask something shorter.")
    return shared, unanswerable


def folder_of(run: Run, data: str | Path, out: str | None, *, alone: bool) -> Path:
    """Where a run's answers are kept. Several runs in one place get a folder each."""
    from vidro.checkpoint.run import safe_stem

    if out is None:
        return run.path / "evaluations" / safe_stem(Path(data).name)
    return Path(out) if alone else Path(out) / Path(run.reference).name


def evaluate_labels(run: Run, data: Path, **how: Any) -> ClassScores:
    """How many labelled texts of a table get their own class. Keywords: those of `read_labelled`. Raises DataError."""
    from vidro.data.labelled import read_labelled
    from vidro.evals.accuracy import class_scores

    labels = run.classifier.labels
    table = read_labelled(data, **how, known=labels)
    for message in table.notes:
        run.say(message)
    found = list(run.predict_many(row.text for row in table.rows))
    if n_cut := sum(one.n_cut > 0 for one in found):
        run.say(f"{n_cut:,} texts are longer than the model reads and were cut.")
    return class_scores([row.label for row in table.rows], [one.label for one in found], labels)


def weights_sha256(run: Run) -> str:
    """The checksum of the weights that answer: the record's, or that of a checkpoint's file."""
    from vidro.core.files import sha256_file

    opened = run.opened
    known = opened.record.get("files", {}).get("model.safetensors")
    if opened.model_dir == opened.path and known is not None:
        return known
    return sha256_file(opened.model_dir / "model.safetensors")


def facts_of(run: Run, sha256: str) -> dict[str, str]:
    """What the run is, in words, for a report."""
    from vidro.api.words import human_count
    from vidro.model.count import count

    record, config = run.opened.record, run.model.config
    parameters = human_count(count(config).n_parameters)
    return {
        "kind": str(record.get("kind", "unknown")),
        "model": f"{config.family}, {parameters} parameters, context of {config.context_length:,} tokens",
        "step": f"{run.opened.step:,}",
        "made from": str(record.get("parent") or "nothing"),
        "learned from": str(record.get("data", {}).get("name", "unknown")),
        "weights (SHA-256)": sha256,
    }
