"""``vidro learn``: the path, a lesson, its notebook, its exercise. How a lesson looks on a terminal: `lesson`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vidro.cli.apps import make_app, subcommand
from vidro.cli.options import Json, Threads, switch, takes, use_threads, value
from vidro.cli.terminal import note, print_json, show
from vidro.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from vidro.learn.exercise import Exercise, Outcome
    from vidro.learn.path import Lesson
    from vidro.learn.progress import Progress

app = make_app(
    "learn",
    "Lessons: from words and numbers to a model of your own, one idea each, with exercises.\n\n"
    "Without NAME: the path, and where you are on it. With NAME: that lesson, run before your eyes.",
    usage="vidro learn [NAME [FLAGS] | notebook | stub | check | experiment]",
    examples=(
        "vidro learn words                              the first lesson",
        "vidro learn notebook attention-3               the same as a Jupyter notebook",
        "vidro learn stub attention-3 --out mine.py     an exercise to fill in",
        "vidro learn check attention-3 mine.py          look at what you wrote",
        "vidro learn experiment facts                   a question answered by measuring",
    ),
)

Which = Annotated[str | None, Parameter(help="A lesson, or your own copy of one (a .py file).")]
Name = Annotated[str, Parameter(help="The lesson; vidro learn names them all.")]
Mine = Annotated[Path, Parameter(help="Your solution, a Python file.")]
Out = Annotated[Path | None, value("The folder for the figures; otherwise the cache.", "DIR")]
StubOut = Annotated[Path | None, value("The file to write; otherwise it is printed.", "FILE")]
NotebookOut = Annotated[Path | None, value("The file to write, .ipynb or .py; otherwise NAME.ipynb here.", "FILE")]
Overwrite = Annotated[bool, switch("Replace the file if it is there.")]
Experiment = Annotated[str | None, Parameter(help="An experiment; without it they are listed.")]
OfRun = Annotated[str | None, value("The run to look at; otherwise the newest that learned tiny world.", "RUN")]
Plain = Annotated[bool, switch("No colours, boxes or shades: the lesson as plain text.")]


@app.default
@takes()
def learn(name: Which = None, /, *, out: Out = None, plain: Plain = False) -> int:
    """Show the path, or print and run a lesson."""
    if name is not None:
        return one_lesson(name, out, plain=plain)
    for flag, said in (("--out", out is not None), ("--plain", plain)):
        if said:
            raise UsageError(f"{flag} belongs to a lesson", hint="Name one: vidro learn words.")
    from vidro.cli.places import data_dir
    from vidro.learn.exercise import exercise_names
    from vidro.learn.progress import load_progress

    progress, exercises = load_progress(data_dir()), exercise_names()
    show(*path_page(progress, exercises))
    following = progress.next(exercises)
    if following is None:
        note("You have been all the way. Now your own: vidro pretrain YOURFILE --minutes 10")
    elif following.name in progress.read:
        note(f"Next: vidro learn stub {following.name} --out mine.py, then vidro learn check {following.name} mine.py")
    else:
        note(f"Next: vidro learn {following.name}")
    return 0


@subcommand(app, "vidro learn notebook NAME [--out FILE]")
def notebook(name: Name, /, *, out: NotebookOut = None, overwrite: Overwrite = False) -> int:
    """Write a lesson as a Jupyter notebook, or as the Python script that it is, to change and to run."""
    from vidro.core.files import write_json_atomic, write_text_atomic
    from vidro.learn import notebook as made
    from vidro.learn.path import find
    from vidro.learn.percent import parse

    lesson = find(name)
    target = Path(f"{name}.ipynb") if out is None else out
    if target.suffix not in (".ipynb", ".py"):
        raise UsageError("a lesson's file ends in .ipynb or .py", where=target)
    must_be_free(target, overwrite=overwrite)
    text = lesson.file.read_text(encoding="utf-8")
    if target.suffix == ".py":
        write_text_atomic(target, text)
        note(f"Change it, then run it: vidro learn {target}")
    else:
        write_json_atomic(target, made.notebook(parse(text)))
    print(target)
    return 0


@subcommand(app, "vidro learn stub NAME [--out FILE]")
def stub(name: Name, /, *, out: StubOut = None, overwrite: Overwrite = False) -> int:
    """Print an exercise to fill in, or write it into a file."""
    from vidro.core.files import write_text_atomic

    exercise = exercise_of(name)
    if out is None:
        if overwrite:
            raise UsageError("--overwrite belongs to --out", hint="Name a file: --out mine.py.")
        print(exercise.stub, end="")
        return 0
    must_be_free(out, overwrite=overwrite)
    write_text_atomic(out, exercise.stub)
    note(f"Fill it in, then: vidro learn check {name} {out}")
    print(out)
    return 0


@subcommand(app, "vidro learn check NAME FILE")
def check(name: Name, file: Mine, /, *, json: Json = False) -> int:
    """Take the steps of an exercise with your file; the exit code is 0 only when all hold."""
    from vidro.cli.places import data_dir
    from vidro.learn.exercise import grade
    from vidro.learn.path import next_of
    from vidro.learn.progress import load_progress, save_progress

    outcomes = grade(exercise_of(name), file)
    passed = all(outcome.state == "holds" for outcome in outcomes)
    if passed:
        save_progress(data_dir(), load_progress(data_dir()).with_passed(name))
    if json:
        print_json({"exercise": name, "passed": passed, "steps": outcomes})
        return 0 if passed else 2
    show(*map(outcome_line, outcomes))
    if passed:
        following = next_of(name)
        note("All of it holds." + (f" Next: vidro learn {following.name}" if following else ""))
    return 0 if passed else 2


@subcommand(app, "vidro learn experiment [NAME] [FLAGS]")
def experiment(
    name: Experiment = None, /, *, run: OfRun = None, out: Out = None, json: Json = False, threads: Threads = None
) -> int:
    """Answer a question by measuring, in minutes; without NAME: which questions there are."""
    from vidro.cli import experiment as shown

    if name is not None:
        use_threads(threads)
        return shown.one_experiment(name, run, out, json=json)
    for flag, said in (("--run", run is not None), ("--out", out is not None), ("--threads", threads is not None)):
        if said:
            raise UsageError(f"{flag} belongs to an experiment", hint="Name one: vidro learn experiment facts.")
    return shown.all_experiments(json=json)


def must_be_free(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError when there is a file that may not be replaced: it may be somebody's work."""
    if path.exists() and not overwrite:
        raise UsageError("there is a file here already", where=path, hint="Choose another --out, or --overwrite.")


