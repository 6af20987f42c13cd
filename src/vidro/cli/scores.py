"""What ``vidro evaluate`` measures and shows of texts (``--text``) and of classes (``--labels``).

Not here: the flags (`evaluate`), the pages of ``--report`` (`reports`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


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
        from vidro.cli.reports import write_label_page

        write_label_page(dict(zip(runs, scores, strict=True)), opened, labels, Path(report))
    if json:
        found = [{"run": name, **score.to_json()} for name, score in zip(runs, scores, strict=True)]
        print_json({"labels": labels, **(found[0] if len(found) == 1 else {"results": found})})
        return 0
    for name, score in zip(runs, scores, strict=True):
        print("\n".join([f"{name} on {labels}:", *accuracy_table(score), "", *confusion_table(score), ""]))
    return 0


def on_text(
    runs: Sequence[str],
    opened: list[Any],
    text: str,
    stride: int | None,
    how: dict[str, Any],
    *,
    report: str | None,
    json: bool,
) -> int:
    """Bits per byte and perplexity, beside what compressors need."""
    from vidro.cli.places import cache_dir
    from vidro.cli.terminal import note, print_json
    from vidro.data.report import ReadReport
    from vidro.data.survey import stage

    read: dict[str, Any] = {**how, "cache_dir": cache_dir()}
    source: Any = stage(text, cache_dir=cache_dir())
    measured, remarks = {}, ReadReport()
    for name, run in zip(runs, opened, strict=True):
        remarks = ReadReport()
        measured[name] = run.evaluate(source, stride=stride, report=remarks, **read)
    for message in remarks.notes:
        note(message)
    scores = [{"run": name, **plain_score(score)} for name, score in measured.items()]
    bars = yardsticks(opened[0], source, read)
    if report is not None:
        from vidro.cli.reports import write_text_page

        write_text_page(measured, bars, opened, text, Path(report))
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
