"""A prompt style from a Jinja chat template, such as a model's own chat_template.jinja.

A template gives text, not segments. What is learned is found by rendering: the conversation before an answer, with
`add_generation_prompt`, must be the beginning of the whole text; what follows, up to the first end token, is learned.
Templates where that does not hold (they rewrite earlier turns, say) are refused, never guessed at.
What is special is found by name. Names that people typed are marked before rendering, so they stay text.

Templates are other people's programs: they run in jinja2's `ImmutableSandboxedEnvironment`, with the settings and
helpers that Transformers gives them, save the clock: training text must not depend on the day.
Not here: the styles known by name, and what a style is (`styles`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from vidro.core.errors import DataError, TokenizerError, UsageError
from vidro.text.conversation import Message, Segment, check_asks, check_turns, join_plain
from vidro.text.styles import SPECIAL_SHAPE, cut_at_names
from vidro.text.tokenizer import Tokenizer

_PROBE = [Message("user", "zq1"), Message("assistant", "zq2"), Message("user", "zq3"), Message("assistant", "zq4")]
_FAULTS = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class JinjaStyle:
    """A style that a template describes. Make one with `load_template`."""

    stop_strings: tuple[str, ...] = ()

    def __init__(self, source: str, *, name: str, tokenizer: Tokenizer | None = None) -> None:
        """Raises UsageError for a template that cannot be used, saying why."""
        self.jinja = source
        self.name = name
        special = [] if tokenizer is None else sorted(tokenizer.special_ids, key=len, reverse=True)
        self._names = re.compile("|".join([*map(re.escape, special), SPECIAL_SHAPE.pattern]))
        try:
            environment = _environment()
            wanted = jinja2.meta.find_undeclared_variables(environment.parse(source))
            self._template = environment.from_string(source)
        except jinja2.TemplateError as problem:
            raise UsageError(f"this is not a Jinja template ({problem})", where=name) from None
        self._variables = self._tokens(wanted & {"bos_token", "eos_token"}, tokenizer)
        self.end_token = self._find_end_token()
        try:
            self.segments(_PROBE)
        except DataError as problem:
            raise UsageError(problem.what, where=name, hint=problem.hint) from None

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """See `PromptStyle`. Raises DataError for a conversation that the template does not write turn by turn."""
        check_turns(messages)
        return self._split(messages, asks=False)

    def prompt(self, messages: Sequence[Message]) -> list[Segment]:
        """See `PromptStyle`."""
        check_asks(messages)
        return self._split(messages, asks=True)

    def _split(self, messages: Sequence[Message], *, asks: bool) -> list[Segment]:
        """The rendered text, cut where answers begin and end; in a prompt too, so that it has the ids of training."""
        mark = _unused_mark(messages)
        whole = self._render(messages, mark, asks=asks)
        pieces: list[Segment] = []
        done = 0
        for number, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before = self._render(messages[:number], mark, asks=True)
            if not whole.startswith(before) or len(before) < done:
                self._refuse(f"the text before message {number + 1} changes when the conversation goes on")
            end = self._end_of_answer(whole, len(before), self._marked(message.text, mark).strip(), number + 1)
            pieces += self._cut(whole[done : len(before)], mark, learned=False)
            pieces += self._cut(whole[len(before) : end], mark, learned=True)
            done = end
        return join_plain([*pieces, *self._cut(whole[done:], mark, learned=False)])

    def _tokens(self, wanted: set[str], tokenizer: Tokenizer | None) -> dict[str, str]:
        """What a text begins and ends with, as in the tokenizer_config.json of every run (`Tokenizer.save`)."""
        if not wanted:
            return {}
        if tokenizer is None:
            what = f"this template writes {' and '.join(sorted(wanted))}, which only a tokenizer knows"
            raise UsageError(what, where=self.name, hint="Name the run or tokenizer that it is for.")
        names = {number: name for name, number in tokenizer.special_ids.items()}
        if tokenizer.eot_id not in names:
            raise TokenizerError("the end-of-text token of this tokenizer is not a special token", where=self.name)
        both = {"bos_token": names[tokenizer.start_id], "eos_token": names[tokenizer.eot_id]}
        return {name: both[name] for name in wanted}

    def _render(self, messages: Sequence[Message], mark: str, *, asks: bool) -> str:
        talk = [{"role": message.role, "content": self._marked(message.text, mark)} for message in messages]
        try:
            return self._template.render(
                messages=talk, add_generation_prompt=asks, tools=None, documents=None, **self._variables
            )
        except _FAULTS as problem:
            raise DataError(f"the template refuses this conversation ({problem})", where=self.name) from None

    def _marked(self, text: str, mark: str) -> str:
        """The text with every name of a special token broken by the mark."""
        return self._names.sub(lambda found: found[0][0] + mark + found[0][1:], text)

    def _cut(self, text: str, mark: str, *, learned: bool) -> list[Segment]:
        pieces = cut_at_names(text, self._names, learned=learned)
        return [replace(piece, text=piece.text.replace(mark, "")) for piece in pieces]

    def _find_end_token(self) -> str:
        """The special token behind the answer of a conversation of one turn."""
        try:
            text = self._render(_PROBE[:2], _unused_mark([]), asks=False)
        except DataError as problem:
            raise UsageError(problem.what, where=self.name) from None
        found = self._names.search(text, text.rfind(_PROBE[1].text)) if _PROBE[1].text in text else None
        if found is None:
            what = "this template writes no special token behind an answer, so a model would never learn to stop"
            raise UsageError(what, where=self.name, hint="Put the end token of your tokenizer behind each answer.")
        return found[0]

    def _end_of_answer(self, whole: str, start: int, answer: str, number: int) -> int:
        at = whole.find(answer, start)
        end = -1 if at < 0 else whole.find(self.end_token, at + len(answer))
        if end < 0:
            self._refuse(f"message {number} does not appear as it was said, followed by {self.end_token}")
        return end + len(self.end_token)

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"this template cannot be learned from: {what}",
            where=self.name,
            hint="Use a template that writes each turn once, behind the ones before.",
        )


def render_prompt(source: str, messages: Sequence[Message], tokenizer: Tokenizer) -> str | None:
    """What a template writes before an answer; None where it cannot be run. Nothing is asked of it but that."""
    names = {number: name for name, number in tokenizer.special_ids.items()}
    talk = [{"role": message.role, "content": message.text} for message in messages]
    try:
        tokens = {"bos_token": names.get(tokenizer.start_id, ""), "eos_token": names.get(tokenizer.eot_id, "")}
        template = _environment().from_string(source)
        return template.render(messages=talk, add_generation_prompt=True, tools=None, documents=None, **tokens)
    except (*_FAULTS, TokenizerError):
        return None


def load_template(path: str, tokenizer: Tokenizer | None = None) -> JinjaStyle:
    """The style of a template file. Raises UsageError when it cannot be read or used."""
    try:
        source = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise UsageError(f"this is not UTF-8 text (byte {problem.start})", where=path) from None
    except OSError as problem:
        raise UsageError(f"the template cannot be read ({problem.strerror})", where=path) from None
    return JinjaStyle(source, name=f"jinja:{path}", tokenizer=tokenizer)


def _environment() -> ImmutableSandboxedEnvironment:
    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.filters["tojson"] = tojson
    return environment


def _unused_mark(messages: Sequence[Message]) -> str:
    """A code point that Unicode keeps free for a program's own use (U+FDD0 …) and that no message holds."""
    for number in range(0xFDD0, 0xFDF0):
        if not any(chr(number) in message.text for message in messages):
            return chr(number)
    raise DataError("this conversation holds all the code points from U+FDD0 to U+FDEF, which are not characters")
