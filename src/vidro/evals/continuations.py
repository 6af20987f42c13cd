"""How probable a model finds a continuation after a context: the question behind most multiple-choice tests.

A question with four answers is four pairs with one context. The context goes through the model once, its keys and
values are copied for each answer, and the four answers go through together:

    context      q u e s t i o n           computed once, all but its last token
    row 1                      n  y e s    → y e s .
    row 2                      n  n o      → n o .

Pairs that stand alone go through whole. Answers that differ only in their last token are one row: the logits of that
place know all of them. Rows of like lengths go together, padded on the right, where nothing that counts can see it.

Not here: text and its tokens (`harness`), perplexity of whole texts (`perplexity`). Read next: `harness`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from vidro.core.errors import DataError
from vidro.core.shapes import Float, Int
from vidro.evals.perplexity import BATCH_TOKENS
from vidro.model.cache import KVCache
from vidro.model.loss import default_chunk
from vidro.model.modes import evaluating
from vidro.model.sampling import log_probabilities
from vidro.model.transformer import Transformer

Ids = tuple[int, ...]

CACHE_TOKENS = 4096  # keys and values held at once, all rows together: 300 MB for GPT-2 124M
SHARED_FROM_TOKENS = 16  # a shorter context is cheaper computed again than copied


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What a model thinks of one continuation."""

    logprob_nats: float
    """ln of its probability, all its tokens together."""

    greedy: bool
    """Whether each of its tokens is the one that the model finds most probable there."""


@dataclass
class Row:
    """One pass: the context, what is fed behind it, and which pairs it answers."""

    context: Ids
    fed: Ids
    """The continuation without its last token, which nothing follows."""

    asked: list[tuple[int, Ids]] = field(default_factory=list)
    """Number of the pair and its continuation."""


def cut_to_fit(context: Ids, continuation: Ids, limit: int) -> tuple[Ids, int]:
    """The context without as many of its first tokens as have no room in `limit`, and how many were cut.

    The last token of a continuation is only predicted, never fed, so it takes no room.

    >>> cut_to_fit((1, 2, 3, 4), (5, 6), 4)
    ((2, 3, 4), 1)

    Raises DataError when the continuation alone has no room.
    """
    n_cut = max(0, len(context) + len(continuation) - 1 - limit)
    if n_cut >= len(context):
        what = f"a continuation of {len(continuation):,} tokens does not fit into the context of {limit:,}"
        raise DataError(what, hint="Use a model with a longer context, or a task with shorter answers.")
    return context[n_cut:], n_cut


def score_continuations(
    model: Transformer, pairs: Sequence[tuple[Ids, Ids]], *, progress: Callable[[int], None] | None = None
) -> list[Likelihood]:
    """The likelihood of each (context, continuation), both not empty and together within the context length.

    Equal pairs are computed once. `progress` hears how many pairs are done.
    """
    found: list[Likelihood | None] = [None] * len(pairs)
    done = 0
    with evaluating(model), torch.inference_mode():
        for rows, shared in _batches(rows_of(pairs)):
            hidden = _after_contexts(model, rows) if shared else _whole(model, rows)
            starts = [0 if shared else len(row.context) - 1 for row in rows]
            for number, likelihood in _read_off(model, hidden, rows, starts):
                found[number] = likelihood
                done += 1
            if progress is not None:
                progress(done)
    return [each for each in found if each is not None]


def rows_of(pairs: Sequence[tuple[Ids, Ids]]) -> list[Row]:
    """The passes that answer all pairs.

    >>> [(row.fed, len(row.asked)) for row in rows_of([((1,), (2, 3)), ((1,), (2, 4)), ((1,), (5,)), ((1,), (2, 3))])]
    [((2,), 3), ((), 1)]
    """
    rows: dict[tuple[Ids, Ids], Row] = {}
    for number, (context, continuation) in enumerate(pairs):
        fed = continuation[:-1]
        rows.setdefault((context, fed), Row(context, fed)).asked.append((number, continuation))
    return list(rows.values())


