"""``vidro plan``: what a text becomes in 1, 10, 60 minutes and a night on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vidro.cli.apps import make_app
from vidro.cli.options import Device, Json, Threads, takes, value
from vidro.config.schema import DataOptions, ModelOptions, Settings, setting

if TYPE_CHECKING:
    from vidro.api.planning import PlanTable
    from vidro.train.planning import Planned

app = make_app(
    "plan",
    "What to expect of a text in 1, 10, 60 minutes and a night on this machine, before anything is trained.",
    usage="vidro plan FILE [--minutes N] [--from RUN]",
    examples=(
        "vidro plan book.txt",
        "vidro plan book.txt --minutes 10      one budget, each choice with its reason",
        "vidro plan book.txt --d-model 256     the rest chosen around what you say",
        "vidro plan poems.txt --from last      how far that model comes with this text",
    ),
)

TEXT_HELP = "A text: a file, a folder, a pattern such as 'books/*.txt', a corpus, or - for stdin."
File = Annotated[str, Parameter(help=TEXT_HELP)]
Minutes = Annotated[float | None, value("One budget, each choice with its reason; 1, 10, 60 and 480 if not said.", "N")]


@dataclass(frozen=True, kw_only=True)
class Start(Settings):
    """What training could start from."""

    from_run: str | None = setting(None, "Also try how far this run's model comes with the text (pretrain --from).")


@app.default
@takes(Start, DataOptions, ModelOptions)
def plan(
    file: File,
    /,
    *,
    minutes: Minutes = None,
    threads: Threads = None,
    device: Device = "auto",
    json: Json = False,
    **settings: Any,
) -> int:
    """Look at the text, measure the machine, and say what would be trained and how good it would be."""
    from vidro.api import planning as plans
    from vidro.cli.places import cache_dir
    from vidro.cli.terminal import note, print_json
    from vidro.train.machine import process_age_s

    said = {**settings, "threads": threads, "device": device, "age_s": process_age_s()}
    budgets = plans.MINUTES if minutes is None else minutes
    found = plans.plan(file, minutes=budgets, cache_dir=cache_dir(), **said)
    for message in found.notes:
        note(message)
    if json:
        print_json(found)
    elif len(found.rows) == 1:
        show_one(found.rows[0], training_line(file, found.rows[0], {**settings, "threads": threads, "device": device}))
    else:
        show_table(found)
    return 0


def show_table(found: PlanTable) -> None:
    """One budget a line, narrow enough for 80 columns."""
    from vidro.api.words import human_bytes, human_count
    from vidro.cli.terminal import show, table

    numbers = ("weights", "tokens", "epochs", "memory", "bits/byte")
    grid = table("time", "model", *numbers, "8 of 10", right=numbers)
    for row in found.rows:
        model, expected = row.blueprint.model, row.outlook
        law = expected.forecast
        grid.add_row(
            budget_words(row),
            f"{model.d_model}×{model.n_layers}",
            human_count(row.n_parameters),
            human_count(expected.tokens),
            f"{expected.epochs:.2g}",
            human_bytes(expected.memory_bytes),
            "–" if law is None else f"{law.bits_per_byte:.2f}",
            "–" if law is None else f"{law.low:.2f}-{law.high:.2f}",
        )
    show(grid)
    for row in found.rows:
        if row.outlook.early:
            print(f"* Of {minutes_words(row.seconds)}, {minutes_words(row.outlook.seconds)} would be used.")
    print("Models: width × blocks. Each choice with its reason: vidro plan FILE --minutes N")


def show_one(row: Planned, line: str) -> None:
    """Every choice of one budget with its reason, and the line that carries it out."""
    from vidro.cli.terminal import facts, show
    from vidro.train.planning import forecast_words

    show(facts([(reason.what, f"{reason.chosen}: {reason.why}") for reason in row.reasons]))
    words = forecast_words(row.outlook.forecast)
    if words is not None:
        print(words)
    print(f"Now: {line}")


def training_line(file: str, row: Planned, said: dict[str, Any]) -> str:
    """The command that trains what was planned, with everything that was said."""
    import shlex

    words = ["vidro", "pretrain", file, "--minutes", f"{row.seconds / 60:g}"]
    for name, given in said.items():
        if given is not None and given is not False and given != "auto":  # --dropout 0 was said
            flag = "--from" if name == "from_run" else f"--{name.replace('_', '-')}"
            words += [flag] if given is True else [flag, str(given)]
    return shlex.join(words)


def budget_words(row: Planned) -> str:
    """The budget, marked where training ends before it is used."""
    return minutes_words(row.seconds) + (" *" if row.outlook.early else "")


def minutes_words(seconds: float) -> str:
    """Minutes, or hours from two on.

    >>> minutes_words(60), minutes_words(90), minutes_words(6300), minutes_words(28800)
    ('1 min', '1.5 min', '105 min', '8 h')
    """
    from vidro.train.planning import rounded

    return f"{rounded(seconds / 60, 2)} min" if seconds < 7200 else f"{rounded(seconds / 3600, 2)} h"
