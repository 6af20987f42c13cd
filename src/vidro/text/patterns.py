"""How a text is cut into pieces before any merge: the published patterns by name, and where a long text may be cut.

A byte-level BPE never merges across pieces, so the pattern decides what can become a token. The strings below mean the
same to Oniguruma (inside `tokenizers`), fancy-regex (inside `tiktoken` and `rustbpe`) and Python's `regex`.

* ``gpt2``: OpenAI 2019, built into the `ByteLevel` step of `tokenizers`; also r50k_base.
* ``cl100k``: OpenAI 2022. Digits in threes. Whitespace at the very end of a text is one piece.
* ``llama3``: Meta 2024. Like cl100k, without the rule about the end.
* ``qwen2``: Alibaba 2024. Like llama3, but each digit alone. Vidro's own BPE uses this one.

Not here: merging (`train`, `fast`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from unicodedata import ucd_3_2_0

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
PATTERNS: dict[str, str] = {"gpt2": GPT2, "cl100k": CL100K, "llama3": LLAMA3, "qwen2": QWEN2}

WORD = r"[\p{L}\p{M}\p{N}_]+|[^\p{L}\p{M}\p{N}_]"
CHARACTER = r"[\s\S]"


def byte_level(name: str) -> dict[str, Any]:
    """The `pre_tokenizer` part of a tokenizer.json for the pattern called `name`."""
    if name == "gpt2":
        return byte_level_step(use_regex=True)
    return {"type": "Sequence", "pretokenizers": [split_step(PATTERNS[name]), byte_level_step(use_regex=False)]}


def byte_level_step(*, use_regex: bool) -> dict[str, Any]:
    """The step that turns a piece into visible letters, one per byte; with `use_regex` it cuts like GPT-2 first."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": use_regex}


def split_step(pattern: str) -> dict[str, Any]:
    """The step that makes every match of `pattern`, and what is left between matches, a piece."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def known_pattern(pre_tokenizer: dict[str, Any] | None) -> str | None:
    """The pattern (a value of `PATTERNS`) that this `pre_tokenizer` part applies; None when it is anything else."""
    for name, pattern in PATTERNS.items():
        if _essence(pre_tokenizer) == _essence(byte_level(name)):
            return pattern
    return None


def _essence(step: dict[str, Any] | None) -> Any:
    """A step without the keys that do not change ids, and with defaults filled in."""
    if step is None:
        return None
    if step.get("type") == "Sequence":
        return [_essence(inner) for inner in step.get("pretokenizers", [])]
    if step.get("type") == "ByteLevel":
        return ("ByteLevel", step.get("add_prefix_space", True), step.get("use_regex", True))
    return {key: value for key, value in step.items() if key != "trim_offsets"}


BLOCK_CHARS = 65_536

# A letter or digit followed by one of these is the end of a piece in all four patterns, and the next piece starts the
# same whether or not anything stands before it: no alternative goes on from a letter or digit to something else, and
# none looks behind itself. (The underscore is left out for the sake of `WORD`.)
_CUT = re.compile(r"[^\W_](?=[\s!-/:-@\[-^`{-~，。、！？：；」』”’])")


def blocks(text: str, size: int = BLOCK_CHARS) -> Iterator[str]:
    """The text in blocks of about `size` characters, cut only where every known pattern cuts anyway.

    Encoding the blocks one by one gives the same ids as encoding the whole. A stretch without any such place (a
    megabyte of one letter, of line ends) stays one block, however long.

    >>> list(blocks("one two, three", 6))
    ['one two', ', three']
    """
    start = 0
    while len(text) - start > size:
        cut = _next_cut(text, start + size)
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]


def _next_cut(text: str, position: int) -> int:
    for match in _CUT.finditer(text, position - 1):
        # Newer letters are a matter of opinion between Unicode versions; those of Unicode 3.2 are not.
        if ucd_3_2_0.category(match.group())[0] in "LN":
            return match.end()
    return len(text)
