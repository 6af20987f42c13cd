"""SentencePiece's byte-pair vocabularies (Llama 2, llama2.c) as a `tokenizer.json`: scores instead of merges.

There, a space is put before the text, spaces are written ▁, the text falls into characters (one that is no token into
its bytes, ``<0x41>``), and again and again the two neighbours are joined whose union is the token of the highest
score, the leftmost first. So every way to cut a token into two tokens is a merge, in the order of scores.
That is exact as long as no two joined tokens have the same score and every character of a token is a token itself;
a vocabulary that is otherwise is refused; but for runs of spaces, to which Llama 2 gives one score, the lowest of all:
there the order of ids gives the same pieces, which is tried out. `scored_bpe` goes from scores to merges, `scores_of`
back.
Not here: files that hold such tables (`checkpoint/foreign`, `checkpoint/gguf`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from vidro.core.errors import TokenizerError
from vidro.text.layout import added_token

SPACE = "▁"
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
LONGEST_TOKEN = 256  # characters; the cuts of a token, and so the merges, grow with its length

LONGEST_RUN = 64  # spaces in a token that has the score of another

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
    joined: list[tuple[float, int, str]] = []
    for token in plain:
        if len(token) > LONGEST_TOKEN or not token:
            raise TokenizerError(f"a token of {len(token):,} characters is not supported", hint=_CONVERT)
        if len(token) > 1:
            joined.append((-scores[vocab[token]], vocab[token], token))
            strange = next((letter for letter in token if letter not in plain), None)
            if strange is not None:
                what = f"the character {strange!a} is part of the token {token[:40]!a}, but no token itself"
                raise TokenizerError(what, hint=_CONVERT)
    joined.sort()
    ties = {token for (a, _, one), (b, _, other) in pairwise(joined) if a == b for token in (one, other)}
    in_order = [token for _, _, token in joined]
    if any(score != score for score, _, _ in joined) or (ties and not _runs_of_spaces(ties, in_order)):
        raise TokenizerError("two tokens of this vocabulary have the same score", hint=_CONVERT)
    cuts = ((token[:place], token[place:]) for token in in_order for place in range(1, len(token)))
    return [f"{left} {right}" for left, right in cuts if left in plain and right in plain]


def _runs_of_spaces(ties: Collection[str], in_order: Sequence[str]) -> bool:
    """Whether tokens of one score are runs of spaces that become the same pieces when they are joined one by one.

    They have to come last and be in no other token, so that nothing else is joined while they are.
    """
    last, others = in_order[-len(ties) :], in_order[: -len(ties)]
    if {*last} != {*ties} or {*"".join(ties)} != {SPACE} or any(2 * SPACE in token for token in others):
        return False
    rank, longest = {len(token): n for n, token in enumerate(last)}, max(map(len, last))
    same = dict.fromkeys(rank, 0)
    return longest <= LONGEST_RUN and all(_joined(n, rank) == _joined(n, same) for n in range(2, 3 * longest + 1))


def _joined(n: int, rank: Mapping[int, int]) -> list[int]:
    """The pieces of a run of `n`: the pair whose union has the lowest rank is joined, of equals the leftmost."""
    pieces = [1] * n
    while unions := [(rank[a + b], place) for place, (a, b) in enumerate(pairwise(pieces)) if a + b in rank]:
        place = min(unions)[1]
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return pieces


class Scored(NamedTuple):
    """A vocabulary as SentencePiece keeps it: the score of each id, and whether a space is put before a text."""

    scores: list[float]
    space_first: bool


def is_scored(spec: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is of this kind: characters that are no token fall into byte tokens."""
    return spec["model"]["type"] == "BPE" and bool(spec["model"].get("byte_fallback"))


def scores_of(spec: Mapping[str, Any]) -> Scored:
    """The scores that lead to the merges of a tokenizer.json, which need not be the ones it was made with.

    Raises TokenizerError where no scores do: then its merges come from somewhere else.
    """
    model, special = spec["model"], {token["content"]: token["id"] for token in spec["added_tokens"]}
    vocab: dict[str, int] = model["vocab"]
    strange = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
    if any(model.get(key) for key in strange) or model.get("unk_token") not in special:
        raise TokenizerError("it does not cut texts the way SentencePiece does")
    if sum(BYTE_TOKEN.fullmatch(token) is not None for token in vocab) != 256:
        raise TokenizerError("it lacks some of the 256 byte tokens")
    for name in special:
        if any(name[:place] in vocab and name[place:] in vocab for place in range(1, len(name))):
            what = f"the special token {name[:40]!a} is two tokens joined, so that a text could become it"
            raise TokenizerError(what)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    made = [merge.replace(" ", "") for merge in merges]
    order = {token: rank for rank, token in enumerate(dict.fromkeys(made))}
    rest = [token for token in vocab if not (token in order or token in special or BYTE_TOKEN.fullmatch(token))]
    scores = [0.0] * (max(vocab.values()) + 1)
    for rank, token in enumerate([*order, *rest]):
        scores[vocab[token]] = -float(rank)
    ranks = [order[token] for token in made]
    if ranks != sorted(ranks) or sorted(merges) != sorted(merges_of(vocab, scores, special)):
        raise TokenizerError("its merges do not follow from one score for each token")
    return Scored(scores, _space_first(spec))


def _space_first(spec: Mapping[str, Any]) -> bool:
    for answer in (True, False):
        if spec.get("normalizer") == _normaliser(answer) and spec.get("pre_tokenizer") is None:
            return answer
    if spec.get("normalizer") is None and spec.get("pre_tokenizer") == _NO_SPACE:
        return False
    raise TokenizerError("it changes texts before it cuts them in a way that SentencePiece does not")


_NO_SPACE = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "never", "split": False}


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
