"""The parts of a `tokenizer.json`, written by hand so that the file does not depend on a library's version.

The format is that of Hugging Face `tokenizers`; `transformers`, llama.cpp's converter and most servers read it. Byte
level means: a piece's UTF-8 bytes are written as 256 visible letters (space is Ġ, newline Ċ), the way GPT-2's
`encoder.json` does, so that any byte string can be a JSON key. Not here: making or reading one (`train`, `foreign`,
`tokenizer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vidro.text.patterns import byte_level_step


def _visible_letters() -> tuple[str, ...]:
    """For each byte its letter: printable Latin-1 stands for itself, the rest takes U+0100, U+0101, … in order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return tuple(chr(byte) if byte in printable else chr(0x100 + hidden.index(byte)) for byte in range(256))


BYTE_LETTERS: tuple[str, ...] = _visible_letters()

# For str.translate, by way of Latin-1, where code points are bytes. A Latin-1 character that is no byte's letter goes
# outside of Latin-1, so that encoding it fails.
_TO_LETTER = dict(enumerate(BYTE_LETTERS))
_TO_BYTE = dict.fromkeys(range(256), 0xFFFF) | {ord(letter): byte for byte, letter in enumerate(BYTE_LETTERS)}


def to_letters(data: bytes) -> str:
    """Bytes as visible letters.

    >>> to_letters(" é".encode())
    'ĠÃ©'
    """
    return data.decode("latin-1").translate(_TO_LETTER)


def from_letters(letters: str) -> bytes | None:
    """The bytes that the visible letters stand for; None when one of them stands for none.

    >>> from_letters("ĠÃ©"), from_letters("a b")
    (b' \\xc3\\xa9', None)
    """
    try:
        return letters.translate(_TO_BYTE).encode("latin-1")
    except UnicodeEncodeError:
        return None


def added_token(content: str, identifier: int) -> dict[str, Any]:
    """The entry of one special token."""
    return {
        "id": identifier, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    }  # fmt: skip


def byte_bpe(
    vocab: Mapping[bytes, int],
    merges: Iterable[tuple[bytes, bytes]],
    *,
    pre_tokenizer: dict[str, Any],
    special: Mapping[str, int],
    ignore_merges: bool = False,
) -> dict[str, Any]:
    """A byte-level BPE. With `ignore_merges` a piece that is a token needs no merges to become it (Llama 3, tiktoken).

    Merges are written "left right", the form that every version of every reader knows.
    """
    entries = {to_letters(data): number for data, number in vocab.items()}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges,
        "vocab": _with_special(entries, special),
        "merges": [f"{to_letters(left)} {to_letters(right)}" for left, right in merges],
    }  # fmt: skip
    return _whole(model, pre_tokenizer, byte_level_step(use_regex=True), special)


def word_level(
    vocab: Mapping[str, int], *, pre_tokenizer: dict[str, Any], special: Mapping[str, int], unk: str
) -> dict[str, Any]:
    """A dictionary of whole pieces. Where `unk` is not among them, an unknown piece is an error."""
    model = {"type": "WordLevel", "vocab": _with_special(vocab, special), "unk_token": unk}
    return _whole(model, pre_tokenizer, {"type": "Fuse"}, special)


def _with_special(vocab: Mapping[str, int], special: Mapping[str, int]) -> dict[str, int]:
    # `tokenizers` numbers added tokens itself, from the count of the vocabulary up; an id survives holes only when
    # the model knows the name too. No merge leads to it, so no text can become it.
    return dict(sorted({**vocab, **special}.items(), key=lambda entry: entry[1]))


def _whole(
    model: dict[str, Any], pre_tokenizer: dict[str, Any], decoder: dict[str, Any], special: Mapping[str, int]
) -> dict[str, Any]:
    by_id = sorted(special.items(), key=lambda entry: entry[1])
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added_token(content, identifier) for content, identifier in by_id],
        "normalizer": None, "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder,
        "model": model,
    }  # fmt: skip
