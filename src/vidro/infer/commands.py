"""The slash commands of a chat, as data: one line in, one action out; nothing is done here.

Not here: doing what they say (`chat`), the terminal (`cli`). Read next: `chat`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vidro.core.errors import UsageError, did_you_mean

HELP = {
    "/retry": "another answer to your last words",
    "/undo": "take back your last words and the answer",
    "/reset": "forget everything said so far",
    "/seed N": "start the dice at N: the same seed and words give the same answer",
    "/temperature X": "below 1 bolder about the likely, above 1 more random; 0 always takes the most probable",
    "/top-k N": "choose among the N most probable tokens only; /top-k off lifts it",
    "/system TEXT": "say before everything how to answer (models that were taught to answer); begins anew",
    "/save FILE": "write the conversation down as JSON, in the form that finetune instruct reads",
    "/help": "this list",
    "/quit": "leave",
}


@dataclass(frozen=True)
class Say:
    """Words for the model."""

    text: str


@dataclass(frozen=True)
class Do:
    """A command without a value."""

    what: Literal["retry", "undo", "reset", "help", "quit"]


@dataclass(frozen=True)
class Change:
    """A sampling option by its name in `SamplingOptions`, and its new value (None: not set)."""

    option: Literal["seed", "temperature", "top_k"]
    value: Any


@dataclass(frozen=True)
class Tell:
    """A command with a text."""

    what: Literal["system", "save"]
    text: str


Action = Say | Do | Change | Tell

_PLAIN = ("retry", "undo", "reset", "help", "quit")
_NUMBERS: dict[str, tuple[Literal["seed", "temperature", "top_k"], type]] = {
    "seed": ("seed", int),
    "temperature": ("temperature", float),
    "top-k": ("top_k", int),
}


def parse_line(line: str) -> Action:
    """What a typed line asks for. A line that must begin with a slash for the model is typed with two.

    Raises UsageError for an unknown command, a missing, wrong or needless value; ranges are checked where it is used.

    >>> parse_line("/top-k 40")
    Change(option='top_k', value=40)
    >>> parse_line("//usr/bin")
    Say(text='/usr/bin')
    """
    if line.startswith("//"):
        return Say(line[1:])
    if not line.startswith("/"):
        return Say(line)
    name, _, value = line[1:].strip().partition(" ")
    name, value = name.lower(), value.strip()
    if name in _PLAIN:
        if value:
            raise UsageError(f"/{name} takes no value", where=line.strip())
        return Do(name)
    if name == "system" or name == "save":
        if not value:
            missing = "a text" if name == "system" else "a file"
            raise UsageError(f"{missing} is missing", where=f"/{name}", hint=_example(name))
        return Tell(name, value)
    if name not in _NUMBERS:
        known = [f"/{each}" for each in (*_PLAIN, *_NUMBERS, "system", "save")]
        raise UsageError("there is no such command", where=f"/{name}", hint=did_you_mean(f"/{name}", known))
    option, kind = _NUMBERS[name]
    if option == "top_k" and value.lower() == "off":
        return Change(option, None)
    try:
        return Change(option, kind(value.replace("_", "")))
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(
            f"{value!r} is not {wanted}" if value else f"{wanted} is missing", where=f"/{name}", hint=_example(name)
        ) from None


def help_text() -> str:
    """The commands, one a line, aligned."""
    return "\n".join(f"  {command:<15} {meaning}" for command, meaning in HELP.items())


def _example(name: str) -> str:
    examples = {"seed": "7", "temperature": "0.8", "system": "Answer in one word", "save": "talk.json"}
    return f"For example /{name} {examples[name]}." if name in examples else "For example /top-k 40, or /top-k off."
