"""``vidro tokenizer``: train one on a text; see into which pieces one cuts a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vidro.cli.apps import make_app, subcommand
from vidro.cli.options import Encoding, Json, SkipBad, switch, value
from vidro.cli.terminal import facts, note, plain, print_json, show, stdout_console
from vidro.core.errors import RunError, TokenizerError, UsageError, did_you_mean

if TYPE_CHECKING:
    from rich.text import Text

    from vidro.data.report import ReadReport
    from vidro.text.describe import TokenizerReport
    from vidro.text.tokenizer import Tokenizer

app = make_app(
    "tokenizer",
    "Train a tokenizer; see into which pieces it cuts a text.",
    usage="vidro tokenizer (train | show)",
    examples=(
        "vidro tokenizer train book.txt --vocab-size 4096 --out my-tokenizer",
        'vidro tokenizer show my-tokenizer --text "Once upon a time"',
        'vidro tokenizer show last --text "the tokenizer of your last run"',
    ),
)

KINDS = ("bpe", "words", "chars", "bytes")
DEFAULT_VOCAB_SIZE = 4096
SHADES = ("on grey23", "on dark_blue", "on dark_green", "on purple4", "on dark_red")

Files = Annotated[str, Parameter(help="Texts: files, folders, patterns or - for stdin.")]
Out = Annotated[Path, value("The folder for the tokenizer.", "DIR")]
Kind = Annotated[str, value("bpe, words, chars or bytes.", "NAME")]
VOCAB_SIZE_HELP = "Size of the vocabulary, a multiple of 64 (bpe, words); for bpe 4096 if not said."
VocabSize = Annotated[int | None, value(VOCAB_SIZE_HELP, "N")]
Unk = Annotated[bool, switch("Let unknown words or characters become <|unk|> (words, chars).")]
Overwrite = Annotated[bool, switch("Replace the tokenizer that is in --out.")]
Which = Annotated[str, Parameter(help="A tokenizer file or folder, a run, or bytes.")]
Sample = Annotated[str | None, value("A text to cut into pieces.", "TEXT")]


@subcommand(app, "vidro tokenizer train FILE... --out DIR")
def train(
    *files: Files,
    out: Out,
    kind: Kind = "bpe",
    vocab_size: VocabSize = None,
    unk: Unk = False,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Learn a vocabulary from texts and write tokenizer.json, which other programs read too."""
    from vidro.data.report import ReadReport
    from vidro.text.describe import describe

    if not files:
        raise UsageError("FILE is missing", hint="See vidro tokenizer train --help.")
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is not possible", where="kind", hint=did_you_mean(kind, KINDS))
    if (out / "tokenizer.json").exists() and not overwrite:
        raise UsageError("there is a tokenizer here already", where=out, hint="Choose another --out, or --overwrite.")
    report = ReadReport()
    texts = read_texts(files, encoding=encoding, skip_bad=skip_bad, report=report)
    tokenizer = make(kind, texts, vocab_size=vocab_size, unk=unk)
    tokenizer.save(out)
    for message in report.notes:
        note(message)
    made = describe(tokenizer)
    for message in made.notes:
        note(message)
    if json:
        print_json({"out": out, "text_bytes": report.bytes, **plain(made)})
    else:
        show(facts(facts_of(made)))
        print(out)
    return 0


@subcommand(app, "vidro tokenizer show TOKENIZER [--text TEXT]")
def show_(tokenizer: Which, /, *, text: Sample = None, json: Json = False) -> int:
    """What a tokenizer is; with --text, the pieces it cuts a text into."""
    from vidro.cli.places import cache_dir
    from vidro.text.describe import describe

    found = find(tokenizer, cache_dir())
    report = describe(found, "" if text is None else text)
    if json:
        print_json(report)
    elif text is None:
        show(facts(facts_of(report)))
    else:
        console = stdout_console()
        console.print(pieces(report, styled=console.is_terminal), soft_wrap=True)
        console.print(" ".join(str(number) for number, _ in report.sample), style="dim", soft_wrap=True)
        per = "" if report.bytes_per_token is None else f", {report.bytes_per_token:.2f} bytes each"
        note(f"{len(report.sample)} tokens for {report.sample_bytes} bytes{per}")
    return 0


def read_texts(files: Sequence[str], *, encoding: str | None, skip_bad: bool, report: ReadReport) -> Iterator[str]:
    """The texts of all documents, one after the other; what was changed is counted in `report`."""
    from vidro.cli.places import cache_dir
    from vidro.data.documents import read_documents

    source = files[0] if len(files) == 1 else list(files)
    documents = read_documents(source, encoding=encoding, skip_bad=skip_bad, report=report, cache_dir=cache_dir())
    return (document.text for document in documents)


def make(kind: str, texts: Iterator[str], *, vocab_size: int | None, unk: bool) -> Tokenizer:
    """A home-made tokenizer. Raises UsageError for an option that this kind has no use for."""
    from vidro.text.train import build_bytes, build_chars, build_words, train_bpe

    if vocab_size is not None and kind in ("chars", "bytes"):
        raise UsageError(f"{kind} has no size to choose", where="vocab-size", hint="Leave it out.")
    if unk and kind in ("bpe", "bytes"):
        raise UsageError(f"{kind} knows every text", where="unk", hint="Leave it out.")
    if kind == "bpe":
        return train_bpe(texts, DEFAULT_VOCAB_SIZE if vocab_size is None else vocab_size)
    if kind == "words":
        return build_words(texts, unk=unk, vocab_size=vocab_size)
    return build_chars(texts, unk=unk) if kind == "chars" else build_bytes()


def find(which: str, cache_dir: Path) -> Tokenizer:
    """A tokenizer by path or name, or that of a run."""
    from vidro.text.foreign import load_any

    try:
        return load_any(which, cache_dir=cache_dir)
    except TokenizerError:
        if Path(which).exists():
            raise
        from vidro.api.run import load

        try:
            return load(which).tokenizer
        except RunError:
            pass
        raise


def facts_of(report: TokenizerReport) -> list[tuple[str, str]]:
    """The report for people."""
    exact = "gives every text back exactly" if report.lossless else "does not give every text back exactly"
    pairs = [
        ("Kind", f"{report.kind}, {exact}"),
        ("Vocabulary", f"{report.vocab_size:,} tokens, {report.n_special} of them special"),
    ]
    if report.n_merges:
        first = ", ".join(f"{quoted(left)}+{quoted(right)}" for left, right in report.first_merges[:8])
        pairs.append(("First merges", f"{first} … {report.n_merges:,} in all"))
    pairs.append(("Longest", ", ".join(quoted(token) for token in report.longest)))
    return [*pairs, ("Fingerprint", report.fingerprint[:16])]


def quoted(token: str) -> str:
    """A token between quotes, so that its blanks are seen."""
    return f'"{token}"'.replace("\n", "⏎").replace("\t", "⇥")


def pieces(report: TokenizerReport, *, styled: bool) -> Text:
    """The pieces side by side: on changing backgrounds in a terminal, else divided by bars.

    A piece that is half a character is shown by its bytes, never as the replacement character.
    """
    from rich.text import Text

    line = Text()
    for place, (_, piece) in enumerate(report.sample):
        if styled:
            line.append(piece.replace("\n", "⏎\n"), style=SHADES[place % len(SHADES)])
        else:
            line.append(("|" if place else "") + piece.replace("\n", "\\n"))
    return line
