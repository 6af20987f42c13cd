"""Where does a model keep a fact, and can one be changed? Asked of your own model of tiny world.

Three steps: ask every fact (`cloze`, `recall`); switch parts off and bring them back (`tracing`); write another answer
into a feed-forward matrix (`rank_one`, `edits`). Read next: the lesson `feed-forward`, where facts are written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vidro.core.shapes import Int
from vidro.data.tinyworld import stories
from vidro.evals.perplexity import score_text
from vidro.learn.experiments.cloze import questions
from vidro.learn.experiments.control import control_table, count_table
from vidro.learn.experiments.edits import Result, Site, choose_edits, mean_and_spread, try_edits
from vidro.learn.experiments.patching import Part, part_name, sublayers
from vidro.learn.experiments.rank_one import Effort, second_moment
from vidro.learn.experiments.recall import Answered, ask, share
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.experiments.tracing import SPANS, ablate, in_batches, mean_outputs, probability, trace
from vidro.learn.figures import heat
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer

SPAN_COLUMNS = ("at the name", "at the answer", "everywhere")
CORPUS_SEED, HELD_OUT_SEED = 1, 2  # of the stories


@dataclass(frozen=True)
class FactSettings:
    """How much of everything."""

    seed: int = 1
    n_edits: int = 20
    key_bytes: int = 100_000
    """Of stories, from which means and C are taken."""

    held_out_bytes: int = 10_000
    corpus_bytes: int = 5_000_000
    """Of the stories that the model learned from, in which facts are counted."""

    effort: Effort = field(default_factory=Effort)


def run(request: Request) -> Report:
    """All three steps, with the run of the request."""
    assert request.run is not None
    return study(request.run.model, request.run.tokenizer, FactSettings(), request.say)


def study(model: Transformer, tokenizer: Tokenizer, settings: FactSettings, say: Callable[[str], None]) -> Report:
    """The report on any model and its tokenizer."""
    say("asking every fact …")
    answered = ask(model, tokenizer, questions())
    windows = story_windows(tokenizer, settings.key_bytes, model.config.context_length)
    first = [one for one in answered if one.question.wording == 0]
    recalled = sum(one.right for one in first)
    counts = count_table(answered, seed=CORPUS_SEED, n_bytes=settings.corpus_bytes)
    tables = [recall_table(answered), counts]
    findings = [f"{recalled} of {len(first)} facts are recalled: {100 * recalled / len(first):.0f} %."]
    known = [one for one in first if one.right]
    if not known:
        return Report(tables, [*findings, "Where nothing is known, there is nothing to look for."])
    say("switching parts off …")
    place = Places(model, tokenizer, known, windows, settings.seed)
    tables += place.tables
    findings += place.findings
    say("editing facts …")
    table, said = edit_table(model, tokenizer, answered, place.best_early_block(), windows, settings)
    figure = heat([list(row[1:]) for row in place.tables[0].rows], rows=[str(row[0]) for row in place.tables[0].rows],
                  columns=SPANS, title="Probability that is lost when a part is switched off")  # fmt: skip
    shown = {"seed": settings.seed, "n_edits": settings.n_edits, "held_out_bytes": settings.held_out_bytes}
    return Report([*tables, table], [*findings, *said], {"where": figure}, shown)


def story_windows(tokenizer: Tokenizer, n_bytes: int, length: int) -> Int[Tensor, "B T"]:
    """Stories that the model was not given, as whole windows; what is left over at the end (less than one) goes."""
    ids = [token for one in stories(seed=HELD_OUT_SEED + 1, n_bytes=n_bytes)
           for token in (tokenizer.eot_id, *tokenizer.encode(one))]  # fmt: skip
    return torch.tensor(ids[: len(ids) // length * length]).view(-1, length)


def recall_table(answered: Sequence[Answered]) -> Table:
    """By kind of fact: how many, how many are right, in the first wording and in the others."""
    kinds = dict.fromkeys(one.question.kind for one in answered)
    rows: list[tuple[Any, ...]] = [
        _recall_row(kind, [a for a in answered if a.question.kind == kind]) for kind in kinds
    ]
    columns = ("kind", "facts", "ranks first, %", "written, %", "other wordings, %")
    return Table("How many facts are recalled", columns, [*rows, _recall_row("all", answered)])


def _recall_row(name: str, some: Sequence[Answered]) -> tuple[Any, ...]:
    first = [one for one in some if one.question.wording == 0]
    others = share(one.right for one in some if one.question.wording > 0)
    shares = (share(one.right for one in first), share(one.greedy for one in first), others)
    return (name, len(first), *(None if value is None else round(value) for value in shares))


class Places:
    """Both ways of looking for the place of the known facts, as tables and findings."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        known: Sequence[Answered],
        windows: Int[Tensor, "B T"],
        seed: int,
    ) -> None:
        batches = in_batches(tokenizer, [one.question for one in known])
        means = mean_outputs(model, windows)
        losses = [ablate(model, rows, means) for rows in batches]
        traces = [trace(model, rows, seed=seed + number) for number, rows in enumerate(batches)]
        control, said = control_table(model, batches, windows, means, seed=seed)
        self.whole = torch.cat([probability(model, rows) for rows in batches]).mean().item()
        self.blurred = torch.cat([low for low, _ in traces]).mean().item()
        self.lost = {key: torch.cat([loss[key] for loss in losses]).mean().item() for key in losses[0]}
        self.returned = {key: torch.cat([gain[key] for _, gain in traces]).mean().item() for key in traces[0][1]}
        self.parts = sublayers(model)
        self.tables = [
            self._table(f"Lost when a part is switched off (of {self.whole:.2f})", self.lost),
            self._table(f"Gained when a part is brought back (from {self.blurred:.2f})", self.returned),
            control,
        ]
        missed, lost = greatest(self.lost)
        memory, lost_there = greatest({key: lost for key, lost in self.lost.items() if key[0][1] == "feedforward"})
        back, gained = greatest(self.returned)
        self.findings = [
            f"Most is lost without {where(*missed)}: {lost:.2f} of {self.whole:.2f}.",
            f"Of the feed-forward layers it is {where(*memory)}: {lost_there:.2f}.",
            f"With a blurred name {self.blurred:.2f} is left; {where(*back)} brings back {gained:.2f}.",
            *said,
        ]

    def _table(self, title: str, values: dict[tuple[Part, str], float]) -> Table:
        rows = [(part_name(part), *(round(values[part, span], 3) for span in SPANS)) for part in self.parts]
        return Table(title, ("part", *SPAN_COLUMNS), rows)

    def best_early_block(self) -> int:
        """The block, not the last one unless it is alone, whose feed-forward is missed most at the name."""
        blocks = sorted({block for block, _ in self.parts})
        return max(blocks[:-1] if len(blocks) > 1 else blocks, key=lambda b: self.lost[(b, "feedforward"), "name"])


