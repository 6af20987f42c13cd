"""The engines that turn a text into an array of ids, and the proof that a quick one equals the reference.

`Reference` is Hugging Face `tokenizers`: it knows every tokenizer.json, at about 1 MB/s. Three quick twins exist, each
used only where `fast_engine` shows that it must give the same ids:

* `Bytes` and `Characters`: one look-up in a table, by numpy.
* `Ranks`: `tiktoken`, about ten times as fast. It knows no merges, only ranks: it joins the neighbours whose *joined*
  bytes have the lowest id. That is the same as merging in order when three things hold. (1) The ids that the merges
  make never fall. (2) Taken alone, the bytes of every token merge into that token, or, where a whole piece may skip
  the merges, at least not into two parts. Suppose two neighbours x, y join to a token's bytes: nothing was merged
  across their outer edges, so what happened inside is what happens to those bytes alone, and there the only state of
  two parts is the one that the merge list joins. So a pair is joined by ranks if and only if it is by merges.
  (3) Both cut pieces alike: a known pattern, no normaliser, and the same opinion about what a letter is.

Not here: choosing when to build one (`tokenizer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tiktoken
import tokenizers

from vidro.text.layout import BYTE_LETTERS, from_letters
from vidro.text.patterns import BLOCK_CHARS, CHARACTER, blocks, byte_level_step, known_pattern, split_step

Ids = np.ndarray  # one-dimensional, uint32


class UnknownPiece(Exception):
    """A piece that the vocabulary lacks; `offset` counts characters."""

    def __init__(self, piece: str, offset: int) -> None:
        super().__init__(piece, offset)
        self.piece = piece
        self.offset = offset


class Engine(Protocol):
    """Text to ids, special names in the text being text."""

    def encode(self, text: str) -> Ids:
        """The ids as uint32. Raises UnknownPiece; UnicodeEncodeError for half a surrogate pair."""
        ...


class Reference:
    """Every tokenizer.json, by `tokenizers`."""

    def __init__(self, engine: tokenizers.Tokenizer, *, cuttable: bool) -> None:
        self._engine = engine
        self._cuttable = cuttable  # a known pattern: long texts are fed in blocks, so memory stays flat

    def encode(self, text: str) -> Ids:
        """See `Engine`."""
        text.encode()  # raises for half a surrogate pair, with its offset
        pieces = list(blocks(text)) if self._cuttable else [text]
        try:
            encoded = self._engine.encode_batch_fast(pieces, add_special_tokens=False)
        except Exception:  # the library raises bare Exception
            self._raise_first_unknown(text)
            raise
        return np.concatenate([_EMPTY, *(np.array(one.ids, dtype=np.uint32) for one in encoded)])

    def _raise_first_unknown(self, text: str) -> None:
        cutter = self._engine.pre_tokenizer
        if isinstance(self._engine.model, tokenizers.models.WordLevel) and cutter is not None:
            for piece, (start, _) in cutter.pre_tokenize_str(text):
                if self._engine.token_to_id(piece) is None:
                    raise UnknownPiece(piece, start)


_EMPTY = np.empty(0, dtype=np.uint32)


class Bytes:
    """One id per UTF-8 byte."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._table = np.array(ids, dtype=np.uint32)

    def encode(self, text: str) -> Ids:
        """See `Engine`."""
        return self._table[np.frombuffer(text.encode(), dtype=np.uint8)]


class Characters:
    """One id per character; `unk` for the others, or UnknownPiece where it is None."""

    def __init__(self, vocab: dict[str, int], unk: int | None) -> None:
        self._unk = unk
        self._table = np.full(max(map(ord, vocab), default=0) + 2, -1, dtype=np.int64)
        self._table[[ord(character) for character in vocab]] = list(vocab.values())

    def encode(self, text: str) -> Ids:
        """See `Engine`."""
        starts = range(0, len(text), BLOCK_CHARS)
        return np.concatenate([_EMPTY, *(self._block(text[start : start + BLOCK_CHARS], start) for start in starts)])

    def _block(self, text: str, start: int) -> Ids:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        ids = self._table[np.minimum(codes, len(self._table) - 1)]
        unknown = ids < 0
        if unknown.any():
            if self._unk is None:
                first = int(unknown.argmax())
                raise UnknownPiece(text[first], start + first)
            ids[unknown] = self._unk
        return ids.astype(np.uint32)


# tiktoken's regex engine gives up (by a panic) inside runs of about a million blanks; far below, the reference takes
# over for the block. Between the two, both are exact.
LONGEST_BLOCK_CHARS = 2 * BLOCK_CHARS


