"""`docs/formats.md` against a real run: every field that is written is described, every description is true."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.core.events import Event, read_events
from vidro.inspect.probe_files import FORMAT_VERSION, Probes, read_probes
from vidro.inspect.probes import is_probe_step
from vidro.train import conclude, pilot, planning
from vidro.train import pretrain as training
from vidro.train.speed import Speed
from vidro.train.text_task import TextTask

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")

FLAGS: dict[str, Any] = {
    "steps": 12, "vocab_size": 320, "context_length": 16, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_head": 16,
    "batch_tokens": 64, "evals": 6, "threads": 1, "sample_tokens": 4, "warmup": 0.2, "checkpoint_steps": 5,
}  # fmt: skip

TYPES: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "true or false": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


def fits(value: Any, kind: str) -> bool:
    """Whether a value has the documented type, such as "number or null" or "list of numbers"."""
    if kind == "true or false":
        return TYPES[kind](value)
    if kind.startswith("list of "):
        inner = kind.removeprefix("list of ").removesuffix("s")
        return isinstance(value, list) and all(fits(item, inner) for item in value)
    return any(TYPES[part](value) for part in kind.split(" or "))


def tables(text: str) -> list[dict[str, list[str]]]:
    """The tables of a piece of the page: first cell (without backticks) → the other cells."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()[2:]] for table in found]
    return [{cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in table} for table in rows]


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


