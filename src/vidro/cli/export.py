"""``vidro export``: a run in a form that other programs read, compared before success is reported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vidro.api.export import ExportOptions
from vidro.cli.apps import make_app
from vidro.cli.options import Json, RunName, takes

if TYPE_CHECKING:
    from vidro.api.export import ExportReport

app = make_app(
    "export",
    "Write a model for Transformers, or for llama.cpp and Ollama; it is opened again there and compared.",
    usage="vidro export RUN OUT [--format hf|gguf]",
    examples=(
        "vidro export last my-model                        for Transformers, a Hugging Face folder",
        "vidro export last my-model --push ana/my-model    and onto the Hugging Face hub",
        "vidro export last my-gguf --format gguf           for llama.cpp and Ollama",
        "vidro export last my-gguf --format gguf --quantize q8_0",
    ),
)

Out = Annotated[str, Parameter(help="The folder to write, which must not exist yet.")]


@app.default
@takes(ExportOptions)
def export(run: RunName, out: Out, /, *, json: Json = False, **said: Any) -> int:
    """Write, compare, and show what was compared with what. With --json the report as one object."""
    import vidro
    from vidro.cli.terminal import note, print_json

    opened = vidro.load(run, device="cpu")
    opened.say = note
    report = opened.export(Path(out), **said)
    if json:
        print_json(report)
        return 0
    show_report(report)
    return 0


def show_report(report: ExportReport) -> None:
    """Files with sizes, comparisons, remarks, and what to type next."""
    from vidro.cli.terminal import facts, note, show

    show(facts([(name, f"{size:,} bytes") for name, size in report.files.items()]))
    print()
    for check in report.checks:
        print(f"{check.what}: {check.result}")
    for message in report.notes:
        note(message)
    print(f"\nWritten to {report.path}.")
    if report.format == "hf":
        print(f"How to use it in Python: see {report.path / 'README.md'}")
