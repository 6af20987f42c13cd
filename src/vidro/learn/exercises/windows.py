"""Exercise for windows: questions and answers out of one row of ids.

What goes wrong here goes wrong silently: with answers that are not moved on, a model learns to repeat its input and the
loss falls beautifully. So the usual mistakes are looked for by name.
"""

from __future__ import annotations

import inspect
from typing import Any

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong

STUB = '''\
"""Exercise windows: inputs and targets out of a row of ids. Check it with: vidro learn check windows FILE"""


def windows(ids, length, stride):
    """Two lists: every `stride`-th window of `length` ids, and the same windows one token further on."""
    # Which is the last start at which a window still has its last answer?
    raise NotImplementedError
'''

NAMES = ("windows", "sliding_windows", "make_windows", "create_windows", "GPTDatasetV1", "GPTDataset", "TokenDataset",
         "WindowDataset", "TextDataset")  # fmt: skip
IDS = [40, 7, 13, 2, 99, 5, 61, 8, 30, 77, 21]


class Spelled:
    """A tokenizer for texts that are ids already, for solutions that tokenize themselves."""

    def encode(self, text: str, **_: Any) -> list[int]:
        """The numbers of the text."""
        return [int(word) for word in text.split()]


def cut(solution: Solution, ids: list[int], length: int, stride: int) -> tuple[list[list[int]], list[list[int]]]:
    """The reader's inputs and targets as plain lists: of a function, or of a data set of pairs."""
    kind = solution.get(*NAMES)
    text = " ".join(map(str, ids))
    lengths = dict.fromkeys(("length", "max_length", "context_length", "block_size", "context_size", "seq_len"), length)
    answer = build(kind, ids=ids, tokens=ids, token_ids=ids, txt=text, text=text, tokenizer=Spelled(), stride=stride,
                   **lengths)  # fmt: skip
    if inspect.isclass(kind):
        answer = list(zip(*(answer[i] for i in range(len(answer))), strict=True)) or ([], [])
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong("two things must come back: the inputs, and the targets", found=type(answer).__name__)
    x, y = (_plain(part) for part in answer)
    return x, y


def _plain(rows: Any) -> list[list[int]]:
    """Lists, tuples, arrays or tensors of ids as lists."""
    rows = rows.tolist() if hasattr(rows, "tolist") else rows
    return [list(row.tolist() if hasattr(row, "tolist") else row) for row in rows]


def there_are_windows(solution: Solution) -> None:
    """As many as there must be, each of the right length."""
    x, y = cut(solution, IDS[:10], 3, 3)
    for name, rows in (("inputs", x), ("targets", y)):
        complete(rows, 3)
        if len(rows) != 3:
            raise Wrong(f"ten ids make three windows of 3 with all answers; there are other {name}", found=len(rows))


def complete(rows: list[list[int]], length: int) -> None:
    """Raise Wrong for a window without an end."""
    short = [row for row in rows if len(row) != length]
    if short:
        hint = "The last start is the one whose last answer is still in the text: len(ids) - length - 1."
        raise Wrong(f"a window is not {length} tokens long, or lacks its last answer", found=short[0], hint=hint)


def the_inputs_are_the_text(solution: Solution) -> None:
    """Stretches of the row."""
    x, _ = cut(solution, IDS[:9], 4, 4)
    expected = [IDS[0:4], IDS[4:8]]
    if x != expected:
        raise Wrong("the inputs are not the text, cut", found=x, expected=expected)


def the_targets_come_next(solution: Solution) -> None:
    """One token further on, at every place."""
    x, y = cut(solution, IDS[:9], 4, 4)
    expected = [IDS[1:5], IDS[5:9]]
    if y == x:
        raise Wrong("the targets are the inputs: the model would learn to repeat", hint="Begin one token further on.")
    if y == [[*row[1:], row[0]] for row in x]:
        hint = "Take them from the text, not from the window: ids[start + 1 : start + length + 1]."
        raise Wrong("the last target is the window's own first token", hint=hint)
    if y != expected:
        raise Wrong("the target at each place is the next token of the text", found=y, expected=expected)


def the_stride_is_kept(solution: Solution) -> None:
    """Overlapping windows, and windows with gaps between."""
    for stride in (1, 2, 5):
        x, y = cut(solution, IDS, 4, stride)
        complete(x, 4)
        complete(y, 4)
        starts = list(range(0, len(IDS) - 4, stride))
        expected = [IDS[start : start + 4] for start in starts]
        if x != expected:
            found = [row[0] for row in x]
            wanted = [row[0] for row in expected]
            raise Wrong(f"with stride {stride} the windows begin elsewhere", found=found, expected=wanted)
        if y != [IDS[start + 1 : start + 5] for start in starts]:
            raise Wrong(f"with stride {stride} the targets are not the next tokens", found=y)


def the_last_window_counts(solution: Solution) -> None:
    """A text of exactly one window and its last answer has one; a token less has none."""
    x, y = cut(solution, IDS[:5], 4, 4)
    if (x, y) != ([IDS[:4]], [IDS[1:5]]):
        hint = "range() stops before its end: range(0, len(ids) - length, stride)."
        raise Wrong("five ids make one window of 4 and its answers", found=x, hint=hint)
    try:
        x, y = cut(solution, IDS[:4], 4, 4)
    except Exception:  # refusing a text that is too short is as good
        return
    if x or y:
        raise Wrong("four ids hold no window of 4 with all its answers", found=[x, y])


EXERCISE = Exercise(
    "windows",
    STUB,
    (
        Step("there are windows, all of one length", there_are_windows),
        Step("the inputs are the text", the_inputs_are_the_text),
        Step("the targets are the next tokens", the_targets_come_next),
        Step("the stride is kept", the_stride_is_kept),
        Step("the last window is there, and none without an end", the_last_window_counts),
    ),
    solution="vidro.learn.windows",
)
