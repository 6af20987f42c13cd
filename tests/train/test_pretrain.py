from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.train.conftest import Halt, halt_at

from vidro.checkpoint.run import RunRef, load_model, load_tokenizer, open_run, resolve_run, verify_root
from vidro.checkpoint.training_state import checkpoint_steps
from vidro.config.load import read_settings, resolve
from vidro.config.schema import DataOptions, PretrainOptions
from vidro.core.errors import DataError, RunError, StorageError, TrainingError, UsageError
from vidro.core.events import Event
from vidro.train import parent as parents
from vidro.train.pretrain import set_up, val_checksum

FLAGS_OF_SHAPE = ("vocab_size", "d_model", "n_layers", "n_heads", "d_head", "context_length")


def land_at(step: int) -> Any:
    """A listener that does what Ctrl-C does, once, after `step` steps."""
    sent: list[int] = []

    def listener(event: Event) -> None:
        if event["event"] == "train" and event["step"] >= step and not sent:
            sent.append(event["step"])
            os.kill(os.getpid(), signal.SIGINT)

    return listener


def test_a_run_holds_what_the_design_lists(bench: Any) -> None:
    bench.plots = True
    result = bench.train("a")
    path = result.path
    present = {p.name for p in path.iterdir()}
    assert present >= {
        "config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "run.toml", "metrics.jsonl", "samples.jsonl", "probes", "plots", "checkpoints", "vidro.json",
    }  # fmt: skip
    record = verify_root(path)
    assert record["kind"] == "base"
    assert record["status"] == "finished"
    assert record["data"]["name"] == "stories.txt"
    assert record["results"]["val_bits_per_byte"] == pytest.approx(result.results["val_bits_per_byte"])
    assert [e["step"] for e in bench.log("a", "train")] == list(range(1, 13))
    assert sum(len(e["multipliers"]) for e in bench.log("a", "train")) == 12
    assert [e["name"] for e in bench.log("a", "phase")] == ["stable", "decay"]
    assert bench.log("a", "end")[0]["reason"] == "budget"
    full = bench.log("a", "eval")[-1]
    assert full["full"] is True
    assert full["n_bytes"] == record["data"]["val_bytes"]


def test_the_loss_falls_and_the_root_is_the_best_look(bench: Any) -> None:
    bench.train("a", steps=60, evals=10)
    losses = [loss for _, loss in bench.losses("a")]
    assert losses[-1] < losses[0] - 0.5
    looks = [e for e in bench.log("a", "eval") if not e["full"]]
    best = min(looks, key=lambda e: e["nats_per_token"])
    assert open_run(RunRef(bench.folder / "a")).step == best["step"]


def test_the_seed_decides_the_weights(bench: Any) -> None:
    fresh: dict[str, bytes] = {}

    def keep(event: Event) -> None:
        if event["event"] == "start":
            fresh[event["run"]] = (bench.folder / event["run"] / "model.safetensors").read_bytes()
            raise Halt

    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        with pytest.raises(Halt):
            bench.train(name, keep, seed=seed)
    assert fresh["one"] == fresh["again"]
    assert fresh["one"] != fresh["two"]


def test_each_yardstick_is_passed_once_and_a_resume_does_not_say_it_again(bench: Any) -> None:
    bench.known("whole")
    bars = bench.log("whole", "start")[0]["yardsticks_bits_per_byte"]
    looks = {event["step"]: event["bits_per_byte"] for event in bench.log("whole", "eval") if not event["full"]}
    first = {name: min((step for step in looks if looks[step] < bits), default=None) for name, bits in bars.items()}
    said = {name: event["step"] for event in bench.log("whole", "passed") for name in event["yardsticks"]}
    assert said == {name: step for name, step in first.items() if step is not None}
    assert "uniform" in said
    with pytest.raises(Halt):
        bench.train("broken", halt_at(10))
    bench.resume("broken")
    assert bench.log("broken", "passed") != []
    drop = lambda events: [{**event, "time_s": 0} for event in events]  # noqa: E731
    assert drop(bench.log("broken", "passed")) == drop(bench.log("whole", "passed"))


def test_run_toml_makes_the_same_plan_again(bench: Any) -> None:
    path = bench.train("a").path
    options = resolve(PretrainOptions, file=path / "run.toml")
    assert options == read_settings(path / "run.toml")
    again = set_up(str(bench.source), options, cache_dir=bench.folder / "cache")
    assert again.options == options


