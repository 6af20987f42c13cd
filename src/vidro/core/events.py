"""One stream of events: what a run says while it works, to the console, to ``metrics.jsonl`` and to loggers.

An event is a flat dict with its kind under "event" and the seconds since the stream began under "time_s".
`docs/formats.md` lists the kinds. Not here: how events look on a screen (`cli/progress`), TensorBoard and W&B
(`core/loggers`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from vidro.core.errors import RunError
from vidro.core.files import storage_errors

Event = dict[str, Any]
Sink = Callable[[Event], None]


class EventStream:
    """Sends each event to every sink, in order. `clock` returns seconds and never goes back."""

    def __init__(self, sinks: Iterable[Sink], *, clock: Callable[[], float]) -> None:
        self._sinks = list(sinks)
        self._clock = clock
        self._started_s = clock()

    def emit(self, kind: str, /, **fields: Any) -> Event:
        """Send one event and return it."""
        event: Event = {"event": kind, "time_s": round(self._clock() - self._started_s, 3), **fields}
        for sink in self._sinks:
            sink(event)
        return event


class JsonlSink:
    """Appends each event as one line of JSON and flushes it, so a killed run keeps all lines but perhaps the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            end_torn_line(path)
            self._file: TextIO = path.open("a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        with storage_errors(self.path):
            self._file.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def end_torn_line(path: Path) -> None:
    """Cut off a last line that a kill left without its line end, so that appending starts on a fresh line."""
    if not path.exists():
        return
    with path.open("rb+") as stream:
        data = stream.read()
        keep = data.rfind(b"\n") + 1
        if keep != len(data):
            stream.truncate(keep)


def read_events(path: Path) -> list[Event]:
    """All events that count: a torn last line is left out, and ``resumed`` undoes what came after its checkpoint.

    A missing file is an empty list: a run that was killed before its first event has none.
    """
    if not path.exists():
        return []
    events: list[Event] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end is torn (or empty)
        try:
            event = json.loads(line)
        except ValueError:
            raise RunError(f"line {number} is not valid JSON", where=path, hint="The file was altered.") from None
        if event["event"] == "resumed":
            events = _before(events, event["step"])
        events.append(event)
    return events


def _before(events: list[Event], step: int) -> list[Event]:
    """What had been said when the checkpoint of `step` was taken.

    That is all up to its ``checkpoint`` event; a kill may have come between the two, and then it is all up to `step`.
    """
    marks = [i for i, event in enumerate(events) if event["event"] == "checkpoint" and event["step"] == step]
    if marks:
        return events[: marks[-1] + 1]
    return [event for event in events if event.get("step", 0) <= step and event["event"] != "end"]
