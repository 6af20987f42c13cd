"""Copies among labelled texts: found, taken out, and kept from standing on both sides of a split.

Two texts are the *same* when their `text_key` is (case, white space and the spelling of accents aside). They are *near*
when of all their different runs of 5 characters (of the key) at least 0.8 are in both: their Jaccard index.

To compare all pairs would take n² steps. MinHash (Broder 1997) draws one run of each text by a random order of all
runs; two texts draw the same one as often as their Jaccard index says. 125 draws are cut into 25 bands of 5, and only
texts that agree on a whole band are compared, exactly: a pair at 0.8 is overlooked once in 20,000 times, (1 − 0.8⁵)²⁵.
The orders come from a fixed seed, so that the answer is always the same. Texts made
from one template agree on many bands: there the time still grows with n². Not here: reading tables (`labelled`).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidro.core.errors import DataError, UsageError
from vidro.data.labelled import LabelledRow

NEAR = 0.8
RUN = 5  # characters
BANDS, BAND = 25, 5
_SEED = 0
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of SplitMix64 (Steele, Lea & Flood 2014)
_PADDING = "\0"  # a text shorter than a run is one run

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two places whose texts are near, and how near: from 0.8 to 1. Different texts can have all runs in common."""

    first: int
    second: int
    similarity: float


@dataclass(frozen=True)
class DuplicateReport:
    """Places (from 0) of rows with the same text, in groups; those groups whose labels differ; and near pairs.

    In `near` the first row stands for all that have its text.
    """

    n_rows: int
    exact: tuple[tuple[int, ...], ...]
    conflicting: tuple[tuple[int, ...], ...]
    near: tuple[NearPair, ...]

    @property
    def n_copies(self) -> int:
        """How many rows `deduplicate` would take out."""
        return sum(len(group) - 1 for group in self.exact)


@dataclass(frozen=True)
class Leaks:
    """Rows that training has seen: pairs of the place in train and the place in the other part.

    A row of the other part is in one pair at most: with its first copy in train, else with the nearest text there.
    """

    exact: tuple[tuple[int, int], ...]
    near: tuple[NearPair, ...]


@dataclass(frozen=True)
class LabelledSplit:
    """The rows of each part."""

    train: tuple[LabelledRow, ...]
    val: tuple[LabelledRow, ...]
    test: tuple[LabelledRow, ...]


def text_key(text: str) -> str:
    """What two texts must share to count as the same: composed accents, no case, single spaces.

    >>> text_key("  Ola\\u0301\\tMUNDO\\n") == text_key("ol\\xe1 mundo")
    True
    """
    folded = unicodedata.normalize("NFC", text).casefold()  # folding can take composed characters apart again
    return " ".join(unicodedata.normalize("NFC", folded).split())


def find_duplicates(rows: Sequence[LabelledRow]) -> DuplicateReport:
    """Rows with the same text, with the same text but another label, and with nearly the same text."""
    groups = _groups(rows)
    exact = [tuple(group) for group in groups.values() if len(group) > 1]
    conflicting = [group for group in exact if len({rows[at].label for at in group}) > 1]
    firsts = [group[0] for group in groups.values()]
    near = (NearPair(firsts[a], firsts[b], similarity) for a, b, similarity in _near(list(groups)))
    return DuplicateReport(len(rows), tuple(exact), tuple(conflicting), tuple(near))


def leaks(train: Sequence[LabelledRow], other: Sequence[LabelledRow]) -> Leaks:
    """Which rows of `other` stand in `train`, exactly or nearly, whatever their labels are."""
    known, asked = _groups(train), _groups(other)
    exact = sorted((known[key][0], at) for key, places in asked.items() if key in known for at in places)
    left = [key for key in asked if key not in known]
    firsts = [group[0] for group in known.values()]
    nearest: dict[int, NearPair] = {}
    for a, b, similarity in _near([*known, *left], n_left=len(known)):
        if b not in nearest or similarity > nearest[b].similarity:
            nearest[b] = NearPair(firsts[a], b, similarity)
    near = [
        NearPair(pair.first, at, pair.similarity) for b, pair in nearest.items() for at in asked[left[b - len(known)]]
    ]
    return Leaks(tuple(sorted(exact, key=lambda pair: pair[1])), tuple(sorted(near, key=lambda pair: pair.second)))