def greatest(values: dict[tuple[Part, str], float]) -> tuple[tuple[Part, str], float]:
    """The part and span (of those that are not everywhere) with the largest number."""
    return max(((key, value) for key, value in values.items() if key[1] != "all"), key=lambda pair: pair[1])


def where(part: Part, span: str) -> str:
    """A part and where.

    >>> where((0, "attention"), "name")
    'attention 1 at the name'
    """
    return f"{part_name(part)} at the {span}"


def edit_table(
    model: Transformer, tokenizer: Tokenizer, answered: Sequence[Answered], early: int, windows: Int[Tensor, "B T"],
    settings: FactSettings,
) -> tuple[Table, list[str]]:  # fmt: skip
    """The same edits made at two places, and what came of them."""
    held_out = list(stories(seed=HELD_OUT_SEED, n_bytes=settings.held_out_bytes))
    before = score_text(model, tokenizer, held_out).bits_per_byte
    edits = choose_edits([one for one in answered if one.question.wording == 0], settings.n_edits, seed=settings.seed)
    found: dict[str, list[str]] = {}
    findings = []
    for site in (Site(early, "name"), Site(len(model.blocks) - 1, "answer")):
        C = second_moment(model, site.block, windows)
        results = try_edits(model, tokenizer, edits, site, C, answered=answered, stories=held_out,
                            effort=settings.effort)  # fmt: skip
        name = where((site.block, "feedforward"), site.at)
        found[f"feed-forward {site.block + 1}, {site.at}"] = edit_column(results, before)
        held = sum(result.same_wording for result in results)
        findings.append(f"Edited in {name}, {held} of {len(results)} facts changed as told; in other wordings "
                        f"{mean_and_spread([one.other_wordings for one in results])} %.")  # fmt: skip
    rows = [(measure, *(column[i] for column in found.values())) for i, measure in enumerate(MEASURES)]
    title = f"One fact edited, {len(edits)} times (mean ± deviation; {before:.4f} bits per byte before)"
    return Table(title, ("edited in", *found), rows), findings


# An edit counts as changed where the new answer ranks first; "left" are facts that were right before and still are.
MEASURES = (
    "same wording, %",
    "other wordings, %",
    "its other facts left, %",
    "facts of others left, %",
    "bits per byte more",
    "… at most",
    "size of the change",
)


def edit_column(results: Sequence[Result], before: float) -> list[str]:
    """What became of the edits of one place, in the order of MEASURES."""
    more = [result.bits_per_byte - before for result in results]
    return [
        mean_and_spread([100.0 * result.same_wording for result in results]),
        mean_and_spread([result.other_wordings for result in results]),
        mean_and_spread([result.other_facts for result in results]),
        mean_and_spread([result.neighbours for result in results]),
        mean_and_spread(more, 4),
        f"{max(more):.4f}",
        mean_and_spread([result.size for result in results], 3),
    ]
