"""One token, slowly: every step from text to the next token, with the model's real numbers.

    text → ids → embeddings (+ positions) → blocks → last vector → logits → softmax → filters → draw → id → text

What is computed here is what `session` computes: the same filters, the same dice, the same token for the same seed.
Not here: how it looks on paper (`explain_text`), longer looks inside (`vidro.inspect`). Read next: `explain_text`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.shapes import Float
from vidro.infer.decode import evaluating
from vidro.infer.session import Session
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
    chosen_ends: bool
    """Whether it is the end mark."""

    named: dict[int, str]
    """How people see the ids that matter here: the most probable ones, the blocks' guesses, the chosen one."""

    def best(self, count: int) -> list[int]:
        """The most probable named ids under the model itself; the chosen one is the last where it is not among them."""
        order = np.argsort(-self.stages[0].probabilities, kind="stable")
        ids = [int(number) for number in order[: len(self.named)] if int(number) in self.named][:count]
        return ids if self.chosen in ids else [*ids[: count - 1], self.chosen]


def explain(
    model: Transformer, tokenizer: Tokenizer, prompt: str, options: SamplingOptions, *, n_named: int = 20
) -> Explanation:
    """The making of the next token after `prompt`, as `Session.stream` would choose it with the same seed.

    `n_named`: how many of the most probable tokens are named. Raises UsageError and TokenizerError as the session does.
    """
    check_conflicts(options)
    session = Session(model, tokenizer)
    ids = session.encode(prompt)
    seed = None if is_greedy(options) else session.draw_seed() if options.seed is None else options.seed
    trace = Trace()
    with evaluating(model), torch.inference_mode():
        logits = model(torch.tensor([ids], device=model.token_embedding.weight.device), trace=trace)[:, -1].float()
        blocks = [_block_view(model, trace, layer) for layer in range(model.config.n_layers)]
        stages, last = _stages(logits, _with_text_only(session, filters_in_order(options)), _seen(session, ids, logits))
        chosen, u, span = _choose(last, seed)
    assert trace.token_embedding is not None
    assert trace.final is not None
    token_vectors, place_vectors = _first(trace.token_embedding), trace.position_embedding
    position_vectors = None if place_vectors is None else _first(place_vectors)
    vectors = token_vectors if position_vectors is None else token_vectors + position_vectors
    shown = np.argsort(-stages[0].probabilities, kind="stable")[:n_named].tolist()
    return Explanation(
        prompt=prompt,
        config=model.config,
        ids=ids,
        pieces=[tokenizer.token_text(number) for number in ids],
        marked=len(ids) > len(tokenizer.encode(prompt)),
        token_vectors=token_vectors,
        position_vectors=position_vectors,
        input_norm=float(np.linalg.norm(vectors[-1])),
        blocks=blocks,
        last_vector=_first(trace.final)[-1],
        logits=_first(logits),
        stages=stages,
        seed=seed,
        u=u,
        chosen=chosen,
        chosen_span=span,
        chosen_text=tokenizer.decode([chosen]),
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


def _choose(logits: Tensor, seed: int | None) -> tuple[int, float | None, tuple[float, float]]:
    """The id, where the dice fell, and the id's part of the line."""
    line = line_up(logits)
    if seed is None:
        chosen, u = int(greedy(logits)), None
    else:
        fell = throw([torch.Generator().manual_seed(seed)])
        chosen, u = int(locate(line, fell)), float(fell)
    start = float(line[0, chosen - 1]) if chosen > 0 else 0.0
    return chosen, u, (start, float(line[0, chosen]))


def _names(tokenizer: Tokenizer, numbers: set[int]) -> dict[int, str]:
    """Pieces by id; an id beyond the tokenizer (a padded vocabulary) has no text."""
    return {each: tokenizer.token_text(each) if each < tokenizer.vocab_size else f"<{each}>" for each in numbers}


def _first(tensor: Tensor) -> Float[np.ndarray, "..."]:
    """The first (and only) row of the batch, for numpy."""
    return tensor[0].detach().float().cpu().numpy()
