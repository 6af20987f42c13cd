"""``vidro finetune``: a run's model learns a task from rows."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from vidro.api.finetune import TuneRunOptions, tune, tune_request
from vidro.cli.apps import make_app, subcommand
from vidro.cli.options import RUN_HELP, Json
from vidro.config.schema import ClassifyOptions, InstructOptions, PreferOptions

app = make_app(
    "finetune",
    "Teach a model a task: to tell classes of texts apart, or to answer.",
    usage="vidro finetune (classify | instruct | prefer) RUN --data FILE",
    examples=(
        "vidro finetune classify last --data messages.tsv",
        "vidro finetune classify last --data mail.csv --balance weights --epochs 3",
        "vidro finetune instruct last --data instructions.json",
        "vidro finetune prefer tasks-1 --data preferences.json",
        "vidro finetune classify --resume last        go on after a stop",
    ),
)

Base = Annotated[str | None, Parameter(help=RUN_HELP)]


@subcommand(app, "vidro finetune classify RUN --data FILE", TuneRunOptions, ClassifyOptions)
def classify(run: Base = None, /, *, json: Json = False, **settings: Any) -> int:
    """Make a classifier: labelled texts in CSV, TSV or JSONL, any number of classes.

    A part of the texts is kept back and scored at the end, beside a bag of words on the same texts.
    """
    return train("classify", run, settings, json=json)


@subcommand(app, "vidro finetune instruct RUN --data FILE", TuneRunOptions, InstructOptions)
def instruct(run: Base = None, /, *, json: Json = False, **settings: Any) -> int:
    """Teach a model to answer: instructions with answers in JSON or JSONL (Alpaca, chat messages, ShareGPT, pairs).

    A part of the rows is kept back and answered at the end; the answers are compared with the expected ones.
    """
    return train("instruct", run, settings, json=json)


@subcommand(app, "vidro finetune prefer RUN --data FILE", TuneRunOptions, PreferOptions)
def prefer(run: Base = None, /, *, json: Json = False, **settings: Any) -> int:
    """Move a model that answers towards the better of two answers (DPO): questions with a chosen and a rejected one."""
    return train("prefer", run, settings, json=json)


def train(kind: str, run: str | None, settings: dict[str, Any], *, json: bool) -> int:
    """Train with progress on stderr; a summary there, and on stdout the run directory (or one JSON object)."""
    from vidro.cli.places import cache_dir
    from vidro.cli.progress import show_progress
    from vidro.cli.terminal import print_json

    wish = tune_request(kind, run, settings)
    with show_progress() as progress:
        from vidro.train.machine import process_age_s
        from vidro.train.pretrain import exit_code  # loads torch, while the display says so

        result = tune(
            wish, cache_dir=cache_dir(), sinks=(progress,), on_landing=progress.landing, age_s=process_age_s()
        )
    if json:
        print_json({"run": result.path, "reason": result.reason, **result.results})
    else:
        progress.summary(result.path)
        print(result.path, flush=True)
    return exit_code(result)
