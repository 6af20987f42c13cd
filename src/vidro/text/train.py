"""A tokenizer of one's own, made from a text: byte-pair encoding, words, characters, bytes.

Byte-pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019) starts from the 256 bytes and again and again
joins the pair of neighbours that occurs most often; `rustbpe` counts, `learn/bpe.py` is the readable twin. Here stand
the choices around it: which part of a large text is read, how large a vocabulary a small text can carry, and the
tokenizer.json. Words and characters are lesson tokenizers: every word, or every character, is an entry of a dictionary.
Not here: the format (`layout`), using the result (`tokenizer`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import rustbpe
import tokenizers

from vidro.core.errors import TokenizerError
from vidro.text.layout import byte_bpe, word_level
from vidro.text.patterns import (
    BLOCK_CHARS,
    CHARACTER,
    QWEN2,
    WORD,
    blocks,
    byte_level,
    byte_level_step,
    split_step,
)
from vidro.text.special import SPECIAL_TOKENS, UNK, VOCAB_MULTIPLE, closing_tokens, round_up
from vidro.text.tokenizer import Tokenizer, half_a_character

N_BYTES = 256
SMALLEST_BPE = round_up(N_BYTES + len(SPECIAL_TOKENS))

# rustbpe counts pairs in signed 32 bits. A text of n bytes has fewer than n pairs, so no count can overflow below
# this; far less is plenty for choosing merges.
OVERFLOW_BYTES = 2**31 - 1
SAMPLE_BYTES = 100_000_000

LONGEST_TOKEN_BYTES = 128
SPARE_MERGES = 64  # learned beyond what was asked for, to take the place of those left out

Progress = Callable[[int], None]


def train_bpe(
    texts: Iterable[str], vocab_size: int, *, sample_bytes: int = SAMPLE_BYTES, progress: Progress | None = None
) -> Tokenizer:
    """Byte-level BPE with the qwen2 pattern; `vocab_size` is a multiple of 64 and counts the reserved tokens.

    Of a text larger than `sample_bytes`, evenly drawn blocks are counted. A text too small gives a smaller vocabulary:
    the merges end before the first that would be made only once. Both are said in `notes`. `progress` is called with
    the number of bytes read so far. Raises TokenizerError for a size that cannot be and for a text without characters.
    """
    if vocab_size % VOCAB_MULTIPLE or vocab_size < SMALLEST_BPE:
        nearest = max(SMALLEST_BPE, round_up(vocab_size))
        hint = f"Choose a multiple of {VOCAB_MULTIPLE}, at least {SMALLEST_BPE}: {nearest}, say."
        raise TokenizerError(f"a vocabulary of {vocab_size} tokens is not possible", hint=hint)
    if not 0 < sample_bytes <= OVERFLOW_BYTES:
        raise TokenizerError(f"a sample of {sample_bytes} bytes is not possible", hint=f"At most {OVERFLOW_BYTES}.")
    sample = EvenSample(sample_bytes)
    for text in _checked(texts):
        for block in short_blocks(text):
            sample.add(block)
        if progress is not None:
            progress(sample.seen_bytes)
    if not sample.blocks:
        raise TokenizerError("there is no text to train a tokenizer on")
    notes = []
    if sample.stride > 1:
        part = f"{sample.kept_bytes:,} of {sample.seen_bytes:,} bytes"
        notes.append(f"The vocabulary was chosen from {part}, evenly drawn.")
    merges = learn_merges(sample.blocks, vocab_size - N_BYTES - len(SPECIAL_TOKENS))
    merges = merges[: _n_repeated(merges, sample.blocks)]
    largest = max(SMALLEST_BPE, (N_BYTES + len(merges) + len(SPECIAL_TOKENS)) // VOCAB_MULTIPLE * VOCAB_MULTIPLE)
    if largest < vocab_size:
        notes.append(f"The text supports {largest:,} tokens, not {vocab_size:,}: more would be seen only once.")
    return _bpe(merges[: largest - N_BYTES - len(SPECIAL_TOKENS)], notes)


def learn_merges(texts: Iterable[str], n_merges: int) -> list[tuple[bytes, bytes]]:
    """The first `n_merges` pairs that byte-pair encoding joins, or all that there are.

    The most frequent pair first; of equally frequent pairs the one with the smaller left id, then the smaller right id.
    Pairs that make a token of more than 128 bytes are left out (a page of dashes would make such); no token of fewer
    bytes is built from them, so the others keep their meaning.
    """
    trainer = rustbpe.Tokenizer()  # pyright: ignore[reportAttributeAccessIssue]  (compiled, without type stubs)
    trainer.train_from_iterator(iter(texts), N_BYTES + n_merges + SPARE_MERGES, pattern=QWEN2)
    tokens = [bytes(data) for data, _ in sorted(trainer.get_mergeable_ranks(), key=lambda entry: entry[1])]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    short = [token for token in tokens[N_BYTES:] if len(token) <= LONGEST_TOKEN_BYTES]
    return [_two_parts(token, ranks) for token in short[:n_merges]]


def _two_parts(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Which two tokens a token was joined from; rustbpe tells the joined bytes only.

    When it joined them, they stood side by side in some piece, and those bytes alone come to the same two parts.
    """
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        joined = [left + right for left, right in itertools.pairwise(parts)]
        best = min(range(len(joined)), key=lambda index: ranks.get(joined[index], len(ranks)))
        parts[best : best + 2] = [joined[best]]
    return parts[0], parts[1]


