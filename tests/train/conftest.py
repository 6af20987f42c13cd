"""Tiny real runs: 12 steps of a 25,000-parameter model on 20 kB of stories, about a second each.

And fine-tuning of one of them on a few hundred labelled messages or instructions, as short.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vidro.checkpoint.run import OpenedRun, RunRef, open_run
from vidro.config.load import resolve
from vidro.config.schema import ClassifyOptions, InstructOptions, PretrainOptions
from vidro.core.events import Event, read_events
from vidro.data.tinyworld import instructions, messages, text
from vidro.train import finetune as tuning
from vidro.train import pretrain as training
from vidro.train.classify import classify_job
from vidro.train.instruct import instruct_job
from vidro.train.speed import Speed

FLAGS: dict[str, Any] = {
    "steps": 12, "vocab_size": 320, "context_length": 16, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_head": 16,
    "batch_tokens": 64, "evals": 4, "checkpoint_steps": 3, "threads": 1, "sample_tokens": 4, "dropout": 0.1,
}  # fmt: skip


SPEED = Speed(flops_per_s=5e10, width_cost_s=1e-9, memory_bytes=8_000_000_000)  # not measured: tests repeat


class Halt(Exception):
    """The process is gone, as far as the run can tell."""


def halt_at(step: int, kind: str = "train") -> Any:
    """A listener that breaks off at the first event of `kind` at or past `step`."""

    def listener(event: Event) -> None:
        if event["event"] == kind and event["step"] >= step:
            raise Halt

    return listener


@dataclass
class Bench:
    """A place to train in: a text, a cache, and the calls with everything that a test does not care about filled in."""

    folder: Path
    source: Path
    clock: Callable[[], float] = time.monotonic
    heard: list[Event] = field(default_factory=list)
    plots: bool = False
    age_s: float = 0.0
    shelf: Bench | None = None  # where finished runs lie that tests share
    made: dict[str, Path] = field(default_factory=dict)

    def around(self, *listeners: Callable[[Event], None]) -> training.Surroundings:
        return training.Surroundings(
            cache_dir=self.folder / "cache",
            started_s=self.clock() - self.age_s,
            sinks=(self.heard.append, *listeners),
            clock=self.clock,
            plots=self.plots,
            speed=SPEED,
        )

    def train(
        self, name: str, *listeners: Callable[[Event], None], parent: Any = None, **flags: Any
    ) -> training.PretrainResult:
        options = resolve(PretrainOptions, flags={**FLAGS, **flags})
        source, out = str(self.source), self.folder / name
        return training.pretrain(source, options, around=self.around(*listeners), out=out, parent=parent)

    def known(self, name: str, how: str = "train", *, copy: bool = False, **flags: Any) -> Path:
        """The finished run that `how` makes of these flags, trained once for all tests: here only to be read.

        With `copy` it may be gone on with. Not for what a test has changed (text, rows, clock).
        """
        assert self.shelf is not None
        key, made = repr((how, sorted(flags.items()))), self.shelf.made
        if key not in made:
            made[key] = getattr(self.shelf, how)(f"run-{len(made)}", **flags).path
        path = self.folder / name
        if copy:
            shutil.copytree(made[key], path)
        else:
            path.symlink_to(made[key], target_is_directory=True)
        return path

    def resume(self, name: str, *listeners: Callable[[Event], None], **keywords: Any) -> training.PretrainResult:
        return training.resume(self.folder / name, around=self.around(*listeners), **keywords)

    def log(self, name: str, kind: str) -> list[Event]:
        return [event for event in read_events(self.folder / name / "metrics.jsonl") if event["event"] == kind]

    def losses(self, name: str) -> list[tuple[int, float]]:
        return [(event["step"], event["loss_nats"]) for event in self.log(name, "train")]

    def same(self, one: str, other: str, *, step: int = 12) -> None:
        """Root, last checkpoint, losses, looks, samples and probes of two runs are equal to the bit."""
        a, b = self.folder / one, self.folder / other
        files = ["model.safetensors"]
        files += [f"checkpoints/step-{step}/{name}.safetensors" for name in ("model", "optimizer")]
        files += [str(path.relative_to(a)) for path in (a / "probes").iterdir()]
        for name in files:
            assert (a / name).read_bytes() == (b / name).read_bytes(), name
        assert self.losses(one) == self.losses(other)
        for kind, key in (("eval", "nats_per_token"), ("sample", "text"), ("best", "nats_per_token")):
            first, second = ([(e["step"], e[key]) for e in self.log(name, kind)] for name in (one, other))
            assert first == second, kind


def make_bench(folder: Path, shelf: Bench | None = None) -> Bench:
    source = folder / "stories.txt"
    source.write_text(text(seed=1, n_bytes=20_000), encoding="utf-8")
    trials = folder / "cache" / "trials"  # how well a text can be learned: tried once for all tests, kept by its bytes
    if shelf is None:
        trials.mkdir(parents=True)
    else:
        trials.parent.mkdir()
        trials.symlink_to(shelf.folder / "cache" / "trials", target_is_directory=True)
    return Bench(folder, source, shelf=shelf)


@pytest.fixture(scope="session", autouse=True)
def short_samples() -> Iterator[None]:
    """Answers shown while training are as short as the samples of `FLAGS`: most of the time of a run went there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidro.train.instruct.SAMPLE_TOKENS", 4)
        yield


