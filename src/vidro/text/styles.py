"""Prompt styles: how a conversation becomes the text that a model reads, and which parts of it the model is to write.

A style turns messages into segments. A segment is plain text, or a special token that becomes one id; it is learned (an
answer and the token that ends it) or only read (everything else). What people typed is always plain: `<|im_end|>` in a
question is ten characters, never the end of a turn.

Every segment is encoded on its own, so no token lies across the border between a prompt and its answer: the ids of
`prompt(messages)` at generation are exactly the first ids of `segments(messages + answer)` at training. Within a prompt
neighbouring plain texts are one segment, so its ids are those of the whole text, as servers encode it; only in a later
turn may theirs differ, where one of their tokens crosses the border of an earlier answer.

Not here: what a conversation is (`conversation`), a Jinja template of somebody else's (`jinja_style`), rows of a file
(`vidro.data.instructions`). Read next: `vidro.data.collate`, which makes batches of this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vidro.core.errors import TokenizerError, UsageError, did_you_mean
from vidro.text.conversation import Message, PromptStyle, Segment, check_asks, check_turns, join_plain
from vidro.text.special import EOT
from vidro.text.tokenizer import Tokenizer

__all__ = ["STYLES", "Message", "PromptStyle", "Segment", "TurnStyle", "encode_segments", "get_style", "special_id"]

SPECIAL_SHAPE = re.compile(r"<\|[^<>|\s]+\|>")


@dataclass(frozen=True)
class TurnStyle:
    """A style that writes turn after turn, each between a text before it and a text behind it.

    A system message, where a style has no word for it, stands in a paragraph before the first turn. In the styles that
    frame one task (alpaca, phi3) the turns of a conversation follow each other, each whole, ended and framed anew.
    """

    name: str
    system: tuple[str, str]
    user: tuple[str, str]
    answer: tuple[str, str]  # before the answer; behind its end token
    end_token: str
    start: str = ""
    input_frame: str | None = None  # what stands between a task and its input; None: they are one text
    plain: bool = False  # names like <|user|> in the frame are plain text
    strips: bool = False  # blanks around a message are not part of it
    stop_strings: tuple[str, ...] = ()

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """See `PromptStyle`."""
        check_turns(messages)
        pieces = self._frame(self.start)
        for message in messages:
            pieces += self._turn(message)
        return join_plain(pieces)

    def prompt(self, messages: Sequence[Message]) -> list[Segment]:
        """See `PromptStyle`."""
        check_asks(messages)
        return join_plain([*self.segments(messages), *self._frame(self.answer[0])])

    def _turn(self, message: Message) -> list[Segment]:
        if message.role == "assistant":
            answer = [Segment(self._said(message.text), learned=True), Segment(self.end_token, True, True)]
            return [*self._frame(self.answer[0]), *answer, *self._frame(self.answer[1])]
        before, behind = self.system if message.role == "system" else self.user
        return [*self._frame(before), *self._words(message), *self._frame(behind)]

    def _words(self, message: Message) -> list[Segment]:
        if self.input_frame is None or not message.input:
            return [Segment(self._said(message.text))]
        return [Segment(message.content), Segment(self.input_frame + message.input)]

    def _said(self, text: str) -> str:
        return text.strip() if self.strips else text

    def _frame(self, text: str) -> list[Segment]:
        return [Segment(text)] if self.plain else cut_at_names(text, SPECIAL_SHAPE)

    @property
    def jinja(self) -> str:
        """The template; blanks between its tags are cut (`-`), so any Jinja settings give the same text."""
        words = "message['content'] | trim" if self.strips else "message['content']"
        given = f"{_quoted(self.input_frame)} + message['input']" if self.input_frame else ""
        lines = [
            f"{{{{- {_quoted(self.start)} -}}}}" if self.start else "",
            "{%- for message in messages -%}",
            "{%- if message['role'] == 'system' -%}",
            f"{{{{- {_quoted(self.system[0])} + ({words}) + {_quoted(self.system[1])} -}}}}",
            "{%- elif message['role'] == 'user' -%}",
            f"{{{{- {_quoted(self.user[0])} + ({words}) -}}}}",
            f"{{%- if message['input'] -%}}{{{{- {given} -}}}}{{%- endif -%}}" if given else "",
            f"{{{{- {_quoted(self.user[1])} -}}}}" if self.user[1] else "",
            "{%- elif message['role'] == 'assistant' -%}",
            f"{{{{- {_quoted(self.answer[0])} + ({words}) + {_quoted(self.end_token + self.answer[1])} -}}}}",
            "{%- endif -%}",
            "{%- endfor -%}",
            f"{{%- if add_generation_prompt -%}}{{{{- {_quoted(self.answer[0])} -}}}}{{%- endif -%}}",
        ]
        return "\n".join(line for line in lines if line) + "\n"


_TASK = "Below is an instruction that describes a task. Write a response that appropriately completes the task."

# Sources: alpaca and phi3, Raschka's book, chapter 7 and its exercise; phi3-chat, the card of Phi-3-mini-4k-instruct;
# chatml, OpenAI's ChatML as in Qwen's templates; llama3, Meta's format, which strips each message.
STYLES: dict[str, TurnStyle] = {
    style.name: style
    for style in (
        TurnStyle(
            "alpaca",
            system=("", "\n\n"),
            user=(f"{_TASK}\n\n### Instruction:\n", ""),
            answer=("\n\n### Response:\n", ""),
            end_token=EOT,
            input_frame="\n\n### Input:\n",
            plain=True,
            stop_strings=("### Instruction:",),
        ),
        TurnStyle(
            "phi3",
            system=("", "\n"),
            user=("<|user|>\n", ""),
            answer=("\n<|assistant|>:\n", ""),
            end_token=EOT,
            plain=True,
            stop_strings=("<|user|>",),
        ),
        TurnStyle(
            "phi3-chat",
            system=("<|system|>\n", "<|end|>\n"),
            user=("<|user|>\n", "<|end|>\n"),
            answer=("<|assistant|>\n", "\n"),
            end_token="<|end|>",
        ),
        TurnStyle(
            "chatml",
            system=("<|im_start|>system\n", "<|im_end|>\n"),
            user=("<|im_start|>user\n", "<|im_end|>\n"),
            answer=("<|im_start|>assistant\n", "\n"),
            end_token="<|im_end|>",
        ),
        TurnStyle(
            "llama3",
            start="<|begin_of_text|>",
            system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
            user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
            answer=("<|start_header_id|>assistant<|end_header_id|>\n\n", ""),
            end_token="<|eot_id|>",
            strips=True,
        ),
    )
}


def get_style(spec: str, tokenizer: Tokenizer | None = None) -> PromptStyle:
    """The style of a name in `STYLES`, or "jinja:FILE".

    With a tokenizer it is checked that it has all the special tokens (TokenizerError); a template needs it where it
    names tokens that do not look like `<|…|>`, or writes `bos_token` or `eos_token`. Raises UsageError. In alpaca and
    phi3 an answer ends as a text ends, whatever that mark is called.

    >>> [segment.text for segment in get_style("phi3").prompt([Message("user", "Hi")])]
    ['<|user|>\\nHi\\n<|assistant|>:\\n']
    """
    style: PromptStyle
    if spec.startswith("jinja:"):
        from vidro.text.jinja_style import load_template  # jinja2 is loaded only by those who use it

        style = load_template(spec.removeprefix("jinja:"), tokenizer)
    elif spec in STYLES:
        style = ending_as_texts(STYLES[spec], tokenizer)
    else:
        raise UsageError(f"there is no prompt style {spec!r}", hint=did_you_mean(spec, [*STYLES, "jinja:FILE"]))
    if tokenizer is not None:
        for name in special_names(style):
            special_id(tokenizer, name, wanted_by=f"the style {spec}")
    return style


def ending_as_texts(style: TurnStyle, tokenizer: Tokenizer | None) -> TurnStyle:
    """A style in plain text, whose answers end with this tokenizer's own end mark; any other style as it is."""
    if tokenizer is None or not style.plain or style.end_token in tokenizer.special_ids:
        return style
    try:
        end = tokenizer.eot_id
    except TokenizerError:  # it has none
        return style
    return replace(style, end_token=next((name for name, n in tokenizer.special_ids.items() if n == end), EOT))


