"""Flags made from the settings schema: one generator, so that names and defaults cannot differ from Python's.

`takes(schema, …)` gives a command function one keyword flag for each setting of the schemas, with its help sentence and
default, grouped by section; the function receives those the user really said, in `**settings`. Ranges and choices are
checked where Python's are (`config/schema`). Flags that several commands share stand here too. Not here: what a
setting means (`config/schema`), parsing (`apps`).
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, get_args, get_type_hints

from cyclopts import Group, Parameter

from vidro.config.load import leaves
from vidro.config.schema import Settings
from vidro.core.errors import UsageError

Command = Callable[..., int]

ARGUMENTS = Group("What", sort_key=0)
FLAGS = Group("Flags", sort_key=2)
SECTIONS: dict[str | None, Group] = {
    "budget": Group("How long: exactly one of these", sort_key=1),
    None: FLAGS,
    "data": Group("The text and its tokenizer", sort_key=3),
    "labels": Group("The labelled texts", sort_key=3),
    "rows": Group("The instructions and their answers", sort_key=3),
    "model": Group("The model's shape (otherwise chosen for you)", sort_key=4),
    "train": Group("The training loop", sort_key=5),
    "optim": Group("The optimizer", sort_key=6),
}
EVERYDAY = frozenset({"seed", "threads", "device"})
"""Settings that stand among the first flags, whatever their section."""

FLAG_NAMES = {"from_run": "from"}
"""Python keywords that cannot be spelled like their flag (`from` is a word of the language)."""

PLACEHOLDERS = {
    "out": "DIR",
    "data": "FILE",
    "test": "FILE",
    "labels": "FILE",
    "instructions": "FILE",
    "judge": "MODEL",
    "judge_key_file": "FILE",
    "report": "FILE",
    "training_text": "FILE",
    "prompts_file": "FILE",
    "resume": "RUN",
    "from_run": "RUN",
    "config": "FILE",
    "val": "FILE",
    "device": "DEVICE",
}


STDIN_MARK = "\0stdin"
"""Stands for the argument ``-`` while Cyclopts parses, which would take it for a flag."""


def flag_name(name: str) -> str:
    """The one spelling of a setting on the command line.

    >>> flag_name("batch_tokens"), flag_name("from_run")
    ('--batch-tokens', '--from')
    """
    return "--" + FLAG_NAMES.get(name, name).replace("_", "-")


def takes(*schemas: type[Settings]) -> Callable[[Command], Command]:
    """Replace a command's ``**settings`` by a flag for each setting of `schemas`, and add ``--debug``.

    The command receives only what the user said; everything else keeps the schema's default.
    """

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        own = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
        generated = [parameter for schema in schemas for parameter in flags(schema)]
        names = {parameter.name for parameter in generated}
        debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug)

        def run(*arguments: Any, **keywords: Any) -> int:
            keywords.pop("debug", None)  # read from the command line itself by `exits`, before anything can go wrong
            said = {name: spoken(v) for name, v in keywords.items() if name not in names or v is not None}
            return command(*map(spoken, arguments), **said)

        functools.update_wrapper(run, command)
        del run.__dict__["__wrapped__"]  # Cyclopts must see the flags below, not the bare command
        everything = sorted([*generated, *own, debug], key=lambda parameter: parameter.kind)
        run.__dict__["__signature__"] = inspect.Signature(everything)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
        return run

    return decorate


def spoken(argument: Any) -> Any:
    """The argument as it was typed."""
    return "-" if argument == STDIN_MARK else argument


def flags(schema: type[Settings]) -> Iterator[inspect.Parameter]:
    """A keyword-only parameter for each setting, annotated for Cyclopts. `None` means "not said"."""
    hints = get_type_hints(schema)
    for name, (section, item) in leaves(schema).items():
        kind = (get_type_hints(hints[section]) if section is not None else hints)[name]
        can_be_no = {bool, type(None)} <= {kind, *get_args(kind)}  # unsaid, yes, no: the last needs a flag of its own
        word = "N" if is_number(kind) else "TEXT" if kind == tuple[str, ...] else "NAME"
        parameter = Parameter(
            name=flag_name(name),
            help=item.metadata["help"],
            group=FLAGS if name in EVERYDAY else SECTIONS[section],
            negative=None if can_be_no else (),
            show_default=_shows(item.default),
            converter=read_number if is_number(kind) else None,
            **placeholder(PLACEHOLDERS.get(name, word)),
        )
        annotation = Annotated[kind | None, parameter]
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def is_number(kind: Any) -> bool:
    """Whether a setting of this type is a number."""
    return bool({int, float} & {kind, *get_args(kind)})


def _shows(default: Any) -> Any:
    if default is None or default is False or default == ():
        return False
    return lambda _value: f"{default:g}" if isinstance(default, float) else str(default)


def read_number(kind: Any, tokens: Sequence[Any]) -> int | float:
    """A number as people write it (``10_000``, ``1e6``, ``0.5``). Raises UsageError; a fraction is never rounded."""
    text, where = tokens[0].value, tokens[0].keyword
    whole = int in (kind, *get_args(kind))
    try:
        if not whole:
            return float(text)
        return int(text) if re.fullmatch(r"[+-]?[\d_]+", text) else _whole(float(text))
    except (ValueError, OverflowError):
        kind, hint = ("whole number", "For example 10_000 or 1e4.") if whole else ("number", "For example 0.5 or 1e4.")
        raise UsageError(f"{text!r} is not a {kind}", where=where, hint=hint) from None


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError(value)
    return int(value)


# -- flags that several commands share ---------------------------------------------------------------------------


def placeholder(word: str) -> dict[str, Any]:
    """What stands for the value on the help page, where this Cyclopts can show it (5 and newer)."""
    return {"metavar": word} if "metavar" in inspect.signature(Parameter).parameters else {}


def switch(help: str) -> Parameter:
    """A flag without a value, off unless it is said."""
    return Parameter(help=help, negative=(), show_default=False, group=FLAGS)


def value(help: str, word: str) -> Parameter:
    """A flag with a value, `word` standing for it on the help page. Numbers are read by `read_number`."""
    return Parameter(help=help, group=FLAGS, converter=read_number if word == "N" else None, **placeholder(word))


Json = Annotated[bool, switch("Print exactly one JSON object on stdout; progress goes to stderr.")]
Debug = Annotated[bool, switch("When something breaks, show the whole traceback.")]
Yes = Annotated[bool, switch("Do it without asking.")]
Device = Annotated[str, value("auto, cpu, cuda, cuda:N or mps.", "DEVICE")]
Threads = Annotated[int | None, value("CPU threads.", "N")]
QUANTIZE_HELP = "int8: matrices of eight bits, smaller and faster on a CPU; what that costs is said."
Quantize = Annotated[str | None, value(QUANTIZE_HELP, "int8")]
Encoding = Annotated[str | None, value("Text encoding, when it is not UTF-8 (latin-1, cp1252 …).", "NAME")]
SkipBad = Annotated[bool, switch("Skip and count records that cannot be read, instead of stopping.")]
RUN_HELP = "A run: its path, its name under runs/, last, NAME@best or NAME@500 (a step)."
RunName = Annotated[str, Parameter(help=RUN_HELP)]
Runs = Annotated[str, Parameter(help=RUN_HELP)]


def at_least_one(runs: Sequence[str]) -> None:
    """Raise UsageError when no run is named."""
    if not runs:
        raise UsageError("RUN is missing", hint="For example last; see vidro runs list.")


def use_threads(threads: int | None) -> None:
    """Fix the number of CPU threads; None leaves torch's own choice. Raises UsageError below 1."""
    if threads is None:
        return
    if threads < 1:
        raise UsageError(f"{threads} is too small", where="threads", hint="It must be at least 1.")
    import torch

    torch.set_num_threads(threads)
