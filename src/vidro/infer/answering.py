"""A model that was taught to answer: conversations in, answers out, in the style that it was taught with.

The ids of a prompt here are the ids that stood before the answer in training (`vidro.text.styles`), without an end mark
before them. Not here: teaching (`vidro.train.instruct`), scores (`vidro.evals.answers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidro.config.schema import SamplingOptions
from vidro.core.errors import UsageError
from vidro.infer.session import Generation, Session
from vidro.model.transformer import Transformer
from vidro.text.conversation import Message, PromptStyle
from vidro.text.styles import STYLES, encode_segments, get_style
from vidro.text.tokenizer import Tokenizer

TEMPLATE = "chat_template.jinja"
"""The style as others read it, in the run's folder."""


class Answerer:
    """A model, its tokenizer and its style, ready to answer."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer, style: PromptStyle) -> None:
        self.style, self.tokenizer = style, tokenizer
        self.session = Session(model, tokenizer, end=style.end_token)
        self.context_length = model.config.context_length

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The ids up to where the model begins to write."""
        return encode_segments(self.tokenizer, self.style.prompt(messages))[0]

    def answers(
        self, conversations: Sequence[Sequence[Message]], options: SamplingOptions, *, slots: int | None = None
    ) -> list[Generation]:
        """An answer to each conversation. Raises UsageError for a prompt that fills the context."""
        prompts = [self.prompt_ids(messages) for messages in conversations]
        for number, ids in enumerate(prompts, start=1):
            if len(ids) >= self.context_length:
                what = f"prompt {number} has {len(ids)} tokens, and the model sees {self.context_length}"
                raise UsageError(what, hint="Ask something shorter.")
        return self.session.generate(prompts, with_stops(options, self.style), slots=slots)


def style_of_run(path: Path, record: Mapping[str, Any], tokenizer: Tokenizer) -> PromptStyle | None:
    """The style that the run at `path` was taught with; None for one that only continues texts."""
    name = record.get("prompt_style")
    if name is None:
        return None
    return get_style(name if name in STYLES else f"jinja:{path / TEMPLATE}", tokenizer)


def with_stops(options: SamplingOptions, style: PromptStyle) -> SamplingOptions:
    """The options with the style's own stop strings, and without forgetting the question when the context is full."""
    return replace(options, stop=(*options.stop, *style.stop_strings), on_full="stop")


class Turns:
    """How a chat puts turns into ids for a model that answers; `system` is said once, before the first turn."""

    def __init__(self, tokenizer: Tokenizer, style: PromptStyle, *, system: str | None = None) -> None:
        self.tokenizer, self.style, self.system = tokenizer, style, system

    def turn(self, words: str, before: list[int]) -> list[int]:
        """The ids to put behind `before`; the end token of the last answer is put there where it was not written."""
        if not words.strip():
            raise UsageError("there is nothing to answer", hint="Write something, or /quit.")
        asked = Message("user", words)
        if not before:
            opening = [] if self.system is None else [Message("system", self.system)]
            return encode_segments(self.tokenizer, self.style.prompt([*opening, asked]))[0]
        # What stands between the end of one answer and the beginning of the next is the same whatever was said.
        pieces = self.style.prompt([Message("user", "?"), Message("assistant", "!"), asked])
        end = max(place for place, piece in enumerate(pieces) if piece.special and piece.learned)
        ids = encode_segments(self.tokenizer, pieces[end + 1 :])[0]
        end_id = self.tokenizer.special_ids[self.style.end_token]
        return ids if before[-1] == end_id else [end_id, *ids]
