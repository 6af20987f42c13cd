from __future__ import annotations

from pathlib import Path

import pytest

from vidro.core.events import EventStream, JsonlSink, read_events


def written(path: Path, *events: tuple[str, int]) -> None:
    sink = JsonlSink(path)
    stream = EventStream([sink], clock=lambda: 0.0)
    for kind, step in events:
        stream.emit(kind, step=step)
    sink.close()


def test_a_torn_last_line_is_left_out_and_cut_before_appending(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, ("train", 1), ("train", 2))
    path.write_bytes(path.read_bytes()[:-7])
    assert [e["step"] for e in read_events(path)] == [1]
    written(path, ("train", 3))
    assert [e["step"] for e in read_events(path)] == [1, 3]


def test_resumed_drops_later_events_and_an_earlier_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, ("train", 1), ("train", 5), ("eval", 5), ("end", 5), ("resumed", 5), ("train", 6), ("resumed", 1))
    kinds = [(e["event"], e["step"]) for e in read_events(path)]
    assert kinds == [("train", 1), ("resumed", 1)]
    assert [(e["event"], e["step"]) for e in read_events(path)][-1] == ("resumed", 1)


def test_resumed_drops_all_after_the_checkpoint_it_goes_on_from_even_of_its_own_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    before = [("train", 5), ("eval", 5), ("checkpoint", 5)]
    landing = [("note", 5), ("phase", 5), ("train", 8), ("eval", 8), ("checkpoint", 8), ("end", 8)]
    after = [("resumed", 5), ("train", 6)]
    written(path, *before, *landing, *after)
    assert [(e["event"], e["step"]) for e in read_events(path)] == [*before, *after]


def test_resumed_from_a_checkpoint_that_was_not_yet_said_keeps_all_of_its_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, ("checkpoint", 2), ("train", 5), ("eval", 5), ("train", 6), ("resumed", 5))
    kinds = [(e["event"], e["step"]) for e in read_events(path)]
    assert kinds == [("checkpoint", 2), ("train", 5), ("eval", 5), ("resumed", 5)]


def test_time_is_counted_from_the_start_and_sinks_all_hear() -> None:
    ticks = iter([10.0, 12.5])
    heard: list[dict] = []
    EventStream([heard.append, heard.append], clock=lambda: next(ticks)).emit("note", message="hello")
    assert heard == [{"event": "note", "time_s": 2.5, "message": "hello"}] * 2


def test_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "m.jsonl")
    with pytest.raises(ValueError, match="JSON compliant"):
        sink({"event": "train", "loss_nats": float("nan")})


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none.jsonl") == []
