"""``vidro check``: the classic mistakes in anyone's PyTorch language model, named, with their place and a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vidro.cli.apps import make_app
from vidro.cli.options import Json, Threads, takes, use_threads, value
from vidro.cli.terminal import note, print_json, show, table

if TYPE_CHECKING:
    from vidro.learn.checker import Report

app = make_app(
    "check",
    "Look for the classic mistakes in a PyTorch language model, yours for instance.",
    usage="vidro check FILE.py:NAME [FLAGS]",
    examples=(
        "vidro check my_gpt.py:GPT",
        "vidro check my_gpt.py:GPT --config n_layers=1 --config emb_dim=64",
        "vidro check my_gpt.py:GPT --config sizes.json --json",
        "vidro check my_gpt.py:GPT --reference right.py:GPT",
    ),
)

SOUND, FAULTS = 0, 2
MARKS = {"passed": "✓", "fault": "✗", "not applicable": "–"}

Target = Annotated[str, Parameter(help="A class, or a function that makes a model, in a Python file of yours.")]
Config = Annotated[
    list[str] | None,
    value("What the model is made with: KEY=VALUE, or a JSON or TOML file; repeat it for more.", "KEY=VALUE"),
]
Reference = Annotated[
    str | None, value("A model that is right, FILE.py:NAME; it is made with the same settings.", "FILE.py:NAME")
]
Seed = Annotated[int, value("Seed of the weights and of the tokens that are tried.", "N")]


@app.default
@takes()
def check(
    target: Target, /, *, config: Config = None, reference: Reference = None, seed: Seed = 0, json: Json = False,
    threads: Threads = None,
) -> int:  # fmt: skip
    """Check a model; 0 when no fault is found, 2 when one is: it is the reader's to mend."""
    use_threads(threads)
    if not json:
        note("loading torch …")
    from vidro.learn.checker.opening import check_file

    report = check_file(target, config=[] if config is None else config, reference=reference, seed=seed)
    if json:
        print_json(report.to_dict())
    else:
        show(*described(report))
    return SOUND if report.sound else FAULTS


def described(report: Report) -> list[Any]:
    """Faults first, each in four lines; then a line for every other probe, and the sum."""
    from rich.padding import Padding
    from rich.text import Text

    from vidro.learn.checker import FAULTS as KNOWN

    parts: list[Any] = [Text(f"{report.model}: {note}") for note in report.notes]
    for finding in report.faults:
        assert finding.fault is not None
        place = "" if finding.where is None else f" in {finding.where}"
        known = KNOWN[finding.fault]
        body = Text(f"{known.title}\nseen: {finding.seen}\ndo: {known.todo}")
        parts += [Text(""), Text(f"✗ {finding.fault}{place}", style="bold red"), Padding(body, (0, 0, 0, 2))]
    rest = table("", "probe", "what was seen")
    for finding in report.findings:
        if finding.fault is None:
            because = "not applicable, because " if finding.outcome == "not applicable" else ""
            rest.add_row(MARKS[finding.outcome], finding.probe, f"{because}{finding.seen}")
    return [*parts, Text(""), rest, Text(""), Text(summary(report))]


def summary(report: Report) -> str:
    """The last line: how many faults, and how many probes had something to say."""
    passed = sum(finding.outcome == "passed" for finding in report.findings)
    silent = len(report.findings) - passed - len(report.faults)
    many = len(report.faults)
    faults = "No fault" if many == 0 else f"{many} fault{'s' if many > 1 else ''}"
    return f"{faults}; {passed} of {len(report.findings)} probes passed, {silent} not applicable."
