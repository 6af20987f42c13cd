"""Cyclopts, told how Vidro wants it: help pages, parsing, and our own words for what is wrong with a command line.

Cyclopts never prints errors and never leaves the process here; whatever it finds becomes a UsageError of one line with
a suggestion. Not here: flags (`options`), exit codes (`exits`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import cyclopts
from cyclopts import App, Parameter
from cyclopts import exceptions as wrong

from vidro.cli.options import ARGUMENTS, FLAGS, STDIN_MARK, Command, takes
from vidro.config.schema import Settings
from vidro.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

HELP_WIDTH = 110  # longer lines read badly


def make_app(name: str, help: str, *, usage: str, examples: Sequence[str] = ()) -> App:
    """A Cyclopts application for one command, that raises instead of printing and leaving."""
    lines = [help, *(["", "For example:", *(f"  {example}" for example in examples)] if examples else [])]
    app = App(
        name=f"vidro {name}",
        help="\n".join(lines),
        usage=f"Usage: {usage}",
        help_format="plaintext",
        version_flags=[],
        group_arguments=ARGUMENTS,
        group_parameters=FLAGS,
        default_parameter=Parameter(negative_iterable=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    _tidy(app)
    return app


def subcommand(app: App, usage: str, *schemas: type[Settings]) -> Callable[[Command], Command]:
    """Register a function as a command of `app`; the third word of `usage` (``vidro runs list …``) is its name."""
    name = usage.split()[2]

    def register(function: Command) -> Command:
        command = takes(*schemas)(function)
        paragraphs = (inspect.getdoc(function) or "").split("\n\n")
        help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        app.command(command, name=name, help=help, usage=f"Usage: {usage}", sort_key=len(list(app)))
        _tidy(app[name])
        return command

    return register


def _tidy(app: App) -> None:
    """``--help`` among the other flags."""
    app["--help"].group = FLAGS
    app["--help"].help = "Show this page."


def run_app(app: App, tokens: list[str]) -> int:
    """Parse `tokens` and run the command. Raises UsageError for whatever Cyclopts finds wrong."""
    check_spelling(tokens)
    tokens = [STDIN_MARK if token == "-" else token for token in tokens]
    try:
        result = app(tokens, console=_help_console(app, tokens), exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as problem:
        raise mistake(problem, app) from None
    return result if isinstance(result, int) else 0


def check_spelling(tokens: Sequence[str]) -> None:
    """One spelling per flag: Cyclopts would take ``--batch_tokens`` for ``--batch-tokens`` too."""
    for token in tokens:
        if token == "--":
            return
        name = token.split("=")[0]
        if re.fullmatch(r"--[a-z][a-z0-9-]*_[a-z0-9_-]*", name):
            raise UsageError(f"there is no flag {name}", hint=f"Did you mean {name.replace('_', '-')}?")


def _help_console(app: App, tokens: Sequence[str]) -> Console | None:
    """Where a help page goes; None when none is asked for, so that Rich need not be imported."""
    if app.default_command is not None and not {"--help", "-h"} & set(tokens):
        return None
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, HELP_WIDTH)
    return console


def mistake(problem: cyclopts.CycloptsError, app: App) -> UsageError:
    """What Cyclopts found, in our words: one line, with a suggestion."""
    name = " ".join([app.name[0], *(problem.command_chain or ())])
    see = f"See {name} --help."
    if isinstance(problem, wrong.UnknownOptionError):
        said = (problem.token.keyword or problem.token.value).split("=")[0]
        if " " in said:
            return UsageError("a text that begins with a dash looks like a flag", hint="Put -- before it.")
        known = {flag for argument in problem.argument_collection for flag in argument.names if flag.startswith("--")}
        near = did_you_mean(said, known)
        return UsageError(f"there is no flag {said}", hint=near if near.startswith("Did") else see)
    if isinstance(problem, wrong.MissingArgumentError) and problem.argument is not None:
        argument, keyword = problem.argument, getattr(problem, "keyword", None)  # Cyclopts 5 has the keyword
        if keyword is not None or argument.tokens or not argument.required:
            return UsageError(f"{keyword or argument.name} needs a value", hint=see)
        label = argument.name if argument.name.startswith("--") else argument.name.upper()
        return UsageError(f"{label} is missing", hint=see)
    if isinstance(problem, wrong.UnknownCommandError):
        said = (problem.unused_tokens or ["?"])[0]
        commands = [command for command in app if not command.startswith("-")]
        return UsageError(f"there is no command '{name} {said}'", hint=did_you_mean(said, commands))
    if isinstance(problem, wrong.UnusedCliTokensError):
        extra = (problem.unused_tokens or ["?"])[0]
        return UsageError(f"there is one argument too many: {extra!r}", hint=f"Put quotes around a text. {see}")
    if isinstance(problem, wrong.RepeatArgumentError):
        return UsageError(f"{problem.token.keyword or problem.token.value} is given twice", hint="Say it once.")
    problem.verbose = False
    return UsageError(" ".join(str(problem).split()), hint=see)
