"""One token, slowly: every step from text to the next token, with the model's real numbers.

    text → ids → embeddings (+ positions) → blocks → last vector → logits → softmax → filters → draw → id → text

What is computed here is what `session` computes: the same filters, the same dice, the same token for the same seed.
Not here: how it looks on paper (`explain_text`), longer looks inside (`vidro.inspect`). Read next: `explain_text`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.shapes import Float
from vidro.infer.decode import last_half
from vidro.infer.session import Session
from vidro.model.modes import evaluating
from vidro.model.sampling import (
    DROPPED,
    Filter,
    check_conflicts,
    filters_in_order,
    greedy,
    is_greedy,
    line_up,
    locate,
    log_probabilities,
    throw,
)
from vidro.model.trace import Trace
from vidro.model.transformer import Transformer
from vidro.text.stream import StreamDecoder
from vidro.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class BlockView:
    """The last token's vector after one block."""

    norm: float
    """Its length √Σx²."""

    looks_at: int
    """The place (counted from 0) that the last token looks at most, all heads averaged."""

    look_share: float
    """How much of its attention goes there."""

    guess: int
    """The token that final norm and head would choose from this vector already ("logit lens")."""

    guess_probability: float


@dataclass(frozen=True)
class Stage:
    """All candidates at one station; those that were cut have probability 0."""

    label: str
    probabilities: Float[np.ndarray, "V"]

    @property
    def n_left(self) -> int:
        """How many tokens can still be chosen."""
        return int((self.probabilities > 0).sum())


@dataclass(frozen=True)
class Explanation:
    """Everything between a prompt and its next token. Arrays are float32; T tokens, width D, vocabulary V."""

    prompt: str
    config: ModelConfig
    ids: list[int]
    pieces: list[str]
    """One per id, for people."""

    marked: bool
    """Whether the first id is the end mark of "the document before", put there for the model."""

    token_vectors: Float[np.ndarray, "T D"]
    position_vectors: Float[np.ndarray, "T D"] | None
    """Learned vectors that are added (gpt2); None where the position turns queries and keys instead."""

    input_norm: float
    """Length of the last token's vector before the first block."""

    blocks: list[BlockView]
    last_vector: Float[np.ndarray, "D"]
    """After the final norm: what the head multiplies."""

    logits: Float[np.ndarray, "V"]
    stages: list[Stage]
    """First the model's own probabilities ("softmax"), then after each filter."""

    seed: int | None
    u: float | None
    """Where the dice fell, in [0, 1); None for greedy."""

    chosen: int
    chosen_span: tuple[float, float]
    """The chosen token's part of the line from 0 to 1."""

    chosen_text: str
    """What it adds to the text: nothing yet where it is half a character."""

    chosen_ends: bool
    """Whether it is the end mark."""

    named: dict[int, str]
    """How people see the ids that matter here: the most probable ones, the blocks' guesses, the chosen one."""

    def __str__(self) -> str:
        from vidro.infer.explain_text import render

        return render(self)

    def best(self, count: int) -> list[int]:
        """The most probable named ids under the model itself; the chosen one is the last where it is not among them."""
        order = np.argsort(-self.stages[0].probabilities, kind="stable")
        ids = [int(number) for number in order[: len(self.named)] if int(number) in self.named][:count]
        return ids if self.chosen in ids else [*ids[: count - 1], self.chosen]


def explain(model: Transformer, tokenizer: Tokenizer, prompt: str, options: SamplingOptions) -> Explanation:
    """The making of the next token after `prompt`, as `Session.stream` would choose it with the same seed.

    Raises UsageError and TokenizerError as the session does.
    """
    return next(explanations(model, tokenizer, prompt, options))


def explanations(
    model: Transformer, tokenizer: Tokenizer, prompt: str, options: SamplingOptions, *, n_named: int = 20
) -> Iterator[Explanation]:
    """The making of one token after another, to the end of the text; mistakes are raised here, before the first.

    `n_named`: how many of the most probable tokens are named each time.
    """
    check_conflicts(options)
    session = Session(model, tokenizer)
    ids = session.encode(prompt)
    seed = None if is_greedy(options) else session.draw_seed() if options.seed is None else options.seed
    teller = _Teller(session, _with_text_only(session, filters_in_order(options)), seed, n_named)
    return _one_after_another(teller, ids, prompt, options)


def _one_after_another(teller: _Teller, ids: list[int], prompt: str, options: SamplingOptions) -> Iterator[Explanation]:
    limit, said = teller.session.context_length, list(ids)
    for _ in range(options.max_tokens):
        with evaluating(teller.session.model):
            told = teller.tell(ids, prompt, said)
        yield told
        ids, said, prompt = [*ids, told.chosen], [*said, told.chosen], prompt + told.chosen_text
        if told.chosen_ends or (len(ids) > limit and options.on_full == "stop"):
            return
        if len(ids) > limit:
            ids = last_half(ids, limit)


