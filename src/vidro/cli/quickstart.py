"""``vidro quickstart``: the whole path in a few minutes, offline, on stories that Vidro tells itself."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vidro.cli.apps import make_app
from vidro.cli.options import Json, Threads, switch, takes, value
from vidro.cli.terminal import note, print_json

if TYPE_CHECKING:
    from vidro.api.pretrain import Request
    from vidro.api.run import Run
    from vidro.train.pretrain import PretrainResult
    from vidro.train.speed import Speed

app = make_app(
    "quickstart",
    "The whole path in five minutes, offline: a text, its tokens, a model that writes, sorts mail and answers, a chat.",
    usage="vidro quickstart",
    examples=("vidro quickstart", "vidro quickstart --minutes 5      a better model"),
)

MINUTES = 2.0
ASSISTANT_SHARE = 1.5  # of the minutes of the first training: all of it together takes about five
ROOM = {"d_model": 128, "n_layers": 2}  # the least shape that learns the assistant's tasks
STORY_TOKENS = 250  # most stories end before
PROMPTS = ("One windy morning", "Everybody in Tansy Bay knew")
NEXT = "Now yours: vidro pretrain YOURFILE --minutes 10"

Minutes = Annotated[
    float | None,
    value("How long the first training may take; all together two and a half times that. 2 if not said.", "N"),
]
Steps = Annotated[int | None, value("Train this many steps instead.", "N")]
Out = Annotated[str | None, value("Where to put the run; otherwise the first free runs/quickstart-N.", "DIR")]
Seed = Annotated[int, value("Same seed: same model (with --steps).", "N")]
NoChat = Annotated[bool, switch("End after the summary, without a chat.")]


@app.default
@takes()
def quickstart(
    *,
    minutes: Minutes = None,
    steps: Steps = None,
    out: Out = None,
    seed: Seed = 1337,
    threads: Threads = None,
    no_chat: NoChat = False,
    json: Json = False,
) -> int:
    """Each stage of the path, with a sentence about what happens."""
    from vidro.api.pretrain import request
    from vidro.api.run import Run
    from vidro.cli.places import cache_dir
    from vidro.train.pretrain import exit_code

    said = {"minutes": minutes, "steps": steps, "out": out, "seed": seed, "threads": threads}
    if minutes is None and steps is None:
        said["minutes"] = MINUTES
    for place in (None,) if out is None else (out, f"{out}-spam", f"{out}-assistant"):
        check_out(place)
    text = write_stories(cache_dir())
    wish = request(str(text), {name: value for name, value in said.items() if value is not None})
    show_text(text)
    wish, speed = show_tokens(wish)
    result = train(wish, speed)
    run = Run(result.path)
    samples = write_samples(run)
    show_copies(text, samples)
    show_curves(result.path)
    found: dict[str, Any] = {"run": str(result.path), "reason": result.reason, "samples": samples, **result.results}
    last = run
    if result.signum is None:  # whoever landed the first half has seen enough
        last, more = second_half(run, out, minutes=minutes, steps=steps, threads=threads)
        found |= more
    if json:
        print_json(found)
    else:
        note(f"\n{NEXT}")
        print(last.path, flush=True)
        if result.signum is None and not no_chat and sys.stdin.isatty() and sys.stdout.isatty():
            from vidro.cli.chat import talk

            heading("Chat", "Ask it what it was asked above, in other words. Ctrl-D leaves.")
            talk([last], {"temperature": 0.0})
    return exit_code(result)


def second_half(
    run: Run, out: str | None, *, minutes: float | None, steps: int | None, threads: int | None
) -> tuple[Run, dict[str, Any]]:
    """A classifier and an assistant made of the model; the assistant, and what to say of both."""
    from vidro.cli import quickstart_tasks as tasks

    places = (None, None) if out is None else (Path(f"{out}-spam"), Path(f"{out}-assistant"))
    quick = {} if steps is None else {"steps": steps}
    spam = tasks.classifier(run, places[0], quick, threads=threads, heading=heading)
    longer = quick or {"minutes": ASSISTANT_SHARE * (MINUTES if minutes is None else minutes)}
    able = tasks.assistant(run, places[1], longer, threads=threads, heading=heading)
    asked = tasks.ask(able)
    results = {"classifier": spam.record["results"], "assistant": able.record["results"]}
    return able, {"classifier_run": str(spam.path), "assistant_run": str(able.path), "asked": asked, **results}


def check_out(out: str | None) -> None:
    """Raise RunError when something is at --out already; a quickstart neither resumes nor replaces."""
    from vidro.checkpoint.run import check_place
    from vidro.core.errors import RunError

    try:
        if out is not None:
            check_place(Path(out), overwrite=False)
    except RunError as problem:
        raise RunError(problem.what, where=problem.where, hint="Choose another --out.") from None


def heading(title: str, what: str) -> None:
    """The title of a stage and a sentence about it, on stderr."""
    bold, plain = ("\x1b[1;36m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    note(f"\n{bold}{title}{plain}  {what}")


def write_stories(cache_dir: Path) -> Path:
    """The corpus `tinyworld` under the name that the run is to have; the same bytes each time."""
    from vidro.core.files import write_text_atomic
    from vidro.data.made import story_text

    path = cache_dir / "quickstart" / "quickstart.txt"
    write_text_atomic(path, "".join(story_text()))
    return path


def show_text(path: Path) -> None:
    """Stage one: what will be learned from."""
    from vidro.data.made import BETWEEN

    stories = path.read_text(encoding="utf-8").split(BETWEEN)
    size = f"{path.stat().st_size / 1e6:.0f} MB"
    heading("The text", f"{len(stories):,} little stories from one village, {size}. One of them:")
    for line in textwrap.wrap(stories[0].replace("\n\n", " "), 90)[:4]:
        note(f"  {line}")
    note("  …")


def show_tokens(wish: Request) -> tuple[Request, Speed | None]:
    """Stage two: a vocabulary is made from the text, and a model shaped for it; how fast this machine is.

    On a slow machine the smallest model would tell the stories best, but it is to learn more than them. What is shown
    here is what will be trained.
    """
    from vidro.api.pretrain import look_ahead
    from vidro.api.words import human_count
    from vidro.cli.places import cache_dir
    from vidro.cli.terminal import stderr_console
    from vidro.cli.tokenizer import pieces
    from vidro.model.count import count
    from vidro.text.describe import describe
    from vidro.train.machine import process_age_s

    heading("The tokens", "A model reads pieces of words; which ones is learned from the text itself:")
    setup = look_ahead(wish, cache_dir=cache_dir(), say=lambda message: None, used_s=process_age_s)
    speed = None
    if setup.planner is not None:
        speed, planned = setup.planner.speed, setup.plan.model
        roomy = planned.d_model >= ROOM["d_model"]
        shape = {"d_model": planned.d_model, "n_layers": planned.n_layers} if roomy else ROOM
        wish = replace(wish, options=replace(wish.options, model=replace(wish.options.model, **shape)))
        if not roomy:
            setup = look_ahead(wish, cache_dir=cache_dir(), say=lambda message: None, speed=speed)
    console = stderr_console()
    example = describe(setup.tokenizer, "One windy morning Lev reached for the golden watch, and it was not there.")
    console.print(pieces(example, styled=console.is_terminal))
    size = count(setup.plan.model).n_parameters
    what = f"{human_count(size)} numbers, all random now. Training changes them until the next token is no surprise."
    heading("The model", what)
    return wish, speed


def train(wish: Request, speed: Speed | None) -> PretrainResult:
    """Stage three, with the display that every training has."""
    from vidro.api.pretrain import carry_out
    from vidro.cli.places import cache_dir
    from vidro.cli.progress import show_progress
    from vidro.train.machine import process_age_s

    with show_progress() as progress:
        age_s = process_age_s()  # what came before counts: the minutes are those of the whole command
        result = carry_out(
            wish, cache_dir=cache_dir(), sinks=(progress,), on_landing=progress.landing, age_s=age_s, speed=speed
        )
        progress.summary(result.path)
    return result


def write_samples(run: Run) -> list[dict[str, str]]:
    """Stage four: the model writes."""
    from vidro.api.words import visible

    heading("It writes", "The same beginnings always give the same text, because the seed is fixed.")
    samples = []
    for prompt in PROMPTS:
        text = run.generate(prompt, seed=7, max_tokens=STORY_TOKENS)
        samples.append({"prompt": prompt, "text": text})
        for paragraph in visible(prompt + text).split("\n\n"):
            note(textwrap.fill(paragraph, 90, initial_indent="  ", subsequent_indent="  "))
        note("")
    return samples


def show_copies(text: Path, samples: list[dict[str, str]]) -> None:
    """Stage five: did it learn by heart? What of its stories stands word for word in the text."""
    from vidro.evals.memorisation import SHORTEST_CHARS, CopyIndex

    index = CopyIndex(text.read_text(encoding="utf-8"))
    reports = [index.copied(sample["text"]) for sample in samples]
    n_chars = sum(len(sample["text"]) for sample in samples)
    share = sum(r.copied_frac * len(s["text"]) for r, s in zip(reports, samples, strict=True)) / max(n_chars, 1)
    longest = max(report.longest_chars for report in reports)
    what = f"{share:.0%} of these stories stands in its text in runs of {SHORTEST_CHARS} characters or more"
    heading("By heart?", f"{what}; the longest has {longest}." if longest else f"Nothing: {what}.")


def show_curves(path: Path) -> None:
    """Stage six: where the pictures are."""
    found = sorted((path / "plots").glob("*.png"))
    if found:
        heading("Its curves", f"{len(found)} pictures of how it learned:")
        for picture in found:
            note(f"  {picture}")
