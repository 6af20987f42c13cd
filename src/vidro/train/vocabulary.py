"""The tokenizer of a new run: trained on the training part of its text, or loaded.

The split comes first, so that no validation text enters the vocabulary. Not here: the tokenizers (`text`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vidro.config.schema import DataOptions
from vidro.core.errors import UsageError
from vidro.data.survey import TextSource
from vidro.text.foreign import load_any
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words, train_bpe
from vidro.train.defaults import default_vocab_size, trains_bpe

OWN_KINDS = ("bpe", "words", "chars")  # made from the text


def make_tokenizer(text: TextSource, data: DataOptions, *, say: Callable[[str], object]) -> tuple[Tokenizer, list[str]]:
    """The tokenizer that the options ask for, and remarks for the user. Raises UsageError for options that clash."""
    kind = "bpe" if trains_bpe(data) else str(data.tokenizer)
    if data.vocab_size is not None and kind != "bpe":
        raise UsageError("only a bpe of your own has a size to choose", where="vocab-size", hint="Leave it out.")
    if data.unk and kind not in ("words", "chars"):
        raise UsageError(f"the tokenizer {kind} has no unknown words", where="unk", hint="Leave it out.")
    if kind == "bytes":
        return build_bytes(), []
    if kind not in OWN_KINDS:
        return load_any(kind), []
    if kind == "words":
        tokenizer = build_words(text.train_texts(), unk=data.unk)
    elif kind == "chars":
        tokenizer = build_chars(text.train_texts(), unk=data.unk)
    else:
        size = default_vocab_size(text.result.train_bytes) if data.vocab_size is None else data.vocab_size
        say(f"Making a vocabulary of {size:,} tokens from the training text.")
        tokenizer = train_bpe(text.train_texts(), size)
    return tokenizer, list(tokenizer.notes)


def tokenizer_of_shards(folder: Path, data: DataOptions) -> Tokenizer:
    """The tokenizer of a folder of tokens: the one saved beside them, or the one that is named."""
    if data.vocab_size is not None or data.unk or data.tokenizer in (*OWN_KINDS, "bytes"):
        hint = "Leave out --tokenizer, --vocab-size and --unk."
        raise UsageError("these are tokens already, so their tokenizer is fixed", where=folder, hint=hint)
    if data.tokenizer is not None:
        return load_any(data.tokenizer)
    if not (folder / "tokenizer.json").is_file():
        hint = "Name the tokenizer that made them with --tokenizer FILE."
        raise UsageError("there is no tokenizer.json beside these tokens", where=folder, hint=hint)
    return Tokenizer.load(folder)


def check_inherited(data: DataOptions, tokenizer: Tokenizer) -> None:
    """Raise UsageError for a setting that asks for another tokenizer than the one that ``--from`` keeps."""
    hint = "--from keeps the tokenizer of the run it starts from: leave it out."
    if data.vocab_size is not None and data.vocab_size != tokenizer.vocab_size:
        raise UsageError(f"{data.vocab_size} is not its {tokenizer.vocab_size}", where="vocab-size", hint=hint)
    if data.tokenizer is not None and data.tokenizer != tokenizer.kind:
        raise UsageError(f"{data.tokenizer} is not its {tokenizer.kind}", where="tokenizer", hint=hint)
    if data.unk and tokenizer.kind not in ("words", "chars"):
        raise UsageError(f"its tokenizer {tokenizer.kind} has no unknown words", where="unk", hint=hint)
