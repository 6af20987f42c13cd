"""How good predicted labels are: counts, shares and how sure one can be of them.

Everything follows from the confusion matrix, whose rows are the true classes and whose columns are the predicted ones.
A share of n rows comes with its interval, a difference between two models with a paired one, and scores from a
balanced test set can be restated for the rates at which the classes come in life.

Not here: how labels are predicted (a model, or `baselines`) and the picture (`confusion_plot`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidro.core.errors import DataError, UsageError, did_you_mean
from vidro.infer.explain_text import display_width, percent, table

Numbers = NDArray[np.float64]
Correct = Sequence[bool | float] | NDArray[Any]  # a row each: right or not, or the share of repetitions that were

Z_95 = 1.96  # standard deviations on each side that hold 95 % of a normal distribution
_MOST_NAME = 24  # columns of a class name in a table


@dataclass(frozen=True, eq=False)
class Rates:
    """What a confusion matrix says. `confusion` is [classes, classes], rows true, columns predicted, in rows or shares.

    Precision, recall and F1 are [classes]. A share of nothing (0/0: a class that was never predicted, or that has no
    rows) is 0.0, as in scikit-learn, and counts as such in the means over the classes.
    """

    names: tuple[str, ...]
    confusion: NDArray[Any]

    @property
    def accuracy(self) -> float:
        """The share of rows that got their own class."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def precision(self) -> Numbers:
        """Of all rows predicted to be this class, the share that is."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> Numbers:
        """Of all rows of this class, the share predicted to be it."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def f1(self) -> Numbers:
        """The harmonic mean of precision and recall."""
        return _ratio(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    @property
    def macro_f1(self) -> float:
        """The mean F1 over the classes, each counting the same."""
        return float(self.f1.mean())

    @property
    def weighted_f1(self) -> float:
        """The mean F1 over the classes, each counting by its true rows."""
        return float(np.average(self.f1, weights=self.confusion.sum(axis=1)))

    def to_json(self) -> dict[str, Any]:
        """Plain values; the confusion matrix has the order of `classes`."""
        columns = zip(self.names, self.precision, self.recall, self.f1, self.confusion.sum(axis=1), strict=True)
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted_f1,
            "classes": [
                {"name": name, "precision": float(p), "recall": float(r), "f1": float(f1), "support": support.item()}
                for name, p, r, f1, support in columns
            ],
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True, eq=False)
class ClassScores(Rates):
    """`Rates` of rows that were counted, so that it can be said how sure they are.

    >>> scores = class_scores(["ham", "ham", "spam", "spam"], ["ham", "ham", "spam", "ham"], ["ham", "spam"])
    >>> scores.n, scores.accuracy, scores.confusion.tolist()
    (4, 0.75, [[2, 0], [1, 1]])
    >>> scores.recall.tolist(), scores.precision.round(3).tolist()
    ([1.0, 0.5], [0.667, 1.0])
    """

    @property
    def n(self) -> int:
        """How many rows were scored."""
        return int(self.confusion.sum())

    @property
    def n_right(self) -> int:
        """How many of them got their own class."""
        return int(np.trace(self.confusion))

    @property
    def support(self) -> NDArray[np.int64]:
        """How many rows each class has."""
        return self.confusion.sum(axis=1)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson)."""
        return wilson(self.n_right, self.n)

    def to_json(self) -> dict[str, Any]:
        """The figures of `Rates`, the number of rows and the interval."""
        return {"n": self.n, "n_right": self.n_right, "accuracy_interval": list(self.interval), **super().to_json()}


@dataclass(frozen=True)
class Difference:
    """Accuracy of a minus accuracy of b, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def class_scores(true: Sequence[str], predicted: Sequence[str], names: Sequence[str]) -> ClassScores:
    """The scores of predictions, one a row. `names` are all classes, in the order that tables shall have.

    Raises DataError when there are no rows, unequally many, or a label that is none of `names`.
    """
    if len(true) != len(predicted):
        raise DataError(f"{len(true):,} true labels and {len(predicted):,} predicted ones cannot be compared")
    if not len(true):
        raise DataError("there are no rows to score")
    if len(set(names)) != len(names):
        raise DataError("two classes have the same name", hint="Give each class one name.")
    place = {name: number for number, name in enumerate(names)}
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (_places(true, place, "true"), _places(predicted, place, "predicted")), 1)
    confusion.setflags(write=False)
    return ClassScores(tuple(names), confusion)


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """The interval of a share after Wilson (1927): it stays within 0 … 1 and is right for few rows too.

    Of no rows nothing is known: (0, 1).

    >>> low, high = wilson(290, 300)
    >>> round(low, 4), round(high, 4)
    (0.9397, 0.9818)
    """
    if not 0 <= successes <= n:
        raise UsageError(f"{successes} of {n} is not a share")
    if n == 0:
        return 0.0, 1.0
    share, spread = successes / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half) if successes else 0.0, min(1.0, middle + half) if successes < n else 1.0


