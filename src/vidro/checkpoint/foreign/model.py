"""A model made elsewhere, as every reader of this package hands it over: under our names, not yet a run.

Not here: the readers (a module each), making a run of it (`api/importing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from vidro.config.schema import ModelConfig
    from vidro.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ForeignModel:
    """What was found. Nothing is copied before it is asked for: `state` may be a mapping that reads a file."""

    form: str
    """How its form is called in a sentence: "a GGUF file", "a Hugging Face directory"."""
    config: ModelConfig
    state: Mapping[str, Tensor]
    """Our names to tensors, each in the precision it was stored in and in the shape our model has."""
    tokenizer: Tokenizer | None = None
    chat_template: str | None = None
    """The Jinja source of its conversations, where it has one."""
    notes: tuple[str, ...] = ()
    """What the reader of the report should know: "stored in float16", "the bias of the head went into the norm"."""