class _Teller:
    """Tells one token at a time; keeps the dice and the half characters between tokens."""

    def __init__(self, session: Session, filters: list[Filter], seed: int | None, n_named: int) -> None:
        self.session, self.filters, self.seed, self.n_named = session, filters, seed, n_named
        self.dice = None if seed is None else torch.Generator().manual_seed(seed)
        self.decoder = StreamDecoder(session.tokenizer)

    @torch.inference_mode()
    def tell(self, ids: list[int], prompt: str, said: list[int]) -> Explanation:
        """`ids` are what the model sees of all that was `said`."""
        model, tokenizer, trace = self.session.model, self.session.tokenizer, Trace()
        logits = model(torch.tensor([ids], device=model.token_embedding.weight.device), trace=trace)[:, -1].float()
        blocks = [_block_view(model, trace, layer) for layer in range(model.config.n_layers)]
        stages, last = _stages(logits, self.filters, _seen(self.session, said, logits))
        chosen, u, span = _choose(last, self.dice)
        assert trace.token_embedding is not None
        assert trace.final is not None
        vectors, places = _first(trace.token_embedding), trace.position_embedding
        added = None if places is None else _first(places)
        shown = np.argsort(-stages[0].probabilities, kind="stable")[: self.n_named].tolist()
        return Explanation(
            prompt=prompt,
            config=model.config,
            ids=ids,
            pieces=[tokenizer.token_text(number) for number in ids],
            marked=ids[0] == tokenizer.start_id,
            token_vectors=vectors,
            position_vectors=added,
            input_norm=float(np.linalg.norm(vectors[-1] if added is None else vectors[-1] + added[-1])),
            blocks=blocks,
            last_vector=_first(trace.final)[-1],
            logits=_first(logits),
            stages=stages,
            seed=self.seed,
            u=u,
            chosen=chosen,
            chosen_span=span,
            chosen_text=self.decoder.push(chosen),
            chosen_ends=chosen == tokenizer.eot_id,
            named=_names(tokenizer, {chosen, *shown, *(block.guess for block in blocks)}),
        )


def _block_view(model: Transformer, trace: Trace, layer: int) -> BlockView:
    vector = trace.residual[layer][:, -1:]
    shares = trace.attention[layer][0, :, -1].mean(dim=0)
    probabilities = model.head(model.final_norm(vector))[0, 0].float().softmax(-1)
    place, guess = int(shares.argmax()), int(probabilities.argmax())
    return BlockView(float(vector.float().norm()), place, float(shares[place]), guess, float(probabilities[guess]))


def _with_text_only(session: Session, filters: list[Filter]) -> list[Filter]:
    """The session's own rule in front: ids that stand for no text are not chosen."""
    if not session.forbidden:
        return filters
    forbidden = torch.tensor(session.forbidden)
    return [Filter("text only", lambda x, _: x.index_fill(-1, forbidden.to(x.device), DROPPED)), *filters]


def _seen(session: Session, ids: list[int], logits: Tensor) -> Tensor:
    seen = torch.zeros_like(logits, dtype=torch.bool)
    seen[0, [number for number in ids if number != session.tokenizer.eot_id]] = True
    return seen


def _stages(logits: Tensor, filters: list[Filter], seen: Tensor) -> tuple[list[Stage], Tensor]:
    """The probabilities before any filter and after each; the logits after the last."""
    stages = [Stage("softmax", _first(log_probabilities(logits).exp()))]
    for station in filters:
        logits = station.apply(logits, seen)
        stages.append(Stage(station.label, _first(logits.softmax(-1))))
    return stages, logits


def _choose(logits: Tensor, dice: torch.Generator | None) -> tuple[int, float | None, tuple[float, float]]:
    """The id, where the dice fell, and the id's part of the line."""
    line = line_up(logits)
    if dice is None:
        chosen, u = int(greedy(logits)), None
    else:
        fell = throw([dice])
        chosen, u = int(locate(line, fell)), float(fell)
    start = float(line[0, chosen - 1]) if chosen > 0 else 0.0
    return chosen, u, (start, float(line[0, chosen]))


def _names(tokenizer: Tokenizer, numbers: set[int]) -> dict[int, str]:
    """Pieces by id; an id beyond the tokenizer (a padded vocabulary) has no text."""
    return {each: tokenizer.token_text(each) if each < tokenizer.vocab_size else f"<{each}>" for each in numbers}


def _first(tensor: Tensor) -> Float[np.ndarray, "..."]:
    """The first (and only) row of the batch, for numpy."""
    return tensor[0].detach().float().cpu().numpy()
