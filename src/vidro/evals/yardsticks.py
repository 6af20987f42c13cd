"""What a model must beat: yardsticks that need no training, drawn as lines into the loss plot.

uniform: every token equally likely, ln V nats a token, what a fresh model knows. unigram: how often each token
stands in the training text and nothing else. Not here: compressors (gzip …) and n-grams, which come with the
evaluation report; the protocol they are compared under (`perplexity`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vidro.core.errors import DataError

Counts = NDArray[np.int64]


def uniform_nats(vocab_size: int) -> float:
    """Nats per token of a model for which all tokens are equally likely: ln V.

    >>> round(uniform_nats(4096), 3)
    8.318
    """
    return math.log(vocab_size)


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


def per_byte(nats_per_token: float, *, n_tokens: int, n_bytes: int) -> float:
    """The same total of nats, shared out over the text's UTF-8 bytes."""
    return nats_per_token * n_tokens / n_bytes
