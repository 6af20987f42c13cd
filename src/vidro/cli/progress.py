"""How a training run looks: a live display in a terminal, one line for each look elsewhere; and the summary.

Everything is drawn from events, so that nothing here can disturb a run: a display that cannot print falls silent. Not
here: the lines themselves (`api/progress`), what the events mean (docs/formats.md).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vidro.api.progress import LineProgress, describe_look, describe_plan, describe_start, memory, speed
from vidro.api.words import human_count, human_time, visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

Event = dict[str, Any]
LANDING = "Landing: a decay of at most 20 s, then saving. Ctrl-C again stops at once."
BARS = "▁▂▃▄▅▆▇█"


class Progress(Protocol):
    """A sink for events that also shows a landing and, in the end, the summary."""

    def __call__(self, event: Event) -> None: ...
    def landing(self) -> None: ...
    def summary(self, path: Path) -> None: ...


@contextlib.contextmanager
def show_progress() -> Iterator[Progress]:
    """The display that suits stderr: live in a terminal, plain lines in a file or pipe."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from vidro.cli.terminal import stderr_console

        with LiveProgress(stderr_console()) as live:
            yield live
    else:
        yield PlainProgress()


@contextlib.contextmanager
def bytes_progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """How many bytes of how many are done: a bar in a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    from vidro.cli.terminal import stderr_console

    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=stderr_console(), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class PlainProgress(LineProgress):
    """Plain lines on stderr."""

    def __init__(self) -> None:
        super().__init__()
        self._facts: dict[str, Event] = {}

    def __call__(self, event: Event) -> None:
        self._facts[event["event"]] = event
        super().__call__(event)

    def landing(self) -> None:
        """Called inside a signal handler, where Python's own streams may be busy."""
        with contextlib.suppress(OSError):
            os.write(2, f"{LANDING}\n".encode())

    def summary(self, path: Path) -> None:
        with contextlib.suppress(OSError, ValueError):
            print("\n".join(summary_lines(self._facts, path)), file=sys.stderr, flush=True)


class LiveProgress:
    """A few lines at the bottom of the terminal that change in place; samples and remarks scroll by above them."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._last: dict[str, Event] = {}
        self._val: list[float] = []
        self._doing = "loading torch"
        self._seen_at = time.monotonic()
        self._landing = False
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._live.__exit__(*problem)

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        self._last[kind] = event
        if kind == "train":
            self._seen_at = time.monotonic()
        elif kind == "eval" and not event["full"]:
            self._val.append(event["nats_per_token"])
        elif kind == "note" and not self._begun:
            self._doing = event["message"]
        with contextlib.suppress(OSError, ValueError):
            self._print(kind, event)

    @property
    def _begun(self) -> bool:
        """Whether the loop has said hello; remarks before that only tell what is being done."""
        return "start" in self._last or "resumed" in self._last

    def landing(self) -> None:
        """Called inside a signal handler: only remembered; the display says it at its next turn."""
        self._landing = True

    def summary(self, path: Path) -> None:
        self._live.stop()
        for line in summary_lines(self._last, path):
            self._console.print(line, markup=False)

    def _print(self, kind: str, event: Event) -> None:
        """What scrolls by."""
        if kind == "start":
            self._console.print(f"{event['run']}: {describe_start(event)}", markup=False)
        elif kind == "plan":
            self._console.print(describe_plan(event), markup=False)
        elif kind == "sample":
            from rich.padding import Padding

            self._console.print(Padding(sample_text(event), (0, 0, 0, 2)))
        elif kind == "resumed":
            self._console.print(f"Going on from step {event['step']:,}.", markup=False)
        elif kind == "overfit":
            self._console.print(event["message"], style="yellow", markup=False)
        elif kind == "passed":
            self._console.print(event["message"], style="green", markup=False)
        elif kind == "note" and self._begun:
            self._console.print(event["message"], style="dim", markup=False)

    def _draw(self) -> RenderableType:
        """The lines at the bottom, drawn four times a second."""
        from rich.console import Group
        from rich.spinner import Spinner

        train = self._last.get("train")
        if train is None:
            return Spinner("dots", text=f" {self._doing} …")
        lines: list[RenderableType] = [self._bar(train), self._numbers(train)]
        if self._landing:
            lines.append(LANDING)
        return Group(*lines)

    def _bar(self, train: Event) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        phase = self._last["phase"]["name"] if "phase" in self._last else ""
        since = time.monotonic() - self._seen_at
        unknown = self._landing or train.get("eta_s") is None
        left = "" if unknown else f"{human_time(max(0.0, train['eta_s'] - since))} left"
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=10)
        grid.add_column(ratio=1)
        grid.add_column(justify="right")
        bar = ProgressBar(total=1.0, completed=train["progress"], complete_style="cyan", finished_style="cyan")
        grid.add_row("landing" if self._landing else phase, bar, f"{train['progress']:.0%}  {left}")
        return grid

    def _numbers(self, train: Event) -> Table:
        from rich.table import Table

        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=10, style="dim")
        grid.add_column()
        grid.add_row("loss", self._losses(train))
        grid.add_row("speed", f"{speed(train)}, {memory(train)} of memory")
        so_far = f"step {train['step']:,}, {human_count(train['tokens'])} tokens, {epochs(train['epoch'])}"
        grid.add_row("so far", so_far)
        return grid

    def _losses(self, train: Event) -> Text:
        from rich.text import Text

        look = self._last.get("eval")
        unit = "text" if look is not None and "accuracy" in look else "token"
        text = Text.assemble((f"{train['loss_nats']:.3f}", "bold"), f" nats/{unit} in training")
        if look is not None:
            text.append(f"; validation: {describe_look(look)}  ")
            text.append(sparkline(self._val[-20:]), style="green")
        return text


def sample_text(event: Event) -> Text:
    """A sample, dimmed, its prompt bold; parts that stand verbatim in the training text are underlined."""
    from rich.text import Text

    text = Text(visible(event["text"]), style="dim")
    for begin, end in event.get("copied_spans", ()):
        text.stylize("underline", begin, end)
    whole = Text.assemble((f"step {event['step']:,}  ", "cyan"), (visible(event["prompt"]), "bold dim"), text)
    if event.get("copied_frac"):
        whole.append(f"  [{event['copied_frac']:.0%} copied]", style="yellow")
    return whole


def sparkline(values: list[float]) -> str:
    """A curve of block characters, the highest value tallest.

    >>> sparkline([3.0, 2.0, 1.0]), sparkline([1.0, 1.0])
    ('█▅▁', '▁▁')
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = high - low
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in values)