def exercise_of(name: str) -> Exercise:
    """The exercise of a lesson. Raises UsageError, which tells a lesson without one from a name that is none."""
    from vidro.learn.exercise import exercise_names, load_exercise
    from vidro.learn.path import find

    known = exercise_names()
    if find(name).name not in known:
        raise UsageError(f"the lesson {name} has no exercise", hint=did_you_mean("", known))
    return load_exercise(name)


def one_lesson(name: str, out: Path | None, *, plain: bool) -> int:
    """Print and run a lesson, or the reader's own copy of one; a lesson that ran to its end is read."""
    from vidro.cli.lesson import show_lesson
    from vidro.cli.places import cache_dir, data_dir
    from vidro.learn.path import find
    from vidro.learn.progress import load_progress, save_progress

    own = Path(name) if name.endswith(".py") else None
    lesson = None if own is not None else find(name)
    text, where = own_text(own) if lesson is None else (lesson.file.read_text(encoding="utf-8"), Path(str(lesson.file)))
    folder = out if out is not None else cache_dir() / "lessons" / where.stem
    show_lesson(text, where, folder, plain=plain)
    if lesson is not None:
        save_progress(data_dir(), load_progress(data_dir()).with_read(lesson.name))
    return 0


def own_text(path: Path | None) -> tuple[str, Path]:
    """The reader's own copy of a lesson."""
    assert path is not None
    try:
        return path.read_text(encoding="utf-8"), path
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"this lesson cannot be read: {problem}", where=path) from None


def path_page(progress: Progress, exercises: list[str]) -> list[object]:
    """The chapters with their lessons, for Rich: ✓ done, ▸ next, · read but its exercise is not done."""
    from rich.table import Table

    from vidro.learn.path import CHAPTERS

    following = progress.next(exercises)
    page: list[object] = []
    for number, chapter in enumerate(CHAPTERS, start=1):
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, style="cyan", min_width=14)
        grid.add_column(overflow="fold")
        for lesson in chapter.lessons:
            grid.add_row(mark(lesson, progress, exercises, following), lesson.name, lesson.idea)
        page += [f"[bold]{number}  {chapter.title}[/bold]", grid, ""]
    done = sum(progress.is_done(lesson.name, exercises) for chapter in CHAPTERS for lesson in chapter.lessons)
    total = sum(len(chapter.lessons) for chapter in CHAPTERS)
    page.append(f"✓ {done} of {total} done; + comes with an exercise: vidro learn stub NAME")
    return page


def mark(lesson: Lesson, progress: Progress, exercises: list[str], following: Lesson | None) -> str:
    """One sign for how far a lesson is, and a plus where it has an exercise."""
    sign = " "
    if progress.is_done(lesson.name, exercises):
        sign = "[green]✓[/green]"
    elif lesson is following:
        sign = "▸"
    elif lesson.name in progress.read:
        sign = "·"
    return f"{sign} {'+' if lesson.name in exercises else ' '}"


def outcome_line(outcome: Outcome) -> str:
    """One step of an exercise, and what is wrong with it on a line of its own."""
    from rich.markup import escape

    if outcome.state == "waits":
        return f"[dim]·  {escape(outcome.title)}[/dim]"
    if outcome.state == "holds":
        return f"[green]✓[/green]  {escape(outcome.title)}"
    return f"[red]✗[/red]  {escape(outcome.title)}\n   {escape(outcome.problem or '')}"
