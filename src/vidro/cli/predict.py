"""``vidro predict``: the class of a text, of a file's lines, or of a table's rows."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vidro.cli.apps import make_app
from vidro.cli.options import Device, Encoding, Json, Quantize, RunName, Threads, switch, takes, use_threads, value
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.infer.classifier import Prediction

app = make_app(
    "predict",
    "Let a classifier say which class a text is.",
    usage="vidro predict RUN (TEXT | --file FILE)",
    examples=(
        'vidro predict last "You have won a prize!"',
        'vidro predict last "You have won a prize!" --explain',
        "vidro predict last --file messages.txt          a class for each line",
        "vidro predict last --file mail.jsonl --column body --json",
    ),
)

Text = Annotated[str | None, Parameter(help="The text; - reads one text a line from stdin.")]
File = Annotated[str | None, value("Texts: one a line, or a CSV, TSV or JSONL table with --column.", "FILE")]
Column = Annotated[str | None, value("The column of the table that holds the texts.", "NAME")]
Explain = Annotated[bool, switch("Show how much each token spoke for the class (by leaving it out).")]


@app.default
@takes()
def predict(  # noqa: PLR0913 — as many parameters as flags
    run: RunName, text: Text = None, /, *, file: File = None, column: Column = None, encoding: Encoding = None,
    explain: Explain = False, json: Json = False, device: Device = "auto", quantize: Quantize = None,
    threads: Threads = None,
) -> int:  # fmt: skip
    """A line a text: the class, its probability, the text. With --json one object a text."""
    import vidro

    if (text is None) == (file is None):
        raise UsageError("what is to be classified?", hint="Give a text, or --file FILE; not both.")
    single = text is not None and text != "-"
    for name, said in (("--column", column is not None), ("--encoding", encoding is not None and single)):
        if said and file is None:
            raise UsageError(f"{name} belongs to --file", hint="Leave it out.")
    if explain and not single:
        raise UsageError("--explain is for one text", hint="Give the text itself.")
    use_threads(threads)
    opened = vidro.load(run, device=device, quantize=quantize)
    if text is not None and single:
        return one(opened, text, explain=explain, json=json)
    texts = stdin_texts(encoding) if file is None else file_texts(Path(file), column, encoding)
    return many(opened, texts, json=json, at_once=file is None and sys.stdin.isatty())


def one(run: Run, text: str, *, explain: bool, json: bool) -> int:
    """The class of one text, all probabilities, and on request what each token did."""
    from vidro.cli.terminal import print_json

    found = run.predict(text)
    weights = run.classifier.explain(text) if explain else []
    if json:
        words = {"tokens": [{"text": token, "weight": round(w, 4)} for token, w in weights]} if explain else {}
        print_json({**plain(found), **words})
        return 0
    print(f"{found.label}  {found.probabilities[found.label]:.1%}")
    others = sorted(found.probabilities.items(), key=lambda item: -item[1])[1:6]
    print("  ".join(f"{label} {share:.1%}" for label, share in others))
    warn_of_cuts(int(found.n_cut > 0))
    if explain:
        show_weights(weights, found.label)
    return 0


def many(run: Run, texts: Iterable[str], *, json: bool, at_once: bool) -> int:
    """A line for each text, as they come; `at_once`: each is answered before the next is read."""
    from vidro.cli.terminal import print_json

    waiting: deque[str] = deque()

    def remembered() -> Iterator[str]:
        for text in texts:
            waiting.append(text)
            yield text

    n_cut = 0
    session = run.classifier
    for found in session.stream(remembered(), together=1) if at_once else session.stream(remembered()):
        text = waiting.popleft()
        if json:
            print_json(plain(found))
        else:
            print(f"{found.label}\t{found.probabilities[found.label]:.4f}\t{' '.join(text.split())}", flush=at_once)
        n_cut += found.n_cut > 0
    warn_of_cuts(n_cut)
    return 0


def plain(found: Prediction) -> dict[str, Any]:
    """A prediction as plain values; `n_cut` only where tokens were left out."""
    cut = {"n_cut": found.n_cut} if found.n_cut else {}
    return {"label": found.label, "probabilities": found.probabilities, **cut}


def warn_of_cuts(n: int) -> None:
    """Say on stderr of how many texts not all was read."""
    from vidro.cli.terminal import note

    if n:
        note(f"{n:,} {'text was' if n == 1 else 'texts were'} longer than the model reads; the rest was not looked at.")


def show_weights(weights: list[tuple[str, float]], label: str) -> None:
    """Each token in green or red by what it did, and the strongest ones as numbers."""
    from rich.text import Text as Words

    from vidro.cli.terminal import show

    most = max((abs(weight) for _, weight in weights), default=0.0) or 1.0
    line = Words()
    for token, weight in weights:
        share = abs(weight) / most
        colour = "green" if weight > 0 else "red"
        line.append(token, style=f"bold {colour}" if share > 0.5 else colour if share > 0.1 else "")
    show(line)
    strongest = sorted(weights, key=lambda item: -abs(item[1]))[:5]
    words = ", ".join(f"{token.strip()!r} {weight:+.2f}" for token, weight in strongest)
    print(f"Left out, the log-odds of {label} fall by: {words} (more than 0 spoke for it)")


def file_texts(path: Path, column: str | None, encoding: str | None) -> Iterable[str]:
    """The texts of a file: its lines, or a column of a table. Raises UsageError for a table without a column."""
    from vidro.cli.terminal import note
    from vidro.data.tables import is_table, read_column, read_lines

    if column is not None:
        return read_column(path, column, encoding=encoding, say=note)
    if is_table(path):
        raise UsageError("this is a table", where=path, hint="Say which column holds the texts: --column NAME.")
    return read_lines(path, encoding=encoding)


def stdin_texts(encoding: str | None) -> Iterator[str]:
    """One text a line, as they are typed. Raises DataError."""
    from vidro.data.tables import lines_of

    return lines_of(iter(sys.stdin.buffer.readline, b""), where="stdin", encoding=encoding)