@pytest.mark.parametrize("step", [1, 4, 8])
def test_a_run_broken_off_anywhere_goes_on_bit_for_bit(bench: Any, step: int) -> None:
    with pytest.raises(Halt):
        bench.train("broken", halt_at(step))
    if step < 3:
        with pytest.raises(RunError, match="there is no complete checkpoint to continue from"):
            bench.resume("broken")
        return
    bench.resume("broken")
    bench.known("whole")
    bench.same("whole", "broken")


def test_broken_off_while_looking_and_while_finishing(bench: Any) -> None:
    bench.known("whole")
    for name, kind, step in (("look", "eval", 6), ("final", "checkpoint", 12), ("end", "end", 12)):
        with pytest.raises(Halt):
            bench.train(name, halt_at(step, kind))
        if name != "end":
            bench.resume(name)
            bench.same("whole", name)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_every_family_resumes_exactly(bench: Any, family: str) -> None:
    flags = {"family": family, "optimizer": "adamw" if family == "gpt2" else "muon"}
    bench.train("whole", **flags)
    with pytest.raises(Halt):
        bench.train("broken", halt_at(7), **flags)
    bench.resume("broken")
    bench.same("whole", "broken")


def test_ctrl_c_lands_and_a_resume_is_as_if_it_never_happened(bench: Any) -> None:
    bench.known("whole", steps=40)
    result = bench.train("landed", land_at(10), steps=40)
    assert (result.reason, result.signum) == ("landed", signal.SIGINT)
    advice = bench.log("landed", "end")[0]["message"].split("vidro pretrain --resume ")[1]
    assert resolve_run(advice.split(" goes on")[0]).path == bench.folder / "landed"
    record = verify_root(bench.folder / "landed")
    assert record["status"] == "landed"
    assert bench.log("landed", "phase")[-1]["name"] == "landing"
    opened = open_run(RunRef(bench.folder / "landed"))
    assert load_model(opened).config.d_model == 32  # usable at once
    bench.resume("landed")
    bench.same("whole", "landed", step=40)


def test_the_second_ctrl_c_stops_at_once_and_loses_nothing_saved(bench: Any) -> None:
    def again(event: Event) -> None:
        if event["event"] == "phase" and event["name"] == "landing":
            os.kill(os.getpid(), signal.SIGTERM)

    bench.known("whole", steps=40)
    with pytest.raises(KeyboardInterrupt):
        bench.train("stopped", land_at(10), again, steps=40)
    bench.resume("stopped")
    bench.same("whole", "stopped", step=40)


def test_more_gives_what_a_longer_run_would_have_given(bench: Any) -> None:
    bench.known("longer", steps=20, warmup=0.0)
    bench.known("a", copy=True, steps=12, warmup=0.0)
    assert 6 in checkpoint_steps(bench.folder / "a" / "checkpoints")  # from before the decay
    bench.resume("a", more=8)
    for name in ("model.safetensors", "optimizer.safetensors"):
        last = f"checkpoints/step-20/{name}"
        assert (bench.folder / "a" / last).read_bytes() == (bench.folder / "longer" / last).read_bytes()
    assert read_settings(bench.folder / "a" / "run.toml").budget.steps == 20
    with pytest.raises(RunError, match=r"this run is finished\. Prolong it with --more"):
        bench.resume("a")


def test_more_needs_a_finished_run_with_a_decay(bench: Any) -> None:
    with pytest.raises(Halt):
        bench.train("broken", halt_at(5))
    with pytest.raises(RunError, match="--more prolongs a finished run"):
        bench.resume("broken", more=5)
    bench.train("cosine", schedule="cosine")
    with pytest.raises(RunError, match=r"kept no checkpoint from before its decay\. Only the schedule wsd"):
        bench.resume("cosine", more=5)