def special_names(style: PromptStyle) -> list[str]:
    """The special tokens that a style writes, in order of appearance."""
    talk = [Message("user", "a"), Message("assistant", "b")]
    return list(dict.fromkeys(segment.text for segment in style.segments(talk) if segment.special))


def styles_for(tokenizer: Tokenizer) -> list[str]:
    """The named styles whose special tokens this tokenizer has."""
    styles = {name: ending_as_texts(style, tokenizer) for name, style in STYLES.items()}
    return [name for name, style in styles.items() if set(special_names(style)) <= set(tokenizer.special_ids)]


def default_style(tokenizer: Tokenizer) -> str:
    """ChatML where the tokenizer has its two tokens, which cost little of the context; else Alpaca's plain text."""
    return "chatml" if "chatml" in styles_for(tokenizer) else "alpaca"


def special_id(tokenizer: Tokenizer, name: str, *, wanted_by: str = "this text") -> int:
    """The id of a special token. Raises TokenizerError naming it and the styles that do work."""
    if name not in tokenizer.special_ids:
        works = ", ".join(styles_for(tokenizer))
        hint = f"Styles that work with it: {works}." if works else "No named style works with it; give jinja:FILE."
        raise TokenizerError(f"{wanted_by} needs the token {name}, which this tokenizer does not have", hint=hint)
    return tokenizer.special_ids[name]


def encode_segments(tokenizer: Tokenizer, segments: Iterable[Segment]) -> tuple[list[int], list[bool]]:
    """The ids of all segments one after the other, and for each whether it is learned. Raises TokenizerError."""
    ids: list[int] = []
    learned: list[bool] = []
    for segment in segments:
        own = [special_id(tokenizer, segment.text)] if segment.special else tokenizer.encode(segment.text)
        ids += own
        learned += [segment.learned] * len(own)
    return ids, learned


def cut_at_names(text: str, names: re.Pattern[str], *, learned: bool = False) -> list[Segment]:
    """The text as plain segments and, where a name stands, special ones.

    >>> [segment.text for segment in cut_at_names("<|user|>\\nHi", SPECIAL_SHAPE)]
    ['', '<|user|>', '\\nHi']
    """
    pieces: list[Segment] = []
    done = 0
    for found in names.finditer(text):
        pieces += [Segment(text[done : found.start()], learned), Segment(found[0], learned, special=True)]
        done = found.end()
    return [*pieces, Segment(text[done:], learned)]


def _quoted(text: str) -> str:
    return json.dumps(text)  # a Jinja text has the same escapes
