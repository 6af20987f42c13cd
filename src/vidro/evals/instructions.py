"""What runs answered to the rows of a file, side by side: scores, a judge's opinion, and how both are written as JSON.

All runs were asked the same rows, so that they can be compared. Not here: asking (`answering`), the measures
(`answers`), what a judge is told (`judge`), opening runs (`api/evaluate`). Read next: `report_pages`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from vidro.evals.answer_loss import AnswerLoss
from vidro.evals.answer_yardsticks import SHORT, AnswerYardstick
from vidro.evals.answers import AnswerRow, AnswerScores
from vidro.evals.judge import JudgeScores, PairScores, judge_pairs, judge_rows, pair_prompts, score_prompt
from vidro.evals.judge_client import JudgeTarget, ask, with_room

Stages = Callable[[str, int, int], None]  # what is being done, how much of it is done, how much there is

RESPONSES, JUDGED, PAIRS = "responses.jsonl", "judge.jsonl", "pairs.jsonl"
"""In the folder of an evaluation: the answers, the judge's replies, its choices between two runs."""


@dataclass(frozen=True)
class RunAnswers:
    """What one run answered, and how good that is; `n_unanswerable` questions do not fit into its context.

    `n_resumed` answers were there from an earlier call. `facts` say in words what the run is. `loss` is of the expected
    answers; `yardsticks` are answers to the same questions without a model.
    """

    run: str
    style: str
    folder: Path
    answers: tuple[AnswerRow, ...]
    scores: AnswerScores
    n_unanswerable: int = 0
    n_resumed: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    judged: JudgeScores | None = None
    loss: AnswerLoss | None = None
    yardsticks: tuple[AnswerYardstick, ...] = ()

    @property
    def responses(self) -> Path:
        """The file of answers."""
        return self.folder / RESPONSES

    def to_json(self) -> dict[str, Any]:
        """Plain values; the answers themselves are in `responses`."""
        plain = {
            "run": self.run,
            "style": self.style,
            "responses": str(self.responses),
            "n_unanswerable": self.n_unanswerable,
            "n_resumed": self.n_resumed,
            **self.scores.to_json(),
            "loss": None if self.loss is None else self.loss.to_json(),
            "yardsticks": [each.to_json() for each in self.yardsticks],
        }
        return plain if self.judged is None else {**plain, "judged": self.judged.to_json()}


@dataclass(frozen=True)
class Comparison:
    """Runs that were asked the same rows of a file; `lines` says which. `pairs`: the first run against the second."""

    data: str
    form: str
    n_rows: int
    lines: tuple[int, ...]
    runs: tuple[RunAnswers, ...]
    settings: dict[str, Any]
    judge: str | None = None
    pairs: PairScores | None = None

    def yardsticks(self, *, short: bool = False) -> list[tuple[str, AnswerYardstick]]:
        """Those of all runs with their names, equal ones once; the run is named where one name has several."""
        distinct: dict[tuple[AnswerRow, ...], tuple[str, AnswerYardstick]] = {}
        for run in self.runs:
            for each in run.yardsticks:
                distinct.setdefault(each.answers, (run.run, each))
        names = [each.name for _, each in distinct.values()]
        found = []
        for run, each in distinct.values():
            shown = SHORT[each.name] if short else each.name
            found.append((shown if names.count(each.name) == 1 else f"{shown}, {run}", each))
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values: a single run's stand among the others, those of several under "results"."""
        found = [run.to_json() for run in self.runs]
        plain = {"instructions": self.data, "form": self.form, "n_rows": self.n_rows, "settings": self.settings}
        plain |= found[0] if len(found) == 1 else {"results": found}
        plain |= {} if self.judge is None else {"judge": self.judge}
        return plain if self.pairs is None else {**plain, "pairs": self.pairs.to_json()}


def judge_answers(
    asked: Comparison, target: JudgeTarget, *, seed: int, on_progress: Stages | None = None
) -> Comparison:
    """The same with a judge's scores for each run's answers and, of two runs, its choices between their answers.

    Its replies are kept beside the answers; what was asked before is not asked again. Raises DataError where the judge
    cannot be reached or goes away.
    """
    first = asked.runs[0]
    others = [row.answer for row in asked.runs[1].answers] if len(asked.runs) == 2 else []
    prompts = [score_prompt(row) for run in asked.runs for row in run.answers]
    for row, other in zip(first.answers, others, strict=False):
        prompts += pair_prompts(row, other)
    to_judge = partial(ask, with_room(target, prompts))  # one context size for all, so that it is loaded once

    def told(what: str) -> Callable[[int, int], None] | None:
        return None if on_progress is None else partial(on_progress, what)

    known: dict[str, Any] = {"judge": target.name, "seed": seed}
    runs = []
    for run in asked.runs:
        out = run.folder / JUDGED
        judged = judge_rows(run.answers, to_judge, out, **known, on_progress=told(f"judging {run.run}"))
        runs.append(replace(run, judged=judged))
    pairs = None
    if others:
        out = first.folder / PAIRS
        pairs = judge_pairs(first.answers, others, to_judge, out, **known, on_progress=told("judging pairs"))
    return replace(asked, runs=tuple(runs), judge=target.name, pairs=pairs)
