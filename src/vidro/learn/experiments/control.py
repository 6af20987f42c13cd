"""Two controls for the search of `facts`: what does a switched-off part cost elsewhere, and does any disturbance do it?

A part that is switched off harms everything that the model does, so its loss on facts alone says little. Beside it
stands the loss on all tokens of other stories, and both once more with a disturbance of the same size at every token,
but in a direction that is drawn. Also: how recall goes with how often a fact stands in the text. Not here: the search
itself (`tracing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vidro.core.shapes import Bool, Float, Int
from vidro.data.tinyworld import stories
from vidro.learn.experiments.patching import Part, Patch, part_name, parts_of, patched, sublayers
from vidro.learn.experiments.recall import Answered, share
from vidro.learn.experiments.registry import Table
from vidro.learn.experiments.rows import Rows
from vidro.learn.experiments.tracing import probability
from vidro.model.loss import lm_loss
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer

Means = Mapping[Part, Float[Tensor, "D"]]
CONTROL_WINDOWS = 24  # of stories: some 6,000 tokens


def control_table(
    model: Transformer, batches: Sequence[Rows], windows: Int[Tensor, "B T"], means: Means, *, seed: int
) -> tuple[Table, list[str]]:
    """Probability of facts and nats of stories lost without each part, and with as large a random disturbance."""
    some = windows[:CONTROL_WINDOWS]
    whole = _fact_probability(model, batches)
    calm = story_nats(model, some)
    found: dict[Part, tuple[float, float, float, float]] = {}
    for part in sublayers(model):
        off = [_off(rows.ids, part, means) for rows in batches]
        drawn = [at_random(model, rows.ids, part, means, seed=seed + n) for n, rows in enumerate(batches)]
        found[part] = (
            whole - _fact_probability(model, batches, off),
            whole - _fact_probability(model, batches, drawn),
            story_nats(model, some, [_off(some, part, means)]) - calm,
            story_nats(model, some, [at_random(model, some, part, means, seed=seed)]) - calm,
        )
    rows = [(part_name(part), *(round(value, 3) for value in values)) for part, values in found.items()]
    columns = ("part", "facts, off", "facts, random", "stories, off", "stories, random")
    title = f"Lost everywhere: probability of facts (of {whole:.2f}), nats per token of stories (from {calm:.2f})"
    return Table(title, columns, rows), _said(found, calm)


def at_random(model: Transformer, ids: Int[Tensor, "B T"], part: Part, means: Means, *, seed: int) -> Patch:
    """Moves the part's result at every token as far as switching it off would, in a direction that is drawn."""
    with at_rest(model):
        given = parts_of(model, ids)[part]
    direction = torch.randn(given.shape, generator=torch.Generator().manual_seed(seed))
    far = (given - means[part]).norm(dim=-1, keepdim=True)
    return Patch(part, _everywhere(ids), given + far * direction / direction.norm(dim=-1, keepdim=True))


def story_nats(model: Transformer, windows: Int[Tensor, "B T"], patches: Sequence[Patch] = ()) -> float:
    """Nats per token of these windows, the first token of each only as context."""
    targets = torch.full_like(windows, -100)
    targets[:, :-1] = windows[:, 1:]
    with at_rest(model), patched(model, patches):
        nats, n_tokens = lm_loss(model, windows, targets)
    return nats.item() / int(n_tokens)


def _fact_probability(model: Transformer, batches: Sequence[Rows], patches: Sequence[Patch] = ()) -> float:
    each = [[patch] for patch in patches] if patches else [[] for _ in batches]
    return torch.cat([probability(model, rows, some) for rows, some in zip(batches, each, strict=True)]).mean().item()


def _everywhere(ids: Int[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    return torch.ones_like(ids, dtype=torch.bool)


def _off(ids: Int[Tensor, "B T"], part: Part, means: Means) -> Patch:
    return Patch(part, _everywhere(ids), means[part])


def _said(found: Mapping[Part, tuple[float, float, float, float]], calm: float) -> list[str]:
    by_facts = max(found, key=lambda part: found[part][0])
    by_stories = max(found, key=lambda part: found[part][2])
    facts_off, facts_drawn, stories_off, stories_drawn = found[by_facts]
    same = "the same part" if by_facts == by_stories else part_name(by_stories)
    return [
        f"Facts lose most without {part_name(by_facts)} ({facts_off:.2f}); other stories lose most without {same} "
        f"({found[by_stories][2]:+.2f} nats per token, from {calm:.2f}): a part that is off is missed everywhere.",
        f"A disturbance of {part_name(by_facts)} that is as large but random costs facts {facts_drawn:.2f} and stories "
        f"{stories_drawn:+.2f} nats (switched off: {facts_off:.2f} and {stories_off:+.2f}).",
    ]


def count_table(answered: Sequence[Answered], *, seed: int, n_bytes: int, groups: int = 4) -> Table:
    """Recall by how many stories hold both whom a fact is about and its answer; rare ones first, groups of one size."""
    texts = list(stories(seed=seed, n_bytes=n_bytes))
    named = {one.question.subject: [text for text in texts if one.question.mention in text] for one in answered}
    counted = {id(one): sum(one.question.answer.strip() in text for text in named[one.question.subject])
               for one in answered}  # fmt: skip
    ordered = sorted((one for one in answered if one.question.wording == 0), key=lambda one: counted[id(one)])
    others = [one for one in answered if one.question.wording > 0]
    by_fact = {one.question.fact: counted[id(one)] for one in ordered}
    rows = []
    for number in range(groups):
        some = ordered[number * len(ordered) // groups : (number + 1) * len(ordered) // groups]
        if not some:
            continue
        facts = {one.question.fact for one in some}
        elsewhere = share(one.right for one in others if one.question.fact in facts)
        counts = [by_fact[one.question.fact] for one in some]
        chance = sum(float(torch.tensor(one.nats[one.question.answer]).exp()) for one in some) / len(some)
        rows.append((f"{min(counts):,} to {max(counts):,}", len(some), round(share(one.right for one in some) or 0.0),
                     round(chance, 2), None if elsewhere is None else round(elsewhere)))  # fmt: skip
    columns = ("stories with both", "facts", "ranks first, %", "probability", "other wordings, %")
    return Table(f"Recall by how often a fact stands in {len(texts):,} stories", columns, rows)