def test_from_keeps_shape_and_tokenizer_and_measures_both_texts(bench: Any) -> None:
    first = bench.train("first", steps=40)
    bench.source = bench.folder / "other.txt"
    bench.source.write_text("The sea is wide and the night is long. " * 300, encoding="utf-8")
    parent = open_run(RunRef(first.path))
    flags = dict.fromkeys(FLAGS_OF_SHAPE)
    with pytest.raises(UsageError, match="vocab-size: 960 is not its 320"):
        bench.train("other", parent=parent, **{**flags, "vocab_size": 960})
    second = bench.train("second", parent=parent, **flags)
    assert load_tokenizer(open_run(RunRef(second.path))).fingerprint == load_tokenizer(parent).fingerprint
    before, after = second.results["before_bits_per_byte"], second.results["after_bits_per_byte"]
    assert set(before) == {"stories.txt", "other.txt"}
    assert after["other.txt"] < before["other.txt"]
    assert open_run(RunRef(second.path)).record["parent"] == str(first.path)
    with pytest.raises(UsageError, match="n-layers: --from keeps the shape"):
        bench.train("third", parent=parent, **{**flags, "n_layers": 5})


def test_changed_settings_text_and_place_are_named(bench: Any) -> None:
    with pytest.raises(Halt):
        bench.train("a", halt_at(7))
    with pytest.raises(RunError, match=r"this run was made with lr 0.003, not 0.1. Leave the flag out"):
        bench.resume("a", said={"lr": 0.1})
    with pytest.raises(RunError, match="this run directory exists already"):
        bench.train("a")
    bench.source.write_text("Another text. " * 900)
    with pytest.raises(RunError, match=r"stories.txt has changed since this run began"):
        bench.resume("a", said={"steps": 12})


@pytest.mark.parametrize("kind", ["file", "folder", "pattern"])
def test_a_changed_validation_text_is_named(bench: Any, kind: str) -> None:
    texts = bench.folder / "val"
    texts.mkdir()
    (texts / "a.txt").write_text("The boat came in from the sea. " * 60, encoding="utf-8")
    val = {"file": texts / "a.txt", "folder": texts, "pattern": texts / "*.txt"}[kind]
    with pytest.raises(Halt):
        bench.train("a", halt_at(7), val=str(val))
    changed = texts / ("a.txt" if kind == "file" else "b.txt")
    before = changed.read_text(encoding="utf-8") if changed.exists() else None
    changed.write_text("The goat went out to the hills. " * 60, encoding="utf-8")
    with pytest.raises(RunError, match=r"val.* has changed since this run began"):
        bench.resume("a")
    changed.unlink()
    if before is not None:
        changed.write_text(before, encoding="utf-8")
    assert bench.resume("a").reason == "budget"


def test_the_checksum_of_a_validation_folder_is_of_all_its_files(tmp_path: Path) -> None:
    def checksum() -> str | None:
        return val_checksum(DataOptions(val=str(tmp_path)), cache_dir=tmp_path)

    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"The {name} came in from the sea.", encoding="utf-8")
    before = checksum()
    assert before is not None
    assert before == checksum()
    (tmp_path / "b.txt").write_text("The b went out to the hills.", encoding="utf-8")
    assert checksum() != before


@pytest.mark.parametrize("damage", ["record", "text"])
def test_a_parent_whose_text_cannot_be_read_is_said_and_training_goes_on(bench: Any, damage: str) -> None:
    first = bench.train("first")
    parent = open_run(RunRef(first.path))
    if damage == "record":
        (first.path / "vidro.json").write_text("{torn", encoding="utf-8")
    else:
        bench.source.rename(bench.folder / "other.txt")
        bench.source = bench.folder / "other.txt"
    second = bench.train("second", parent=parent, **dict.fromkeys(FLAGS_OF_SHAPE))
    assert second.reason == "budget"
    assert any("own text is not measured" in event["message"] for event in bench.log("second", "note"))