def deduplicate(rows: Sequence[LabelledRow]) -> tuple[list[LabelledRow], int]:
    """The first row of each text (`text_key`), and how many others went, also where their labels differ.

    >>> deduplicate([LabelledRow("Hi", "ham", 1), LabelledRow("hi ", "ham", 2), LabelledRow("Ho", "ham", 3)])[1]
    1
    """
    kept = [rows[group[0]] for group in _groups(rows).values()]
    return kept, len(rows) - len(kept)


def split_rows(
    rows: Sequence[LabelledRow], *, val: float = 0.1, test: float = 0.2, seed: int, book: bool = False
) -> LabelledSplit:
    """Every label in every part by these shares, and rows with the same text always in the same part.

    Copies that are more than a part still needs train. A text with several labels goes with its first one. A share of
    0 leaves a part empty. `book`: rows are shuffled and cut by count, copies or not (Raschka 2024, chapter 6). Raises
    DataError when a label has too few different texts to be in all parts.
    """
    if not (val >= 0 and test >= 0 and val + test < 1):
        what = f"shares of {val} for validation and {test} for testing leave nothing to train on"
        raise UsageError(what, hint="Take 0.1 and 0.2, say.")
    draw = np.random.default_rng(seed)
    if not rows:
        raise DataError("there are no rows to divide", hint="Choose a table with rows.")
    if book:
        return _book_split(rows, val, test, draw)
    by_label: dict[str, list[list[int]]] = {label: [] for label in sorted({row.label for row in rows})}
    for group in _groups(rows).values():
        by_label[rows[group[0]].label].append(group)
    shares = {part: share for part, share in (("test", test), ("val", val)) if share > 0}
    needed = " and ".join(["train", *shares])
    places: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for label, groups in by_label.items():
        if len(groups) <= len(shares):
            what = f"label {label!r} has {len(groups)} different texts of its own, too few to be in {needed}"
            raise DataError(what, hint="Add rows of it, leave that label out, or give test rows of their own.")
        for part, found in _divide(groups, shares, draw).items():
            places[part] += found
    return LabelledSplit(*(tuple(rows[at] for at in sorted(part)) for part in places.values()))


def _divide(groups: Sequence[list[int]], shares: dict[str, float], draw: np.random.Generator) -> dict[str, list[int]]:
    """The rows of one label by part: of each group all. Every part has one group at least."""
    left = [groups[at] for at in draw.permutation(len(groups))]
    n_rows = sum(map(len, groups))
    parts: dict[str, list[int]] = {}
    for n_before, (part, share) in enumerate(shares.items()):
        need = max(1, round(share * n_rows))
        spare = len(left) - (len(shares) - n_before)  # train and the parts that follow need one each
        if all(len(group) > need for group in left):
            left.sort(key=len)
            need = len(left[0])
        taken, rest = [], []
        for group in left:
            fits = len(group) <= need and len(taken) < spare
            (taken if fits else rest).append(group)
            need -= len(group) if fits else 0
        parts[part] = [at for group in taken for at in group]
        left = rest
    return {"train": [at for group in left for at in group], **parts}


def _book_split(rows: Sequence[LabelledRow], val: float, test: float, draw: np.random.Generator) -> LabelledSplit:
    order = tuple(rows[at] for at in draw.permutation(len(rows)))
    n_train = int(len(rows) * round(1 - val - test, 9))  # 1 − 0.1 − 0.2 is a little more than 0.7
    n_val = int(len(rows) * val)
    split = LabelledSplit(order[:n_train], order[n_train : n_train + n_val], order[n_train + n_val :])
    if not split.train or bool(split.val) < (val > 0) or bool(split.test) < (test > 0):
        what = f"{len(rows):,} rows are too few for shares of {val} for validation and {test} for testing"
        raise DataError(what, hint="Add rows.")
    return split


