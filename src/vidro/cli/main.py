"""The command ``vidro``: find the command, import its module, run it; and the first help page.

This module imports neither torch nor the parts that draw, so that ``vidro --help`` comes at once. The table below is
the whole command line. Not here: exit codes (`exits`), parsing (`apps`), flags (`options`), the commands themselves.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import vidro
from vidro.cli.exits import guarded
from vidro.core.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Entry:
    """One command: its module under `vidro.cli` has an `app` and is imported only when the command is asked for."""

    name: str
    help: str
    module: str | None = None
    """Where the module is not called like the command, which may be a word of the language."""


PAGES: dict[str, tuple[Entry, ...]] = {
    "Start here": (Entry("quickstart", "The whole path in a few minutes, offline: text, training, plots, chat."),),
    "Your text": (
        Entry("data", "Look at a text before training; get well-known ones; prepare large ones."),
        Entry("tokenizer", "Train a tokenizer; see into which pieces it cuts a text."),
    ),
    "Your model": (
        Entry("plan", "What a text becomes in 1, 10, 60 minutes and a night on this machine."),
        Entry("pretrain", "Make a language model from a text, from scratch."),
        Entry("import", "Make a run of a model from elsewhere: GPT-2, Llama, Qwen3, GGUF, your own .pth.", "import_"),
        Entry("generate", "Let a model continue a prompt."),
        Entry("chat", "Talk to a model, line by line."),
        Entry("finetune", "Teach a model a task: to tell classes of texts apart, or to answer."),
        Entry("predict", "Let a classifier say which class a text is."),
        Entry("evaluate", "Measure how well a model predicts a text, tells classes apart, or answers."),
        Entry("export", "Write a model for Transformers, llama.cpp or Ollama, compared there."),
    ),
    "Learn": (
        Entry("learn", "Lessons with exercises, from words and numbers to a model of your own."),
        Entry("check", "Look for the classic mistakes in a PyTorch language model, yours for instance."),
    ),
    "Keep house": (
        Entry("runs", "List, show, compare and remove your runs."),
        Entry("info", "What this machine has and how fast it is."),
    ),
}
COMMANDS: dict[str, Entry] = {entry.name: entry for page in PAGES.values() for entry in page}

PROMISE = "Give it a book and ten minutes; get a language model of your own, and see through it."
EXAMPLES = (
    ("vidro quickstart", "see it all once"),
    ("vidro pretrain book.txt --minutes 10", "your own model, in runs/book-1"),
    ('vidro generate last "Once upon"', "the model you trained last writes"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 2 your mistake, 1 ours, 130 or 143 stopped."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: dispatch(arguments), arguments)


def dispatch(arguments: list[str]) -> int:
    """Hand the arguments to their command. Raises UsageError when the first one is not a command."""
    if not arguments or arguments[0] in ("--help", "-h"):
        print(help_page(shutil.get_terminal_size().columns, colour=sys.stdout.isatty()))
        return 0
    name = arguments[0]
    if name == "--version":
        print(f"vidro {vidro.__version__}")
        return 0
    if name.startswith("-"):
        raise UsageError(f"the command comes first, before {name}", hint="See vidro --help.")
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}", hint=did_you_mean(name, COMMANDS))
    app = load_app(name)
    from vidro.cli.apps import run_app

    return run_app(app, arguments[1:])


def load_app(name: str) -> Any:
    """The command's `app`; its module is imported now."""
    return importlib.import_module(f"vidro.cli.{COMMANDS[name].module or name}").app


def help_page(width: int, *, colour: bool) -> str:
    """The first help page, at most `width` columns wide (never wider than 100, which reads badly)."""
    width = max(40, min(width, 100))
    lines = [*textwrap.wrap(PROMISE, width), "", f"{_bold('Usage:', colour)} vidro COMMAND [ARGUMENTS] [FLAGS]"]
    for title, page in PAGES.items():
        lines += ["", _bold(title, colour)]
        for entry in page:
            lines += _row(entry.name, entry.help, 12, width, colour)
    lines += ["", _bold("For example", colour)]
    for example, meaning in EXAMPLES:
        lines += _row(example, meaning, 38, width, colour)
    last = "vidro COMMAND --help explains a command; vidro --version says which Vidro this is."
    lines += ["", *textwrap.wrap(last, width)]
    return "\n".join(lines)


def _row(left: str, right: str, column: int, width: int, colour: bool) -> list[str]:
    wrapped = textwrap.wrap(right, max(20, width - column - 2))
    label = f"  {left:<{column}}"
    first = label.replace(left, f"\x1b[36m{left}\x1b[0m") if colour else label
    return [first + wrapped[0], *(" " * (column + 2) + line for line in wrapped[1:])]


def _bold(text: str, colour: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if colour else text
