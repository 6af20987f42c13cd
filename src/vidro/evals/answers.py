"""How good written answers are, beside the expected ones, without a judge: pure functions of two texts.

Exact match, the F1 of the words (as for SQuAD, Rajpurkar et al. 2016), ROUGE-L (Lin 2004), how much an answer repeats
itself, how long it is. `score_answers` puts them together: means with 95 % intervals, a table by kind of task.

Not here: a judge's scores (`judge`), classes (`accuracy`), how the answers come about (`infer/session`).
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidro.core.errors import DataError

Values = NDArray[np.float64]

DRAWS = 2000
_SENTENCE_END = ".,;:!?…"
_BEFORE_WORD = "([{\"'“‘«„¿¡*_`"  # no minus and no currency: -5 is not 5
_AFTER_WORD = _SENTENCE_END + ")]}\"'”’»“*_`"
_REPEAT_WORDS = 4
_DRAWN_AT_ONCE = 1 << 18  # rows, so that memory stays flat
_NO_KIND = "(none)"
_MARKS = {"exact": "exact match", "exact_normalised": "exact, normalised", "f1": "word F1", "rouge_l": "ROUGE-L"}


@dataclass(frozen=True)
class AnswerRow:
    """A task, the expected answer, and the one that was written.

    `stopped`: whether the model ended the answer by itself; None where nobody knows (answers read from a file).
    """

    instruction: str
    input: str
    expected: str
    answer: str
    kind: str | None = None
    stopped: bool | None = None


@dataclass(frozen=True)
class Estimate:
    """A mean, and the 95 % interval around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Marks:
    """The four measures of some answers, each between 0 and 1."""

    n: int
    exact: Estimate
    exact_normalised: Estimate
    f1: Estimate
    rouge_l: Estimate


