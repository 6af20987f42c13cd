"""``vidro evaluate``: how well models predict a text, or classifiers their classes, or how models answer, side by side.

Not here: what is shown of answers (`instructions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from vidro.api.evaluate import AnswerOptions
from vidro.cli.apps import make_app
from vidro.cli.options import Device, Encoding, Json, Runs, SkipBad, Threads, flag_name, takes, value
from vidro.config.load import leaves
from vidro.config.schema import Settings, TableOptions, setting
from vidro.core.errors import UsageError

app = make_app(
    "evaluate",
    "Measure how well a model predicts a text (bits per byte, perplexity), a classifier its classes, or how a model "
    "answers.",
    usage="vidro evaluate RUN... (--text FILE | --labels FILE | --instructions FILE)",
    examples=(
        "vidro evaluate last --text other-book.txt",
        "vidro evaluate book-1 book-2 --text other-book.txt      side by side",
        "vidro evaluate last --text other-book.txt --stride 64   sliding windows",
        "vidro evaluate spam-1 --labels new-messages.tsv         accuracy, precision, recall",
        "vidro evaluate tasks-1 --instructions tasks.json        answers and their scores",
        "vidro evaluate tasks-1 --instructions tasks.json --judge ollama:llama3",
        "vidro evaluate tasks-1 --instructions tasks.json --report tasks.html",
    ),
)

Text = Annotated[str | None, value("The text: a file, a folder, a pattern, a corpus, or - for stdin.", "FILE")]
STRIDE_HELP = "Let windows overlap: each predicts only its last N tokens. Slower, and named in the result."
Stride = Annotated[int | None, value(STRIDE_HELP, "N")]


@dataclass(frozen=True, kw_only=True)
class LabelledTexts(TableOptions):
    """What a classifier is asked."""

    labels: str | None = setting(None, "Labelled texts: CSV, TSV or JSONL.")
    skip_empty: bool = setting(False, "Leave out and count rows without text or answer, instead of stopping.")


@dataclass(frozen=True, kw_only=True)
class Instructions(Settings):
    """What a model that answers is asked."""

    instructions: str | None = setting(None, "Questions with answers: JSON or JSONL (Alpaca, messages, pairs).")
    judge_key_file: str | None = setting(None, "A file with the key that the judge's server wants, and nothing else.")
    report: str | None = setting(None, "Write the scores, plots and examples as one HTML page too.")


TASKS = ("text", "labels", "instructions")
BELONGS: dict[str, tuple[str, ...]] = {
    "stride": ("text",),
    "skip_bad": ("text",),
    "encoding": ("text", "labels"),
    "text_column": ("labels",),
    "label_column": ("labels",),
    "skip_empty": ("labels", "instructions"),
    "report": ("labels", "instructions"),
    "judge_key_file": ("instructions",),
    **dict.fromkeys(leaves(AnswerOptions), ("instructions",)),
}
"""Which flag says something about which of the three."""


@app.default
@takes(LabelledTexts, Instructions, AnswerOptions)
def evaluate(
    *runs: Runs,
    text: Text = None,
    stride: Stride = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    **said: Any,
) -> int:
    """Evaluate each run on the text, on the labelled texts, or on the questions."""
    from vidro.api.run import load
    from vidro.cli.options import at_least_one, use_threads

    at_least_one(runs)
    task = the_task({"text": text, "stride": stride, "encoding": encoding, "skip_bad": skip_bad, **said})
    report = checked_report(said.pop("report", None))
    opened = [load(name, device=device) for name in runs]
    use_threads(threads)
    if task == "text":
        return on_text(runs, opened, str(text), stride, {"encoding": encoding, "skip_bad": skip_bad}, json=json)
    if task == "labels":
        labels = said.pop("labels")
        return on_labels(runs, opened, labels, {"encoding": encoding, **said}, report=report, json=json)
    from vidro.cli.instructions import on_instructions

    questions, key_file = said.pop("instructions"), said.pop("judge_key_file", None)
    skip_empty = said.pop("skip_empty", False)
    return on_instructions(opened, questions, said, key_file=key_file, skip_empty=skip_empty, report=report, json=json)


def the_task(said: dict[str, Any]) -> str:
    """Which of the three is asked for. Raises UsageError for none or several, and for a flag of another."""
    named = [name for name in TASKS if said.get(name) is not None]
    if len(named) != 1:
        hint = "Say one of --text FILE, --labels FILE and --instructions FILE."
        raise UsageError("what is to be evaluated?", hint=hint)
    for name, argument in said.items():
        unsaid = argument is None or argument is False  # a 0 was said
        if not unsaid and name in BELONGS and named[0] not in BELONGS[name]:
            owners = " and ".join(flag_name(owner) for owner in BELONGS[name])
            raise UsageError(f"{flag_name(name)} belongs to {owners}", hint="Leave it out.")
    return named[0]


def checked_report(report: str | None) -> str | None:
    """The file of the report. Raises UsageError before anything is measured where it cannot be one."""
    if report is not None:
        from vidro.evals.report import check_report

        check_report(Path(report))
    return report


def on_labels(
    runs: Sequence[str], opened: list[Any], labels: str, columns: dict[str, Any], *, report: str | None, json: bool
) -> int:
    """Accuracy, precision and recall, and which classes are taken for which."""
    from vidro.cli.terminal import print_json
    from vidro.evals.accuracy import accuracy_table, confusion_table

    scores = []
    for number, run in enumerate(opened):
        if number:
            run.say = lambda message: None  # the remarks on the table are the same for each run
        scores.append(run.evaluate_labels(labels, **columns))
    if report is not None:
        write_label_page(runs, scores, labels, Path(report))
    if json:
        found = [{"run": name, **score.to_json()} for name, score in zip(runs, scores, strict=True)]
        print_json({"labels": labels, **(found[0] if len(found) == 1 else {"results": found})})
        return 0
    for name, score in zip(runs, scores, strict=True):
        print("\n".join([f"{name} on {labels}:", *accuracy_table(score), "", *confusion_table(score), ""]))
    return 0


def write_label_page(runs: Sequence[str], scores: list[Any], labels: str, path: Path) -> None:
    """The report of ``--report``."""
    from vidro.checkpoint.run import versions
    from vidro.cli.terminal import note
    from vidro.evals.report import write_report
    from vidro.evals.report_pages import Labelled, label_page

    found = [Labelled(name, score) for name, score in zip(runs, scores, strict=True)]
    write_report(label_page(found, data=labels, versions=versions()), path)
    note(f"Report: {path}")


def on_text(
    runs: Sequence[str], opened: list[Any], text: str, stride: int | None, how: dict[str, Any], *, json: bool
) -> int:
    """Bits per byte and perplexity, beside what compressors need."""
    from vidro.cli.places import cache_dir
    from vidro.cli.terminal import note, print_json
    from vidro.data.report import ReadReport
    from vidro.data.survey import stage

    read: dict[str, Any] = {**how, "cache_dir": cache_dir()}
    source: Any = stage(text, cache_dir=cache_dir())
    scores, report = [], ReadReport()
    for name, run in zip(runs, opened, strict=True):
        report = ReadReport()
        scores.append({"run": name, **plain_score(run.evaluate(source, stride=stride, report=report, **read))})
    for message in report.notes:
        note(message)
    bars = yardsticks(opened[0], source, read)
    if json:
        known = {} if bars is None else {"yardsticks_bits_per_byte": bars}
        found = scores[0] if len(scores) == 1 else {"results": scores}
        print_json({"text": text, **found, **known})
    else:
        show_scores(text, scores)
        if bars is not None:
            show_yardsticks(runs[0], bars)
    return 0


def yardsticks(run: Any, source: Any, read: dict[str, Any]) -> dict[str, float] | None:
    """What the text costs without a model, or None, said, where the run cannot give its training text any more."""
    from vidro.cli.terminal import note
    from vidro.core.errors import VidroError

    try:
        return run.yardsticks(source, **read)
    except VidroError as problem:
        note(f"No yardsticks: {problem}")
        return None


def show_yardsticks(run: str, bars: dict[str, float]) -> None:
    """One line: bits per byte of each, the weakest first."""
    words = ", ".join(f"{name} {bits:.3f}" for name, bits in bars.items())
    print(f"Bits/byte without a model, after the training text of {run}: {words}")


def plain_score(score: Any) -> dict[str, Any]:
    """The figures as a dict; `stride` only when windows overlapped."""
    from dataclasses import asdict

    fields = asdict(score)
    if fields["stride"] is None:
        del fields["stride"]
    return fields


def show_scores(text: str, scores: list[dict[str, Any]]) -> None:
    """The figures as a table, one run a line, the best first when there are several."""
    from vidro.api.words import human_bytes
    from vidro.cli.terminal import show, table

    figures = ("bits/byte", "nats/byte", "nats/token", "perplexity", "tokens")
    grid = table("run", *figures, right=figures)
    for score in sorted(scores, key=lambda entry: entry["nats_per_byte"]):
        grid.add_row(
            score["run"],
            f"{score['bits_per_byte']:.4f}",
            f"{score['nats_per_byte']:.4f}",
            f"{score['nats_per_token']:.4f}",
            f"{score['perplexity']:,.2f}",
            f"{score['n_tokens']:,}",
        )
    stride = f", windows overlap, stride {scores[0]['stride']}" if "stride" in scores[0] else ""
    print(f"{text}: {human_bytes(scores[0]['n_bytes'])}{stride}")
    show(grid)
    if len({score["n_tokens"] for score in scores}) > 1:
        print("The runs cut the text into different tokens: compare bits/byte, not perplexity.")
