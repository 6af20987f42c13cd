"""Ids in, ids out: a batch of texts continued token by token, each in a slot of the key/value cache.

    prefill   the prompt but its last token goes through the model once; only keys and values are kept
    step      the last token of every text goes through together; its logits choose the next one

A row's tokens do not depend on its neighbours: prompts are prefilled one by one, each row has its own filters and
dice, and the step always computes all slots over the whole capacity, taken or not. In the same slot of as many slots a
row is bit-for-bit what it is alone. Another slot, or one slot instead of eight, may take another kernel or a shorter
look back: the numbers then differ by rounding (1e-6 nats), and the tokens only where two are that close.
A slot whose text has ended is taken by the next prompt that waits. While none waits it is computed and thrown away:
the price of a fixed shape. A step of eight slots takes 1.3 times that of one for a toy, 2.7 times for GPT-2 124M (CPU).

`decode_without_cache` says the same in twenty lines, without cache and batch; tests hold the two equal.
Not here: text (`session`), the filters (`model/sampling`). Read next: `session`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidro.config.schema import SamplingOptions
from vidro.core.errors import UsageError
from vidro.core.shapes import Bool, Float
from vidro.model.cache import KVCache
from vidro.model.modes import evaluating
from vidro.model.sampling import DROPPED, Filter, filters_in_order, greedy, is_greedy, log_probabilities, sample
from vidro.model.transformer import Transformer

BATCH_SLOTS = 8
"""Slots when several texts are continued: one number for any batch, so that its size changes no row."""


@dataclass(frozen=True, slots=True)
class Step:
    """One token of one row."""

    row: int
    """Which prompt, counted from 0."""

    id: int
    """The chosen token; with `finish` "eos" it is the end mark, which is no part of the text."""

    logprob_nats: float
    """ln of its probability under the model itself: before penalty, temperature and cuts."""

    top: tuple[tuple[int, float], ...] = ()
    """The most probable tokens of the same distribution with their nats, best first, as many as were asked for."""

    finish: str | None = None
    """Why the row ends here: "eos", "length" (max_tokens), "context" (full, `on_full` = stop); None: it goes on."""

    slid: bool = False
    """The context was full: the next token sees only the last half of it."""


@dataclass
class Row:
    """One text in its slot."""

    row: int
    context: list[int]
    options: SamplingOptions
    generator: torch.Generator | None
    filters: list[Filter]
    seen: Bool[Tensor, "1 V"]
    n_made: int = 0
    prefilled: bool = False


class Decoder:
    """A fixed number of slots, each continuing one text: `admit` fills a free one, `step` moves all on by a token."""

    def __init__(
        self, model: Transformer, *, slots: int, eot_id: int | None, capacity: int | None = None,
        forbidden: Sequence[int] = (), top: int = 0,
    ) -> None:  # fmt: skip
        """`capacity`: most tokens of a row, prompt and continuation; the context length if None, and at most that.

        Ids in `forbidden` are never chosen. `top`: how many of the most probable tokens each `Step` names.
        """
        self.model, self.eot_id, self.top = model, eot_id, top
        self.limit = model.config.context_length
        self.capacity = self.limit if capacity is None else capacity
        self.device = model.token_embedding.weight.device
        self.forbidden = torch.tensor(list(forbidden), dtype=torch.long, device=self.device)
        self.cache = self._make_cache(slots, fixed=slots > 1)
        self.slots: list[Row | None] = [None] * slots
        self._prefilled: tuple[list[int], KVCache] | None = None

    @property
    def free(self) -> int:
        """How many more texts can be admitted now."""
        return self.slots.count(None)

    def admit(
        self, row: int, prompt: Sequence[int], options: SamplingOptions, generator: torch.Generator | None = None
    ) -> None:
        """Put a prompt into a free slot; its tokens will be called `row`.

        Raises UsageError when the prompt is empty or longer than the context.
        """
        check_prompt(prompt, self.limit)
        assert min(len(prompt) + options.max_tokens, self.limit) <= self.capacity, "the slots are too short"
        assert generator is not None or is_greedy(options), "a draw needs dice"
        seen = torch.zeros(1, self.model.config.vocab_size, dtype=torch.bool, device=self.device)
        seen[0, [token for token in prompt if token != self.eot_id]] = True
        filters = filters_in_order(options)
        self.slots[self.slots.index(None)] = Row(row, list(prompt), options, generator, filters, seen)

    def leave(self, row: int) -> None:
        """End a row from outside (a stop string was found) and free its slot."""
        for slot, held in enumerate(self.slots):
            if held is not None and held.row == row:
                self.slots[slot] = None
                self.cache.truncate(slot, 0)

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """The next token of every text; those that end free their slots. Raises ModelError when logits are NaN."""
        taken = [(slot, row) for slot, row in enumerate(self.slots) if row is not None]
        if not taken:
            return []
        for slot, row in taken:
            if not row.prefilled:
                self._prefill(slot, row.context[:-1])
                row.prefilled = True
        idle = 0  # any id does
        last = [idle if row is None else row.context[-1] for row in self.slots]
        logits = step(self.model, self.cache, last, [row is not None for row in self.slots])
        chosen = torch.tensor([slot for slot, _ in taken], device=self.device)
        logits = logits[chosen].float()
        logprobs = log_probabilities(logits)
        logits = logits.index_fill(-1, self.forbidden, DROPPED)
        return [self._choose(row, logits[i : i + 1], logprobs[i]) for i, (_, row) in enumerate(taken)]

    def _make_cache(self, rows: int, *, fixed: bool) -> KVCache:
        dtype = self.model.token_embedding.weight.dtype
        return KVCache(self.model.config, rows, self.capacity, self.device, dtype, fixed=fixed)

    def _prefill(self, slot: int, ids: list[int]) -> None:
        """Fill one slot with a prompt, computed alone; several samples of one prompt compute it once."""
        self.cache.truncate(slot, 0)
        if not ids:
            return
        if len(self.slots) == 1:
            prefill(self.model, self.cache, ids)
            return
        if self._prefilled is None or self._prefilled[0] != ids:
            alone = self._make_cache(1, fixed=False)
            prefill(self.model, alone, ids)
            self._prefilled = (ids, alone)
        self.cache.place(slot, self._prefilled[1])

    def _choose(self, row: Row, logits: Float[Tensor, "1 V"], logprobs: Float[Tensor, "V"]) -> Step:
        """One token from one row's logits; the row moves on, slides or ends."""
        chosen = choose(logits, row.filters, row.seen, row.generator)
        row.n_made += 1
        row.context.append(chosen)
        if chosen != self.eot_id:
            row.seen[0, chosen] = True
        finish, slid = self._finish(row, chosen), False
        if finish is not None:
            self.leave(row.row)
        elif len(row.context) > self.limit:
            row.context, row.prefilled, slid = last_half(row.context, self.limit), False, True
        return Step(row.row, chosen, float(logprobs[chosen]), most_probable(logprobs, self.top), finish, slid)

    def _finish(self, row: Row, chosen: int) -> str | None:
        if chosen == self.eot_id:
            return "eos"
        if row.n_made >= row.options.max_tokens:
            return "length"
        if len(row.context) > self.limit and row.options.on_full == "stop":
            return "context"
        return None


