"""The tokenizer of a new run: trained on the training part of its text, or loaded.

The split comes first, so that no validation text enters the vocabulary. Not here: the tokenizers (`text`).
"""

from __future__ import annotations

from collections.abc import Callable

from vidro.config.schema import DataOptions
from vidro.core.errors import UsageError
from vidro.data.prepare import read_split
from vidro.text.foreign import load_any
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words, train_bpe
from vidro.train.defaults import default_vocab_size, trains_bpe


def make_tokenizer(source: str, data: DataOptions, *, say: Callable[[str], None]) -> tuple[Tokenizer, list[str]]:
    """The tokenizer that the options ask for, and remarks for the user. Raises UsageError for options that clash."""
    kind = "bpe" if trains_bpe(data) else str(data.tokenizer)
    if data.vocab_size is not None and kind != "bpe":
        raise UsageError("only a bpe of your own has a size to choose", where="vocab-size", hint="Leave it out.")
    if data.unk and kind not in ("words", "chars"):
        raise UsageError(f"the tokenizer {kind} has no unknown words", where="unk", hint="Leave it out.")
    if kind == "bytes":
        return build_bytes(), []
    if kind not in ("bpe", "words", "chars"):
        return load_any(kind), []
    train = read_split(source, data).train
    if kind == "words":
        return build_words(train, unk=data.unk), []
    if kind == "chars":
        return build_chars(train, unk=data.unk), []
    size = data.vocab_size
    if size is None:
        size = default_vocab_size(sum(len(text.encode("utf-8")) for text in train))
    say(f"making a vocabulary of {size:,} tokens from the training text")
    tokenizer = train_bpe(train, size)
    return tokenizer, list(tokenizer.notes)