@dataclass(frozen=True)
class AnswerScores(Marks):
    """The measures of all answers, and what else there is to say of them.

    `repetition` is the mean over answers; `stopped_frac` counts only the `n_stop_known` rows that know (None where none
    does). `kinds` is empty when no row has a kind; `macro` weighs each kind alike, its `n` is the number of kinds.
    """

    repetition: float
    mean_words: float
    mean_expected_words: float
    n_empty: int
    stopped_frac: float | None
    n_stop_known: int
    kinds: dict[str, Marks]
    macro: Marks | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, nested as the fields are."""
        return asdict(self)

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> AnswerScores:
        """The inverse of `to_json`."""
        kinds = {name: Marks(**_estimates_of(marks)) for name, marks in plain["kinds"].items()}
        macro = None if plain["macro"] is None else Marks(**_estimates_of(plain["macro"]))
        return AnswerScores(**{**_estimates_of(plain), "kinds": kinds, "macro": macro})

    def lines(self) -> list[str]:
        """A table for the terminal."""
        found = [f"{self.n:,} answers"]
        for name, title in _MARKS.items():
            mark: Estimate = getattr(self, name)
            found.append(f"{title:<22}{mark.mean:>7.1%}   95 %: {mark.low:.1%} to {mark.high:.1%}")
        words = f"{self.mean_words:.1f} an answer, {self.mean_expected_words:.1f} expected; {self.n_empty:,} empty"
        repeated = f"{self.repetition:>7.1%} of the runs of {_REPEAT_WORDS} words"
        found += [f"{'words':<22}{words}", f"{'repeated':<22}{repeated}"]
        if self.stopped_frac is not None:
            known = "" if self.n_stop_known == self.n else f" (of {self.n_stop_known:,} that are known)"
            found.append(f"{'stopped by themselves':<22}{self.stopped_frac:>7.1%}{known}")
        return found + self._kind_lines()

    def _kind_lines(self) -> list[str]:
        if self.macro is None:
            return []
        width = max(len(name) for name in [*self.kinds, "mean of kinds"])
        found = ["", f"{'kind':<{width}}{'n':>7}{'exact':>9}{'normalised':>12}{'F1':>9}{'ROUGE-L':>9}"]
        for name, marks in [*self.kinds.items(), ("mean of kinds", self.macro)]:
            exact, normalised, f1, rouge = (getattr(marks, field).mean for field in _MARKS)
            n = "" if marks is self.macro else f"{marks.n:,}"
            found.append(f"{name:<{width}}{n:>7}{exact:>9.1%}{normalised:>12.1%}{f1:>9.1%}{rouge:>9.1%}")
        return found


def _estimates_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Estimate(**value) if name in _MARKS else value for name, value in plain.items()}


def read_answers(path: Path) -> list[AnswerRow]:
    """The rows of a file that has one of them a line, as JSON (a run's ``responses.jsonl``). Raises DataError."""
    try:
        return [AnswerRow(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as problem:
        raise DataError(f"these are not kept answers ({problem})", where=path) from None


def score_answers(rows: Sequence[AnswerRow], *, seed: int) -> AnswerScores:
    """All measures of the answers; `seed` draws the intervals. Raises DataError when there are no rows.

    Rows without a kind beside rows with one are a kind of their own, "(none)".
    """
    if not rows:
        raise DataError("there are no answers to score")
    rng = np.random.default_rng(seed)
    values = np.array([_measure(row) for row in rows], dtype=np.float64)
    stops = [row.stopped for row in rows if row.stopped is not None]
    kinds, macro = _by_kind(rows, values, rng) if any(row.kind is not None for row in rows) else ({}, None)
    return AnswerScores(
        **vars(_marks(len(rows), values.mean(axis=0), resampled_means(values, rng))),
        repetition=float(np.mean([repetition(row.answer) for row in rows])),
        mean_words=float(np.mean([len(row.answer.split()) for row in rows])),
        mean_expected_words=float(np.mean([len(row.expected.split()) for row in rows])),
        n_empty=sum(not row.answer.strip() for row in rows),
        stopped_frac=sum(stops) / len(stops) if stops else None,
        n_stop_known=len(stops),
        kinds=kinds,
        macro=macro,
    )


def exact_match(answer: str, expected: str, *, normalised: bool = False) -> bool:
    """Whether the two are the same but for white space; `normalised`: also but for case and punctuation at the end.

    >>> exact_match(" The cat \\n sat.", "The cat sat."), exact_match("the cat sat", "The cat sat.")
    (True, False)
    >>> exact_match("the cat sat", "The cat sat.", normalised=True)
    True
    """
    if normalised:
        return _normalised(answer) == _normalised(expected)
    return answer.split() == expected.split()


def token_f1(answer: str, expected: str) -> float:
    """The harmonic mean of the shares of words in common: word order does not count, repeats do.

    Unlike SQuAD's own script articles stay, because answers are sentences in any language. Two empty texts have 1.0.

    >>> token_f1("It is a big cat", "A big dog")  # 2 of 5 words and 2 of 3
    0.5
    """
    ours, theirs = words_of(answer), words_of(expected)
    return _f1((Counter(ours) & Counter(theirs)).total(), len(ours), len(theirs))


def rouge_l(answer: str, expected: str) -> float:
    """The F1 of the longest common subsequence of words: order counts, gaps do not. Two empty texts have 1.0.

    >>> rouge_l("police kill the gunman", "police killed the gunman")
    0.75
    """
    ours, theirs = words_of(answer), words_of(expected)
    return _f1(common_subsequence(ours, theirs), len(ours), len(theirs))


def repetition(text: str) -> float:
    """The share of runs of four words that stood in the text before; 0.0 for fewer than four words.

    >>> repetition("he said so and he said so and he said so")  # 8 runs, 4 different ones
    0.5
    """
    words = words_of(text)
    runs = [tuple(words[i : i + _REPEAT_WORDS]) for i in range(len(words) - _REPEAT_WORDS + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def words_of(text: str) -> list[str]:
    """The words that F1 and ROUGE-L compare: split at white space, without case and the punctuation around them.

    >>> words_of('He said: "It\\'s -3.5 °C (today)!" ...')
    ['he', 'said', "it's", '-3.5', '°c', 'today', '...']
    """
    pieces = unicodedata.normalize("NFC", text).casefold().split()
    return [piece.lstrip(_BEFORE_WORD).rstrip(_AFTER_WORD) or piece for piece in pieces]


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence.

    One bit for each word of `a`, all of them moved on at once (Hyyrö 2004): a row of the usual table is one number, and
    a bit is 0 where the table grows by one. The plain table stands in `tests/evals/test_answers.py`.
    """
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    everything = (1 << len(a)) - 1
    row = everything
    for word in b:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(a) - row.bit_count()


def estimate(values: Iterable[float], *, seed: int) -> Estimate:
    """The mean of `values`, and where 95 % of the means of equally many rows drawn from them with replacement lie.

    This percentile bootstrap (Efron 1979) knows only the rows it is given: when all are alike, the interval is a point.
    """
    column = np.array(list(values), dtype=np.float64)[:, None]
    if not column.size:
        raise DataError("there is nothing to take a mean of")
    return _estimates(column.mean(axis=0), resampled_means(column, np.random.default_rng(seed)))[0]


def resampled_means(values: Values, rng: np.random.Generator, *, draws: int = DRAWS) -> Values:
    """[draws, M]: the means of [N, M] `values` when N rows are drawn with replacement, `draws` times over."""
    n = len(values)
    means = np.empty((draws, values.shape[1]))
    at_once = max(1, _DRAWN_AT_ONCE // n)
    for start in range(0, draws, at_once):
        rows = rng.integers(n, size=(min(at_once, draws - start), n))
        means[start : start + len(rows)] = values[rows].mean(axis=1)
    return means


def _by_kind(rows: Sequence[AnswerRow], values: Values, rng: np.random.Generator) -> tuple[dict[str, Marks], Marks]:
    """The marks of each kind, in the order of the alphabet, and their average; its interval is drawn kind by kind."""
    names = np.array([_NO_KIND if row.kind is None else row.kind for row in rows])
    kinds, means, drawn = {}, [], []
    for name in np.unique(names):
        some = values[names == name]
        means.append(some.mean(axis=0))
        drawn.append(resampled_means(some, rng))
        kinds[str(name)] = _marks(len(some), means[-1], drawn[-1])
    return kinds, _marks(len(kinds), np.mean(means, axis=0), np.mean(drawn, axis=0))


def _measure(row: AnswerRow) -> tuple[float, ...]:
    """The four measures of one row, in the order of `Marks`."""
    pair = row.answer, row.expected
    exact = exact_match(*pair), exact_match(*pair, normalised=True)
    return float(exact[0]), float(exact[1]), token_f1(*pair), rouge_l(*pair)


def _marks(n: int, means: Values, drawn: Values) -> Marks:
    return Marks(n, *_estimates(means, drawn))


def _estimates(means: Values, drawn: Values) -> list[Estimate]:
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [Estimate(float(m), float(a), float(b)) for m, a, b in zip(means, low, high, strict=True)]


def _f1(n_common: int, n_ours: int, n_theirs: int) -> float:
    return 2 * n_common / (n_ours + n_theirs) if n_ours + n_theirs else 1.0


def _normalised(text: str) -> str:
    plain = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return plain.rstrip(_SENTENCE_END + " ") or plain  # "?" and "!" alone stay different answers
