"""What there is to draw of a run: its events turned into lines over tokens, and the marks on them.

Pure numbers from ``metrics.jsonl`` (`docs/formats.md`), no drawing (`charts`), no model. Read next: `charts`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidro.core.events import Event

Numbers = NDArray[np.float64]

FEWEST_SMOOTHED = 8  # fewer points are drawn as they are
SMOOTHING_SHARE = 0.02  # of the length of the run: how far back the smoothed line remembers …
EARLY_SHARE = 0.1  # … and at most this share of the way so far, so that the steep beginning is not smeared
TURN_FRACTION = 0.01  # validation this far above its lowest (single looks wobble by less than a percent) …
TURN_LOOKS = 2  # … for so many looks in a row has turned up
MOST_LR_POINTS = 4000


@dataclass(frozen=True)
class Line:
    """Points in order: `x` in tokens, `y` in the line's unit."""

    x: Numbers
    y: Numbers

    def __bool__(self) -> bool:
        return self.x.size > 0


@dataclass(frozen=True)
class Phase:
    """A stretch of the schedule between two places in tokens."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Curves:
    """Everything the charts need; lines that the events lack are empty, facts that they lack are None."""

    name: str
    facts: dict[str, Any]
    train: Line
    val: Line
    full: Line
    val_bits: Line
    accuracy: Line
    lr: Line
    speed: Line
    peak: Line
    tokens_per_epoch: float | None
    best_step: int | None
    overfits: bool
    end: dict[str, Any]
    phases: list[Phase] = field(default_factory=list)

    @property
    def last_x(self) -> float:
        """Tokens at the last point of any line."""
        return max((float(line.x[-1]) for line in (self.train, self.val, self.full) if line), default=0.0)

    @property
    def best(self) -> tuple[float, float] | None:
        """The lowest validation point (tokens, nats per token), the first one of equals."""
        place = int(np.argmin(self.val.y)) if self.val else None
        return None if place is None else (float(self.val.x[place]), float(self.val.y[place]))


def curves(events: Sequence[Event], *, name: str) -> Curves:
    """The lines and marks of one run."""
    train = [event for event in events if event["event"] == "train"]
    looks = [event for event in events if event["event"] == "eval"]
    val = _looks_while_training(looks)
    facts = _last(events, "start")
    tokens_per_step = _tokens_per_step(facts, [*train, *looks])
    best = min(val, key=lambda event: event["nats_per_token"], default=None)
    return Curves(
        name=name,
        facts=facts,
        train=_line(train, "loss_nats"),
        val=_line(val, "nats_per_token"),
        full=_line([event for event in looks if event["full"]], "nats_per_token"),
        val_bits=_line([event for event in val if "bits_per_byte" in event], "bits_per_byte"),
        accuracy=_line([event for event in val if "accuracy" in event], "accuracy"),
        lr=_learning_rates(train, tokens_per_step),
        speed=_line(train, "tokens_per_s"),
        peak=_line([event for event in train if event["peak_frac"] is not None], "peak_frac"),
        tokens_per_epoch=_tokens_per_epoch(facts, [*train, *looks]),
        best_step=None if best is None else best["step"],
        overfits=any(event["event"] == "overfit" for event in events) or turned_up(train, val),
        end=_last(events, "end"),
        phases=_phases(events, tokens_per_step, [*train, *looks]),
    )


def turned_up(train: Sequence[Event], val: Sequence[Event]) -> bool:
    """Whether the validation loss ends above its lowest value while the training loss went on falling."""
    if not val or not train:
        return False
    best = min(val, key=lambda event: event["nats_per_token"])
    after = [event for event in val if event["step"] > best["step"]]
    above = [event["nats_per_token"] > best["nats_per_token"] * (1 + TURN_FRACTION) for event in after[-TURN_LOOKS:]]
    at_best = [event["loss_nats"] for event in train if event["step"] <= best["step"]]
    return len(above) == TURN_LOOKS and all(above) and bool(at_best) and train[-1]["loss_nats"] < at_best[-1]


def smoothed(line: Line, *, memory: float) -> Line:
    """The running mean of a line whose weights fall by e every `memory` tokens (less early on), looking back only.

    The first points are not pulled to zero (weights are normalised), and uneven spacing counts: a point far away
    weighs less. Lines of fewer than `FEWEST_SMOOTHED` points come back as they are.
    """
    if line.x.size < FEWEST_SMOOTHED or memory <= 0:
        return line
    total = weight = 0.0
    means = np.empty_like(line.y)
    reach = np.clip(EARLY_SHARE * line.x, 1e-9, memory)
    kept = np.exp(-np.diff(line.x, prepend=line.x[0]) / reach)
    for place, value in enumerate(line.y):
        total = total * kept[place] + value
        weight = weight * kept[place] + 1.0
        means[place] = total / weight
    return Line(line.x, means)


def _looks_while_training(looks: Sequence[Event]) -> list[Event]:
    """The looks at the subset, one a step in order; all looks where there are no others.

    The run ends with one more evaluation, of the best step: it has its own mark and is no point of the line.
    """
    first: dict[int, Event] = {}
    for event in [event for event in looks if not event["full"]] or looks:
        first.setdefault(event["step"], event)
    return list(first.values())


def _line(events: Sequence[Event], key: str) -> Line:
    points = [(event["tokens"], event[key]) for event in events]
    return Line(np.array([x for x, _ in points], dtype=float), np.array([y for _, y in points], dtype=float))


def _last(events: Sequence[Event], kind: str) -> dict[str, Any]:
    """The last event of a kind (a continued run starts again), or an empty one."""
    return next((event for event in reversed(events) if event["event"] == kind), {})


def _tokens_per_step(facts: dict[str, Any], events: Sequence[Event]) -> float:
    if facts.get("batch_tokens"):
        return float(facts["batch_tokens"])
    return next((event["tokens"] / event["step"] for event in events if event["step"] > 0), 1.0)


def _tokens_per_epoch(facts: dict[str, Any], events: Sequence[Event]) -> float | None:
    if facts.get("train_tokens"):
        return float(facts["train_tokens"])
    return next((event["tokens"] / event["epoch"] for event in reversed(events) if event["epoch"] > 0), None)


def _learning_rates(train: Sequence[Event], tokens_per_step: float) -> Line:
    """The learning rate at every step (each event lists the multipliers since the one before), thinned evenly."""
    known = [event["lr"] / event["multipliers"][-1] for event in train if event["multipliers"] and event["lr"] > 0]
    if not known:
        return Line(np.zeros(0), np.zeros(0))
    steps, rates = [], []
    for event in train:
        multipliers = event["multipliers"]
        steps.extend(range(event["step"] - len(multipliers) + 1, event["step"] + 1))
        rates.extend(known[-1] * multiplier for multiplier in multipliers)
    every = max(1, len(steps) // MOST_LR_POINTS)
    thin = np.unique(np.append(np.arange(0, len(steps), every), len(steps) - 1))
    return Line(np.array(steps, dtype=float)[thin] * tokens_per_step, np.array(rates)[thin])


def _phases(events: Sequence[Event], tokens_per_step: float, measured: Sequence[Event]) -> list[Phase]:
    """The stretches that `phase` events begin, each up to the next, the last up to the end of the run."""
    marks: list[tuple[str, float]] = []
    for event in events:
        if event["event"] == "phase" and (not marks or marks[-1][0] != event["name"]):
            marks.append((event["name"], event["step"] * tokens_per_step))
    end = max((event["tokens"] for event in measured), default=0)
    places = [*(start for _, start in marks), float(end)]
    spans = itertools.pairwise(places)
    return [Phase(name, start, stop) for (name, _), (start, stop) in zip(marks, spans, strict=True) if stop > start]