def decode(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    eot_id: int | None,
    generators: Sequence[torch.Generator] | None = None,
    slots: int | None = None,
    top: int = 0,
) -> Iterator[Step]:
    """Continue every prompt until it ends; yields tokens in the order in which they are made.

    `generators`: one per prompt, needed unless greedy. `slots`: 1 for one prompt and 8 for more, if None; prompts
    beyond that wait for a free one. Raises UsageError for an empty prompt or one longer than the context.
    """
    for prompt in prompts:
        check_prompt(prompt, model.config.context_length)
    if slots is None:
        slots = 1 if len(prompts) == 1 else BATCH_SLOTS
    longest = max((len(prompt) for prompt in prompts), default=0)
    capacity = enough(longest + options.max_tokens, model.config.context_length)
    decoder = Decoder(model, slots=slots, eot_id=eot_id, capacity=capacity, top=top)
    waiting = deque(enumerate(prompts))
    with evaluating(model):
        while waiting or decoder.free < slots:
            while waiting and decoder.free:
                row, prompt = waiting.popleft()
                decoder.admit(row, prompt, options, None if generators is None else generators[row])
            yield from decoder.step()


def decode_without_cache(
    model: Transformer,
    prompt: Sequence[int],
    options: SamplingOptions,
    *,
    eot_id: int | None,
    generator: torch.Generator | None = None,
) -> list[int]:
    """The readable twin: one text, every token computed from the whole context; returns the ids of the continuation."""
    limit, filters = model.config.context_length, filters_in_order(options)
    context, made = list(prompt), []
    device = model.token_embedding.weight.device
    with evaluating(model), torch.inference_mode():
        while len(made) < options.max_tokens:
            logits = model(torch.tensor([context], device=device))[:, -1].float()
            seen = torch.zeros_like(logits, dtype=torch.bool)
            seen[0, [token for token in (*prompt, *made) if token != eot_id]] = True
            chosen = choose(logits, filters, seen, generator)
            if chosen == eot_id:
                break
            made.append(chosen)
            context.append(chosen)
            if len(context) > limit:
                if options.on_full == "stop":
                    break
                context = last_half(context, limit)
    return made


