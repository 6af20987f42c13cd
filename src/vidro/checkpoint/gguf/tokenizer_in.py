"""The tokenizer inside a GGUF file, as a `tokenizer.json` in memory.

    tokenizer.ggml.model   "gpt2": byte-level pieces and merges; "llama": SentencePiece's pieces with scores
    tokenizer.ggml.pre     the name of llama.cpp's rule for cutting a text (only "gpt2"); it stands for one regex
    .tokens .token_type .merges .scores, and the ids of the tokens that begin and end a text

Tokens called [PAD7] at the end of the list fill the vocabulary up to the model's size and are left out. A name that no
rule of ours stands for is refused: cut otherwise, a text would become other tokens than the model was trained on.
Not here: writing them (`vocabulary`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vidro.checkpoint.foreign.directory import ENDS_OF_TEXTS, ENDS_OF_TURNS
from vidro.checkpoint.gguf.read import shown
from vidro.core.errors import TokenizerError
from vidro.text.layout import byte_bpe, from_letters, word_level
from vidro.text.patterns import CHARACTER, byte_level, byte_level_step, split_step
from vidro.text.sentencepiece import scored_bpe, starts_with
from vidro.text.special import UNK
from vidro.text.tokenizer import Tokenizer

PREFIX = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
IDS = ("bos", "eos", "eot", "eom", "unknown", "padding", "separator", "mask")

_SMOLLM = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level_step(use_regex=True)],
}
CUTTERS: dict[str, dict[str, Any]] = (
    dict.fromkeys(("gpt-2", "phi-2"), byte_level("gpt2"))
    | dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), byte_level("llama3"))
    | dict.fromkeys(("qwen2", "deepseek-r1-qwen"), byte_level("qwen2"))
    | {"smollm": _SMOLLM}
)
"""llama.cpp's name of a rule to how a text is cut."""
TAKES_WHOLE = ("llama-bpe", "llama3", "llama-v3")
"""Under these names a piece that is a token needs no merges, and every text begins with a token of its own."""

_GIVE_ONE = "Give the tokenizer.json of the same model: --tokenizer FILE."
_FILLER = re.compile(r"\[PAD\d+\]")
_NAME = re.compile(r"[<\[｜|].*[>\]｜|]")


@dataclass
class Table:
    """What the file says of its tokens."""

    tokens: list[str]
    types: list[int]
    named: dict[str, int]
    """Ids of the tokens with a use: "bos", "eos" …"""
    values: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    def special(self) -> dict[str, int]:
        """Names and ids of the tokens that no text becomes."""
        kinds = (UNKNOWN, CONTROL, UNUSED)
        return {token: n for n, (token, kind) in enumerate(zip(self.tokens, self.types, strict=True)) if kind in kinds}

    def name_of(self, use: str) -> str | None:
        """The name of the token with this use."""
        return self.tokens[self.named[use]] if use in self.named else None


def read_tokenizer(values: Mapping[str, Any], *, where: object = None) -> Tokenizer:
    """The tokenizer that a file's settings describe; `notes` say what is particular about it. Raises TokenizerError."""
    try:
        model = values.get(PREFIX + "model")
        if model not in ("gpt2", "llama"):
            what = "there is no tokenizer in this file" if model is None else f"its tokenizer {model!a:.80} is not read"
            raise TokenizerError(what, hint=_GIVE_ONE)
        table = _table(values)
        spec = _byte_level(table) if model == "gpt2" else _scored(table)
        return _made(spec, table)
    except TokenizerError as problem:
        raise TokenizerError(problem.what, where=where, hint=problem.hint) from None
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError) as problem:
        what = f"its tokenizer cannot be used ({type(problem).__name__}: {ascii(str(problem))[:80]})"
        raise TokenizerError(what, where=where, hint="The file is damaged; fetch it again.") from None


def _table(values: Mapping[str, Any]) -> Table:
    tokens = values.get(PREFIX + "tokens")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise TokenizerError("its list of tokens is missing", hint=_GIVE_ONE)
    types = values.get(PREFIX + "token_type")
    kinds = [NORMAL] * len(tokens) if types is None else _whole_numbers(types, len(tokens), "token_type")
    if any(not NORMAL <= kind <= BYTE for kind in kinds):
        raise TokenizerError("a token has an unknown type", hint=_GIVE_ONE)
    named = {use: values[f"{PREFIX}{use}_token_id"] for use in IDS if f"{PREFIX}{use}_token_id" in values}
    for use, number in named.items():
        if type(number) is not int or not 0 <= number < len(tokens):
            raise TokenizerError(f"its {use} token has the id {number!a:.40}, which is no token")
    kept = {*named.values()}
    while kinds and kinds[-1] == UNUSED and _FILLER.fullmatch(tokens[len(kinds) - 1]) and len(kinds) - 1 not in kept:
        kinds.pop()
    if not kinds:
        raise TokenizerError("none of its tokens has a use", hint=_GIVE_ONE)
    for use in ("bos", "eos", "eot", "eom", "padding"):
        if use in named and kinds[named[use]] == NORMAL:
            kinds[named[use]] = CONTROL
    tokens = tokens[: len(kinds)]
    if len(set(tokens)) < len(tokens):
        (twice, _) = Counter(tokens).most_common(1)[0]
        raise TokenizerError(f"the token {shown(twice)} is in its vocabulary twice")
    return Table(tokens, kinds, named, values)


