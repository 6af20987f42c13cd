"""``vidro runs``: list, show, compare and remove runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from vidro.cli.apps import make_app, subcommand
from vidro.cli.options import FLAGS, Json, RunName, Runs, Yes, at_least_one, placeholder
from vidro.cli.terminal import facts, note, print_json, show, table
from vidro.core.errors import UsageError

app = make_app(
    "runs",
    "List, show, compare and remove your runs.",
    usage="vidro runs (list | show | compare | rm)",
    examples=(
        "vidro runs list",
        "vidro runs show last",
        "vidro runs compare book-1 book-2 --plot",
        "vidro runs rm book-1",
    ),
)

COMPARISON = "compare.png"
PLOT_HELP = f"Draw their validation curves into FILE, .png or .svg ({COMPARISON} if no FILE is named)."
Plot = Annotated[
    tuple[Path, ...] | None,
    Parameter(help=PLOT_HELP, consume_multiple=True, negative_iterable=(), group=FLAGS, **placeholder("[FILE]")),
]
Folder = Annotated[Path, Parameter(help="The folder that holds the runs.")]


@subcommand(app, "vidro runs list [FOLDER]")
def list_(folder: Folder = Path("runs"), /, *, json: Json = False) -> int:
    """All runs, the latest last."""
    from vidro.checkpoint.run import list_runs

    found = [summary(path) for path in list_runs(folder)]
    if json:
        print_json({"runs": found})
        return 0
    if not found:
        note(f"There are no runs in {folder}. Make one: vidro quickstart")
        return 0
    grid = table("run", "status", "text", *NUMBERS, right=NUMBERS)
    for run in found:
        grid.add_row(*row(run))
    show(grid)
    return 0


@subcommand(app, "vidro runs show RUN")
def show_(run: RunName, /, *, json: Json = False) -> int:
    """One run: what it is, where it comes from, what it reached."""
    from vidro.api.run import load
    from vidro.config.load import to_dict

    opened = load(run)
    found = summary(opened.path)
    if json:
        settings = settings_of(opened)
        known = None if settings is None else to_dict(settings)
        print_json({**found, "record": opened.record, "settings": known})
        return 0
    show(facts(describe(found, opened)))
    samples = opened.samples()
    if samples:
        from vidro.cli.progress import sample_text

        chosen = [samples[0], samples[-1]] if len(samples) > 1 else samples
        show("\n[bold]What it wrote while it learned:[/bold]", *(sample_text(sample) for sample in chosen))
    return 0


@subcommand(app, "vidro runs compare RUN RUN...")
def compare(*runs: Runs, plot: Plot = None, json: Json = False) -> int:
    """Several runs side by side: results, and the settings in which they differ."""
    from vidro.api.run import load

    target = picture(plot)
    at_least_one(runs)
    opened = [load(name) for name in runs]
    if target is not None:
        from vidro.evals.plots import compare_runs, save_picture

        save_picture(compare_runs(run.path for run in opened), target)
    found = [summary(run.path) for run in opened]
    settings = [settings_of(run) for run in opened]
    different = {} if None in settings else differences(settings)
    if json:
        print_json({"runs": found, "different_settings": different, **({"plot": target} if target else {})})
        return 0
    grid = table("", *runs, right=tuple(runs))
    for label, key in RESULTS.items():
        grid.add_row(label, *(show_value(run.get(key)) for run in found))
    if different:
        grid.add_section()
    for name, values in different.items():
        grid.add_row(f"--{name.replace('_', '-')}", *(show_value(value) for value in values))
    show(grid)
    note("Perplexity can only be compared between runs with the same tokenizer; bits/byte always can.")
    if target is not None:
        print(target)
    return 0


def picture(said: tuple[Path, ...] | None) -> Path | None:
    """The file that ``--plot`` asks for; None without it. Raises UsageError for more than one, or no picture's name."""
    if said is None:
        return None
    from vidro.evals.plots import check_picture

    if len(said) > 1:
        raise UsageError("--plot takes one file", hint="Name the runs first: vidro runs compare RUN RUN --plot FILE.")
    target = said[0] if said else Path(COMPARISON)
    check_picture(target)
    return target


@subcommand(app, "vidro runs rm RUN...")
def rm(*runs: Runs, yes: Yes = False, json: Json = False) -> int:
    """Remove runs for good; asks first."""
    from vidro.checkpoint.run import lock_run, resolve_run
    from vidro.core.files import remove_directory

    at_least_one(runs)
    refs = [resolve_run(name) for name in runs]
    if any(ref.at is not None for ref in refs):
        raise UsageError("rm removes whole runs", hint="Name the run without @.")
    if not yes and not agreed([ref.path for ref in refs]):
        note("Nothing was removed.")
        return 0
    for ref in refs:
        with lock_run(ref.path):
            pass  # raises when a process is training there
        remove_directory(ref.path)
    if json:
        print_json({"removed": [ref.path for ref in refs]})
    else:
        note(f"Removed {', '.join(str(ref.path) for ref in refs)}.")
    return 0


