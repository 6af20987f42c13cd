"""A classifier at work: texts in, classes with probabilities out, and which words made the difference.

A text's ids stand alone, without a mark before them, so that other programs that read the run give the same numbers;
one that was trained elsewhere may have learned to read them after a token that begins every text (`starts`).
Rows are padded behind their last token, which is the one that is read; a model that was trained as the book does it
(`pad_to`) gets every text padded to one length and is read at the last place instead.
Not here: training (`vidro.train.classify`), scores (`vidro.evals.accuracy`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidro.core.errors import DataError, TokenizerError, UsageError
from vidro.core.shapes import Float, Int
from vidro.model.heads import class_logits
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer

BATCH_TOKENS = 8192
SORTED_TOGETHER = 512  # rows that are sorted by length before they are padded


@dataclass(frozen=True, slots=True)
class Row:
    """A text as the model reads it; `n_cut` tokens at its end did not fit."""

    ids: tuple[int, ...]
    n_cut: int = 0

    @property
    def n_inputs(self) -> int:
        """How many tokens the model reads."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class, every class's probability, and how many of the text's tokens were not read."""

    label: str
    probabilities: dict[str, float]
    n_cut: int = 0


@dataclass(frozen=True)
class Reader:
    """Turns texts into rows and rows into padded batches, the same way in training and afterwards.

    `max_tokens`: longer texts are cut there. `pad_to`: the book's way, `starts`: see above.
    """

    tokenizer: Tokenizer
    max_tokens: int
    pad_to: int | None = None
    starts: bool = False

    def row(self, text: str, *, where: str | None = None) -> Row:
        """The ids of one text. Raises DataError for a text without any; `where` says which it is, among several."""
        try:
            ids = self.tokenizer.encode(text)
        except TokenizerError as problem:
            raise TokenizerError(problem.what, where=where, hint=problem.hint) from None
        if not ids or not text.strip():
            raise DataError("there is no text to classify", where=where)
        ids = [self.tokenizer.start_id, *ids] if self.starts else ids
        return Row(tuple(ids[: self.max_tokens]), max(0, len(ids) - self.max_tokens))

    def rows(self, texts: Sequence[str], *, first: int = 1) -> list[Row]:
        """The ids of several texts, of which the first is number `first`. Raises DataError, naming the text."""
        return [self.row(text, where=f"text {number:,}") for number, text in enumerate(texts, start=first)]

    def batch(self, rows: Sequence[Row]) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B"]]:
        """Padded ids, and the place in each row that is read."""
        length = max(len(row.ids) for row in rows) if self.pad_to is None else self.pad_to
        pad = self.tokenizer.padding_id
        ids = torch.tensor([[*row.ids, *[pad] * (length - len(row.ids))] for row in rows])
        ends = [len(row.ids) - 1 if self.pad_to is None else length - 1 for row in rows]
        return ids, torch.tensor(ends)


class ClassifierSession:
    """A classifier and how it reads. Raises UsageError for a language model, which has no classes."""

    def __init__(self, model: Transformer, reader: Reader) -> None:
        if not model.config.labels:
            hint = "Make a classifier of it: vidro finetune classify RUN --data FILE."
            raise UsageError("this run is a language model, not a classifier", hint=hint)
        self.model, self.reader = model, reader
        self.labels = model.config.labels

    def predict(self, text: str) -> Prediction:
        """The class of one text."""
        return self._predictions([self.reader.row(text)])[0]

    def stream(self, texts: Iterable[str], *, together: int = SORTED_TOGETHER) -> Iterator[Prediction]:
        """The class of each text, in order, computed `together` at a time."""
        n_done = 0
        for some in batched(texts, together):
            rows = self.reader.rows(some, first=n_done + 1)
            n_done += len(rows)
            yield from self._predictions(rows)

    def _predictions(self, rows: Sequence[Row]) -> list[Prediction]:
        shares = self.logits(rows).softmax(-1).tolist()
        named = [dict(zip(self.labels, share, strict=True)) for share in shares]
        return [
            Prediction(max(each, key=each.__getitem__), each, row.n_cut) for row, each in zip(rows, named, strict=True)
        ]

    def logits(self, rows: Sequence[Row]) -> Float[Tensor, "N C"]:
        """Scores of each class for each row, in order. Rows of similar length are computed together."""
        order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
        scores = torch.empty(len(rows), len(self.labels))
        device = self.model.token_embedding.weight.device
        with at_rest(self.model):
            for group in self._groups(rows, order):
                ids, last = self.reader.batch([rows[number] for number in group])
                scores[group] = class_logits(self.model, ids.to(device), last.to(device)).float().cpu()
        return scores

    def _groups(self, rows: Sequence[Row], order: Sequence[int]) -> Iterator[list[int]]:
        """Cuts the ordered rows into batches of at most `BATCH_TOKENS` padded tokens."""
        group: list[int] = []
        for number in order:
            length = len(rows[number].ids) if self.reader.pad_to is None else self.reader.pad_to
            if group and (len(group) + 1) * length > BATCH_TOKENS:
                yield group
                group = []
            group.append(number)
        if group:
            yield group

    def explain(self, text: str) -> list[tuple[str, float]]:
        """Each token's text, and by how much the predicted class's log-odds fall when that token is left out.

        Positive: it speaks for the class. Leaving out is the plainest question one can ask; it costs a pass for each
        token. A text of one token cannot be shortened: its weight is 0.
        """
        whole = self.reader.row(text)
        ids = whole.ids
        shorter = [Row(ids[:place] + ids[place + 1 :]) for place in range(len(ids))] if len(ids) > 1 else []
        log_p = self.logits([whole, *shorter]).log_softmax(-1)
        chosen = int(log_p[0].argmax())
        others = torch.cat((log_p[:, :chosen], log_p[:, chosen + 1 :]), dim=1).logsumexp(-1)
        odds = log_p[:, chosen] - others
        weights = (odds[0] - odds[1:]).tolist() if shorter else [0.0]
        return list(zip((self.reader.tokenizer.token_text(number) for number in ids), weights, strict=True))


def batched(texts: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """The texts in groups of `size` (`itertools.batched`, which Python 3.11 lacks)."""
    left = iter(texts)
    while some := tuple(itertools.islice(left, size)):
        yield some
