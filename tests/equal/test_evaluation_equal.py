"""The fast evaluations against their readable twins."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.evals.memorisation import CopyIndex, CopyReport


def copied_plainly(train: str, text: str, min_chars: int) -> CopyReport:
    """The definition, word for word: from each place, the longest piece that stands in the training text."""
    longest = 0
    covered = [False] * len(text)
    for start in range(len(text)):
        length = 0
        while start + length < len(text) and text[start : start + length + 1] in train:
            length += 1
        if length >= min_chars:
            longest = max(longest, length)
            covered[start : start + length] = [True] * length
    spans: list[tuple[int, int]] = []
    for place, yes in enumerate(covered):
        if yes and spans and spans[-1][1] == place:
            spans[-1] = (spans[-1][0], place + 1)
        elif yes:
            spans.append((place, place + 1))
    return CopyReport(sum(covered) / len(text) if text else 0.0, longest, tuple(spans))


FEW_LETTERS = st.text(alphabet="aaabé日\n", max_size=120)


@settings(max_examples=300, deadline=None)
@given(train=FEW_LETTERS, pieces=st.lists(st.tuples(st.integers(0, 119), st.integers(0, 60), FEW_LETTERS), max_size=4),
       min_chars=st.integers(4, 40))  # fmt: skip
def test_copied_runs_equal_the_plain_search(train: str, pieces: list[tuple[int, int, str]], min_chars: int) -> None:
    text = "".join(train[start : start + length] + between[:5] for start, length, between in pieces)
    expected = copied_plainly(train, text, min_chars)
    assert CopyIndex(train, shortest=min_chars).copied(text, min_chars=min_chars) == expected
    assert CopyIndex(train, shortest=4).copied(text, min_chars=min_chars) == expected
