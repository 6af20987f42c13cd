"""What a model must beat: always the commonest class, a bag of words; for answers, the most similar text.

The bag of words is multinomial logistic regression over word counts: a weight for each word and class, no word order,
learned in seconds. On short messages it is hard to beat. Its choices are those of scikit-learn's `CountVectorizer`
and `LogisticRegression`, and its probabilities are tested against theirs. The most similar text is the one with the
largest cosine of tf-idf; it too is tested against theirs.

Not here: scores (`accuracy`), what the most similar text is good for (`answer_yardsticks`). A language that puts no
spaces between words gets very long words, and so a weak bag.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import regex
from numpy.typing import NDArray

from vidro.core.errors import DataError, UsageError, did_you_mean

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]
Objective = Callable[[Numbers], tuple[float, Numbers]]

TOLERANCE = 1e-7  # the largest slope of the mean loss at which weights count as found
MOST_STEPS = 1000  # long texts whose counts are very unequal may need more; probabilities hardly move by then
_MEMORY = 10  # steps that L-BFGS remembers
_WORD = regex.compile(r"\w+")  # of `regex`, not `re`, which cuts Indic words at their vowel signs


class Majority:
    """Always the commonest class of the training rows; of equally common ones, the first by name.

    >>> Majority().fit(["a", "b", "c"], ["ham", "spam", "ham"]).predict(["d", "e"])
    ['ham', 'ham']
    """

    classes: tuple[str, ...] = ()

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> Majority:
        """Count the labels. Raises DataError when there are none."""
        check_rows(texts, labels)
        self.classes = tuple(sorted(set(labels)))
        counts = Counter(labels)
        self._shares = np.array([counts[name] for name in self.classes]) / len(labels)
        return self

    def probabilities(self, texts: Sequence[str]) -> Numbers:
        """[texts, classes]: the training share of each class, the same for every text."""
        _check_fitted(self.classes)
        return np.tile(self._shares, (len(texts), 1))

    def predict(self, texts: Sequence[str]) -> list[str]:
        """A label for each text."""
        return _likeliest(self.classes, self.probabilities(texts))


class BagOfWords:
    """Logistic regression over word counts (or tf-idf), with an L2 penalty of 1/`c` on all weights but the biases.

    >>> texts = ["win a prize now", "win money now", "see you at lunch", "lunch at home"]
    >>> bag = BagOfWords().fit(texts, ["spam", "spam", "ham", "ham"])
    >>> bag.predict(["a free prize", "home for lunch"]), bag.n_unseen(["a free prize"])
    (['spam', 'ham'], 1)
    >>> [word for word, _ in bag.top_words("spam", 2)]
    ['now', 'win']
    """

    def __init__(self, *, c: float = 1.0, tfidf: bool = False) -> None:
        if not c > 0:
            raise UsageError(f"c must be above 0, not {c}")
        self.c, self.tfidf = c, tfidf
        self.classes: tuple[str, ...] = ()
        self.vocabulary: dict[str, int] = {}

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> BagOfWords:
        """Learn the weights. `search` tells afterwards how many steps it took and whether it came to its end.

        Raises DataError when there are no rows, one class only, or no word in any text.
        """
        check_rows(texts, labels)
        classes = tuple(sorted(set(labels)))
        if len(classes) < 2:
            raise DataError(f"all rows are of class {labels[0]!r}", hint="A classifier needs rows of two classes.")
        words = [_words(text) for text in texts]
        self.vocabulary = _vocabulary(words)
        if not self.vocabulary:
            raise DataError("there is no word in any of the texts")
        self._idf = _idf(words, self.vocabulary)
        self.classes = classes
        place = {name: number for number, name in enumerate(classes)}
        objective = _objective(self._rows(words), np.array([place[label] for label in labels]), len(classes), self.c)
        n_columns = 1 if len(classes) == 2 else len(classes)
        self.search = minimise(objective, np.zeros((len(self.vocabulary) + 1) * n_columns))
        self.weights = self.search.at.reshape(-1, n_columns)  # [words + 1, columns], biases last
        return self

    def probabilities(self, texts: Sequence[str]) -> Numbers:
        """[texts, classes], the columns in the order of `classes`. Words that training never had count for nothing."""
        _check_fitted(self.classes)
        return np.exp(_log_probabilities(self._rows([_words(text) for text in texts]).times(self.weights)))

    def predict(self, texts: Sequence[str]) -> list[str]:
        """A label for each text."""
        return _likeliest(self.classes, self.probabilities(texts))

    def n_unseen(self, texts: Sequence[str]) -> int:
        """How many words of the texts training never had, each time it comes."""
        return sum(word not in self.vocabulary for text in texts for word in _words(text))

    def top_words(self, label: str, n: int = 10) -> list[tuple[str, float]]:
        """The words that speak most for a class, with their weights; equal ones in the order of the alphabet."""
        _check_fitted(self.classes)
        if label not in self.classes:
            raise UsageError(f"there is no class {label!r}", hint=did_you_mean(label, self.classes))
        column = self.classes.index(label)
        two = len(self.classes) == 2  # one column then, which speaks for the second class
        weights = (self.weights[:-1, 0] * (1 if column else -1)) if two else self.weights[:-1, column]
        words = list(self.vocabulary)
        return [(words[at], float(weights[at])) for at in np.argsort(-weights, kind="stable")[:n]]

    def _rows(self, words: Sequence[Sequence[str]]) -> _Rows:
        """The word counts of each text, or tf-idf scaled to length 1."""
        return _rows(words, self.vocabulary, self._idf if self.tfidf else None)


class MostSimilar:
    """The most similar of some texts: the one whose tf-idf vector has the largest cosine with that of the question.

    Of equally similar texts it is the first; a text that shares no word with any of them has none.

    >>> similar = MostSimilar(["name a red fruit", "name a big city", "spell the word cat"])
    >>> similar.places(["which fruit is red?", "spell dog", "?"])
    [0, 2, None]
    """

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts:
            raise DataError("there are no texts to compare with")
        words = [_words(text) for text in texts]
        self._n = len(texts)
        self._vocabulary = _vocabulary(words)
        self._idf = _idf(words, self._vocabulary)
        rows = _rows(words, self._vocabulary, self._idf)
        order = np.argsort(rows.column, kind="stable")  # by word, so that a question looks at its own words only
        self._row, self._value = rows.row[order], rows.value[order]
        self._starts = np.searchsorted(rows.column[order], np.arange(len(self._vocabulary) + 1))

    def similarities(self, text: str) -> Numbers:
        """[texts]: the cosine with each of them, 0 to 1."""
        asked = _rows([_words(text)], self._vocabulary, self._idf)
        found = np.zeros(self._n)
        for column, value in zip(asked.column, asked.value, strict=True):
            with_word = slice(self._starts[column], self._starts[column + 1])
            found[self._row[with_word]] += value * self._value[with_word]  # a text has each word once
        return found

    def places(self, texts: Sequence[str]) -> list[int | None]:
        """The place of the most similar text for each of these; None where no word is shared."""
        found = (self.similarities(text) for text in texts)
        return [int(cosines.argmax()) if cosines.any() else None for cosines in found]


@dataclass(frozen=True)
class _Rows:
    """A matrix [rows, words] of which few entries are not 0: entry e is `value[e]` at (`row[e]`, `column[e]`)."""

    row: Places
    column: Places
    value: Numbers
    n: int

    def times(self, weights: Numbers) -> Numbers:
        """[rows, columns] of the product with weights [words + 1, columns], whose last row (the bias) counts once."""
        products = (self.value * column[self.column] for column in weights.T)
        sums = [np.bincount(self.row, part, minlength=self.n) for part in products]
        return np.stack(sums, axis=1, dtype=np.float64) + weights[-1]

    def turned_times(self, residuals: Numbers, n_words: int) -> Numbers:
        """[words + 1, columns] of the transposed matrix times [rows, columns]."""
        products = (self.value * column[self.row] for column in residuals.T)
        sums = [np.bincount(self.column, part, minlength=n_words) for part in products]
        return np.concatenate([np.stack(sums, axis=1, dtype=np.float64), residuals.sum(axis=0, keepdims=True)])


def _objective(rows: _Rows, target: Places, n_classes: int, c: float) -> Objective:
    """Mean nats per row plus the penalty |weights|² / (2 · c · rows), and its slope, both over flat weights.

    Two classes have one column of weights, the second class against the first: with two the penalty would be halved.
    """
    right = np.eye(n_classes)[target]
    n_columns = 1 if n_classes == 2 else n_classes

    def objective(flat: Numbers) -> tuple[float, Numbers]:
        weights = flat.reshape(-1, n_columns)
        log_p = _log_probabilities(rows.times(weights))
        free = weights.copy()
        free[-1] = 0.0  # biases are not held down
        loss = -log_p[np.arange(rows.n), target].sum() + (free * free).sum() / (2 * c)
        slope = rows.turned_times((np.exp(log_p) - right)[:, -n_columns:], len(weights) - 1) + free / c
        return float(loss) / rows.n, slope.ravel() / rows.n

    return objective


def _log_probabilities(scores: Numbers) -> Numbers:
    """[rows, classes] of scores [rows, columns]; a single column stands beside a first class that scores 0."""
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Minimum:
    """Where a search ended: the point, the steps it took, and the largest slope left there."""

    at: Numbers
    n_steps: int
    largest_slope: float
    converged: bool


def minimise(
    objective: Objective, start: Numbers, *, tolerance: float = TOLERANCE, most_steps: int = MOST_STEPS
) -> Minimum:
    """The lowest point of a smooth convex function, by L-BFGS (Liu and Nocedal 1989).

    `objective` gives the value and the slope at a point. Ends when no slope is above `tolerance`, after `most_steps`,
    or when no step goes lower any more; `converged` says whether it was the first.

    >>> found = minimise(lambda x: (float(((x - 3) ** 2).sum()), 2 * (x - 3)), np.zeros(2))
    >>> found.at.round(6).tolist(), found.converged
    ([3.0, 3.0], True)
    """
    at = start
    value, slope = objective(at)
    pairs: deque[tuple[Numbers, Numbers]] = deque(maxlen=_MEMORY)
    n_steps = 0
    while n_steps < most_steps and np.abs(slope).max() > tolerance:
        found = _line_search(objective, at, value, slope, -_scaled(slope, pairs))
        if found is None:
            break
        step, new_slope = found[0] - at, found[2] - slope
        if step @ new_slope > 0:  # else the curvature is lost in rounding
            pairs.append((step, new_slope))
        at, value, slope = found
        n_steps += 1
    largest = float(np.abs(slope).max())
    return Minimum(at, n_steps, largest, largest <= tolerance)


def _scaled(slope: Numbers, pairs: Sequence[tuple[Numbers, Numbers]]) -> Numbers:
    """The slope times an estimate of the inverse curvature: the two loops over remembered (step, change of slope)."""
    if not pairs:
        return slope / max(1.0, float(np.linalg.norm(slope)))
    result = slope.copy()
    shares = []
    for step, change in reversed(pairs):
        shares.append((step @ result) / (step @ change))
        result -= shares[-1] * change
    step, change = pairs[-1]
    result *= (step @ change) / (change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        result += (share - (change @ result) / (step @ change)) * step
    return result


def _line_search(
    objective: Objective, at: Numbers, value: float, slope: Numbers, direction: Numbers
) -> tuple[Numbers, float, Numbers] | None:
    """The first of 1, 1/2, 1/4 … of the way that goes down enough (Armijo 1966), or None when none does."""
    descent, length = float(slope @ direction), 1.0
    for _ in range(40):
        there = at + length * direction
        new_value, new_slope = objective(there)
        if new_value <= value + 1e-4 * length * descent:
            return there, new_value, new_slope
        length /= 2
    return None


def check_rows(texts: Sequence[str], labels: Sequence[str]) -> None:
    """Raise DataError when there are no rows, or not one label for each text."""
    if len(texts) != len(labels):
        raise DataError(f"{len(texts):,} texts and {len(labels):,} labels are not pairs")
    if not len(texts):
        raise DataError("there are no rows to learn from")


def _check_fitted(classes: tuple[str, ...]) -> None:
    if not classes:
        raise UsageError("this baseline has not learned anything yet", hint="Call fit(texts, labels) first.")


def _likeliest(classes: tuple[str, ...], probabilities: Numbers) -> list[str]:
    return [classes[at] for at in probabilities.argmax(axis=1)]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _vocabulary(words: Sequence[Sequence[str]]) -> dict[str, int]:
    """Each word and its column, in the order of the alphabet."""
    return {word: at for at, word in enumerate(sorted({word for text in words for word in text}))}


def _idf(words: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> Numbers:
    """[words]: how rare each is, as if one more text had all of them (Spärck Jones 1972)."""
    n_with = Counter(word for text in words for word in set(text))
    n_texts_with = np.array([n_with[word] for word in vocabulary], dtype=np.float64)
    return np.log((1 + len(words)) / (1 + n_texts_with)) + 1


def _rows(words: Sequence[Sequence[str]], vocabulary: Mapping[str, int], idf: Numbers | None) -> _Rows:
    """The counts of each text's known words; with `idf` tf-idf scaled to length 1."""
    counts = [Counter(word for word in text if word in vocabulary) for text in words]
    row = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
    column = np.array([vocabulary[word] for count in counts for word in count], dtype=np.int64)
    value = np.array([times for count in counts for times in count.values()], dtype=np.float64)
    if idf is not None:
        value = value * idf[column]
        value = value / np.sqrt(np.bincount(row, value * value, minlength=len(counts)))[row]
    return _Rows(row, column, value, len(counts))