class Ranks:
    """Byte-level BPE by `tiktoken`, in blocks."""

    def __init__(self, ranks: dict[bytes, int], pattern: str, reference: Engine) -> None:
        # There must be a special token, or tiktoken looks for the empty name at every character. None is ever allowed.
        never = {"\0never\0": max(ranks.values()) + 1}
        self._engine = tiktoken.Encoding("vidro", pat_str=pattern, mergeable_ranks=ranks, special_tokens=never)
        self._reference = reference

    def encode(self, text: str) -> Ids:
        """See `Engine`."""
        text.encode()  # raises for half a surrogate pair, with its offset
        return np.concatenate([_EMPTY, *(self._block(block) for block in blocks(text))])

    def _block(self, block: str) -> Ids:
        if len(block) > LONGEST_BLOCK_CHARS:
            return self._reference.encode(block)
        return self._engine.encode_to_numpy(block, disallowed_special=())


def is_cuttable(spec: dict[str, Any]) -> bool:
    """Whether blocks of a text give the ids of the whole: a known pattern, and nothing that looks further than it."""
    plain = spec.get("normalizer") is None and all(token["special"] for token in spec["added_tokens"])
    return plain and known_pattern(spec.get("pre_tokenizer")) is not None


def fast_engine(spec: dict[str, Any], engine: tokenizers.Tokenizer, reference: Engine) -> Engine | None:
    """A quick engine that is proved to equal the reference for this tokenizer.json, or None."""
    special = {token["content"]: token["id"] for token in spec["added_tokens"]}
    if spec.get("normalizer") is not None or not all(token["special"] for token in spec["added_tokens"]):
        return None
    model = spec["model"]
    if model["type"] == "WordLevel" and spec.get("pre_tokenizer") == split_step(CHARACTER):
        vocab = {piece: number for piece, number in model["vocab"].items() if piece not in special}
        return Characters(vocab, special.get(model["unk_token"])) if all(len(piece) == 1 for piece in vocab) else None
    if model["type"] != "BPE" or any(model.get(key) for key in _BPE_EXTRAS):
        return None
    vocab = {letters: number for letters, number in model["vocab"].items() if letters not in special}
    if not model["merges"] and spec.get("pre_tokenizer") == byte_level_step(use_regex=False):
        return Bytes([vocab[letter] for letter in BYTE_LETTERS]) if vocab.keys() == set(BYTE_LETTERS) else None
    pattern = known_pattern(spec.get("pre_tokenizer"))
    ranks = {from_letters(letters): number for letters, number in vocab.items()}
    names_are_text = all(number not in engine.encode(name).ids for name, number in special.items())
    if pattern is None or not names_are_text or not _same_letters() or not merges_equal_ranks(model, vocab):
        return None
    return Ranks({data: number for data, number in ranks.items() if data is not None}, pattern, reference)


_BPE_EXTRAS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


def merges_equal_ranks(model: dict[str, Any], vocab: dict[str, int]) -> bool:
    """Conditions (1) and (2) of this module's docstring, checked for every merge and every token of `vocab`."""
    if not vocab.keys() >= set(BYTE_LETTERS) or any(from_letters(letters) is None for letters in vocab):
        return False
    merges = merge_pairs(model)
    made = [vocab.get(left + right, -1) for left, right in merges]
    if any(later < earlier for earlier, later in zip([0, *made], made, strict=False)):
        return False
    alone = tokenizers.models.BPE(vocab=vocab, merges=merges)
    for letters in vocab:
        n_parts = len(alone.tokenize(letters))
        if n_parts == 2 or (n_parts > 2 and not model.get("ignore_merges")):
            return False
    return True


def merge_pairs(model: dict[str, Any]) -> list[tuple[str, str]]:
    """The merges of a BPE model as pairs, from either way of writing them."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in pairs]


# Letters and digits that came with Unicode 14, 15, 15.1, 16 and 17: where the two engines were built with different
# tables, they disagree on one of these.
_NEW_CHARACTERS = (
    "\u0870\U00010f70\U00011240\U0001e4d0\U00011f50\U0002ebf0\U000105c0\U00010d40\U00016ea0\U000323b0\U00011de0"
)


def _same_letters() -> bool:
    """Whether `tokenizers` and `tiktoken`, as installed, agree which of the newest characters are letters, digits."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for pattern in (r"\p{L}", r"\p{N}"):
        kept = tiktoken.Encoding("probe", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        others = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed").pre_tokenize_str(_NEW_CHARACTERS)
        known = [character for character in _NEW_CHARACTERS if not any(character in piece for piece, _ in others)]
        if kept.decode(kept.encode_ordinary(_NEW_CHARACTERS)) != "".join(known):
            return False
    return True
