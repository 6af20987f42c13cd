"""``vidro data``: named corpora, a look at a text before training, token shards for large ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from vidro.cli.apps import make_app, subcommand
from vidro.cli.options import Encoding, Json, SkipBad, value
from vidro.cli.terminal import note, print_json, show, table
from vidro.core.errors import UsageError

if TYPE_CHECKING:
    from vidro.data.corpora import Corpus

app = make_app(
    "data",
    "Look at a text before training; get well-known ones; prepare large ones.",
    usage="vidro data (list | get | show | prepare)",
    examples=(
        "vidro data list",
        "vidro data get tinyshakespeare",
        "vidro data show book.txt",
        "vidro data prepare corpus/ --tokenizer my-tokenizer --out tokens --processes 4",
    ),
)

Name = Annotated[str, Parameter(help="The corpus; vidro data list names them.")]
Mirror = Annotated[
    Path | None, value("Take the files from this folder instead of the network; they are known by checksum.", "DIR")
]
File = Annotated[str, Parameter(help="A text: a file, a folder, a pattern, a corpus, or - for stdin.")]
Files = Annotated[str, Parameter(help="Texts: files, folders or patterns.")]
TokenizerName = Annotated[str, value("The tokenizer: a file, a folder, a run, or bytes.", "NAME")]
LookTokenizer = Annotated[str | None, value("Count tokens with this tokenizer: a file, a folder or a run.", "NAME")]
Out = Annotated[Path, value("The folder for the tokens.", "DIR")]
Val = Annotated[str | None, value("This text will validate, so nothing is set apart for that.", "FILE")]
Processes = Annotated[int, value("How many processes work at once.", "N")]
Shard = Annotated[str, value("Do every n-th file from file i on, i/n, so that machines can share the work.", "I/N")]


@subcommand(app, "vidro data list")
def list_(*, json: Json = False) -> int:
    """The corpora that Vidro knows by name, with their licences."""
    from rich.markup import escape

    from vidro.cli.places import cache_dir
    from vidro.data.corpora import CORPORA

    found = [plain_corpus(corpus, cache_dir()) for corpus in CORPORA.values()]
    if json:
        print_json({"corpora": found})
        return 0
    grid = table("name", "what it is", "here", right=("here",))
    for corpus in found:
        use = "" if corpus["kind"] == "text" else f" For fine-tuning: {corpus['kind']}."
        about = f"{corpus['about']}{use} Licence: {corpus['licence']}."
        grid.add_row(corpus["name"], escape(about), "yes" if corpus["cached"] else "–")
    show(grid)
    note("Get one: vidro data get NAME. Then use its name instead of a file: vidro pretrain NAME --minutes 10")
    return 0


@subcommand(app, "vidro data get NAME")
def get(name: Name, /, *, mirror: Mirror = None, json: Json = False) -> int:
    """Fetch a corpus into the cache; an interrupted download goes on where it stopped."""
    from vidro.cli.places import cache_dir
    from vidro.cli.progress import bytes_progress
    from vidro.data.corpora import find_corpus, get_corpus

    corpus = find_corpus(name)
    with bytes_progress(f"Fetching {name}") as progress:
        path = get_corpus(name, cache_dir=cache_dir(), mirror=mirror, progress=progress)
    if json:
        print_json({"name": name, "path": path, "licence": corpus.licence})
        return 0
    note(f"{corpus.about} Licence: {corpus.licence}.")
    if corpus.kind == "text":
        note(f"Train on it: vidro pretrain {name} --minutes 10")
    print(path)
    return 0


As = Annotated[
    Literal["text", "instruct"],
    value("How to look: text, or instruct (one batch of instructions, as --run reads it).", "NAME"),
]
BatchRun = Annotated[str | None, value("With --as instruct: the run whose tokenizer and style are used.", "RUN")]
BatchStyle = Annotated[str | None, value("With --as instruct: the style, where the run has none of its own.", "NAME")]


@subcommand(app, "vidro data show FILE")
def show_(
    file: File,
    /,
    *,
    tokenizer: LookTokenizer = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    as_: Annotated[As, Parameter(name="--as")] = "text",
    run: BatchRun = None,
    style: BatchStyle = None,
    json: Json = False,
) -> int:
    """A look at a text before training: encoding, size, duplicates, tokens, samples, warnings.

    With --as instruct: which tokens of instructions are read, learned and padding, in one batch.
    """
    if as_ == "instruct":
        from vidro.cli.data_batch import show_batch

        if run is None or tokenizer is not None or encoding is not None or skip_bad:
            raise UsageError("--as instruct wants --run RUN, and no flag for texts", hint="For example --run last.")
        return show_batch(file, run, style, json=json)
    if run is not None or style is not None:
        raise UsageError("--run and --style belong to --as instruct", hint="Say that too, or leave them out.")
    from vidro.api.words import visible
    from vidro.cli.places import cache_dir
    from vidro.cli.tokenizer import find
    from vidro.data.look import look

    known = None if tokenizer is None else find(tokenizer, cache_dir())
    found = look(file, tokenizer=known, encoding=encoding, skip_bad=skip_bad, cache_dir=cache_dir())
    if json:
        print_json(found)
    else:
        print(visible(str(found)))
    return 0


@subcommand(app, "vidro data prepare FILE... --tokenizer NAME --out DIR")
def prepare(
    *files: Files,
    tokenizer: TokenizerName,
    out: Out,
    val: Val = None,
    processes: Processes = 1,
    shard: Shard = "0/1",
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    json: Json = False,
) -> int:
    """Cut large texts into tokens once, with any number of processes and machines; pretrain takes the folder.

    One input file becomes one shard. What is there already and fits is left alone, so a run that was stopped is simply
    started again.
    """
    from vidro.api.words import counted
    from vidro.cli.places import cache_dir
    from vidro.cli.progress import bytes_progress
    from vidro.cli.tokenizer import find
    from vidro.config.schema import DataOptions
    from vidro.data.prepare import tokenize_source

    if not files:
        raise UsageError("FILE is missing", hint="See vidro data prepare --help.")
    known = find(tokenizer, cache_dir())
    options = DataOptions(val=val, encoding=encoding, skip_bad=skip_bad)
    source: Any = files[0] if len(files) == 1 else list(files)
    with bytes_progress("Tokenizing") as progress:
        made = tokenize_source(
            source, out, known, options=options, processes=processes, shard=shard_of(shard), progress=progress
        )
    for message in made.notes:
        note(message)
    if json:
        print_json({"out": out, "n_made": made.n_made, "n_kept": made.n_kept, "notes": made.notes})
        return 0
    kept = f" ({made.n_kept:,} made before)" if made.n_kept else ""
    note(f"{counted(made.n_made, 'shard')} made{kept}.")
    note(f"Train on them: vidro pretrain {out} --tokenizer {out} --minutes 10")
    print(out)
    return 0


def shard_of(text: str) -> tuple[int, int]:
    """The two numbers of ``--shard``.

    >>> shard_of("2/8")
    (2, 8)
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise UsageError(f"{text!r} is not i/n", where="--shard", hint="The first of four machines says 0/4.")
    return int(match[1]), int(match[2])


def plain_corpus(corpus: Corpus, cache_dir: Path) -> dict[str, Any]:
    """A corpus as plain values; `cached`: its files are there (checked when they are used), or made when needed."""
    from vidro.data.corpora import is_made

    folder = cache_dir / "corpora" / corpus.name
    return {
        "name": corpus.name,
        "kind": corpus.kind,
        "about": corpus.about,
        "licence": corpus.licence,
        "source": corpus.source,
        "cached": all(is_made(item) or (folder / item.name).is_file() for item in corpus.files),
    }