@pytest.mark.parametrize("damage", ["cut", "altered"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(bench: Any, damage: str) -> None:
    bench.known("whole")
    with pytest.raises(Halt):
        bench.train("a", halt_at(8))
    file = bench.folder / "a" / "checkpoints" / "step-6" / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "cut":
        del data[-1]
    else:
        data[-1] ^= 1
    file.write_bytes(data)
    bench.resume("a")
    bench.same("whole", "a")
    assert any("falling back to an earlier checkpoint" in e["message"] for e in bench.log("a", "note"))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoints(bench: Any) -> None:
    with pytest.raises(TrainingError, match=r"step \d+: the (loss|gradient) became (nan|inf).* lower --lr\.$"):
        bench.train("a", optimizer="adamw", lr=1e35, warmup=0.0, checkpoint_steps=1)
    assert checkpoint_steps(bench.folder / "a" / "checkpoints")


def test_no_space_left_is_one_line_and_the_run_goes_on_later(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidro.checkpoint import training_state

    real = training_state.save_tensors
    calls: list[int] = []

    def full(*arguments: Any, **keywords: Any) -> None:
        calls.append(1)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments, **keywords)

    bench.known("whole")
    monkeypatch.setattr(training_state, "save_tensors", full)
    with pytest.raises(StorageError, match="no space left on the disk"):
        bench.train("a")
    monkeypatch.undo()
    bench.resume("a")
    bench.same("whole", "a")


def test_a_text_too_short_is_refused_before_anything_is_written(bench: Any) -> None:
    bench.source.write_text("Ten chars.")
    with pytest.raises(DataError):
        bench.train("a")
    assert not (bench.folder / "a").exists()


def test_patience_ends_early_and_says_so(bench: Any) -> None:
    result = bench.train("a", steps=400, evals=40, patience=2, optimizer="adamw", lr=0.05, dropout=0.0)
    assert result.reason == "patience"
    assert bench.log("a", "end")[0]["step"] < 400
    assert json.loads((result.path / "vidro.json").read_text())["status"] == "finished"


def test_a_sample_prompt_longer_than_the_context_is_refused_before_training(bench: Any) -> None:
    with pytest.raises(UsageError, match="the model sees 16 at once"):
        bench.train("a", sample_prompts=("once upon a time " * 20,))
    assert not (bench.folder / "a").exists()


def test_more_killed_anywhere_is_neither_lost_nor_added_twice(bench: Any) -> None:
    bench.known("longer", steps=20, warmup=0.0)
    for name, step in (("early", 7), ("middle", 11), ("late", 18)):
        bench.known(name, copy=True, steps=12, warmup=0.0)
        with pytest.raises(Halt):
            bench.resume(name, halt_at(step), more=8)
        with pytest.raises(RunError, match="--more prolongs a finished run"):
            bench.resume(name, more=8)
        bench.resume(name)
        last = "checkpoints/step-20/optimizer.safetensors"
        assert (bench.folder / name / last).read_bytes() == (bench.folder / "longer" / last).read_bytes()
        assert read_settings(bench.folder / name / "run.toml").budget.steps == 20
    with pytest.raises(UsageError, match=r"more: 0\.5 is not a whole number of steps"):
        bench.resume("late", more=0.5)


def test_a_landed_run_resumed_and_broken_off_keeps_its_new_checkpoints(bench: Any) -> None:
    bench.known("whole", steps=40)
    bench.train("landed", land_at(10), steps=40)
    with pytest.raises(Halt):
        bench.resume("landed", halt_at(20))
    bench.resume("landed")
    assert bench.log("landed", "resumed")[-1]["step"] == 18
    bench.same("whole", "landed", step=40)


def test_the_root_goes_back_with_the_checkpoint(bench: Any) -> None:
    """A model published after the checkpoint must not be taken for the best one of the run that goes on."""
    bench.known("whole")
    with pytest.raises(Halt):
        bench.train("a", halt_at(9, "sample"))
    checkpoint = bench.folder / "a" / "checkpoints" / "step-6"
    before = (checkpoint / "best.safetensors").read_bytes()
    assert (bench.folder / "a" / "model.safetensors").read_bytes() != before  # something newer was published
    bench.resume("a")
    bench.same("whole", "a")


def test_a_repeated_validation_file_is_the_same_from_anywhere(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    (bench.folder / "val.txt").write_text("The fox took seven hens on a calm night. " * 50, encoding="utf-8")
    with pytest.raises(Halt):
        bench.train("a", halt_at(6), val="val.txt")
    with pytest.raises(RunError, match="this run was made with val "):
        bench.resume("a", said={"val": "other.txt"})
    assert bench.resume("a", said={"val": "val.txt"}).reason == "budget"


def test_two_texts_of_one_name_are_measured_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = {"own": 2.5, "parent": 1.5}
    monkeypatch.setattr(parents, "score", lambda _model, prepared, _tokenizer: bits[prepared.source_sha256])
    own, other = (SimpleNamespace(name="input.txt", source_sha256=which) for which in bits)
    found = parents.measure(None, own, other, None)  # pyright: ignore[reportArgumentType]
    assert found == {"input.txt": 2.5, "input.txt (the parent's)": 1.5}
