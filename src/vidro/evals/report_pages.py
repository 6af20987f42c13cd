"""What stands in a report: of answers to instructions, or of a classifier's classes.

Everything is made from scores that were computed elsewhere; nothing is measured here. Not here: how a page looks
(`report`), the pages of models that write (`report_texts`), the numbers (`answers`, `accuracy`, `judge`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidro.evals.accuracy import ClassScores, accuracy_line
from vidro.evals.answer_loss import AnswerLoss
from vidro.evals.answering import evenly
from vidro.evals.answers import AnswerRow, AnswerScores, Estimate, Marks, exact_match, token_f1
from vidro.evals.confusion_plot import MOST_CLASSES, confusion_chart
from vidro.evals.instructions import JUDGED, Comparison, RunAnswers
from vidro.evals.judge import score_prompt
from vidro.evals.plots import plain_style
from vidro.evals.report import FOOT, Example, Page, Picture, Said, Section, Table, picture_of
from vidro.evals.report_charts import distribution_chart
from vidro.evals.report_curves import NO_CURVES, RunCurves, curve_sections, versions_section
from vidro.infer.explain_text import percent

EXAMPLES = 12
MEASURES = {"exact": "exact match", "exact_normalised": "normalised", "f1": "word F1", "rouge_l": "ROUGE-L"}
_MEASURED = (
    "Each figure is the mean over the answers; below it its 95 % interval (bootstrap over the rows). Exact match "
    "forgives only white space; normalised also case and the punctuation at the end. Word F1 compares the words "
    "without their order, ROUGE-L the longest sequence of words in common."
)
_LOSS = (
    "Loss is how surprised a run is by the expected answers: nats per token, their end tokens included, prompts not. "
    "Runs with different tokenizers cannot be compared by it."
)
_WITHOUT = (
    "The last rows need no model: the question again as its own answer, and the answer of the most similar question "
    "(tf-idf) among the rows that a run learned from. A run with less has learned the form of an answer and no more."
)
_JUDGED = (
    "A judge is a language model: it likes long answers and makes mistakes of its own. Read its scores beside exact "
    "match. It read this prompt for the first row; those for all others, with its replies, are kept in "
)


@dataclass(frozen=True)
class Labelled:
    """How one classifier did on a table of labelled texts."""

    run: str
    scores: ClassScores


def instruction_page(asked: Comparison, *, versions: Mapping[str, str], curves: RunCurves = NO_CURVES) -> Page:
    """The report of one run or several that were asked the same rows; `curves`: how they were trained."""
    names = ", ".join(run.run for run in asked.runs)
    lead = f"{len(asked.lines):,} of {asked.n_rows:,} rows of {asked.data}, asked of {names}."
    kinds = [kinds_section(asked.runs)] if asked.runs[0].scores.kinds else []
    judge = [judge_section(asked)] if asked.judge is not None else []
    spread = "How the scores are spread over the answers."
    picture = picture_of(distribution_chart(asked.runs), f"{spread} The means are in the table above.")
    sections = [
        scores_section(asked),
        *kinds,
        Section("Spread", pictures=(picture,)),
        examples_section(asked),
        *judge,
        *curve_sections(curves),
        settings_section(asked, versions),
    ]
    return Page(f"Answers to {Path(asked.data).name}", lead, tuple(sections), FOOT)


def scores_section(asked: Comparison) -> Section:
    """The table of all measures, a run a line, then a line for each yardstick."""
    judged = asked.judge is not None
    head = [
        "run",
        *MEASURES.values(),
        "stopped by itself",
        "words",
        "empty",
        "repeated",
        "loss",
        *(["judge"] if judged else []),
    ]
    rows = []
    for run in asked.runs:
        stopped = "unknown" if run.scores.stopped_frac is None else percent(run.scores.stopped_frac)
        cells = score_cells(run.scores, stopped=stopped, loss=loss_cell(run.loss))
        rows.append((run.run, *cells, *([judge_cell(run)] if judged else [])))
    bars = asked.yardsticks()
    for name, bar in bars:
        rows.append((name, *score_cells(bar.scores, stopped="", loss=""), *([""] if judged else [])))
    table = Table(tuple(head), tuple(rows), tuple(range(1, len(head))))
    left = [
        f"{run.n_unanswerable:,} of {asked.n_rows:,} questions do not fit into the context of {run.run}."
        for run in asked.runs
        if run.n_unanswerable
    ]
    left += [
        f"{run.loss.n_too_long:,} of {len(asked.lines):,} expected answers do not fit into the context of {run.run}: "
        "not in the loss."
        for run in asked.runs
        if run.loss is not None and run.loss.n_too_long
    ]
    left += [f"{name[:1].upper()}{name[1:]}: {line}" for name, bar in bars for line in bar.lines()]
    about = [_MEASURED, *([_LOSS] if any(run.loss for run in asked.runs) else []), *([_WITHOUT] if bars else [])]
    return Section("Scores", (*about, *left), (table,))


def score_cells(scores: AnswerScores, *, stopped: str, loss: str) -> tuple[str, ...]:
    """All measures of some answers, in the order of the table."""
    words = f"{scores.mean_words:.1f}\nexpected {scores.mean_expected_words:.1f}"
    others = (stopped, words, f"{scores.n_empty:,}", percent(scores.repetition), loss)
    return (*marks_cells(scores), *others)


def loss_cell(loss: AnswerLoss | None) -> str:
    """Nats per token of the expected answers; "unknown" where nobody measured, or no row fits."""
    return "unknown" if loss is None or loss.nats_per_token is None else f"{loss.nats_per_token:.3f}"


def kinds_section(runs: Sequence[RunAnswers]) -> Section:
    """Each kind of row, and the mean in which each kind weighs the same."""
    head = ["kind", "rows", *(f"{run.run}: {name}" for run in runs for name in ("exact match", "word F1"))]
    rows = []
    for kind, first in runs[0].scores.kinds.items():
        rows.append((kind, f"{first.n:,}", *kind_cells([run.scores.kinds[kind] for run in runs])))
    means = [run.scores.macro for run in runs]
    rows.append(("mean of kinds", "", *kind_cells([marks for marks in means if marks is not None])))
    return Section("By kind", tables=(Table(tuple(head), tuple(rows), tuple(range(1, len(head)))),))


def examples_section(asked: Comparison) -> Section:
    """Some rows with every run's answer."""
    chosen = evenly(range(len(asked.lines)), EXAMPLES)
    files = ", ".join(str(run.responses) for run in asked.runs)
    words = f"{len(chosen):,} of {len(asked.lines):,} rows, evenly spaced; all answers are in {files}."
    return Section("Examples", (words,), examples=tuple(example(asked, place) for place in chosen))


