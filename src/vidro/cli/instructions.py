"""``vidro evaluate --instructions``: answers of runs to the rows of a file, side by side, and what a judge thinks.

Not here: flags (`evaluate`), asking and scoring (`api/evaluate`), the page of ``--report`` (`evals/report_pages`).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.evals.answers import AnswerScores
    from vidro.evals.instructions import Comparison, RunAnswers, Stages

SHOWN_ROWS = 3
SHOWN_LETTERS = 300


def on_instructions(
    opened: Sequence[Run],
    data: str,
    options: dict[str, Any],
    *,
    key_file: str | None,
    skip_empty: bool,
    report: str | None,
    json: bool,
) -> int:
    """Ask, show, let the judge score, show, write the page. What was answered is kept when the judge goes away."""
    from vidro.api.evaluate import answer_options, ask_runs, judge_target, read_key
    from vidro.cli.terminal import note, print_json
    from vidro.evals.instructions import judge_answers

    chosen = answer_options(options)
    target = judge_target(chosen, None if key_file is None else read_key(Path(key_file)))
    with rows_progress() as told:
        asked = ask_runs(opened, data, chosen, skip_empty=skip_empty, on_progress=told)
    if not json:
        show_scores(asked)
    for run in asked.runs:
        note(f"All answers of {run.run}: {run.responses}")
    if target is not None:
        with rows_progress() as told:
            asked = judge_answers(asked, target, seed=chosen.seed, on_progress=told)
        if not json:
            show_judge(asked)
    if report is not None:
        from vidro.cli.reports import write_instruction_page

        write_instruction_page(asked, opened, Path(report))
    if json:
        print_json(asked.to_json())
    return 0


def show_scores(asked: Comparison) -> None:
    """Each run's scores, all of them in one table with the yardsticks, and some answers beside each other."""
    for run in asked.runs:
        resumed = f", {run.n_resumed:,} of them answered before" if run.n_resumed else ""
        print(f"{run.run} on {asked.data} ({run.style}{resumed}):")
        print("\n".join([*run.scores.lines(), ""]))
    show_side_by_side(asked)
    show_examples(asked)


def show_side_by_side(asked: Comparison) -> None:
    """One run a line: the means; then what needs no model."""
    from vidro.cli.terminal import show, table

    figures = ("exact match", "normalised", "word F1", "ROUGE-L", "stopped", "words", "loss")
    grid = table("run", *figures, right=figures)

    def add(name: str, scores: AnswerScores, stopped: str, loss: str) -> None:
        means = (scores.exact, scores.exact_normalised, scores.f1, scores.rouge_l)
        grid.add_row(name, *(f"{each.mean:.1%}" for each in means), stopped, f"{scores.mean_words:.1f}", loss)

    for run in asked.runs:
        stopped = "?" if run.scores.stopped_frac is None else f"{run.scores.stopped_frac:.1%}"
        add(run.run, run.scores, stopped, loss_word(run))
    bars = asked.yardsticks(short=True)
    for name, bar in bars:
        add(name, bar.scores, "", "")
    show(grid)
    print("Loss: nats per token of the expected answers, their end included.")
    print("No model is needed for", "; for ".join(f'"{name}": {bar.name}' for name, bar in bars), end=".\n")
    print("\n".join([*(f'"{name}": {line}' for name, bar in bars for line in bar.lines()), ""]))


def loss_word(run: RunAnswers) -> str:
    """The loss of the expected answers; "?" where none of them fits into the context."""
    return "?" if run.loss is None or run.loss.nats_per_token is None else f"{run.loss.nats_per_token:.3f}"


def show_examples(asked: Comparison) -> None:
    """Three rows: the question, what was expected, what each run answered."""
    from rich.text import Text

    from vidro.cli.terminal import show, table
    from vidro.evals.answering import evenly

    grid = table("row", "question", "expected", *(run.run for run in asked.runs), right=("row",))
    grid.show_lines = True
    for place in evenly(range(len(asked.lines)), SHOWN_ROWS):
        row = asked.runs[0].answers[place]
        texts = [f"{row.instruction}\n{row.input}", row.expected, *(run.answers[place].answer for run in asked.runs)]
        grid.add_row(f"{asked.lines[place]:,}", *(Text(shortened(text)) for text in texts))
    show(grid)
    print()


def shortened(text: str) -> str:
    """A text for a cell: what a terminal would obey as pictures, the end of a long one as "…".

    >>> shortened("a" * 500)[-3:], shortened(" the cat ")
    ('aa…', 'the cat')
    """
    from vidro.api.words import visible

    words = visible(text.strip())
    return words if len(words) <= SHOWN_LETTERS else f"{words[: SHOWN_LETTERS - 1]}…"


def show_judge(asked: Comparison) -> None:
    """The prompt that the judge read for the first row, then what it gave."""
    from vidro.api.words import visible
    from vidro.evals.instructions import JUDGED
    from vidro.evals.judge import score_prompt

    print(f"What the judge {asked.judge} reads, for the first row:\n")
    print("\n".join(f"  | {line}" for line in visible(score_prompt(asked.runs[0].answers[0])).split("\n")))
    for run in asked.runs:
        if run.judged is not None:
            print("\n".join(["", f"{run.run}:", *run.judged.lines(), f"{'replies':<22}{run.folder / JUDGED}"]))
    if asked.pairs is not None:
        first, second = asked.runs
        print("\n".join(["", f"{first.run} against {second.run}, in both orders:", *asked.pairs.lines()]))
    print(flush=True)


@contextlib.contextmanager
def rows_progress() -> Iterator[Stages]:
    """How many rows are done: a bar in a terminal, a line for every tenth elsewhere; on stderr."""
    from vidro.cli.terminal import note, stderr_console

    if not sys.stderr.isatty():
        tenths: dict[str, int] = {}

        def tell(stage: str, done: int, total: int) -> None:
            tenth = 10 * done // max(total, 1)
            if tenths.get(stage, 0) < tenth:
                note(f"{stage}: {done:,} of {total:,}")
            tenths[stage] = tenth

        yield tell
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=stderr_console(), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def move(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield move
