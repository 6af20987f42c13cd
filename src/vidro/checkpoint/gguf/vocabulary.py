"""A tokenizer as llama.cpp keeps one: the ``tokenizer.ggml.*`` keys of a GGUF file.

llama.cpp knows byte-level BPE, tokens spelled with a letter for each byte ("Ġthe"), and cuts a text into pieces by one
of its own patterns, known by name. So a pattern without a name there cannot be exported; bytes can, as a BPE whose only
merge never happens, and so can characters of ASCII, which are one byte each. It also knows SentencePiece's pieces, with
a score for each instead of merges.

Not here: the file (`write`), chat templates in Ollama's language (`modelfile`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidro.core.errors import TokenizerError
from vidro.text.layout import BYTE_LETTERS, to_letters
from vidro.text.patterns import CL100K, GPT2, LLAMA3, QWEN2, known_pattern
from vidro.text.sentencepiece import BYTE_TOKEN, Scored, is_scored, scores_of
from vidro.text.special import UNK
from vidro.text.tokenizer import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens (ggml's ``llama_token_type``)."""

PATTERN_NAMES = {GPT2: "gpt-2", QWEN2: "qwen2", LLAMA3: "llama-bpe"}
"""What llama.cpp calls our patterns. Each of its names stands for a pattern that is written into the program."""

NEVER = f"{BYTE_LETTERS[0xFF]} {BYTE_LETTERS[0xFF]}"
"""A merge of two bytes 0xFF, which no UTF-8 holds: llama.cpp refuses a file without merges."""

_OTHER_WAY = "Export it with --format hf, or train a model with a bpe tokenizer."


@dataclass(frozen=True)
class Vocabulary:
    """Everything a GGUF file says of a tokenizer.

    pre       llama.cpp's name of the pattern that cuts texts into pieces; of pieces with scores, "default"
    tokens    by id, in letters for bytes; special tokens by name; as many as the model has embeddings
    types     of each token: NORMAL, CONTROL, …
    merges    "left right", first the one that is done first; none where there are scores
    adds_bos  whether `bos` is put before every text
    scored    of SentencePiece's pieces: the score of each, and whether a space is put before a text
    unk       there, what is unknown
    notes     what the user has to know
    """

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    bos: int
    eos: int
    eot: int | None
    pad: int | None
    adds_bos: bool
    chat_template: str | None
    scored: Scored | None = None
    unk: int | None = None
    notes: tuple[str, ...] = ()


def vocabulary(
    tokenizer: Tokenizer,
    n_tokens: int,
    *,
    end_token: str | None = None,
    chat_template: str | None = None,
    spelled: Iterable[str] = (),
) -> Vocabulary:
    """The vocabulary for a model with `n_tokens` embeddings.

    `end_token`: the special token that ends an answer; `spelled`: special tokens whose names the style writes letter by
    letter, so that no reader may take them for a token. Raises TokenizerError for what llama.cpp cannot express.
    """
    if tokenizer.vocab_size > n_tokens:
        what = f"the tokenizer has {tokenizer.vocab_size:,} tokens, but the model knows {n_tokens:,}"
        raise TokenizerError(what, hint="They do not belong together.")
    spec: dict[str, Any] = json.loads(tokenizer.to_json())
    notes: list[str] = []
    scored = _from_scores(spec) if is_scored(spec) else None
    if scored is not None:
        pre, entries, merges = "default", spec["model"]["vocab"], []
    elif spec["model"]["type"] == "BPE":
        pre, entries, merges = _from_bpe(spec, tokenizer)
    else:
        pre, entries, merges = _from_characters(spec, tokenizer)
        notes.append("llama.cpp leaves out characters that the vocabulary lacks, without a word; Vidro refuses them.")
    tokens, types = _by_id(entries, spec["added_tokens"], n_tokens, set(spelled))
    unk = None if scored is None else entries[spec["model"]["unk_token"]]
    if unk is not None:
        types = _types_of_pieces(tokens, types, unk)
    return Vocabulary(
        pre=pre,
        tokens=tokens,
        types=types,
        merges=merges or ([NEVER] if scored is None else []),
        bos=tokenizer.start_id,
        eos=tokenizer.eot_id,
        eot=None if end_token is None else tokenizer.special_ids[end_token],
        pad=tokenizer.pad_id,
        adds_bos=tokenizer.puts_start_first,
        chat_template=chat_template,
        scored=scored,
        unk=unk,
        notes=tuple(notes),
    )


