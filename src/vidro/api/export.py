"""A run written in a form that others read, re-opened there and compared before success is reported.

Not here: the forms themselves (`checkpoint/huggingface`, `checkpoint/gguf`), the command (`cli/export`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.config.schema import Settings, setting
from vidro.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from vidro.api.run import Run

FORMATS = {"hf": "vidro.api.export_hf", "gguf": "vidro.api.export_gguf"}
"""Which module writes a form: ``export(run, out, options, say) -> ExportReport``."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Settings):
    """What may be said about an export."""

    format: str = setting("hf", "hf: a Hugging Face directory; gguf: for llama.cpp and Ollama.", choices=("hf", "gguf"))
    quantize: str | None = setting(
        None, "Numbers of fewer bits (gguf only); otherwise 32-bit floats.", choices=("f16", "q8_0", "q4_0")
    )
    push: str | None = setting(None, "Upload to this place on the Hugging Face hub, user/name (hf only).")
    license: str | None = setting(
        None, "The licence that you give the model, as the hub writes it: apache-2.0, cc-by-4.0 (hf only)."
    )
    language: str | None = setting(None, "The languages that it writes or reads, such as en or en,pt (hf only).")
    overwrite: bool = setting(False, "Replace an earlier export at the same place.")


@dataclass(frozen=True)
class Check:
    """One comparison that was made, in a process of its own, with what was written."""

    what: str
    """What was compared with what: "log-probabilities, transformers 5.3"."""
    result: str
    """The figure: "largest difference 1.2e-6 over 40 tokens"."""


@dataclass(frozen=True)
class ExportReport:
    """What was written, and what was verified with what. An export that does not hold raises ExportError."""

    path: Path
    format: str
    files: dict[str, int]
    """Name to bytes."""
    checks: list[Check]
    notes: list[str] = field(default_factory=list)
    """What was not checked and why, and what the reader has to know."""


def export(run: Run, out: str | Path, *, say: Callable[[str], None] = print, **keywords: Any) -> ExportReport:
    """Write `run` to `out`. Keywords: ExportOptions.

    Raises UsageError for an unknown keyword, ModelError for what the form cannot express, ExportError when what was
    written does not compute the same.
    """
    unknown = keywords.keys() - ExportOptions.__dataclass_fields__.keys()
    if unknown:
        name = sorted(unknown)[0]
        raise UsageError(f"there is no setting {name!r}", hint=did_you_mean(name, ExportOptions.__dataclass_fields__))
    options = ExportOptions(**keywords)
    for name, owner in (("quantize", "gguf"), ("push", "hf"), ("license", "hf"), ("language", "hf")):
        if getattr(options, name) is not None and options.format != owner:
            raise UsageError(f"{name} belongs to the format {owner}", hint=f"Leave it out, or say the format {owner}.")
    return import_module(FORMATS[options.format]).export(run, Path(out), options, say)