def epochs(number: float) -> str:
    """How often the training text was read.

    >>> epochs(0.314), epochs(1), epochs(12.34)
    ('0.31 epochs', '1 epoch', '12.3 epochs')
    """
    if number == 1:
        return "1 epoch"
    return f"{number:.2f} epochs" if number < 1 else f"{number:.3g} epochs"


def human_perplexity(value: float | None) -> str:
    """Perplexity in three digits; None is how a log says infinite.

    >>> human_perplexity(1.4068), human_perplexity(1234.5), human_perplexity(None)
    ('1.41', '1,234', 'infinite')
    """
    if value is None:
        return "infinite"
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def summary_lines(facts: dict[str, Event], path: Path) -> list[str]:
    """What was reached, where the pictures are, and what to do next. `facts`: the last event of each kind."""
    end = facts.get("end")
    if end is None:
        return []
    lines = ["", end["message"]] if end.get("message") else [""]
    lines.append(
        f"{end['steps']:,} steps, {human_count(end['tokens'])} tokens, {epochs(end['epochs'])}, "
        f"{human_time(60 * end['minutes'])}."
    )
    if "test" in end:
        return [*lines, *class_lines(end, path)]
    if "preferences" in end:
        return [*lines, *preference_lines(end, path)]
    if "answers" in end:
        return [*lines, *answer_lines(end, path)]
    lines.append(
        f"On the validation text: {end['val_nats_per_token']:.3f} nats per token, {end['val_bits_per_byte']:.3f} bits "
        f"per byte, perplexity {human_perplexity(end['val_perplexity'])} (the model of step {end['best_step']:,})."
    )
    bars = dict(facts.get("start", {}).get("yardsticks_bits_per_byte", {}))
    floor = bars.pop("floor", None)
    if bars:
        lines.append(
            f"Without a model: {', '.join(f'{name} {bits:.3f}' for name, bits in bars.items())} bits per byte."
        )
    if floor is not None:
        lines.append(f"No model can be below {floor:.3f} bits per byte: so much of this text is chance.")
    picture = path / "plots" / "loss.png"
    if picture.is_file():
        lines.append(f"Its curve: {picture}")
    return [*lines, f"Now: vidro chat {path}", ""]


def class_lines(end: Event, path: Path) -> list[str]:
    """Of a classifier: its scores on the test texts beside those of a bag of words and of the most frequent class."""
    from vidro.evals.accuracy import accuracy_table, confusion_table, scores_of

    scores, difference = scores_of(end["test"]), end["over_bag_of_words"]
    lines = ["", *accuracy_table(scores), "", *confusion_table(scores), ""]
    words, usual = (f"{end[name]['accuracy']:.1%}" for name in ("bag_of_words", "majority"))
    points, low, high = (f"{100 * difference[name]:+.1f}" for name in ("difference", "low", "high"))
    lines.append(f"On the same texts: a bag of words {words}, always the most frequent class {usual}.")
    lines.append(f"Over the bag of words: {points} points (95 %: {low} to {high}).")
    if (picture := path / "plots" / "confusion.png").is_file():
        lines.append(f"The confusion matrix: {picture}")
    return [*lines, f'Now: vidro predict {path} "a text"', ""]


def answer_lines(end: Event, path: Path) -> list[str]:
    """Of a model that answers: how right it is on the test rows, with three examples."""
    from vidro.evals.answers import AnswerScores, read_answers

    rows = read_answers(path / "responses.jsonl")
    lines = ["", *AnswerScores.from_json(end["answers"]).lines(), ""]
    if bars := end.get("yardsticks"):
        words = ", ".join(f"{bar['name']} {bar['f1']['mean']:.1%}" for bar in bars)
        lines += [f"Word F1 without a model: {words}.", ""]
    for row in [rows[number * len(rows) // 3] for number in range(min(3, len(rows)))]:
        asked = visible(" ".join(f"{row.instruction} {row.input}".split()))
        lines += [
            f"  asked     {asked}",
            f"  expected  {visible(row.expected)}",
            f"  answered  {visible(row.answer)}",
            "",
        ]
    return [*lines, f"All answers: {path / 'responses.jsonl'}", f"Now: vidro chat {path}", ""]


def preference_lines(end: Event, path: Path) -> list[str]:
    """Of a model that was moved towards better answers: how often it ranks a pair rightly, how far it moved."""
    found = end["preferences"]
    low, high = found["reward_accuracy_interval"]
    return [
        f"On {found['n']:,} test pairs: {found['loss_nats']:.3f} nats (0.693 before), margin {found['margin']:+.3f}.",
        f"The chosen answer is above the other in {found['reward_accuracy']:.1%} (95 %: {low:.1%} to {high:.1%}).",
        f"It moved by {found['kl_nats_per_token']:.4f} nats a token from what it was.",
        f"Now: vidro chat {path}",
        "",
    ]