def _batches(rows: Sequence[Row]) -> Iterator[tuple[list[Row], bool]]:
    """Rows that go together, and whether their contexts are computed apart; the longest first."""
    siblings: dict[Ids, list[Row]] = defaultdict(list)
    for row in rows:
        siblings[row.context].append(row)
    alone: list[Row] = []
    related: list[Row] = []
    for context, group in siblings.items():
        worth_it = len(group) > 1 and len(context) > SHARED_FROM_TOKENS
        (related if worth_it else alone).extend(group)
    alone.sort(key=lambda row: -len(row.context) - len(row.fed))
    related.sort(key=lambda row: (-len(row.context), row.context, -len(row.fed)))
    yield from ((batch, False) for batch in _cut(alone, BATCH_TOKENS))
    yield from ((batch, True) for batch in _cut(related, CACHE_TOKENS))


def _cut(rows: Sequence[Row], most_tokens: int) -> Iterator[list[Row]]:
    """Consecutive rows, as many as have at most that many tokens once they are padded to the longest."""
    batch: list[Row] = []
    longest = 0
    for row in rows:
        longer = max(longest, len(row.context) + len(row.fed))
        if batch and longer * (len(batch) + 1) > most_tokens:
            yield batch
            batch, longer = [], len(row.context) + len(row.fed)
        batch.append(row)
        longest = longer
    if batch:
        yield batch


def _whole(model: Transformer, rows: Sequence[Row]) -> Float[Tensor, "B T D"]:
    """Each row from its first token on."""
    return model.hidden(_side_by_side(model, [row.context + row.fed for row in rows]))


def _after_contexts(model: Transformer, rows: Sequence[Row]) -> Float[Tensor, "B T D"]:
    """The last token of each context and what is fed behind it; what stands before was computed once a context."""
    contexts = [context[:-1] for context, _ in groupby(row.context for row in rows)]
    before = _cache(model, len(contexts), max(map(len, contexts)))
    model.hidden(_side_by_side(model, contexts), cache=before)
    before.advance([len(context) for context in contexts])
    cache = _cache(model, len(rows), max(len(row.context) + len(row.fed) for row in rows))
    place = {context: number for number, context in enumerate(contexts)}
    for number, row in enumerate(rows):
        cache.place(number, before, place[row.context[:-1]])
    return model.hidden(_side_by_side(model, [row.context[-1:] + row.fed for row in rows]), cache=cache)


def _cache(model: Transformer, rows: int, capacity: int) -> KVCache:
    weight = model.token_embedding.weight
    return KVCache(model.config, rows, capacity, weight.device, weight.dtype)


def _side_by_side(model: Transformer, lines: Sequence[Ids]) -> Int[Tensor, "B T"]:
    """The ids as one tensor, padded with 0 on the right, where the model is."""
    longest = max(map(len, lines))
    padded = [[*line, *[0] * (longest - len(line))] for line in lines]
    return torch.tensor(padded, device=model.token_embedding.weight.device)


def _read_off(
    model: Transformer, hidden: Float[Tensor, "B T D"], rows: Sequence[Row], starts: Sequence[int]
) -> Iterator[tuple[int, Likelihood]]:
    """The likelihood of each pair; the first token of row i's continuations is predicted at place starts[i]."""
    asked = [(place, start, *pair) for place, (row, start) in enumerate(zip(rows, starts, strict=True))
             for pair in row.asked]  # fmt: skip
    at = [(place, start + i) for place, start, _, tokens in asked for i in range(len(tokens))]
    targets = torch.tensor([token for *_, tokens in asked for token in tokens], device=hidden.device)
    picked = hidden[[place for place, _ in at], [token for _, token in at]]
    chunk = default_chunk(model.token_embedding.weight)
    nats, greedy = [], []
    for h, target in zip(picked.split(chunk), targets.split(chunk), strict=True):
        logprobs = log_probabilities(model.head(h))
        nats.append(logprobs.gather(1, target[:, None])[:, 0])
        greedy.append(logprobs.argmax(dim=-1) == target)
    all_nats, all_greedy, done = torch.cat(nats).tolist(), torch.cat(greedy).tolist(), 0
    for _, _, number, tokens in asked:
        mine = slice(done, done + len(tokens))
        yield number, Likelihood(math.fsum(all_nats[mine]), all(all_greedy[mine]))
        done += len(tokens)