def agreed(paths: list[Path]) -> bool:
    """Ask on the terminal. Raises UsageError where there is nobody to ask."""
    names = ", ".join(str(path) for path in paths)
    if not sys.stdin.isatty():
        raise UsageError(f"removing {names} needs a yes", hint="Say --yes.")
    print(f"Remove {names} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


NUMBERS = ("size", "steps", "bits/byte", "perplexity")
RESULTS = {
    "text": "text", "family": "family", "parameters": "n_parameters", "context": "context_length",
    "vocabulary": "vocab_size", "status": "status", "steps": "steps", "tokens": "tokens", "epochs": "epochs",
    "minutes": "minutes", "best step": "best_step", "nats/token": "val_nats_per_token",
    "bits/byte": "val_bits_per_byte", "perplexity": "val_perplexity",
}  # fmt: skip


def summary(path: Path) -> dict[str, Any]:
    """What a table shows of a run, as plain values; None for what is not known yet."""
    from vidro.checkpoint.run import read_record
    from vidro.core.errors import RunError

    record: dict[str, Any] = {"status": "damaged"}
    try:
        record = read_record(path)
    except RunError as problem:  # said, and the other runs are listed all the same
        note(str(problem))
    data, model, results = (record.get(name, {}) for name in ("data", "model", "results"))
    return {
        "run": path.name,
        "path": str(path),
        "status": status(path, record),
        "kind": record.get("kind"),
        "text": data.get("name") or Path(record.get("imported", {}).get("source", "")).name or None,
        "family": model.get("family"),
        "n_parameters": model.get("n_parameters"),
        "context_length": model.get("context_length"),
        "vocab_size": record.get("tokenizer", {}).get("vocab_size"),
        "best_step": record.get("step"),
        "steps": record.get("last_step"),
        **{name: results.get(name) for name in ("tokens", "epochs", "minutes")},
        **{name: results.get(name) for name in ("val_nats_per_token", "val_bits_per_byte", "val_perplexity")},
    }


def status(path: Path, record: dict[str, Any]) -> str:
    """finished, landed, training, or stopped: cut short, to be continued with --resume."""
    said = record.get("status", "training")
    if said != "training":
        return said
    from vidro.checkpoint.run import lock_run
    from vidro.core.errors import RunError

    try:
        if (path / "run.lock").exists():
            with lock_run(path):
                pass
    except RunError:
        return "training"
    return "stopped"


def row(run: dict[str, Any]) -> list[str]:
    """One line of the list."""
    from vidro.api.words import human_count

    size = run["n_parameters"]
    figures = [run["steps"], run["val_bits_per_byte"], run["val_perplexity"]]
    named = [run["run"], run["status"], run["text"] or "–", "–" if size is None else human_count(size)]
    return [*named, *(show_value(value) for value in figures)]


def show_value(value: Any) -> str:
    """A value of a table cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe(found: dict[str, Any], run: Any) -> list[tuple[str, str]]:
    """The facts of one run, for people."""
    from vidro.api.words import human_count, human_time
    from vidro.cli.progress import epochs, sparkline

    record = run.record
    pairs = [("Run", found["path"]), ("Status", found["status"])]
    if record:
        pairs += [
            read_line(record),
            ("Model", f"{found['family']}, {found['n_parameters']:,} parameters"),
            ("Context", f"{found['context_length']:,} tokens"),
            ("Tokenizer", f"{record['tokenizer']['kind']}, {found['vocab_size']:,} tokens"),
        ]
        if record.get("parent"):
            pairs.append(("Started from", record["parent"]))
    if found["tokens"] is not None:
        used = f"{found['steps']:,} steps, {human_count(found['tokens'])} tokens, {epochs(found['epochs'])}"
        pairs.append(("Trained", f"{used}, {human_time(60 * found['minutes'])}"))
    if found["val_bits_per_byte"] is not None:
        figures = [f"{show_value(found[f'val_{name}'])} {name.replace('_per_', '/')}" for name in FIGURES]
        pairs.append(("Validation", f"{', '.join(figures)} (step {found['best_step']:,})"))
    looks = [event["nats_per_token"] for event in run.events() if event["event"] == "eval" and not event["full"]]
    if len(looks) > 1:
        pairs.append(("Its curve", f"{sparkline(looks[-60:])}  from {looks[0]:.3f} to {looks[-1]:.3f} nats/token"))
    kept = sorted((run.path / "checkpoints").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    if kept:
        pairs.append(("Checkpoints", ", ".join(path.name.removeprefix("step-") for path in kept)))
    return pairs


def read_line(record: dict[str, Any]) -> tuple[str, str]:
    """What the run learned from: a text, or rows."""
    from vidro.api.words import counted, human_bytes

    if "imported" in record:
        return "Imported", f"{record['imported']['source']}, {record['imported']['form']}"
    data = record["data"]
    if record.get("kind", "base") == "base":
        size = human_bytes(data["train_bytes"] + data["val_bytes"])
        return "Text", f"{data['name']} ({size}, {counted(data['n_documents'], 'document')}), {data['source']}"
    parts = f"{data['n_train']:,} to learn from, {data['n_val']:,} to check with, {data['n_test']:,} to score with"
    return "Rows", f"{data['name']} ({parts}), {data['source']}"


def settings_of(run: Any) -> Any:
    """What the run was made with; None where it was made elsewhere and imported."""
    return None if "imported" in run.record else run.settings


FIGURES = ("bits_per_byte", "nats_per_token", "perplexity")


def differences(settings: list[Any]) -> dict[str, list[Any]]:
    """Settings in which the runs differ: name → one value for each run."""
    from vidro.config.load import leaves

    flat = [
        {
            name: getattr(getattr(each, section) if section else each, name)
            for name, (section, _) in leaves(type(each)).items()
        }
        for each in settings
    ]
    names = dict.fromkeys(name for each in flat for name in each)  # of different kinds of runs: what both have
    found = {name: [each[name] for each in flat] for name in names if all(name in each for each in flat)}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}