KINDS = re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)
EVERY_EVENT = {name: cells[0] for name, cells in tables(section("The stream of events"))[0].items()}
FIELDS = {
    kind: EVERY_EVENT | {name: cells[0] for name, cells in tables(section(f"`{kind}`"))[0].items()} for kind in KINDS
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve steps whose validation loss is made to turn up, then four more: a run that has events of every kind."""
    folder = tmp_path_factory.mktemp("formats")
    source = folder / "hens.txt"
    days = (f"On day {n} the fox took {n * 7 % 31} hens. {n} nights were calm!" for n in range(300))
    source.write_text(" ".join(days), encoding="utf-8")
    looks = iter(range(100))
    evaluate = TextTask.evaluate

    def turning(self: TextTask, model: Any) -> dict[str, float]:
        return {**evaluate(self, model), "nats_per_token": 3.0 + 0.2 * next(looks)}

    around = training.Surroundings(cache_dir=folder / "cache", started_s=time.monotonic())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextTask, "evaluate", turning)
        patch.setattr(conclude, "plot_run", lambda path: [])  # pictures take longer than the run
        options = resolve(PretrainOptions, flags=FLAGS)
        training.pretrain(str(source), options, around=around, out=folder / "run")
        training.resume(folder / "run", around=around, more=4)
    return folder / "run"


@pytest.fixture(scope="module")
def lines(run: Path) -> list[Event]:
    """Every line that was written, those taken back by the resume too."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def probes(run: Path) -> Probes:
    return read_probes(run / "probes")


def test_events_of_every_described_kind_are_written_and_no_others(lines: list[Event]) -> None:
    assert {event["event"] for event in lines} | {"note", "plan"} == set(KINDS)


def test_a_budget_in_minutes_logs_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    clock = lambda: 0.05 * next(ticks)  # noqa: E731
    speed = Speed(flops_per_s=5e10, width_cost_s=1e-9, memory_bytes=8_000_000_000)
    around = training.Surroundings(
        cache_dir=tmp_path / "cache", started_s=clock(), clock=clock, speed=speed, plots=False
    )
    source = tmp_path / "hens.txt"
    source.write_text("".join(f"On day {n} the fox took {n * 7 % 31} hens. " for n in range(600)), encoding="utf-8")
    flags = {**FLAGS, "steps": None, "minutes": 0.3}
    monkeypatch.setattr(planning, "TRIAL_FROM_S", 0.0)
    monkeypatch.setattr(pilot, "STEPS", 5)
    monkeypatch.setattr(pilot, "LEAST_BITS", 0.0)  # hens repeat themselves
    training.pretrain(str(source), resolve(PretrainOptions, flags=flags), around=around, out=tmp_path / "run")
    events = read_events(tmp_path / "run" / "metrics.jsonl")
    (plan,) = [event for event in events if event["event"] == "plan"]
    assert set(plan) == set(FIELDS["plan"])
    for field, value in plan.items():
        assert fits(value, FIELDS["plan"][field]), field
    (end,) = [event for event in events if event["event"] == "end"]
    assert end["forecast"] == plan["forecast"]
    assert set(plan["forecast"]) == {"bits_per_byte", "low", "high"}
    assert f"Expected {plan['forecast']['bits_per_byte']:.2f} bits per byte" in end["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_is_described_with_its_type(kind: str, lines: list[Event]) -> None:
    for event in (event for event in lines if event["event"] == kind):
        assert set(event) == set(FIELDS[kind])
        for field, value in event.items():
            assert fits(value, FIELDS[kind][field]), f"{kind}.{field} = {value!r} is not: {FIELDS[kind][field]}"


def test_words_that_a_field_may_hold_are_listed(lines: list[Event]) -> None:
    for kind, field in (("phase", "name"), ("checkpoint", "kind"), ("end", "reason"), ("start", "family")):
        listed = re.findall(r"`([\w-]+)`", tables(section(f"`{kind}`"))[0][field][1])
        assert {event[field] for event in lines if event["event"] == kind} <= set(listed)


def test_the_examples_are_events() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    examples = [json.loads(line) for block in blocks for line in block.splitlines()]
    assert len(examples) >= 4
    for event in examples:
        assert set(event) == set(FIELDS[event["event"]])
        assert all(fits(value, FIELDS[event["event"]][field]) for field, value in event.items())


def test_a_resume_takes_back_what_the_page_says(run: Path, lines: list[Event]) -> None:
    kept = read_events(run / "metrics.jsonl")
    at = next(event["step"] for event in lines if event["event"] == "resumed")
    place = [event["event"] for event in kept].index("resumed")
    said = max(i for i, event in enumerate(lines) if (event["event"], event["step"]) == ("checkpoint", at))
    assert kept[:place] == lines[: said + 1]
    assert [event["event"] for event in kept].count("end") == 1
    assert [event["event"] for event in lines].count("end") == 2


def test_multipliers_cover_every_step_once(run: Path) -> None:
    events = [event for event in read_events(run / "metrics.jsonl") if event["event"] == "train"]
    assert sum(len(event["multipliers"]) for event in events) == events[-1]["step"] == 16


def test_samples_are_the_same_events_alone(run: Path, lines: list[Event]) -> None:
    alone = [json.loads(line) for line in (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert alone == [event for event in lines if event["event"] in ("sample", "resumed")]


def test_the_probes_header_is_as_described(probes: Probes) -> None:
    described = {name: cells[0] for name, cells in tables(section("probes/"))[0].items()}
    inner = {name.split(".")[1]: kind for name, kind in described.items() if "." in name}
    outer = {name: kind for name, kind in described.items() if "." not in name}
    assert set(probes.header) == set(outer)
    for name, kind in outer.items():
        assert fits(probes.header[name], kind), name
    for sentence in probes.header["sentences"]:
        assert set(sentence) == set(inner)
        for name, kind in inner.items():
            assert fits(sentence[name], kind), name
    assert probes.header["format_version"] == FORMAT_VERSION == 1
    assert f"(and in `probes.json`): **{FORMAT_VERSION}**" in PAGE


def test_the_arrays_are_as_described(probes: Probes) -> None:
    header = probes.header
    lengths = [len(sentence["ids"]) for sentence in header["sentences"]]
    sizes = {
        "P": len(lengths), "T": max(lengths), "L+1": header["n_layers"] + 1, "H": header["n_heads"],
        "A": len(header["attention_layers"]), "10": 10,
    }  # fmt: skip
    described = tables(section("probes/"))[1]
    for step in probes.steps:
        arrays = probes.arrays(step)
        assert set(arrays) == set(described)
        for name, (kind, shape, _, nothing) in described.items():
            array = arrays[name]
            assert str(array.dtype) == kind, name
            assert array.shape == tuple(sizes[letter] for letter in shape.split()), name
            if "target" in name:
                place = array[0, :, lengths[0] - 1]
                assert np.isnan(place).all() if nothing == "NaN" else (place == int(nothing)).all()


def test_probes_are_of_the_steps_the_page_names(probes: Probes) -> None:
    assert set(probes.steps) == {step for step in range(17) if is_probe_step(step)}
    assert re.search(r"\(1, 2, 3,\n4, 6, 8, 11, 16, 23, 32 …\)", PAGE)
    assert [step for step in range(33) if is_probe_step(step)] == [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32]


def test_the_code_on_the_page_runs(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    import vidro

    monkeypatch.setattr(vidro, "load", lambda name: vidro.Run(run), raising=False)
    names: dict[str, Any] = {}
    for block in re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "formats.md", "exec"), names)
    assert "<|endoftext|>" in capsys.readouterr().out
    assert names["looks"][0]["split"] == "val"