@pytest.fixture(scope="session")
def bench_shelf(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def bench(tmp_path: Path, bench_shelf: Bench) -> Bench:
    return make_bench(tmp_path, bench_shelf)


TUNE: dict[str, Any] = {
    "steps": 12, "batch_rows": 8, "evals": 4, "checkpoint_steps": 3, "threads": 1, "dropout": 0.1, "lr": 0.003,
    "optimizer": "adamw",
}  # fmt: skip
WIRINGS: dict[str, Any] = {
    "classify": (classify_job, ClassifyOptions, "data", "messages.tsv"),
    "instruct": (instruct_job, InstructOptions, "data", "asked.jsonl"),
}


@dataclass
class TuneBench(Bench):
    """A place to fine-tune in: a base run, labelled messages of five topics, instructions of eight kinds."""

    base: OpenedRun = field(kw_only=True)

    def tune(
        self, kind: str, name: str, *listeners: Callable[[Event], None], parent: OpenedRun | None = None, **flags: Any
    ) -> training.PretrainResult:
        make_job, schema, data, file = WIRINGS[kind]
        own = {"answer_tokens": 4, "test_rows": 8} if kind == "instruct" else {}
        options = resolve(schema, flags={data: str(self.folder / file), **own, **TUNE, **flags})
        return tuning.finetune(
            make_job,
            options,
            self.base if parent is None else parent,
            stem=name,
            around=self.around(*listeners),
            out=self.folder / name,
        )

    def go_on(self, kind: str, name: str, *listeners: Callable[[Event], None]) -> training.PretrainResult:
        make_job, schema, *_ = WIRINGS[kind]
        return tuning.resume(make_job, schema, self.folder / name, around=self.around(*listeners))

    def known_rows(self, kind: str) -> str:
        """The rows that `known` runs read, for records that are the same to the letter."""
        assert self.shelf is not None
        return str(self.shelf.folder / WIRINGS[kind][3])

    def classify(self, name: str, *listeners: Callable[[Event], None], **flags: Any) -> training.PretrainResult:
        return self.tune("classify", name, *listeners, **flags)

    def instruct(self, name: str, *listeners: Callable[[Event], None], **flags: Any) -> training.PretrainResult:
        return self.tune("instruct", name, *listeners, **flags)

    def notes(self, name: str) -> str:
        """All remarks of a run, one a line."""
        return "\n".join(event["message"] for event in self.log(name, "note"))

    def alike(self, one: str, other: str, *, step: int = 12) -> None:
        """Root, last checkpoint, losses, looks and what was written about the test rows are equal to the bit."""
        a, b = self.folder / one, self.folder / other
        files = ["model.safetensors"]
        files += [f"checkpoints/step-{step}/{name}.safetensors" for name in ("model", "optimizer")]
        files += [path.name for path in a.glob("*.jsonl") if path.name in ("predictions.jsonl", "responses.jsonl")]
        assert len(files) == 4
        for name in files:
            assert (a / name).read_bytes() == (b / name).read_bytes(), name
        assert self.losses(one) == self.losses(other)
        for kind, key in (("eval", "nats_per_token"), ("sample", "text"), ("best", "nats_per_token")):
            first, second = ([(e["step"], e[key]) for e in self.log(name, kind)] for name in (one, other))
            assert first == second, kind


@pytest.fixture(scope="session")
def tune_base(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """A language model that has read stories for 40 steps; nobody may change it."""
    folder = tmp_path_factory.mktemp("base")
    source = folder / "stories.txt"
    source.write_text(text(seed=1, n_bytes=40_000), encoding="utf-8")
    bench = Bench(folder, source)
    run = bench.train("base", steps=40, context_length=128, vocab_size=512, batch_tokens=768, checkpoint_steps=40)
    return open_run(RunRef(run.path))


def make_tuner(folder: Path, base: OpenedRun, shelf: TuneBench | None = None) -> TuneBench:
    rows = {text: label for label, text in messages(seed=2, n=170, task="topics", held_out=False)}  # no text twice
    lines = [f"{label}\t{text}\n" for text, label in rows.items()][:160]
    (folder / "messages.tsv").write_text("".join(lines), encoding="utf-8")
    asked = (json.dumps(row._asdict()) for row in instructions(seed=2, n=120, held_out=False))
    (folder / "asked.jsonl").write_text("\n".join(asked) + "\n", encoding="utf-8")
    return TuneBench(folder, folder / "messages.tsv", base=base, shelf=shelf)


@pytest.fixture(scope="session")
def tune_shelf(tmp_path_factory: pytest.TempPathFactory, tune_base: OpenedRun) -> TuneBench:
    return make_tuner(tmp_path_factory.mktemp("tuned"), tune_base)


@pytest.fixture
def tuner(tmp_path: Path, tune_base: OpenedRun, tune_shelf: TuneBench) -> TuneBench:
    return make_tuner(tmp_path, tune_base, tune_shelf)
