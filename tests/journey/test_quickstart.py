"""``vidro quickstart`` as a person types it, with a budget of a few steps: offline, the whole path, and it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vidro

SOURCE = Path(vidro.__file__).parents[1]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The finished process and the folder it ran in. No network: an address that cannot be reached stands between."""
    folder = tmp_path_factory.mktemp("quickstart")
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "VIDRO_CACHE": str(folder / "cache"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "vidro", "quickstart", "--steps", "4", "--threads", "1", "--json"]
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", stdin=subprocess.DEVNULL
    )
    return folder, process


def test_it_ends_well_with_one_object(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, process = done
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("\n") == 1
    found = json.loads(process.stdout)
    assert found["run"] == str(Path("runs") / "quickstart-1")
    assert found["reason"] == "budget"
    assert found["steps"] == 4
    assert found["val_bits_per_byte"] > 0
    assert [sample["prompt"] for sample in found["samples"]] == ["One windy morning", "Everybody in Tansy Bay knew"]
    assert all(sample["text"] for sample in found["samples"])
    assert (folder / found["run"] / "vidro.json").is_file()
    assert found["classifier"]["test"]["n"] == 250
    assert set(found["assistant"]["answers"]["kinds"]) >= {"units", "passive", "story"}
    assert [one["question"] for one in found["asked"]] == [
        "Convert 45 km to meters.",
        "Rewrite it without the passive. The song was composed by the artist.",
    ]
    kinds = [vidro.load(folder / found[name]).record["kind"] for name in ("run", "classifier_run", "assistant_run")]
    assert kinds == ["base", "classifier", "instruct"]


def test_each_stage_is_told_in_order(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, process = done
    stages = ["The text", "The tokens", "The model", "parameters (qwen3)", "val ", "It writes", "Its curves"]
    stages += ["A classifier", "a bag of words", "An assistant", "exactly right", "all kinds"]
    stages += ["Convert 45 km to meters."]
    places = [process.stderr.find(stage) for stage in stages]
    assert -1 not in places, dict(zip(stages, places, strict=True))
    assert places == sorted(places)
    assert "\x1b[" not in process.stderr, "no colours in a pipe"


def test_curves_and_samples_are_there(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, process = done
    run = vidro.load(folder / "runs" / "quickstart-1")
    assert (run.path / "plots" / "loss.png").stat().st_size > 1000
    assert str(Path("runs") / "quickstart-1" / "plots" / "loss.png") in process.stderr
    assert run.samples()


def test_the_stories_are_documents_of_their_own(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = done
    data = vidro.load(folder / "runs" / "quickstart-1").record["data"]
    assert data["n_documents"] > 2000
    assert 0.03 < data["val_bytes"] / data["train_bytes"] < 0.3


def test_a_story_of_the_model_ends_by_itself_in_the_vocabulary(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = done
    run = vidro.load(folder / "runs" / "quickstart-1", device="cpu")
    story = "One windy morning they met at the harbour."
    assert run.tokenizer.decode(run.tokenizer.encode(story)) == story