def example(asked: Comparison, place: int) -> Example:
    """One row: the question, what was expected, what each run answered."""
    row = asked.runs[0].answers[place]
    title = f"row {asked.lines[place]:,}" + (f", {row.kind}" if row.kind else "")
    answers = [Said("expected", row.expected)]
    for run in asked.runs:
        judged = "" if run.judged is None else f" · judge {score_word(run.judged.scores[place])}"
        answer = run.answers[place]
        answers.append(Said(run.run, answer.answer or "(nothing)", marks_of(answer) + judged))
    return Example(title, "\n".join(text for text in (row.instruction, row.input) if text), tuple(answers))


def marks_of(row: AnswerRow) -> str:
    """An answer's own marks in words."""
    if exact_match(row.answer, row.expected):
        return "exact"
    same = "right but for case and punctuation · " if exact_match(row.answer, row.expected, normalised=True) else ""
    return f"{same}word F1 {token_f1(row.answer, row.expected):.2f}"


def judge_section(asked: Comparison) -> Section:
    """Who judged, what it read, what it gave."""
    files = ", ".join(str(run.folder / JUDGED) for run in asked.runs)
    rows = []
    for run in asked.runs:
        if run.judged is not None:
            rows.append((run.run, judge_cell(run), f"{run.judged.n:,}", f"{run.judged.n_unparsable:,}"))
    tables = [Table(("run", "score of 100", "answers", "replies that could not be read"), tuple(rows), (1, 2, 3))]
    if asked.pairs is not None:
        head = (
            f"{asked.runs[0].run} against {asked.runs[1].run}",
            "won",
            "lost",
            "tied",
            "hung on the order",
            "unread",
        )
        pairs = asked.pairs
        counts = (pairs.wins, pairs.losses, pairs.ties, pairs.inconsistent, pairs.n_unparsable)
        rate = "no choice could be read" if pairs.win_rate is None else f"win rate {one_line(pairs.win_rate)}"
        tables.append(Table(head, ((rate, *(f"{count:,}" for count in counts)),), (1, 2, 3, 4, 5)))
    prompt = score_prompt(asked.runs[0].answers[0])
    return Section(f"Judge: {asked.judge}", (f"{_JUDGED}{files}.",), tuple(tables), texts=(prompt,))


