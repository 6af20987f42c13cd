"""``vidro chat``: talk to a model, line by line. The conversation is `infer/chat`; here are only its eyes and ears."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vidro.cli.apps import make_app
from vidro.cli.options import Device, RunName, Threads, takes
from vidro.cli.terminal import note
from vidro.config.schema import SamplingOptions
from vidro.core.errors import VidroError

if TYPE_CHECKING:
    from vidro.api.run import Run
    from vidro.infer.chat import Response

app = make_app(
    "chat",
    "Talk to a model, line by line. A base model does not answer: it continues what you write.",
    usage="vidro chat RUN",
    examples=("vidro chat last", "vidro chat last --temperature 0.6 --max-tokens 100"),
)

SAMPLE_CHARS = 2_000_000  # beginnings are suggested from so much of the training text


@app.default
@takes(SamplingOptions)
def chat(run: RunName, /, *, device: Device = "auto", threads: Threads = None, **sampling: Any) -> int:
    """Open the run and talk. Lines may come from a pipe; then only the replies go to stdout."""
    from vidro.api.run import load
    from vidro.api.settings import sampling_options
    from vidro.cli.options import use_threads

    sampling_options(sampling)  # a wrong value is said before the model is looked for
    opened = load(run, device=device)
    use_threads(threads)
    talk(opened, sampling)
    return 0


def talk(run: Run, sampling: dict[str, Any]) -> None:
    """The conversation, until Ctrl-D, /quit or the end of the input."""
    from vidro.api.settings import sampling_options
    from vidro.infer.chat import Chat
    from vidro.infer.reading import introduction, texts_read

    options = sampling_options(sampling)
    prompts, known_words = from_training_text(run)
    chat = Chat(run.session, options, known_words=known_words)
    remark(introduction(texts_read(*(each.record for each in run.ancestry())), prompts))
    remark("Ctrl-C stops a reply, Ctrl-D leaves, /help lists more.")
    for line in lines():
        try:
            response = chat.respond(line)
            if response.quit:
                break
            answer(response)
        except VidroError as problem:
            remark(str(problem))


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
