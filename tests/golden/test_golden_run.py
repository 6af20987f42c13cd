"""A finished run in format version 1, made once by `make_run.py` and committed: every later Vidro must open it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import vidro
from vidro.checkpoint.run import FORMAT_VERSION, RunRef, list_runs, load_tokenizer, open_run, verify_root

GOLDEN = Path(__file__).with_name("run-v1")
SAID: dict[str, Any] = json.loads(GOLDEN.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture
def run() -> vidro.Run:
    return vidro.Run(GOLDEN, device="cpu", say=lambda message: pytest.fail(f"it fell back: {message}"))


def test_it_is_small_and_of_the_version_it_is_called_after() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 60_000
    assert json.loads((GOLDEN / "vidro.json").read_text(encoding="utf-8"))["format_version"] == 1
    newest = GOLDEN.with_name(f"run-v{FORMAT_VERSION}")
    assert newest.is_dir(), f"a new format version needs a golden run of its own: make_run.py {newest.name}"


def test_the_root_opens_whole() -> None:
    record = verify_root(GOLDEN)
    opened = open_run(RunRef(GOLDEN))
    assert opened.notes == []
    assert opened.model_dir == GOLDEN
    assert (opened.step, record["status"], record["kind"]) == (300, "finished", "base")
    assert load_tokenizer(opened).fingerprint == record["tokenizer"]["fingerprint"]
    assert list_runs(GOLDEN.parent) == [GOLDEN]


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    weights = tmp_path / "run" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(vidro.VidroError, match="there is no complete model in this run yet"):
        open_run(RunRef(tmp_path / "run"))


def test_it_writes_what_it_wrote(run: vidro.Run) -> None:
    assert sum(parameter.numel() for parameter in run.model.parameters()) == SAID["n_parameters"]
    assert run.generate(SAID["prompt"], greedy=True, max_tokens=24) == SAID["greedy"]
    varied = run.generate(SAID["prompt"], greedy=True, repetition_penalty=1.5, max_tokens=24)
    assert varied == SAID["greedy, repetition_penalty=1.5"]


def test_its_tokenizer_cuts_as_it_did(run: vidro.Run) -> None:
    ids = run.tokenizer.encode(SAID["sentence"])
    assert " ".join(map(str, ids)) == SAID["ids"]
    assert run.tokenizer.decode(ids) == SAID["sentence"]


def test_its_story_reads(run: vidro.Run) -> None:
    events = run.events()
    assert dict(Counter(event["event"] for event in events)) == SAID["events"]
    assert events[0]["event"] == "start"
    assert events[-1]["reason"] == "budget"
    assert sum(len(event["multipliers"]) for event in events if event["event"] == "train") == 300
    assert len(run.samples()) == SAID["samples"]


def test_its_settings_and_record_read(run: vidro.Run) -> None:
    settings = run.settings
    assert (settings.budget.steps, settings.model.d_model, settings.optim.schedule) == (300, 16, "constant")
    assert run.config.context_length == settings.model.context_length == 32
    assert run.record["results"]["val_bits_per_byte"] == pytest.approx(run.events()[-1]["val_bits_per_byte"])