def _from_scores(spec: Mapping[str, Any]) -> Scored:
    """Scores and the space before a text, of SentencePiece's pieces."""
    try:
        return scores_of(spec)
    except TokenizerError as problem:
        what = f"GGUF cannot express this vocabulary of SentencePiece's form: {problem.what}"
        raise TokenizerError(what, hint=_OTHER_WAY) from None


def _types_of_pieces(tokens: Sequence[str], types: Sequence[int], unk: int) -> list[int]:
    """The kinds of SentencePiece's pieces, among which bytes and what is unknown have kinds of their own."""
    kinds = zip(tokens, types, strict=True)
    found = [BYTE if kind == NORMAL and BYTE_TOKEN.fullmatch(token) else kind for token, kind in kinds]
    found[unk] = UNKNOWN
    return found


def _from_bpe(spec: Mapping[str, Any], tokenizer: Tokenizer) -> tuple[str, dict[str, int], list[str]]:
    """Pattern, token to id, and merges of a byte-level BPE."""
    model, cutter = spec["model"], spec.get("pre_tokenizer")
    if spec.get("normalizer") is not None or not tokenizer.lossless:
        what = "this tokenizer changes texts before it cuts them, which llama.cpp's byte-level BPE does not"
        raise TokenizerError(what, hint=_OTHER_WAY)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    if tokenizer.kind == "bytes" or not merges:
        return PATTERN_NAMES[GPT2], model["vocab"], []  # nothing is ever merged, however a text is cut
    pattern = known_pattern(cutter)
    if pattern not in PATTERN_NAMES:
        name = "the pattern cl100k, which" if pattern == CL100K else "a pattern that"
        what = f"this tokenizer cuts texts by {name} llama.cpp has no name for"
        known = "It knows those of gpt2, qwen2 and llama3."
        raise TokenizerError(what, hint=f"{known} {_OTHER_WAY}")
    taken_whole = bool(model.get("ignore_merges"))
    if taken_whole != (pattern == LLAMA3):
        does = "takes" if taken_whole else "does not take"
        what = f"this tokenizer {does} a piece as it is when it is a token (ignore_merges), and llama.cpp"
        what += " does the opposite with this pattern"
        raise TokenizerError(what, hint=_OTHER_WAY)
    return PATTERN_NAMES[pattern], model["vocab"], merges


def _from_characters(spec: Mapping[str, Any], tokenizer: Tokenizer) -> tuple[str, dict[str, int], list[str]]:
    """The same of a vocabulary of characters: their bytes are joined one after the other."""
    if tokenizer.kind != "chars":
        kind = "words" if tokenizer.kind == "words" else f"a tokenizer of the type {spec['model']['type']}"
        raise TokenizerError(f"GGUF cannot express {kind}: llama.cpp has no such tokenizer", hint=_OTHER_WAY)
    if UNK in tokenizer.special_ids:
        what = f"GGUF cannot express a vocabulary of characters with {UNK}: llama.cpp leaves unknown ones out"
        raise TokenizerError(what, hint=_OTHER_WAY)
    plain = {token: number for token, number in spec["model"]["vocab"].items() if token not in tokenizer.special_ids}
    odd = sorted(character for character in plain if not character.isascii())
    if odd:
        shown = " ".join(map(repr, odd[:3]))
        what = (
            f"GGUF cannot express characters outside of ASCII as tokens, and this vocabulary has {len(odd)} ({shown})"
        )
        raise TokenizerError(what, hint=_OTHER_WAY)
    return PATTERN_NAMES[GPT2], {to_letters(token.encode()): number for token, number in plain.items()}, []


def _by_id(
    entries: Mapping[str, int], added: Iterable[Mapping[str, Any]], n_tokens: int, spelled: set[str]
) -> tuple[list[str], list[int]]:
    """Tokens and their kinds by id; ids that nothing has are filled up, as llama.cpp's own converter does it."""
    tokens = [f"[PAD{number}]" for number in range(n_tokens)]
    types = [UNUSED] * n_tokens
    for token, number in entries.items():
        tokens[number], types[number] = token, NORMAL
    for token in added:
        kind = CONTROL if token["special"] else USER_DEFINED
        tokens[token["id"]] = token["content"]
        types[token["id"]] = UNUSED if token["content"] in spelled else kind
    return tokens, types
