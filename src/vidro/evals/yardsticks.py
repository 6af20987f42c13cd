"""What a model must beat: yardsticks that need no training, drawn as lines into the loss plot.

In nats per token: *uniform*, every token equally likely (ln V, what a fresh model knows), and *unigram*, how often each
token stands in the training text and nothing else. In bits per byte, for any tokenizer: what a byte costs *gzip*, *xz*
and *bzip2* once they have packed the training text, and a *5-gram*, which knows what followed the last four bytes.

Not here: the model's own figure and the protocol behind it (`perplexity`); when a run passes one (`train/loop`).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from vidro.core.errors import DataError

Counts = NDArray[np.int64]
Keys = NDArray[np.uint64]

TRAIN_BYTES = 4_000_000  # of the training text: gzip looks back 32 kB, bzip2 900 kB, xz 8 MB
VAL_BYTES = 1_000_000  # of the validation text
ORDER = 5

COMPRESSORS: dict[str, Callable[[bytes], int]] = {
    "gzip": lambda data: len(gzip.compress(data, 9, mtime=0)),
    "xz": lambda data: len(lzma.compress(data)),
    "bzip2": lambda data: len(bz2.compress(data)),
}


def token_counts(pieces: Iterable[NDArray[np.integer]], vocab_size: int) -> Counts:
    """How often each id occurs, [V]. Raises DataError for an id outside the vocabulary."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for piece in pieces:
        for start in range(0, len(piece), 1 << 22):  # memory stays flat for shards on disk
            found = np.bincount(piece[start : start + (1 << 22)], minlength=vocab_size)
            if found.size > vocab_size:
                raise DataError(
                    f"token id {found.size - 1} is outside the vocabulary of {vocab_size}",
                    hint="These shards were made with another tokenizer.",
                )
            counts += found
    return counts


def unigram_nats(train_counts: Counts, val_counts: Counts) -> float:
    """Nats per token of the validation tokens when only the training text's token frequencies are known.

    One is added to each training count, so a token that training never had costs much, but not infinity:
    p(i) = (train_i + 1) / (train total + V). Counts are [V]. Raises DataError when validation has no tokens.
    """
    if train_counts.shape != val_counts.shape:
        raise DataError(f"counts of {train_counts.size} and {val_counts.size} different tokens cannot be compared")
    n_val = int(val_counts.sum())
    if n_val == 0:
        raise DataError("there are no validation tokens")
    log_p = np.log(train_counts + 1.0) - math.log(int(train_counts.sum()) + train_counts.size)
    return float(-(val_counts * log_p).sum() / n_val)


def text_yardsticks(train: Iterable[str], val: Iterable[str]) -> dict[str, float]:
    """Bits per byte of the validation text for each yardstick that needs no tokenizer, the weakest first.

    Of each side only the first `TRAIN_BYTES` and `VAL_BYTES` are read, so that a large text takes seconds. Raises
    DataError when validation is empty.
    """
    known, asked = first_bytes(train, TRAIN_BYTES), first_bytes(val, VAL_BYTES)
    if not asked:
        raise DataError("there is no validation text")
    bits = {"uniform": 8.0, "unigram": ngram_bits(known, asked, order=1)}
    bits |= {f"{ORDER}-gram": ngram_bits(known, asked, order=ORDER)}
    bits |= {name: compressed_bits(size, known, asked) for name, size in COMPRESSORS.items()}
    return dict(sorted(bits.items(), key=lambda item: -item[1]))


def first_bytes(texts: Iterable[str], most: int) -> bytes:
    """The texts one after the other as UTF-8, at most `most` bytes of them."""
    found = bytearray()
    for text in texts:
        found += text.encode("utf-8")
        if len(found) >= most:
            break
    return bytes(found[:most])


def compressed_bits(size: Callable[[bytes], int], train: bytes, val: bytes) -> float:
    """Bits per byte of `val` after `train`: how much larger the packed file grows. `size`: bytes of packed data."""
    with ThreadPoolExecutor(2) as pool:  # packers let another thread run meanwhile; xz needs seconds
        larger, smaller = pool.map(size, (train + val, train))
    return 8 * (larger - smaller) / len(val)


def ngram_bits(train: bytes, val: bytes, *, order: int) -> float:
    """Bits per byte of a model that counts which byte followed the last `order` − 1, in `train` only.

    Orders are interpolated from 1/256 upwards after Witten & Bell (1991), method C: a context seen N times, with T
    different bytes after it, gives p(b) = (count(b) + T · p_shorter(b)) / (N + T); one never seen passes on the
    shorter context's. The first bytes of `val` have the end of `train` before them.
    """
    known = np.frombuffer(train, dtype=np.uint8)
    p = np.full(len(val), 1 / 256)
    for n in range(1, min(order, len(train) + 1) + 1):
        grams, counts = np.unique(_grams(known, n), return_counts=True)
        contexts, first = np.unique(grams >> np.uint64(8), return_index=True)  # sorted, as the grams are
        if not first.size:
            break
        asked = _grams(np.frombuffer(train[len(train) - n + 1 :] + val, dtype=np.uint8), n)
        count = _look_up(grams, counts, asked)
        total = _look_up(contexts, np.add.reduceat(counts, first), asked >> np.uint64(8))
        kinds = _look_up(contexts, np.diff(first, append=len(grams)), asked >> np.uint64(8))
        p = np.where(total > 0, (count + kinds * p) / np.maximum(total + kinds, 1), p)
    return float(-np.log2(p).mean())


def _grams(data: NDArray[np.uint8], n: int) -> Keys:
    """Each run of `n` bytes (at most 8) as one number, the last byte lowest."""
    length = max(len(data) - n + 1, 0)
    keys = np.zeros(length, dtype=np.uint64)
    for start in range(n):
        keys = (keys << np.uint64(8)) | data[start : start + length]
    return keys


def _look_up(keys: Keys, values: Counts, asked: Keys) -> Counts:
    """The value of each asked key, 0 where it is not among the sorted `keys`."""
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)
