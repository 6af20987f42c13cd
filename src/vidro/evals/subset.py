"""The look at validation while training: a fixed, evenly spaced part of the windows, chosen once, kept on the device.

The windows are those of the full protocol (`perplexity`), so that a subset of all windows gives the full figure.
Its bytes are counted from its tokens, so bits per byte are right for the part too.
Not here: when to look (`vidro.train.loop`), what to make of it (`vidro.train.watch`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vidro.core.errors import DataError
from vidro.evals.perplexity import BATCH_TOKENS, Batch, TextScore, Window, batches, sum_of_nats
from vidro.model.transformer import Transformer

Ids = NDArray[np.integer]


class ValSubset:
    """About `n_windows` × `context_length` tokens of the validation stream, or all of it when that is less.

    `tokens` [N] is the stream with one `<|endoftext|>` after each document, `document_ends` the places just past
    each of those, `byte_lengths` [V] the UTF-8 bytes that each id stands for. Raises DataError for an empty stream.
    """

    def __init__(
        self,
        tokens: Ids,
        document_ends: Ids,
        byte_lengths: Ids,
        *,
        eot_id: int,
        context_length: int,
        n_windows: int,
        device: torch.device | str = "cpu",
    ) -> None:
        ends = np.asarray(document_ends).astype(np.int64)
        starts = np.concatenate([[0], ends[:-1]])
        lengths = ends - starts - 1  # without the <|endoftext|>
        if lengths.sum() <= 0:
            raise DataError("the validation text has no tokens", hint="Give a longer text, or one with --val.")
        windows = [
            _window(tokens[start : start + length], number, eot_id, context_length)
            for start, length, number in _evenly(starts, lengths, context_length, n_windows)
        ]
        self.n_windows = len(windows)
        self.n_tokens = sum(len(targets) for _, targets in windows)
        self.n_bytes = int(sum(int(np.asarray(byte_lengths)[targets].sum()) for _, targets in windows))
        rows = max(1, BATCH_TOKENS // context_length)
        self._batches: list[Batch] = [
            (ids.to(device), targets.to(device)) for ids, targets in batches(windows, rows=rows, length=context_length)
        ]

    def evaluate(self, model: Transformer) -> TextScore:
        """The score of the chosen windows; the model is left as it was (training mode, gradients)."""
        sum_nats, n_tokens = sum_of_nats(model, self._batches)
        return TextScore.of(sum_nats, n_tokens=n_tokens, n_bytes=self.n_bytes)


def _evenly(starts: Ids, lengths: Ids, context_length: int, n_windows: int) -> list[tuple[int, int, int]]:
    """(document start, document length, number of the window in it) of evenly spaced windows.

    Documents shorter than a window have short windows: as many are taken as make up the wanted number of tokens.
    """
    per_document = -(-lengths // context_length)
    last = np.cumsum(per_document)
    share = min(1.0, n_windows * context_length / int(lengths.sum()))
    chosen = max(1, round(share * int(last[-1])))
    picks = ((np.arange(chosen) + 0.5) * int(last[-1]) / chosen).astype(np.int64)
    documents = np.searchsorted(last, picks, side="right")
    numbers = picks - (last - per_document)[documents]
    return [(int(starts[d]), int(lengths[d]), int(k)) for d, k in zip(documents, numbers, strict=True)]


def _window(document: Ids, number: int, eot_id: int, length: int) -> Window:
    """Window `number` of a document; the same as `document_windows` gives, without making the others."""
    before = [eot_id] if number == 0 else document[number * length - 1 : number * length]
    inside = document[number * length : (number + 1) * length]
    line = np.concatenate([before, inside]).astype(np.int64)
    return line[:-1], line[1:]