def _whole_numbers(found: Any, n: int, what: str) -> list[int]:
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or len(found) != n:
        raise TokenizerError(f"its {what} are not {n:,} whole numbers", hint=_GIVE_ONE)
    return found.tolist()


def _made(spec: dict[str, Any], table: Table) -> Tokenizer:
    """The tokenizer, with what begins and ends a text."""
    add = table.values.get(PREFIX + "add_bos_token")
    pre, scored = table.values.get(PREFIX + "pre"), table.values.get(PREFIX + "model") == "llama"
    begins = (scored or pre in TAKES_WHOLE) if add is None else add is True
    start, end, turn = table.name_of("bos"), table.name_of("eos"), table.name_of("eos")
    text_end = next((name for name in ENDS_OF_TEXTS if name in table.special()), None)
    if turn in ENDS_OF_TURNS and text_end is not None:
        end = text_end
        table.notes.append(f"texts end with {end}, answers with {turn}")
    if begins and start is not None:
        spec["post_processor"] = starts_with(start, table.named["bos"])
        table.notes.append(f"every text begins with {start}, as this file asks for")
    if table.values.get(PREFIX + "add_eos_token") is True and end is not None:
        table.notes.append(f"this file asks for {end} after every prompt too, which is not done")
    return Tokenizer(spec, eot=end, pad=table.name_of("padding"), notes=table.notes)


# -- byte-level pieces and merges ----------------------------------------------------------------------------------


def _byte_level(table: Table) -> dict[str, Any]:
    pre = table.values.get(PREFIX + "pre")
    if not isinstance(pre, str) or pre not in CUTTERS:
        said = (
            "it does not say how a text is cut" if pre is None else f"its way to cut a text, {pre!a:.80}, is not known"
        )
        raise TokenizerError(said, hint=f"Known: {', '.join(CUTTERS)}. {_GIVE_ONE}")
    special, users, plain = table.special(), {}, {}
    for number, (token, kind) in enumerate(zip(table.tokens, table.types, strict=True)):
        if kind == USER_DEFINED:
            users[token] = number
        elif token not in special:
            data = from_letters(token)
            if data is None or kind == BYTE or not data:
                raise TokenizerError(f"the token {shown(token)} is not written in GPT-2's byte letters", hint=_GIVE_ONE)
            plain[data] = number
    merges = _merges(table, plain)
    if not merges and len(plain) < 256 and not users and all(len(data) == 1 and data[0] < 128 for data in plain):
        letters = {data.decode(): number for data, number in plain.items()}
        return word_level(letters, pre_tokenizer=split_step(CHARACTER), special=special, unk=UNK)
    single = not merges and len(plain) == 256 and not users  # bytes: nothing to cut
    cutter, whole = byte_level_step(use_regex=False) if single else CUTTERS[pre], pre in TAKES_WHOLE and not single
    spec = byte_bpe(plain, merges, pre_tokenizer=cutter, special=special | users, ignore_merges=whole)
    for entry in spec["added_tokens"]:
        entry["special"] = entry["content"] not in users
    return spec


def _merges(table: Table, plain: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The merges. llama.cpp loads no file without any, so vocabularies that have none hold one that leads nowhere."""
    found = table.values.get(PREFIX + "merges", [])
    if not isinstance(found, list):
        raise TokenizerError("its merges are not a list of texts", hint=_GIVE_ONE)
    merges: list[tuple[bytes, bytes]] = []
    for line in found:
        pair = [from_letters(letters) for letters in line.split(" ")] if isinstance(line, str) else []
        if len(pair) != 2 or not pair[0] or not pair[1]:
            raise TokenizerError(f"the merge {line!a:.80} is not two tokens", hint=_GIVE_ONE)
        merges.append((pair[0], pair[1]))
    leading = [pair for pair in merges if pair[0] + pair[1] in plain and pair[0] in plain and pair[1] in plain]
    if leading and len(leading) < len(merges):
        lost = next(pair for pair in merges if pair[0] + pair[1] not in plain or not {*pair} <= plain.keys())
        raise TokenizerError(f"the merge of {lost[0]!r:.40} and {lost[1]!r:.40} makes no token", hint=_GIVE_ONE)
    return leading


# -- pieces with scores --------------------------------------------------------------------------------------------


def _scored(table: Table) -> dict[str, Any]:
    scores = table.values.get(PREFIX + "scores")
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f" or len(scores) < len(table.tokens):
        raise TokenizerError("its tokens have no scores", hint=_GIVE_ONE)
    special = table.special()
    for number, (token, kind) in enumerate(zip(table.tokens, table.types, strict=True)):
        if kind != USER_DEFINED:
            continue
        if _NAME.fullmatch(token) is None:
            raise TokenizerError(
                f"the token {shown(token)} is cut out before all others, which is not read", hint=_GIVE_ONE
            )
        special[token] = number
    if len(special) > len(table.special()):
        table.notes.append("tokens that llama.cpp also takes from a text, such as names in <>, are special here")
    unk = table.name_of("unknown") or next(
        (token for token, kind in zip(table.tokens, table.types, strict=True) if kind == UNKNOWN), None
    )
    if unk is None or unk not in special:
        raise TokenizerError("it has no token for what is unknown", hint=_GIVE_ONE)
    first = table.values.get(PREFIX + "add_space_prefix", True)
    return scored_bpe(table.tokens, scores.tolist(), special=special, unk=unk, space_first=first is not False)
