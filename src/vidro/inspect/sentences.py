"""Which sentences are watched while a model learns: a few short pieces of the validation text, always the same ones.

Not here: when they are watched and what is kept (`probes`).
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vidro.text.tokenizer import Tokenizer

MOST_SENTENCES = 3
MOST_TOKENS = 32  # the <|endoftext|> in front included
_LOOK_CHARS = 400  # how far a sentence's beginning is looked for, and how much text 31 tokens may be made of

_LEAST_CHARS = 40  # a sentence that begins this near the end of its text is too short to be of use

_NEXT_SENTENCE = re.compile(r"[.!?…]['\"”’»)]*\s+(?=\S)|[。！？]+\s*(?=\S)|\n\s*\n(?=\S)")
_NEXT_WORD = re.compile(r"\s+(?=\S)")


@dataclass(frozen=True)
class Sentence:
    """A watched sentence. `ids` begin with `<|endoftext|>`; `tokens` are their readable forms, one each."""

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]


def choose_sentences(texts: Sequence[str], tokenizer: Tokenizer, *, context_length: int) -> list[Sentence]:
    """At most three sentences, from one, three and five sixths of the texts; fewer where there is too little text.

    Each begins where a sentence begins, if one begins nearby, and is cut after 31 tokens or the model's context.
    """
    ends = list(itertools.accumulate(len(text) for text in texts))
    if not ends or ends[-1] == 0:
        return []
    chosen: dict[str, Sentence] = {}
    for share in range(1, 2 * MOST_SENTENCES, 2):
        place = ends[-1] * share // (2 * MOST_SENTENCES)
        number = bisect.bisect_right(ends, place)
        text = texts[number]
        start = sentence_start(text, place - (ends[number] - len(text)))
        made = make_sentence(text[start : start + _LOOK_CHARS], tokenizer, context_length=context_length)
        if made is not None:
            chosen.setdefault(made.text, made)
    return list(chosen.values())


def sentence_start(text: str, place: int) -> int:
    """Where the next sentence begins, else the next word, else `place`; the text's start when too little follows."""
    for beginning in (_NEXT_SENTENCE, _NEXT_WORD):
        found = beginning.search(text, place, place + _LOOK_CHARS)
        if found is not None and len(text) - found.end() >= _LEAST_CHARS:
            return found.end()
    return place if len(text) - place >= _LEAST_CHARS else len(text) - len(text.lstrip())


def make_sentence(text: str, tokenizer: Tokenizer, *, context_length: int) -> Sentence | None:
    """The beginning of `text` as a sentence of at most 31 tokens, whole characters only; None when nothing is left."""
    room = min(MOST_TOKENS, context_length) - 1
    ids = tokenizer.encode(text.rstrip())[:room]
    while ids and tokenizer.lossless and not text.startswith(tokenizer.decode(ids)):
        ids.pop()  # the cut went through a character
    if not ids:
        return None
    line = (tokenizer.eot_id, *ids)
    return Sentence(tokenizer.decode(ids), line, tuple(tokenizer.token_text(token) for token in line))