def _n_repeated(merges: list[tuple[bytes, bytes]], sample: list[str]) -> int:
    """How many merges come before the first that the sample's encoding makes fewer than two times.

    Reading stops as soon as all of them have been made twice.
    """
    n_repeated = 0
    tokenizer = _bpe(merges, [])
    tokens = [bytes([byte]) for byte in range(N_BYTES)] + [left + right for left, right in merges]
    number = {token: index for index, token in enumerate(tokens)}
    made = np.zeros(len(tokens), dtype=np.int64)
    for start in range(0, len(sample), 8):
        for ids in tokenizer.encode_batch(sample[start : start + 8]):
            made += np.bincount(ids, minlength=len(tokens))
        uses = made.copy()
        for index in range(len(tokens) - 1, N_BYTES - 1, -1):
            for part in merges[index - N_BYTES]:
                uses[number[part]] += uses[index]
        rare = np.flatnonzero(uses[N_BYTES:] < 2)
        n_repeated = int(rare[0]) if len(rare) else len(merges)
        if n_repeated == len(merges):
            break
    return n_repeated


def _bpe(merges: list[tuple[bytes, bytes]], notes: list[str]) -> Tokenizer:
    tokens = [bytes([byte]) for byte in range(N_BYTES)] + [left + right for left, right in merges]
    vocab = {token: number for number, token in enumerate(tokens)}
    spec = byte_bpe(vocab, merges, pre_tokenizer=byte_level("qwen2"), special=_closing(len(vocab)))
    return Tokenizer(spec, notes=notes)


def build_bytes() -> Tokenizer:
    """One token per byte: ids 0–255, then fillers and the reserved tokens: 320 in all."""
    vocab = {bytes([byte]): byte for byte in range(N_BYTES)}
    cutter = byte_level_step(use_regex=False)
    return Tokenizer(byte_bpe(vocab, [], pre_tokenizer=cutter, special=_closing(N_BYTES)))


def build_chars(texts: Iterable[str], *, unk: bool = False) -> Tokenizer:
    """One token per different character, in the order of their code points.

    Other characters are an error, or `<|unk|>` where `unk` allows it. Raises TokenizerError when there is no text.
    """
    known: set[str] = set()
    for text in _checked(texts):
        known.update(text)
    return _dictionary(sorted(known), CHARACTER, unk=unk)


def build_words(texts: Iterable[str], *, unk: bool = False, vocab_size: int | None = None) -> Tokenizer:
    """One token per different word, and per character between words: blanks are kept, so decoding is exact.

    With `vocab_size` (a multiple of 64, all included) the most frequent are kept, which needs `unk` for the others.
    Raises TokenizerError, also when there is no text.
    """
    if vocab_size is not None and (vocab_size % VOCAB_MULTIPLE or not unk):
        hint = "Choose a multiple of 64 and allow <|unk|> (--unk)."
        raise TokenizerError(f"a dictionary of {vocab_size} words cannot hold every word", hint=hint)
    counter = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab={}, unk_token=UNK))
    counter.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(WORD), "isolated")
    trainer = tokenizers.trainers.WordLevelTrainer(vocab_size=OVERFLOW_BYTES, min_frequency=0, show_progress=False)
    counter.train_from_iterator((block for text in _checked(texts) for block in blocks(text)), trainer)
    vocab = counter.get_vocab()
    by_frequency = sorted(vocab, key=vocab.__getitem__)
    room = len(by_frequency) if vocab_size is None else vocab_size - len(SPECIAL_TOKENS) - 1
    return _dictionary(sorted(by_frequency[:room]), WORD, unk=unk)


def _dictionary(pieces: list[str], pattern: str, *, unk: bool) -> Tokenizer:
    if not pieces:
        raise TokenizerError("there is no text to make a dictionary of")
    names = [UNK] if unk else []
    vocab = {piece: number for number, piece in enumerate(pieces)}
    special = {name: len(vocab) + number for number, name in enumerate(names)}
    special |= _closing(len(vocab) + len(names))
    return Tokenizer(word_level(vocab, pre_tokenizer=split_step(pattern), special=special, unk=UNK))


def _closing(n_content: int) -> dict[str, int]:
    return {name: n_content + number for number, name in enumerate(closing_tokens(n_content))}


def _checked(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as problem:
            raise half_a_character(problem) from None
        yield text


def short_blocks(text: str) -> Iterator[str]:
    """The text in blocks, cut between pieces where it can be and anywhere where it cannot (endless runs)."""
    for block in blocks(text):
        for start in range(0, len(block), 2 * BLOCK_CHARS):
            yield block[start : start + 2 * BLOCK_CHARS]


class EvenSample:
    """At most `capacity` bytes of a stream of blocks, evenly spaced over it, in one pass.

    Every `stride`-th block is kept. When there are too many, every other one is dropped and the stride doubles, so the
    sample holds between half of the capacity and all of it, and depends on nothing but the blocks.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.stride = 1
        self.blocks: list[str] = []
        self.kept_bytes = 0
        self.seen_bytes = 0
        self._n_seen = 0

    def add(self, block: str) -> None:
        """Offer the next block."""
        size = len(block.encode())
        if self._n_seen % self.stride == 0:
            self.blocks.append(block)
            self.kept_bytes += size
        self._n_seen += 1
        self.seen_bytes += size
        while self.kept_bytes > self.capacity and len(self.blocks) > 1:
            self.blocks = self.blocks[::2]
            self.stride *= 2
            self.kept_bytes = sum(len(kept.encode()) for kept in self.blocks)
