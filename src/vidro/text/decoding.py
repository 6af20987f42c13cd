"""What each id stands for: a table of bytes, and whether decoding is more than laying them side by side.

Byte-level and whole-piece tokenizers decode by concatenation. Others (SentencePiece, WordPiece) also drop or insert
spaces between tokens; for them the table is a good description of a token, and the library does the decoding.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from vidro.text.layout import from_letters


@dataclass(frozen=True)
class TokenTable:
    """What ids stand for.

    bytes_of     id to UTF-8 bytes, special tokens as their names
    joins        decoding a sequence is laying these bytes side by side
    raw          ids that stand for one byte of a character that others complete (SentencePiece's byte fallback)
    """

    bytes_of: dict[int, bytes]
    joins: bool
    raw: frozenset[int] = frozenset()


def token_table(spec: dict[str, Any], vocab: dict[str, int]) -> TokenTable:
    """The table for a parsed tokenizer.json whose engine knows `vocab` (added tokens included)."""
    added = {token["content"] for token in spec["added_tokens"]}
    kind = (spec.get("decoder") or {}).get("type")
    if kind == "Fuse":
        return TokenTable({number: piece.encode() for piece, number in vocab.items()}, joins=True)
    if kind == "ByteLevel":
        plain = {number: piece.encode() for piece, number in vocab.items()}
        data = {number: from_letters(piece) for piece, number in vocab.items() if piece not in added}
        return TokenTable(plain | {number: raw for number, raw in data.items() if raw is not None}, joins=True)
    return TokenTable(
        {number: piece.encode() if piece in added else _plain(piece) for piece, number in vocab.items()},
        joins=False,
        raw=frozenset(number for piece, number in vocab.items() if _BYTE.fullmatch(piece)),
    )


_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _plain(piece: str) -> bytes:
    """SentencePiece's ▁ is a space, <0x0A> a byte; WordPiece's ## only says "goes on"."""
    match = _BYTE.fullmatch(piece)
    if match is not None:
        return bytes([int(match.group(1), 16)])
    return piece.removeprefix("##").replace("▁", " ").encode()


def printable(data: bytes) -> str:
    """UTF-8 bytes for display: what is not a character, and what cannot be seen but space, newline and tab, as escapes.

    >>> printable("é".encode()), printable("é".encode()[:1]), printable(bytes([0]))
    ('é', '\\\\xc3', '\\\\x00')
    """
    text = data.decode("utf-8", errors="backslashreplace")
    return "".join(letter if _visible(letter) else _escaped(letter) for letter in text)


def _visible(letter: str) -> bool:
    return letter in " \n\t" or (letter != "\ufffd" and unicodedata.category(letter) not in ("Cc", "Cn", "Co", "Cs"))


def _escaped(letter: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in letter.encode())
