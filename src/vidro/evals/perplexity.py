"""How well a model predicts a text, by the one protocol that all of Vidro's figures follow.

Every token is predicted once. `<|endoftext|>` is the context of a document's first token; then come windows of
`context_length` that do not overlap, each starting from the last token of the one before, with no other carry:

    ids          a b c d e f g          context_length 3
    window 1     · a b → a b c          · is <|endoftext|>
    window 2     c d e → d e f
    window 3     f     → g

The nats of all tokens are added up and divided by the UTF-8 bytes of the original text, so that models with
different tokenizers can be compared; a text that the tokenizer cannot give back exactly is refused. With `stride`,
windows overlap and each predicts only its last `stride` tokens: slower, and a little lower, never to be mixed up.

Not here: the loss (`vidro.model.loss`), the look at validation while training (`subset`), what the figures are
compared with (`yardsticks`). Twin: `tests/equal/test_evaluation_equal.py`, one token at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidro.core.errors import DataError, UsageError
from vidro.core.shapes import Int
from vidro.model.loss import IGNORE, lm_loss
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer

Ids = NDArray[np.integer]
Window = tuple[NDArray[np.int64], NDArray[np.int64]]  # inputs and targets of one length; IGNORE = not counted here
Batch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]

BATCH_TOKENS = 8192
_CHECKED_AT_ONCE = 1 << 16  # tokens
_SORTED_TOGETHER = 64  # batches of short windows that are sorted by length before they are padded


@dataclass(frozen=True)
class TextScore:
    """The figures of one text, or of several together. `stride` is None for the standard protocol."""

    nats_per_byte: float
    bits_per_byte: float
    nats_per_token: float
    perplexity: float
    n_bytes: int
    n_tokens: int
    stride: int | None = None

    @classmethod
    def of(cls, sum_nats: float, *, n_tokens: int, n_bytes: int, stride: int | None = None) -> TextScore:
        """All figures from the three sums. Perplexity is e to the nats per token, infinite past e^709."""
        nats_per_byte, nats_per_token = sum_nats / n_bytes, sum_nats / n_tokens
        return cls(
            nats_per_byte=nats_per_byte,
            bits_per_byte=nats_per_byte / math.log(2),
            nats_per_token=nats_per_token,
            perplexity=math.exp(nats_per_token) if nats_per_token < 709 else math.inf,
            n_bytes=n_bytes,
            n_tokens=n_tokens,
            stride=stride,
        )

    def event_fields(self) -> dict[str, Any]:
        """The fields of an `eval` event: plain numbers, and an infinite perplexity as None (JSON has no infinity)."""
        fields = asdict(self)
        del fields["stride"]
        return {**fields, "perplexity": None if math.isinf(self.perplexity) else self.perplexity}


def score_text(
    model: Transformer,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    context_length: int | None = None,
    batch: int | None = None,
    stride: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> TextScore:
    """The score of `texts`, each a document of its own; `batch` windows at once (None: as suits the context).

    `progress` hears the number of tokens done so far. Raises DataError for empty texts and for a text that the
    tokenizer cannot give back exactly.
    """
    n_bytes = sum(len(text.encode("utf-8")) for text in texts)
    if n_bytes == 0:
        raise DataError("there is no text to evaluate")
    documents = tokenizer.encode_batch(list(texts))
    for number, (text, ids) in enumerate(zip(texts, documents, strict=True), start=1):
        check_lossless(tokenizer, text, ids, where=f"document {number}" if len(texts) > 1 else None)
    sum_nats, n_tokens = evaluate_tokens(
        model,
        documents,
        eot_id=tokenizer.start_id,
        context_length=context_length,
        batch=batch,
        stride=stride,
        progress=progress,
    )
    return TextScore.of(sum_nats, n_tokens=n_tokens, n_bytes=n_bytes, stride=stride)


def check_lossless(tokenizer: Tokenizer, text: str, ids: Ids, *, where: str | None = None) -> None:
    """Raise DataError unless decoding the ids gives back the text, character for character."""
    if _gives_back(tokenizer, text, ids):
        return
    back = tokenizer.decode(ids.tolist())
    pairs = enumerate(zip(text, back, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(text), len(back)))
    raise DataError(
        f"the tokenizer does not give this text back exactly: it differs at character {place} "
        f"({text[place : place + 10]!r} became {back[place : place + 10]!r})",
        where=where,
        hint="Figures per byte would be wrong. Evaluate with a lossless tokenizer (bpe, bytes).",
    )


def _gives_back(tokenizer: Tokenizer, text: str, ids: Ids) -> bool:
    """Whether the ids decode to the text; piece by piece where tokens are bytes side by side, so memory stays flat."""
    if not tokenizer.lossless:
        return tokenizer.decode(ids.tolist()) == text
    data, place = text.encode("utf-8"), 0
    for start in range(0, len(ids), _CHECKED_AT_ONCE):
        piece = b"".join([tokenizer.token_bytes(token) for token in ids[start : start + _CHECKED_AT_ONCE].tolist()])
        if data[place : place + len(piece)] != piece:
            return False
        place += len(piece)
    return place == len(data)


def evaluate_tokens(
    model: Transformer,
    documents: Iterable[Ids],
    *,
    eot_id: int,
    context_length: int | None = None,
    batch: int | None = None,
    stride: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[float, int]:
    """(nats of all tokens, number of tokens) of documents given as ids without `<|endoftext|>`.

    Runs where the model is, in evaluation mode, without gradients. Raises UsageError for an impossible stride.
    """
    length = model.config.context_length if context_length is None else context_length
    if stride is not None and not 1 <= stride <= length:
        raise UsageError(f"{stride} is not possible", where="stride", hint=f"It must be between 1 and {length}.")
    rows = max(1, BATCH_TOKENS // length) if batch is None else batch
    windows = (window for ids in documents for window in document_windows(ids, eot_id, length, stride=stride))
    return sum_of_nats(model, batches(windows, rows=rows, length=length), progress=progress)


def document_windows(ids: Ids, eot_id: int, length: int, *, stride: int | None = None) -> Iterator[Window]:
    """The windows of one document in order: (inputs, targets), at most `length` long."""
    line = np.concatenate([[eot_id], ids])
    step = length if stride is None else stride
    done = 0  # tokens predicted so far
    while done < len(ids):
        new = min(step if done else length, len(ids) - done)
        start = 0 if done == 0 else done - (length - step)
        inputs, targets = line[start : done + new], line[start + 1 : done + new + 1].copy()
        targets[: len(targets) - new] = IGNORE
        yield inputs, targets
        done += new


def batches(windows: Iterable[Window], *, rows: int, length: int) -> Iterator[Batch]:
    """Windows side by side, padded on the right, where nothing that is counted can see it.

    Full windows go `rows` at a time; shorter ones wait until there are many, so that like lengths go together.
    """
    full: list[Window] = []
    short: list[Window] = []
    for window in windows:
        kind = full if len(window[0]) == length else short
        kind.append(window)
        if len(full) == rows:
            yield padded(full)
            full = []
        if len(short) == rows * _SORTED_TOGETHER:
            yield from _by_length(short, tokens=rows * length)
            short = []
    yield from _by_length(full + short, tokens=rows * length)


def _by_length(windows: list[Window], *, tokens: int) -> Iterator[Batch]:
    """Batches of at most `tokens` padded tokens, longest windows first."""
    rest = sorted(windows, key=lambda window: -len(window[0]))
    while rest:
        rows = max(1, tokens // len(rest[0][0]))
        yield padded(rest[:rows])
        rest = rest[rows:]


def padded(windows: Sequence[Window]) -> Batch:
    """Inputs and targets as two tensors [B, T]; what is added has id 0 and target IGNORE."""
    shape = (len(windows), max(len(inputs) for inputs, _ in windows))
    ids, targets = np.zeros(shape, dtype=np.int64), np.full(shape, IGNORE, dtype=np.int64)
    for row, (inputs, wanted) in enumerate(windows):
        ids[row, : len(inputs)], targets[row, : len(wanted)] = inputs, wanted
    return torch.from_numpy(ids), torch.from_numpy(targets)


def sum_of_nats(
    model: Transformer, parts: Iterable[Batch], *, progress: Callable[[int], None] | None = None
) -> tuple[float, int]:
    """(nats, counted tokens) over all batches. Without `progress` the device is waited for only once, at the end."""
    device = model.token_embedding.weight.device
    sums: list[Tensor] = []
    done = 0
    with at_rest(model):
        for ids, targets in parts:
            nats, count = lm_loss(model, ids.to(device), targets.to(device))
            sums.append(torch.stack([nats, count.to(nats.dtype)]))
            if progress is not None:
                done += int(count)
                progress(done)
    both = torch.stack(sums).tolist() if sums else []
    return math.fsum(nats for nats, _ in both), int(sum(count for _, count in both))


def word_perplexity(score: TextScore, texts: Iterable[str]) -> float:
    """Perplexity per word, as papers report it for WikiText-2 and PTB: e to the (all nats / `count_words`).

    Whatever the model's tokens are, the nats of the whole text are shared out over the words it is made of.
    """
    return math.exp(score.nats_per_token * score.n_tokens / sum(count_words(text) for text in texts))


def count_words(text: str) -> int:
    """Words between blanks, and one `<eos>` a line (a last line without line end counts too).

    >>> count_words("the cat\\n\\nsat\\n")
    6
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return sum(len(line.split()) + 1 for line in lines)
