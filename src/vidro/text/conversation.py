"""What a conversation is, what a style makes of it, and the rules that every style keeps.

A conversation is a list of messages: an optional system message, then user and assistant take turns. A style (anything
with the shape of `PromptStyle`) turns it into segments. Not here: the styles (`styles`, `jinja_style`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vidro.core.errors import DataError

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn: who speaks (system, user or assistant) and what is said; `input` is the text a task is about.

    >>> Message("user", "Translate.", input="Olá").text
    'Translate.\\nOlá'
    """

    role: str
    content: str
    input: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise DataError(f"unknown role {self.role!r}", hint=f"Roles: {', '.join(ROLES)}.")

    @property
    def text(self) -> str:
        """Content and input as one text, for styles that have no place of their own for an input."""
        return "\n".join(part for part in (self.content, self.input) if part)


@dataclass(frozen=True)
class Segment:
    """A piece of the text; `learned`: the model is to write it; `special`: the name of a token, encoded as one id."""

    text: str
    learned: bool = False
    special: bool = False


@runtime_checkable
class PromptStyle(Protocol):
    """What every style has. `jinja` is the same style as a Jinja template, for a run's chat_template.jinja."""

    @property
    def name(self) -> str: ...

    @property
    def end_token(self) -> str:
        """The special token that ends an answer."""
        ...

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts at which generation should stop too: the model has begun to ask itself the next question."""
        ...

    @property
    def jinja(self) -> str: ...

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """The whole conversation. Raises DataError where the turns are out of order."""
        ...

    def prompt(self, messages: Sequence[Message]) -> list[Segment]:
        """The conversation up to where the model begins to write; the last message is the user's."""
        ...


def join_plain(pieces: Iterable[Segment]) -> list[Segment]:
    """Neighbouring plain texts of one kind as one segment; empty ones left out."""
    joined: list[Segment] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if not piece.text:
            continue
        if last and not last.special and not piece.special and last.learned == piece.learned:
            joined[-1] = Segment(last.text + piece.text, piece.learned)
        else:
            joined.append(piece)
    return joined


def check_turns(messages: Sequence[Message]) -> None:
    """Raise DataError unless an optional system message comes first, then user and assistant take turns."""
    turns = list(messages[1:] if messages and messages[0].role == "system" else messages)
    first = len(messages) - len(turns) + 1
    if not turns:
        raise DataError("this conversation has no turns")
    for number, message in enumerate(turns):
        due = ("user", "assistant")[number % 2]
        if message.role != due:
            hint = "A system message may come first; then user and assistant take turns."
            raise DataError(f"message {first + number} is the {message.role}'s, not the {due}'s", hint=hint)


def check_asks(messages: Sequence[Message]) -> None:
    """Raise DataError unless the conversation ends with the user, so that there is something to answer."""
    check_turns(messages)
    if messages[-1].role != "user":
        raise DataError("the last message is not the user's, so there is nothing to answer")
