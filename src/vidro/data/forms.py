"""The forms that people give conversations in, and what each means as messages.

    alpaca      {"instruction", "input" (may be missing), "output"}
    chat        {"messages": [{"role", "content"}, …]}, as OpenAI has it
    sharegpt    {"conversations": [{"from": "human" | "gpt" | "system", "value"}, …]}
    completion  {"prompt", "completion"}; the answer may also be called "response" or "answer"

A row of preferences has the same question, and `chosen` and `rejected` in place of the answer. `system` is read where
a row has it. Not here: files (`rows`), tables of rows (`instructions`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vidro.core.errors import DataError
from vidro.data.rows import Row, RowFault, text_field
from vidro.text.conversation import Message, check_turns

Talk = tuple[Message, ...]

_ANSWERS = ("completion", "response", "answer")
_SPEAKERS = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
_PAIR = ("chosen", "rejected")
_FORMS = "Forms: instruction + output, messages, conversations, or prompt + completion."
_PAIR_FORMS = "Forms: chosen + rejected, with instruction, messages, conversations or prompt."


def form_of(row: Row, *, pairs: bool) -> str:
    """Which form a row has. Raises RowFault naming the fields found where it has none."""
    have = row.values
    answers = {"alpaca": ("output",), "completion": _ANSWERS}
    asks = {"alpaca": "instruction", "chat": "messages", "sharegpt": "conversations", "completion": "prompt"}
    form = next((form for form, field in asks.items() if field in have), None)
    fields = ", ".join(have) or "none"
    if form is None:
        raise RowFault(f"no question in this row (fields: {fields})", hint=_PAIR_FORMS if pairs else _FORMS)
    if pairs:
        if missing := [name for name in _PAIR if name not in have]:
            raise RowFault(f"no {' and no '.join(missing)} in this row (fields: {fields})", hint=_PAIR_FORMS)
    elif form in answers and not any(name in have for name in answers[form]):
        wanted = " or ".join(answers[form])
        raise RowFault(f"no {wanted} in this row (fields: {fields})", hint=_FORMS)
    return form


def messages_of(row: Row, form: str, *, answered: bool) -> Talk:
    """The row's conversation; `answered`: with its answer."""
    system = row.optional_text("system")
    talk = [Message("system", system)] if system else []
    if form == "chat":
        talk += _turns(row.take("messages"), "role", "content")
    elif form == "sharegpt":
        talk += _turns(row.take("conversations"), "from", "value")
    elif form == "completion":
        talk.append(Message("user", row.text("prompt")))
    else:
        talk.append(Message("user", row.text("instruction"), row.optional_text("input")))
    if answered and form in ("alpaca", "completion"):
        field = "output" if form == "alpaca" else next(name for name in _ANSWERS if name in row.values)
        talk.append(Message("assistant", row.text(field)))
    try:
        check_turns(talk)
    except DataError as problem:
        raise RowFault(problem.what, hint=problem.hint) from None
    return tuple(talk)


def _turns(value: Any, who: str, what: str) -> Iterable[Message]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RowFault("the conversation is not a list of messages")
    for number, item in enumerate(value, start=1):
        if who not in item or what not in item:
            raise RowFault(f"message {number} has no {who!r} or no {what!r} (fields: {', '.join(item) or 'none'})")
        role = _SPEAKERS.get(item[who]) if isinstance(item[who], str) else None
        if role is None:
            raise RowFault(
                f"message {number} has the unknown role {item[who]!r}", hint=f"Known: {', '.join(_SPEAKERS)}."
            )
        yield Message(role, text_field(item[what], f"{what!r} of message {number}"))


def answer_of(row: Row, name: str, prompt: Talk) -> str:
    """The text of a chosen or rejected answer: a text, a message, or the whole conversation again with it."""
    value = row.take(name)
    if isinstance(value, str):
        return text_field(value, repr(name))
    turns = tuple(_turns(value if isinstance(value, list) else [value], *_labels(value)))
    if not turns or turns[-1].role != "assistant":
        raise RowFault(f"{name!r} is neither a text nor a message of the assistant's")
    if turns[:-1] not in ((), prompt):
        raise RowFault(f"{name!r} answers another conversation than the row's")
    return turns[-1].content


def _labels(value: Any) -> tuple[str, str]:
    first = value[0] if isinstance(value, list) and value else value
    return ("from", "value") if isinstance(first, dict) and "from" in first else ("role", "content")
