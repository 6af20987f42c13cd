"""``vidro chat``: talk to a model, line by line. The conversation is `infer/chat`; here are only its eyes and ears."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from vidro.cli.apps import make_app
from vidro.cli.options import Device, Quantize, RunName, Threads, takes, value
from vidro.cli.terminal import note
from vidro.config.schema import SamplingOptions
from vidro.core.errors import UsageError, VidroError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.infer.chat import Chat, Response

app = make_app(
    "chat",
    "Talk to a model, line by line. A base model does not answer: it continues what you write.",
    usage="vidro chat RUN",
    examples=(
        "vidro chat last",
        "vidro chat last --temperature 0.6 --max-tokens 100",
        "vidro chat tasks-1 --compare book-1        the same words to both, side by side",
    ),
)

SAMPLE_CHARS = 2_000_000  # beginnings are suggested from so much of the training text


Compare = Annotated[str | None, value("Let this run answer too, with the same words, settings and seed.", "RUN")]
System = Annotated[str | None, value("Said before everything: how to answer.", "TEXT")]


@app.default
@takes(SamplingOptions)
def chat(
    run: RunName, /, *, compare: Compare = None, system: System = None, device: Device = "auto",
    quantize: Quantize = None, threads: Threads = None, **sampling: Any,
) -> int:  # fmt: skip
    """Open the run and talk. Lines may come from a pipe; then only the replies go to stdout."""
    from vidro.api.run import load
    from vidro.api.settings import sampling_options
    from vidro.cli.options import use_threads
    from vidro.cli.places import cache_dir

    sampling_options(sampling)  # a wrong value is said before the model is looked for
    how: dict[str, Any] = {"device": device, "quantize": quantize, "cache_dir": cache_dir()}
    opened = [load(name, **how) for name in (run, compare) if name is not None]
    use_threads(threads)
    talk(opened, sampling, system=system)
    return 0


def talk(runs: Sequence[Run], sampling: dict[str, Any], *, system: str | None = None) -> None:
    """The conversation, until Ctrl-D, /quit or the end of the input; with two runs side by side."""
    from vidro.infer.reading import introduction, taught_line, texts_read

    run = runs[0]
    for each in runs:
        check_talks(each, system)
    if run.style is None:
        prompts, known_words = from_training_text(run)
        remark(introduction(texts_read(*(each.record for each in run.ancestry())), prompts))
    else:
        known_words = None if system is not None else from_training_text(run)[1]
        remark(f"{opening_line_of(run)} {taught_line(run.record)}")
    remark("Ctrl-C stops a reply, Ctrl-D leaves, /help lists more.")
    chats = [open_chat(each, sampling, known_words if each is run else None, system) for each in runs]
    for chat in chats[1:]:
        chat.next_seed = chats[0].next_seed
    for line in lines():
        try:
            responses = [chat.respond(line) for chat in chats]
            if responses[0].quit:
                break
            for each, response in zip(runs, responses, strict=True):
                if len(runs) > 1 and response.pieces is not None:
                    remark(f"{each.path.name}:")
                answer(response)
        except VidroError as problem:
            remark(str(problem))


def check_talks(run: Run, system: str | None) -> None:
    """Raise UsageError, before anything is said, for a classifier, and for a system text that a run cannot take."""
    _ = run.session  # a classifier has none
    if run.style is None and system is not None:
        raise UsageError("this run was not taught to answer", where=run.path, hint="Leave --system out.")


def open_chat(run: Run, sampling: dict[str, Any], known_words: dict[str, int] | None, system: str | None) -> Chat:
    """A conversation with one run, in its style."""
    from vidro.api.settings import sampling_options
    from vidro.infer.answering import Turns, with_stops
    from vidro.infer.chat import Chat

    options = sampling_options(sampling)
    if run.style is None:
        return Chat(run.session, options, known_words=known_words)
    style = Turns(run.tokenizer, run.style, system=system)
    return Chat(run.answerer.session, with_stops(options, run.style), style=style, known_words=known_words)


def opening_line_of(run: Run) -> str:
    """What the run and those before it have read."""
    from vidro.infer.reading import opening_line, texts_read

    line = opening_line(texts_read(*(each.record for each in run.ancestry())))
    return line.removesuffix(".").removesuffix(" and nothing else") + "."


def answer(response: Response) -> None:
    """Print what there is to say and then the reply as it comes; Ctrl-C ends the reply, not the chat."""
    for message in response.messages:
        remark(message)
    if response.pieces is None:
        return
    from vidro.api.words import visible

    shown = visible if sys.stdout.isatty() else str
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(response.pieces) as pieces:  # pyright: ignore
        for piece in pieces:
            print(shown(piece.text), end="", flush=True)
            if piece.note is not None:
                remark(piece.note)
    print(flush=True)


def from_training_text(run: Run) -> tuple[list[str], dict[str, int] | None]:
    """Beginnings that suit the model, and the words it knows; nothing where its text is not here any more."""
    from vidro.cli.places import cache_dir
    from vidro.infer.reading import suggest_prompts

    cache = cache_dir()
    prompts: list[str] = []
    try:
        prompts = suggest_prompts(beginning(run.training_texts(cache_dir=cache)))
        return prompts, run.known_words(cache_dir=cache)
    except VidroError as problem:
        remark(f"Unknown words are not marked: {problem}")
        return prompts, None


def beginning(texts: Iterator[str]) -> str:
    """The first texts together, as many as `SAMPLE_CHARS` hold."""
    sample = ""
    for text in texts:
        sample += text[:SAMPLE_CHARS] + "\n\n"
        if len(sample) >= SAMPLE_CHARS:
            break
    return sample


def lines() -> Iterator[str]:
    """What is typed, with editing and history in a terminal."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            yield line.rstrip("\r\n")
        return
    with contextlib.suppress(ImportError):  # Windows has none, and edits lines by itself
        import readline  # noqa: F401
    while True:
        try:
            yield input("› ")
        except EOFError:
            print()
            return


def remark(message: str) -> None:
    """Something that is not the model's text: on stderr, dimmed in a terminal."""
    note(f"\x1b[2m{message}\x1b[0m" if sys.stderr.isatty() else message)