@torch.inference_mode()
def prefill(model: Transformer, cache: KVCache, ids: Sequence[int]) -> None:
    """Put ids behind what a cache of one row holds; no logits, so the head is not computed."""
    model.hidden(torch.tensor([list(ids)], device=cache.keys.device), cache=cache)
    cache.advance(len(ids))


@torch.inference_mode()
def step(model: Transformer, cache: KVCache, ids: Sequence[int], real: Sequence[bool]) -> Float[Tensor, "B V"]:
    """Feed one token to every row; logits of the next. Rows that are not `real` are computed but remember nothing."""
    logits = model(torch.tensor(ids, device=cache.keys.device)[:, None], cache=cache)
    cache.advance([int(each) for each in real])
    return logits[:, -1]


def choose(
    logits: Float[Tensor, "1 V"],
    filters: Sequence[Filter],
    seen: Bool[Tensor, "1 V"],
    generator: torch.Generator | None,
) -> int:
    """The next id of one row: all filters in order, then the most probable (no generator) or a draw."""
    for station in filters:
        logits = station.apply(logits, seen)
    return int(greedy(logits) if generator is None else sample(logits, [generator]))


def most_probable(logprobs: Float[Tensor, "V"], count: int) -> tuple[tuple[int, float], ...]:
    """The `count` most probable (id, nats), best first."""
    if count == 0:
        return ()
    best = logprobs.topk(min(count, len(logprobs)))
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def last_half(context: list[int], limit: int) -> list[int]:
    """What is kept when `limit` tokens are exceeded: the last half of the context, at least one token."""
    return context[-max(1, limit // 2) :]


def enough(n_tokens: int, limit: int) -> int:
    """A cache capacity for `n_tokens`: the next power of two, at least 64, at most the context (few different ones)."""
    return min(limit, max(64, 1 << (n_tokens - 1).bit_length()))


def check_prompt(prompt: Sequence[int], limit: int) -> None:
    """Raise UsageError when a prompt is empty or longer than the context."""
    if not prompt:
        raise UsageError("there is no token to continue from", where="prompt")
    if len(prompt) > limit:
        raise UsageError(
            f"it is {len(prompt):,} tokens long, and the model sees {limit:,} at once",
            where="prompt",
            hint=f"Shorten it to at most {limit:,} tokens.",
        )
