"""What a run writes down while it trains: every event in ``metrics.jsonl``, samples in ``samples.jsonl`` too.

Not here: the stream itself (`vidro.core.events`), what the events mean (docs/formats.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vidro.core.events import Event, EventStream, JsonlSink, Sink


@contextmanager
def run_log(path: Path, sinks: Sequence[Sink], *, clock: Callable[[], float]) -> Iterator[EventStream]:
    """The stream of a run's events, into its two files and to `sinks`; the files are closed at the end."""
    everything, samples = JsonlSink(path / "metrics.jsonl"), JsonlSink(path / "samples.jsonl")

    def to_samples(event: Event) -> None:
        if event["event"] in ("sample", "resumed"):
            samples(event)

    try:
        yield EventStream([everything, to_samples, *sinks], clock=clock)
    finally:
        everything.close()
        samples.close()