def paired_interval(correct_a: Correct, correct_b: Correct, *, seed: int, draws: int = 2000) -> Difference:
    """Accuracy of a minus that of b on the same rows, with a 95 % interval by the paired bootstrap (Efron 1979).

    An entry says whether the row was right, or the share of repetitions in which it was: the rows of repeated
    cross-validation come once each, because repetitions of one row are no new evidence. Raises DataError when there
    are no rows or unequally many.
    """
    a, b = np.asarray(correct_a, dtype=np.float64), np.asarray(correct_b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(f"{a.size:,} rows of one model and {b.size:,} of the other are not pairs")
    if not a.size:
        raise DataError("there are no rows to compare")
    if draws < 1:
        raise UsageError(f"an interval cannot be made of {draws} draws")
    # Rows of equal difference are alike: drawing how often each difference comes is drawing the rows, only faster.
    values, counts = np.unique(a - b, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(a.size, counts / a.size, size=draws)
    low, high = np.quantile(drawn @ values / a.size, (0.025, 0.975))
    return Difference(float((a - b).mean()), float(low), float(high))


def natural_rate(scores: ClassScores, prior: Mapping[str, float]) -> Rates:
    """The scores to expect where each class comes at its share in `prior`, which together give 1.

    Each row of the confusion matrix is weighed to its class's share: recall stays as it is, precision and accuracy
    change. Raises UsageError for a wrong prior, DataError for a class of which no row was scored.

    >>> half = class_scores(["ham"] * 20 + ["spam"] * 20, ["ham"] * 19 + ["spam"] * 21, ["ham", "spam"])
    >>> rates = natural_rate(half, {"ham": 0.866, "spam": 0.134})
    >>> half.precision.round(3).tolist(), rates.precision.round(3).tolist()
    ([1.0, 0.952], [1.0, 0.756])
    """
    for name in prior:
        if name not in scores.names:
            raise UsageError(f"there is no class {name!r}", hint=did_you_mean(name, scores.names))
    missing = [name for name in scores.names if name not in prior]
    if missing:
        raise UsageError(f"the share of class {missing[0]!r} is not given", hint="Give a share for each class.")
    shares = np.array([prior[name] for name in scores.names], dtype=np.float64)
    if not (shares > 0).all() or not math.isclose(shares.sum(), 1.0, abs_tol=1e-6):
        raise UsageError("the shares of the classes must be above 0 and give 1", hint="Divide them by their sum.")
    for name, support in zip(scores.names, scores.support, strict=True):
        if not support:
            raise DataError(f"no row of class {name!r} was scored, so nothing is known of it")
    return Rates(scores.names, scores.confusion * (shares / scores.support)[:, None])


def accuracy_table(scores: ClassScores) -> list[str]:
    """Lines for a terminal: a row for each class, the means, and the accuracy with its interval.

    >>> print("\\n".join(accuracy_table(class_scores(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]))))
    class             precision  recall     F1  rows
    a                     1.000   0.500  0.667     2
    b                     0.500   1.000  0.667     1
    mean of classes       0.750   0.750  0.667     3
    weighted by rows      0.833   0.667  0.667     3
    accuracy 66.7 % (95 % interval 20.8 % to 93.9 %): 2 of 3 rows right
    """
    columns = np.stack([scores.precision, scores.recall, scores.f1], axis=1)
    lines = [*zip(map(shown_class, scores.names), columns, scores.support, strict=True)]
    lines += [("mean of classes", columns.mean(axis=0), scores.n)]
    lines += [("weighted by rows", np.average(columns, axis=0, weights=scores.support), scores.n)]
    rows = [[name, *(f"{value:.3f}" for value in values), f"{support:,}"] for name, values, support in lines]
    return [*table(["class", "precision", "recall", "F1", "rows"], rows, left=[0]), accuracy_line(scores)]


def accuracy_line(scores: ClassScores) -> str:
    """The accuracy, its interval and the rows in one line."""
    low, high = (percent(end) for end in scores.interval)
    rows = f"{scores.n_right:,} of {scores.n:,} rows right"
    return f"accuracy {percent(scores.accuracy)} (95 % interval {low} to {high}): {rows}"


def confusion_table(scores: ClassScores) -> list[str]:
    """Lines for a terminal: true classes downwards, predicted ones across.

    >>> print("\\n".join(confusion_table(class_scores(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]))))
    true ↓ predicted →  a  b
    a                   1  1
    b                   0  1
    """
    names = [shown_class(name) for name in scores.names]
    rows = [[name, *(f"{count:,}" for count in row)] for name, row in zip(names, scores.confusion, strict=True)]
    return table(["true ↓ predicted →", *names], rows, left=[0])


def shown_class(name: str, width: int = _MOST_NAME) -> str:
    """A class name on one line, at most `width` columns wide: the middle goes first, and what a terminal would obey.

    >>> shown_class("science and\\n technology", 14), shown_class("a\\x1b[2J")
    ('science…nology', 'a\ufffd[2J')
    """
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(name.split()))
    head, tail = text[: (len(text) + 1) // 2], text[(len(text) + 1) // 2 :]
    short = text
    while display_width(short) > width:
        head, tail = (head[:-1], tail) if display_width(head) >= display_width(tail) + 1 else (head, tail[1:])
        short = f"{head}…{tail}"
    return short


def _places(labels: Iterable[str], place: Mapping[str, int], which: str) -> list[int]:
    found = []
    for row, label in enumerate(labels, start=1):
        if label not in place:
            raise DataError(f"row {row:,}: the {which} label {label!r} is no class", hint=did_you_mean(label, place))
        found.append(place[label])
    return found


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Numbers:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole != 0)


def scores_of(plain: Mapping[str, Any]) -> ClassScores:
    """The scores behind what `ClassScores.to_json` gave."""
    return ClassScores(tuple(entry["name"] for entry in plain["classes"]), np.array(plain["confusion"], dtype=np.int64))
