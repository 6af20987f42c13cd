"""`docs/formats.md` against fine-tuned runs of every kind: each field that is written is described, with its type."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.evals.test_formats import FIELDS, fits, section, tables
from tests.train.conftest import WIRINGS, TuneBench

from vidro.config.schema import PreferOptions
from vidro.core.events import Event, read_events
from vidro.train.prefer import prefer_job

KINDS = {"classify": "classifier", "instruct": "instruct", "prefer": "preferred"}
ABSENT = tables(section("Events of fine-tuned runs"))[0]
MORE = {kind: tables(section(f"More in `{kind}`"))[0] for kind in ("start", "eval", "end")}


def expected(kind: str, command: str) -> dict[str, str]:
    """Fields of an event of a kind of run, and their types."""
    fields = dict(FIELDS[kind])
    for name in re.findall(r"`(\w+)`", ABSENT[kind][0].split(";")[0]) if kind in ABSENT else ():
        del fields[name]
    if kind == "eval" and command != "instruct":
        del fields["n_tokens"]
    if kind == "sample":
        fields["seed"] = "null"
    more = MORE.get(kind, {})
    return fields | {name: of[0] for name, of in more.items() if of[2] == "all" or f"`{KINDS[command]}`" in of[2]}


def made(tuner: TuneBench, command: str) -> Path:
    if command != "prefer":
        return tuner.tune(command, "run").path
    rows = [json.loads(line) for line in (tuner.folder / "asked.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs = [
        {"instruction": row["instruction"], "input": row["input"], "chosen": row["output"], "rejected": "no"}
        for row in rows
    ]
    (tuner.folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WIRINGS, "prefer", (prefer_job, PreferOptions, "data", "pairs.json"))
        return tuner.tune("prefer", "run", style="chatml").path


@pytest.mark.parametrize("command", KINDS)
def test_each_field_is_described_with_its_type(command: str, tuner: TuneBench) -> None:
    path = made(tuner, command)
    events: list[Event] = read_events(path / "metrics.jsonl")
    seen: set[str] = set()
    for event in events:
        kind = event["event"]
        seen.add(kind)
        described = expected(kind, command)
        assert set(event) == set(described), kind
        for field, value in event.items():
            assert fits(value, described[field]), f"{kind}.{field} = {value!r} is not: {described[field]}"
    wanted = {"start", "train", "eval", "best", "phase", "checkpoint", "end"}
    assert seen - {"note"} == wanted | ({"sample"} if command != "classify" else set())
    (end,) = [event for event in events if event["event"] == "end"]
    results = json.loads((path / "vidro.json").read_text(encoding="utf-8"))["results"]
    for name, cells in MORE["end"].items():
        if name in end:
            check_keys(end[name], cells[1])
            assert end[name] == results[name]


def check_keys(value: Any, meaning: str) -> None:
    """Every key of an object is named in its meaning, where that lists them at all."""
    named = set(re.findall(r"`(\w+)`", meaning))
    if isinstance(value, dict) and named:
        assert set(value) <= named, set(value) - named
