"""From rows to answers: a model that was taught to answer is asked every row, and nothing is asked twice.

Rows are asked greedily, some dozens at a time, and each group of answers is written down before the next is asked. The
file of answers has a line of JSON for each: the row's line in its file, the model (SHA-256 of its weights), the prompt
(SHA-256 of its ids), the settings, then the fields of `AnswerRow`. Another call with the same file asks only what is
not there for this model, prompt and settings, so an evaluation that was stopped goes on where it was.

Not here: what the answers are worth (`answers`, `judge`), how a model writes (`infer/answering`). Read next: `answers`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from vidro.config.schema import SamplingOptions
from vidro.core.errors import DataError
from vidro.core.events import JsonlSink
from vidro.core.files import atomic_path, sha256_bytes, storage_errors
from vidro.data.instructions import InstructionRow
from vidro.evals.answers import AnswerRow
from vidro.infer.answering import Answerer
from vidro.infer.decode import BATCH_SLOTS
from vidro.infer.session import Generation

Progress = Callable[[int, int], None]  # rows answered, rows in all
Key = tuple[str, str, str]  # the model, the prompt, the settings
T = TypeVar("T")

TOGETHER = 64  # rows between two writes; more than the decoder's slots, so that few of them wait for the slowest
_LINE_START = b'{"row": '  # how each line begins, as JsonlSink writes it


@dataclass(frozen=True)
class Answers:
    """The rows with their answers, and for how many of them an earlier call had asked."""

    rows: tuple[AnswerRow, ...]
    n_resumed: int


def fits(answerer: Answerer, row: InstructionRow) -> bool:
    """Whether the question leaves room for an answer."""
    return len(answerer.prompt_ids(row.prompt)) < answerer.context_length


def evenly(rows: Sequence[T], most: int) -> list[T]:
    """At most that many of the rows, evenly spaced.

    >>> evenly("abcdefg", 3), evenly("ab", 3)
    (['a', 'c', 'e'], ['a', 'b'])
    """
    every = max(1.0, len(rows) / most)
    return [rows[int(number * every)] for number in range(min(len(rows), most))]


def greedy_options(max_tokens: int) -> SamplingOptions:
    """How answers that are measured are written: the most probable token each time, nothing drawn."""
    return SamplingOptions(greedy=True, max_tokens=max_tokens)


def answers_to(answerer: Answerer, rows: Sequence[InstructionRow], *, max_tokens: int) -> list[AnswerRow]:
    """The answer to each row. Raises UsageError where a question does not fit (see `fits`)."""
    asked = [row.prompt for row in rows]
    found = answerer.answers(asked, greedy_options(max_tokens), slots=BATCH_SLOTS)  # so that company changes nothing
    return [answer_row(row, answer) for row, answer in zip(rows, found, strict=True)]


def answer_row(row: InstructionRow, answer: Generation) -> AnswerRow:
    """The question, the expected answer and the model's, for the measures."""
    return with_answer(row, answer.text.strip(), stopped=answer.finish_reason in ("eos", "stop"))


def with_answer(row: InstructionRow, answer: str, *, stopped: bool | None) -> AnswerRow:
    """The row with an answer, wherever it comes from."""
    asked = row.prompt[-1]
    return AnswerRow(asked.content, asked.input, row.messages[-1].text, answer, row.kind, stopped)


def write_answers(path: Path, rows: Sequence[AnswerRow]) -> None:
    """All answers in one file, one a line, which `answers.read_answers` reads."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def answer_rows(
    answerer: Answerer,
    rows: Sequence[InstructionRow],
    out: Path,
    *,
    model: str,
    max_tokens: int,
    on_progress: Progress | None = None,
) -> Answers:
    """The answer to each row, kept in `out`; `model` is the SHA-256 of the weights.

    Raises UsageError where a question does not fit, DataError when `out` is another kind of file.
    """
    keys = [_key(answerer, row, model, max_tokens) for row in rows]
    known = read_kept(out)  # before the sink cuts off a torn line: it may be another file altogether
    n_resumed = sum(key in known for key in keys)
    waiting = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}  # equal questions once
    alike = Counter(keys)
    done = n_resumed
    if on_progress is not None:
        on_progress(done, len(rows))
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    sink = JsonlSink(out)
    try:
        for group in _groups(list(waiting.items()), TOGETHER):
            found = answers_to(answerer, [row for _, row in group], max_tokens=max_tokens)
            for (key, row), answered in zip(group, found, strict=True):
                sink(_line(key, row, answered))
                known[key] = answered.answer, answered.stopped
            done += sum(alike[key] for key, _ in group)
            if on_progress is not None:
                on_progress(done, len(rows))
    finally:
        sink.close()
    return Answers(tuple(_known_row(row, known[key]) for row, key in zip(rows, keys, strict=True)), n_resumed)


def read_kept(path: Path) -> dict[Key, tuple[str, bool | None]]:
    """The answers in a file of kept ones with whether each stopped; {} when there is no file; a torn line is left out.

    Raises DataError when the file is something else, or altered.
    """
    if not path.exists():
        return {}
    if path.is_dir():
        raise DataError("this is a folder, not a file for answers", where=path)
    with storage_errors(path):
        *lines, torn = path.read_bytes().split(b"\n")
    if not (torn.startswith(_LINE_START) or _LINE_START.startswith(torn)):
        raise _not_kept(path, len(lines) + 1)
    found: dict[Key, tuple[str, bool | None]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            plain = json.loads(line)
            key = plain["model"], plain["prompt_sha256"], _settled(plain["settings"])
            answer, stopped = plain["answer"], plain["stopped"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _not_kept(path, number) from None
        if not all(isinstance(text, str) for text in (*key, answer)) or not isinstance(stopped, bool | None):
            raise _not_kept(path, number)
        found[key] = answer, stopped
    return found


def _not_kept(path: Path, number: int) -> DataError:
    hint = "Choose another file, or mend that line."
    return DataError(f"line {number:,} is not a kept answer", where=path, hint=hint)


def _key(answerer: Answerer, row: InstructionRow, model: str, max_tokens: int) -> Key:
    """What decides an answer: weights, ids, and everything that ends it."""
    style = answerer.style
    settings: dict[str, Any] = {"greedy": True, "max_tokens": max_tokens, "end": style.end_token}
    if style.stop_strings:
        settings["stop"] = list(style.stop_strings)
    ids = json.dumps(answerer.prompt_ids(row.prompt))
    return model, sha256_bytes(ids.encode()), _settled(settings)


def _settled(settings: dict[str, Any]) -> str:
    """The settings as one text, whatever their order."""
    return json.dumps(settings, ensure_ascii=False, sort_keys=True)


def _line(key: Key, row: InstructionRow, answered: AnswerRow) -> dict[str, Any]:
    model, prompt, settings = key
    keys = {"row": row.line, "model": model, "prompt_sha256": prompt, "settings": json.loads(settings)}
    return {**keys, **asdict(answered)}


def _known_row(row: InstructionRow, kept: tuple[str, bool | None]) -> AnswerRow:
    answer, stopped = kept
    return with_answer(row, answer, stopped=stopped)


def _groups(rows: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
