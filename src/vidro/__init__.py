"""Vidro: give it a book and ten minutes; get a language model of your own, and see through it.

    run = vidro.pretrain("book.txt", minutes=10)
    run.generate("Once upon a time")
    run.plot()
    vidro.load("last").evaluate(text="another.txt")

The names below are looked up when they are first used, so that ``import vidro`` costs nothing: torch is loaded by the
first thing that computes. Read next: `vidro.api`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vidro.core.version import VERSION as __version__

if TYPE_CHECKING:
    from vidro.api import Run, finetune, import_model, load, plan, pretrain
    from vidro.config.schema import ModelConfig, PretrainOptions, SamplingOptions
    from vidro.core.errors import VidroError
    from vidro.model.transformer import Transformer
    from vidro.text.tokenizer import Tokenizer

__all__ = [
    "ModelConfig",
    "PretrainOptions",
    "Run",
    "SamplingOptions",
    "Tokenizer",
    "Transformer",
    "VidroError",
    "__version__",
    "finetune",
    "import_model",
    "load",
    "plan",
    "pretrain",
]

_HOME = {
    "Run": "vidro.api",
    "finetune": "vidro.api",
    "import_model": "vidro.api",
    "load": "vidro.api",
    "plan": "vidro.api",
    "pretrain": "vidro.api",
    "ModelConfig": "vidro.config.schema",
    "PretrainOptions": "vidro.config.schema",
    "SamplingOptions": "vidro.config.schema",
    "Tokenizer": "vidro.text.tokenizer",
    "Transformer": "vidro.model.transformer",
    "VidroError": "vidro.core.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vidro' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