def settings_section(asked: Comparison, versions: Mapping[str, str]) -> Section:
    """What was asked of whom, and with what."""
    how = [(name.replace("_", " "), str(value)) for name, value in asked.settings.items()]
    facts = [("file", asked.data), ("form of its rows", asked.form), *how, *versions.items()]
    tables = [Table(("setting", "value"), tuple(facts))]
    for run in asked.runs:
        own = [("prompt style", run.style), *run.facts.items()]
        tables.append(Table((run.run, ""), tuple(own)))
    return Section("Settings and versions", tables=tuple(tables))


def label_page(
    found: Sequence[Labelled], *, data: str, versions: Mapping[str, str], curves: RunCurves = NO_CURVES
) -> Page:
    """The report of one classifier or several on the same labelled texts; `curves`: how they were trained."""
    names = ", ".join(one.run for one in found)
    sections = [Section(one.run, (f"{accuracy_line(one.scores)}.",), *class_parts(one)) for one in found]
    sections += [*curve_sections(curves), versions_section(versions)]
    lead = f"{found[0].scores.n:,} labelled texts of {data}, classified by {names}."
    return Page(f"Classes of {Path(data).name}", lead, tuple(sections), FOOT)


def class_parts(one: Labelled) -> tuple[tuple[Table, ...], tuple[Picture, ...]]:
    """A line for each class, and who is taken for whom: as a picture, or as a table where the classes are many."""
    scores = one.scores
    columns = zip(scores.names, scores.precision, scores.recall, scores.f1, scores.support, strict=True)
    rows = [(name, *(f"{value:.3f}" for value in values), f"{support:,}") for name, *values, support in columns]
    rows.append(("mean of classes", f"{scores.precision.mean():.3f}", f"{scores.recall.mean():.3f}",
                 f"{scores.macro_f1:.3f}", f"{scores.n:,}"))  # fmt: skip
    tables = [Table(("class", "precision", "recall", "F1", "rows"), tuple(rows), (1, 2, 3, 4))]
    if len(scores.names) > MOST_CLASSES:
        counts = [(name, *(f"{n:,}" for n in row)) for name, row in zip(scores.names, scores.confusion, strict=True)]
        tables.append(
            Table(("true ↓ predicted →", *scores.names), tuple(counts), tuple(range(1, len(scores.names) + 1)))
        )
        return tuple(tables), ()
    with plain_style():
        figure = confusion_chart(scores, f"Who is taken for whom: {one.run}")
    return tuple(tables), (picture_of(figure, "The confusion matrix; its shares of each class are the recalls above."),)


def marks_cells(marks: Marks) -> tuple[str, ...]:
    """The four measures with their intervals."""
    return tuple(interval(getattr(marks, name)) for name in MEASURES)


def kind_cells(found: Sequence[Marks]) -> tuple[str, ...]:
    """Exact match and word F1 of each run."""
    return tuple(interval(value) for marks in found for value in (marks.exact, marks.f1))


def interval(value: Estimate) -> str:
    """A share, and on the next line its 95 % interval.

    >>> interval(Estimate(0.5, 0.25, 0.8))
    '50.0 %\\n25.0 to 80.0'
    """
    return f"{100 * value.mean:.1f} %\n{100 * value.low:.1f} to {100 * value.high:.1f}"


def one_line(value: Estimate) -> str:
    """The same on one line."""
    return ", 95 %: ".join(interval(value).split("\n"))


def judge_cell(run: RunAnswers) -> str:
    """The judge's mean score with its interval."""
    mean = None if run.judged is None else run.judged.mean
    return "none could be read" if mean is None else f"{mean.mean:.1f}\n{mean.low:.1f} to {mean.high:.1f}"


def score_word(score: int | None) -> str:
    """A score, or that there is none."""
    return "unreadable" if score is None else str(score)
