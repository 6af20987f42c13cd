"""SentencePiece's byte-pair vocabularies (Llama 2, llama2.c) as a `tokenizer.json`: scores instead of merges.

There, a space is put before the text, spaces are written ▁, the text falls into characters (one that is no token into
its bytes, ``<0x41>``), and again and again the two neighbours are joined whose union is the token of the highest
score, the leftmost first. So every way to cut a token into two tokens is a merge, in the order of scores.
That is exact as long as no two joined tokens have the same score and every character of a token is a token itself;
a vocabulary that is otherwise is refused. Not here: files that hold such tables (`checkpoint/foreign`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from vidro.core.errors import TokenizerError
from vidro.text.layout import added_token

SPACE = "▁"
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
LONGEST_TOKEN = 256  # characters; the cuts of a token, and so the merges, grow with its length

_CONVERT = "Give the tokenizer.json of the same model: --tokenizer FILE."


def scored_bpe(
    tokens: Sequence[str],
    scores: Sequence[float],
    *,
    special: Mapping[str, int],
    unk: str,
    start: str | None = None,
    space_first: bool = True,
) -> dict[str, Any]:
    """The tokenizer.json of a scored vocabulary; a token's id is its place in `tokens`, ▁ for a space.

    `special`: names that no text becomes, with their ids; `unk` is one of them. `start`: the one that begins every
    text. `space_first`: whether a space is put before the text. Raises TokenizerError where it cannot be exact.
    """
    vocab = {token: number for number, token in enumerate(tokens)}
    if len(vocab) < len(tokens):
        twice = next(token for number, token in enumerate(tokens) if vocab[token] != number)
        raise TokenizerError(f"the token {ascii(twice)[:80]} is in the vocabulary twice")
    if sum(BYTE_TOKEN.fullmatch(token) is not None for token in tokens) != 256:
        what = "this vocabulary lacks some of the 256 byte tokens, so a text could lose characters"
        raise TokenizerError(what, hint=_CONVERT)
    model = {
        "type": "BPE", "dropout": None, "unk_token": unk, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
        "vocab": vocab, "merges": merges_of(vocab, scores, special),
    }  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added_token(name, number) for name, number in sorted(special.items(), key=lambda e: e[1])],
        "normalizer": _normaliser(space_first), "pre_tokenizer": None,
        "post_processor": None if start is None else starts_with(start, special[start]),
        "decoder": _decoder(space_first), "model": model,
    }  # fmt: skip


def merges_of(vocab: Mapping[str, int], scores: Sequence[float], special: Mapping[str, int]) -> list[str]:
    """Every way to make a token of two others, best score first, as "left right"."""
    plain = {token for token in vocab if token not in special and not BYTE_TOKEN.fullmatch(token)}
    joined: list[tuple[float, str]] = []
    for token in plain:
        if len(token) > LONGEST_TOKEN or not token:
            raise TokenizerError(f"a token of {len(token):,} characters is not supported", hint=_CONVERT)
        if len(token) > 1:
            joined.append((-scores[vocab[token]], token))
            strange = next((letter for letter in token if letter not in plain), None)
            if strange is not None:
                what = f"the character {strange!a} is part of the token {token[:40]!a}, but no token itself"
                raise TokenizerError(what, hint=_CONVERT)
    joined.sort()
    if any(a[0] == b[0] for a, b in pairwise(joined)) or any(s != s for s, _ in joined):
        raise TokenizerError("two tokens of this vocabulary have the same score", hint=_CONVERT)
    cuts = ((token[:place], token[place:]) for _, token in joined for place in range(1, len(token)))
    return [f"{left} {right}" for left, right in cuts if left in plain and right in plain]


def starts_with(name: str, number: int) -> dict[str, Any]:
    """The `post_processor` part that puts one special token before every text."""
    one, text = {"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [one, text],
        "pair": [one, text, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]}},
    }


def _normaliser(space_first: bool) -> dict[str, Any]:
    written = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if not space_first:
        return written
    return {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, written]}


def _decoder(space_first: bool) -> dict[str, Any]:
    steps = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    stripped = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if space_first else []
    return {"type": "Sequence", "decoders": steps + stripped}
