"""``vidro evaluate``: how well models predict a text, or classifiers their classes, or how models answer, side by side.

Not here: what is measured and shown of texts and classes (`scores`), of answers (`instructions`), of tasks of
lm-evaluation-harness (`tasks`), of copies (`memorisation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vidro.api.evaluate import AnswerOptions, TaskLimits
from vidro.api.memorisation import MemorisationOptions
from vidro.cli.apps import make_app
from vidro.cli.options import Device, Encoding, Json, Quantize, Runs, SkipBad, Threads, flag_name, takes, value
from vidro.config.load import leaves
from vidro.config.schema import Settings, TableOptions, setting
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.api.run import Run

app = make_app(
    "evaluate",
    "Measure how well a model predicts a text (bits per byte, perplexity), a classifier its classes, or how a model "
    "answers; look for what it knows by heart.",
    usage="vidro evaluate RUN... (--text FILE | --labels FILE | --instructions FILE | --tasks NAME | --memorisation)",
    examples=(
        "vidro evaluate last --text other-book.txt",
        "vidro evaluate book-1 book-2 --text other-book.txt      side by side",
        "vidro evaluate last --text other-book.txt --stride 64   sliding windows",
        "vidro evaluate last --text other-book.txt --quantize int8   before and after",
        "vidro evaluate spam-1 --labels new-messages.tsv         accuracy, precision, recall",
        "vidro evaluate tasks-1 --instructions tasks.json        answers and their scores",
        "vidro evaluate tasks-1 --instructions tasks.json --judge ollama:llama3",
        "vidro evaluate tasks-1 --instructions tasks.json --report tasks.html",
        "vidro evaluate last --tasks capitals.yaml               lm-evaluation-harness",
        "vidro evaluate last --memorisation                      what it copies",
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


@dataclass(frozen=True, kw_only=True)
class HarnessTasks(TaskLimits):
    """What a model is asked by lm-evaluation-harness."""

    tasks: str | None = setting(None, "Tasks of lm-evaluation-harness: names, YAML files or folders, with commas.")


@dataclass(frozen=True, kw_only=True)
class ByHeart(MemorisationOptions):
    """What a model is made to write, and where it is looked for."""

    memorisation: bool = setting(False, "What of the texts that it writes stands word for word in its training text.")
    training_text: str | None = setting(None, "The training text, where it has moved: a file, a folder, a corpus.")
    prompts_file: str | None = setting(None, "A file with one prompt a line; otherwise the model begins by itself.")


TASKS = ("text", "labels", "instructions", "tasks", "memorisation")
BELONGS: dict[str, tuple[str, ...]] = {
    "stride": ("text",),
    "skip_bad": ("text",),
    "encoding": ("text", "labels"),
    "quantize": ("text", "labels"),
    "text_column": ("labels",),
    "label_column": ("labels",),
    "skip_empty": ("labels", "instructions"),
    "report": ("text", "labels", "instructions", "memorisation"),
    "judge_key_file": ("instructions",),
    **dict.fromkeys(leaves(AnswerOptions), ("instructions",)),
    **dict.fromkeys(leaves(TaskLimits), ("tasks",)),
    **dict.fromkeys(leaves(ByHeart), ("memorisation",)),
    "seed": ("instructions", "tasks", "memorisation"),
}
"""Which flag says something about which of the five."""


@app.default
@takes(LabelledTexts, Instructions, AnswerOptions, HarnessTasks, ByHeart)
def evaluate(
    *runs: Runs,
    text: Text = None,
    stride: Stride = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    device: Device = "auto",
    quantize: Quantize = None,
    threads: Threads = None,
    json: Json = False,
    **said: Any,
) -> int:
    """Evaluate each run on the text, the labelled texts, the questions or the tasks, or look for what it copies."""
    from vidro.api.run import load
    from vidro.cli import scores
    from vidro.cli.options import at_least_one, use_threads

    at_least_one(runs)
    own = {"text": text, "stride": stride, "encoding": encoding, "skip_bad": skip_bad, "quantize": quantize}
    task = the_task({**own, **said})
    report = checked_report(said.pop("report", None))
    opened = [load(name, device=device) for name in runs]
    if quantize is not None:
        runs, opened = before_and_after(runs, opened, quantize)
    use_threads(threads)
    asked = said.pop(task, None)
    shown: dict[str, Any] = {"report": report, "json": json}
    if task == "text":
        how = {"encoding": encoding, "skip_bad": skip_bad}
        return scores.on_text(runs, opened, str(text), stride, how, **shown)
    if task == "labels":
        return scores.on_labels(runs, opened, asked, {"encoding": encoding, **said}, **shown)
    if task == "tasks":
        from vidro.cli.tasks import on_tasks

        return on_tasks(runs, opened, asked, said, json=json)
    if task == "memorisation":
        from vidro.cli.memorisation import on_memorisation

        chosen = {"prompts_file": said.pop("prompts_file", None), "seed": said.pop("seed", None)}
        return on_memorisation(opened, said.pop("training_text", None), said, **chosen, **shown)
    from vidro.cli.instructions import on_instructions

    key_file, skip_empty = said.pop("judge_key_file", None), said.pop("skip_empty", False)
    return on_instructions(opened, asked, said, key_file=key_file, skip_empty=skip_empty, **shown)


def before_and_after(runs: Sequence[str], opened: list[Run], quantize: str) -> tuple[tuple[str, ...], list[Run]]:
    """Each run twice, as it is and quantised, and what the two are called. Raises UsageError, also for a GPU."""
    from vidro.api.quantized import check_quantize, quantized_twin

    names, both = [], []
    for name, run in zip(runs, opened, strict=True):
        check_quantize(quantize, run.device)
        run.device = "cpu"  # both on the same
        names += [name, f"{name} {quantize}"]
        both += [run, quantized_twin(run)]
    return tuple(names), both


def the_task(said: dict[str, Any]) -> str:
    """Which of the five is asked for. Raises UsageError for none or several, and for a flag of another."""
    named = [name for name in TASKS if said.get(name) not in (None, False)]
    if len(named) != 1:
        hint = "Say one of --text FILE, --labels FILE, --instructions FILE, --tasks NAME and --memorisation."
        raise UsageError("what is to be evaluated?", hint=hint)
    for name, argument in said.items():
        unsaid = argument is None or argument is False  # a 0 was said
        if not unsaid and name in BELONGS and named[0] not in BELONGS[name]:
            *others, last = map(flag_name, BELONGS[name])
            owners = f"{', '.join(others)} and {last}" if others else last
            raise UsageError(f"{flag_name(name)} belongs to {owners}", hint="Leave it out.")
    return named[0]


def checked_report(report: str | None) -> str | None:
    """The file of the report. Raises UsageError before anything is measured where it cannot be one."""
    if report is not None:
        from vidro.evals.report import check_report

        check_report(Path(report))
    return report