def _groups(rows: Sequence[LabelledRow]) -> dict[str, list[int]]:
    """The places of each text, by its key, in the order of the first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        groups[text_key(row.text)].append(at)
    return groups


def _near(keys: Sequence[str], n_left: int | None = None) -> Iterator[tuple[int, int, float]]:
    """Near pairs (lower place, higher place, similarity), sorted; only across place `n_left` where it is given."""
    numbers: dict[str, int] = {}  # sets of numbers are compared several times as fast as sets of strings
    runs: dict[int, frozenset[int]] = {}
    codes: list[int] = _candidates(_signatures(keys), n_left).tolist()
    for code in codes:
        a, b = divmod(code, len(keys))
        for at in (a, b):
            if at not in runs:
                runs[at] = frozenset(numbers.setdefault(run, len(numbers)) for run in _runs(keys[at]))
        both = len(runs[a] & runs[b])
        similarity = both / (len(runs[a]) + len(runs[b]) - both)
        if similarity >= NEAR:
            yield a, b, similarity


def _runs(key: str) -> frozenset[str]:
    """The different runs of 5 characters.

    >>> sorted(_runs("aaaaaab"))
    ['aaaaa', 'aaaab']
    """
    padded = key.ljust(RUN, _PADDING)
    return frozenset(padded[at : at + RUN] for at in range(len(padded) - RUN + 1))


def _signatures(keys: Sequence[str]) -> Keys:
    """For each key what the draws give, [number of keys, BANDS · BAND]."""
    padded = [key.ljust(RUN, _PADDING) for key in keys]
    draw = np.random.default_rng(_SEED)
    factors = draw.integers(0, 1 << 63, BANDS * BAND, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found = np.empty((BANDS * BAND, len(keys)), dtype=np.uint64)
    if not padded:
        return found.T
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    starts = np.cumsum([0, *map(len, padded)])
    hashes = np.zeros(len(points) - RUN + 1, dtype=np.uint64)
    for at in range(RUN):  # a run as one number, then well stirred
        hashes = _stirred(hashes ^ points[at : at + len(hashes)])
    inside = np.ones(len(points), dtype=bool)  # runs do not cross from one text into the next
    for back in range(1, RUN):
        inside[starts[1:] - back] = False
    hashes = hashes[inside[: len(hashes)]]
    firsts = starts[:-1] - np.arange(len(keys)) * (RUN - 1)
    for number, factor in enumerate(factors):
        found[number] = np.minimum.reduceat(hashes * factor, firsts)
    return found.T


def _stirred(numbers: Keys) -> Keys:
    for shift, factor in zip((30, 27), _MIX, strict=True):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * factor
    return numbers ^ (numbers >> np.uint64(31))


def _candidates(signatures: Keys, n_left: int | None) -> NDArray[np.int64]:
    """Pairs that agree on a band, each as one number (lower place · number of keys + higher place), sorted."""
    n_keys = len(signatures)
    codes = [np.empty(0, dtype=np.int64)]
    for number in range(BANDS):
        band = np.zeros(n_keys, dtype=np.uint64)
        for column in signatures.T[number * BAND : (number + 1) * BAND]:
            band = _stirred(band ^ column)
        order = np.argsort(band, kind="stable")
        ends = np.flatnonzero(np.diff(band[order])) + 1
        for places in np.split(order, ends):
            if len(places) > 1:  # in their order, as the sort is stable
                a, b = np.triu_indices(len(places), k=1)
                a, b = places[a], places[b]
                across = slice(None) if n_left is None else (a < n_left) & (b >= n_left)
                codes.append((a * n_keys + b)[across])
    return np.unique(np.concatenate(codes))
