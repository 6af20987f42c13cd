"""Fine-tuning a classifier: what comes out, that it goes on exactly, and that nothing is done in silence."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.conftest import WIRINGS, Halt, TuneBench, halt_at
from tests.train.test_minutes import Clock, Gone, gone_at
from tests.train.test_pretrain import land_at

from vidro.api.run import Run
from vidro.checkpoint.run import RunRef, load_model, open_run, verify_root
from vidro.checkpoint.training_state import checkpoint_steps
from vidro.config.load import from_dict, read_toml, resolve
from vidro.config.schema import ClassifyOptions
from vidro.core.errors import DataError, RunError, UsageError
from vidro.core.events import Event
from vidro.data.labelled import class_weights, read_labelled
from vidro.evals.accuracy import class_scores
from vidro.model.heads import class_loss
from vidro.train import finetune
from vidro.train.classify import classify_job
from vidro.train.defaults import optimizer_settings
from vidro.train.optim import Optimizer
from vidro.train.step import StepSettings, train_step

TOPICS = ["animals", "food", "market", "sea", "weather"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: list[tuple[str, str]]) -> str:
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return str(path)


def known(tuner: TuneBench) -> list[tuple[str, str]]:
    lines = (tuner.folder / "messages.tsv").read_text(encoding="utf-8").splitlines()
    return [(label, text) for label, text in (line.split("\t") for line in lines)]


def test_a_run_comes_out_that_is_a_classifier(tuner: TuneBench) -> None:
    tuner.plots = True
    path = tuner.classify("a").path
    present = {p.name for p in path.iterdir()}
    assert present >= {"config.json", "model.safetensors", "tokenizer.json", "run.toml", "vidro.json", "plots"}
    assert "generation_config.json" not in present  # it does not write
    record = verify_root(path)
    assert (record["kind"], record["status"], record["prompt_style"]) == ("classifier", "finished", None)
    assert record["parent"] == str(tuner.base.path)
    assert record["labels"] == TOPICS
    assert record["reader"] == {"max_tokens": 128, "pad_to": None}
    data = record["data"]
    assert data["n_train"] + data["n_val"] + data["n_test"] == data["n_rows"] == 160
    assert sum(data["natural_shares"].values()) == pytest.approx(1.0)
    plots = {p.name for p in (path / "plots").iterdir() if p.suffix == ".png"}
    names = ("loss", "accuracy", "learning-rate", "speed", "confusion")
    assert plots == {f"{name}.png" for name in names}
    (start,) = tuner.log("a", "start")
    sizes = {name: data[name] for name in ("n_train", "n_val", "n_test")}
    assert {name: start[name] for name in sizes} == sizes
    assert (start["kind"], start["labels"], start["batch_rows"]) == ("classifier", TOPICS, 8)
    assert start["n_learning"] == start["n_parameters"]
    assert all(0 <= look["accuracy"] <= 1 and look["n_rows"] == data["n_val"] for look in tuner.log("a", "eval"))


def test_the_results_are_those_of_the_predictions_that_are_kept(tuner: TuneBench) -> None:
    result = tuner.classify("a")
    results, rows = result.results, rows_of(result.path / "predictions.jsonl")
    assert {"test", "bag_of_words", "majority", "over_bag_of_words", "natural"} <= set(results)
    assert [set(row) for row in rows] == [{"text", "label", "predicted", "probabilities"}] * results["test"]["n"]
    scores = class_scores([r["label"] for r in rows], [r["predicted"] for r in rows], TOPICS)
    assert results["test"] == scores.to_json()
    for row in rows:
        assert row["predicted"] == max(row["probabilities"], key=row["probabilities"].__getitem__)
        assert sum(row["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)
    difference = results["over_bag_of_words"]
    assert difference["difference"] == pytest.approx(results["test"]["accuracy"] - results["bag_of_words"]["accuracy"])
    assert difference["low"] <= difference["difference"] <= difference["high"]
    most = Counter(row["label"] for row in rows)
    assert results["majority"]["accuracy"] in {n / len(rows) for n in most.values()}
    (end,) = tuner.log("a", "end")
    assert {name: end[name] for name in results} == results
    assert verify_root(result.path)["results"] == results
    run = Run(result.path, device="cpu")
    assert [run.predict(row["text"]).label for row in rows] == [row["predicted"] for row in rows]


def test_the_test_texts_are_unknown_until_the_end(tuner: TuneBench) -> None:
    rows = rows_of(tuner.known("a", "classify") / "predictions.jsonl")
    flags = {"data": str(tuner.folder / "messages.tsv"), "steps": 1}
    job = classify_job(resolve(ClassifyOptions, flags=flags), tuner.base, None, tuner.folder)
    read = {tuple(row.ids) for part in (job.task.train, job.task.val) for row in part}  # pyright: ignore
    assert not read & {tuple(job.tokenizer.encode(row["text"])) for row in rows}


def test_it_learns(tuner: TuneBench) -> None:
    result = tuner.classify("a", steps=150, lr=0.01, dropout=0.0, evals=5)
    looks = [event["accuracy"] for event in tuner.log("a", "eval")]
    assert looks[-1] > 0.45 > result.results["majority"]["accuracy"]
    assert result.results["test"]["accuracy"] > 0.45


@pytest.mark.parametrize("step", [1, 4, 8])
def test_broken_off_anywhere_it_goes_on_bit_for_bit(tuner: TuneBench, step: int) -> None:
    with pytest.raises(Halt):
        tuner.classify("broken", halt_at(step), data=tuner.known_rows("classify"))
    if step < 3:
        with pytest.raises(RunError, match="there is no complete checkpoint to continue from"):
            tuner.go_on("classify", "broken")
        return
    tuner.go_on("classify", "broken")
    tuner.known("whole", "classify")
    tuner.alike("whole", "broken")
    first, second = (verify_root(tuner.folder / name) for name in ("whole", "broken"))
    drop = ("elapsed_s", "minutes", "memory_peak_bytes")
    for record in (first, second):
        record["results"] = {name: value for name, value in record["results"].items() if name not in drop}
        del record["versions"]
    assert first == second


@pytest.mark.parametrize("flags", [{"optimizer": "muon", "lr": None}, {"trainable": "last-blocks=1"}, {"book": True}])
def test_every_way_resumes_exactly(tuner: TuneBench, flags: dict[str, Any]) -> None:
    tuner.classify("whole", **flags)
    with pytest.raises(Halt):
        tuner.classify("broken", halt_at(7), **flags)
    tuner.go_on("classify", "broken")
    tuner.alike("whole", "broken")
    assert tuner.log("broken", "resumed")[-1]["step"] == 6


def test_broken_off_while_looking_and_while_finishing(tuner: TuneBench) -> None:
    tuner.known("whole", "classify")
    for name, kind, step in (("look", "eval", 6), ("final", "checkpoint", 12)):
        with pytest.raises(Halt):
            tuner.classify(name, halt_at(step, kind))
        tuner.go_on("classify", name)
        tuner.alike("whole", name)
    with pytest.raises(RunError, match="this run is finished") as problem:
        tuner.go_on("classify", "whole")
    assert "--more" not in str(problem.value)  # fine-tuning has no such flag


@pytest.mark.parametrize("balance", ["none", "weights"])
@pytest.mark.parametrize("micro_batch", [1, 3, 5])
def test_micro_batches_of_unequal_padding_give_the_gradient_of_one_batch(
    tuner: TuneBench, micro_batch: int, balance: str
) -> None:
    data = str(tuner.folder / "messages.tsv")
    flags = {"data": data, "balance": balance, "batch_rows": 8, "optimizer": "adamw", "dropout": 0.0}
    gradients, losses = [], []
    for size in (8, micro_batch):
        job = classify_job(resolve(ClassifyOptions, flags=flags), tuner.base, None, tuner.folder)
        generator = torch.Generator().manual_seed(1)
        torch.nn.init.normal_(job.model.head.weight, std=0.1, generator=generator)  # a zero head passes nothing down
        # the first batch whose rows are read at more than two different places
        batch = next(
            b for b in map(job.task.batch, range(10)) if len(set((b.targets != -100).int().argmax(1).tolist())) > 2
        )
        optimizer = Optimizer(job.model, optimizer_settings(job.options.optim, job.model.config))
        settings = StepSettings(micro_batch=size, clip=0.0, autocast=contextlib.nullcontext)
        report = train_step(job.model, optimizer, batch, loss=job.task.loss, multiplier=0.0, settings=settings)
        losses.append(report.loss_nats)
        gradients.append({name: p.grad for name, p in job.model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=1e-6)
    assert max(gradient.abs().max() for gradient in gradients[0].values()) > 1e-3


def test_as_the_book_pads(tuner: TuneBench) -> None:
    tuner.classify("a", book=True)
    record = verify_root(tuner.folder / "a")
    job = classify_job(
        from_dict(ClassifyOptions, read_toml(tuner.folder / "a" / "run.toml")), tuner.base, None, tuner.folder
    )
    longest = max(row.n_inputs for row in job.task.train)  # pyright: ignore
    assert record["reader"] == {"max_tokens": longest, "pad_to": longest}
    batch = job.task.batch(0)
    assert batch.ids.shape == (8, longest)
    assert (batch.targets[:, :-1] == -100).all()
    assert (batch.targets[:, -1] >= 0).all()
    sizes = {name: record["data"][name] for name in ("n_train", "n_val", "n_test")}
    assert sizes == {"n_train": 112, "n_val": 16, "n_test": 32}
    run = Run(tuner.folder / "a", device="cpu")
    assert run.classifier.reader.pad_to == longest
    kept = rows_of(tuner.folder / "a" / "predictions.jsonl")
    for row in kept[:4]:
        assert run.predict(row["text"]).probabilities == pytest.approx(row["probabilities"], abs=1e-5)


def uneven(tuner: TuneBench) -> str:
    """A file with few of one class."""
    rows = known(tuner)
    few = [row for row in rows if row[0] == "sea"][:12]
    return write(tuner.folder / "uneven.tsv", [row for row in rows if row[0] != "sea"] + few)


def test_undersampled_every_class_has_as_many_texts(tuner: TuneBench) -> None:
    path = tuner.classify("a", data=uneven(tuner), balance="undersample").path
    record = verify_root(path)
    n_rows = record["data"]["n_rows"]
    left = sum(record["data"][name] for name in ("n_train", "n_val", "n_test"))
    assert left == 5 * 12
    assert f"{n_rows - left:,} rows left out to have as many of each class (60 are left)." in tuner.notes("a")
    assert record["data"]["natural_shares"]["sea"] == pytest.approx(12 / n_rows)  # as they came, for real use
    assert {each["support"] for each in record["results"]["test"]["classes"]} == {2}
    natural = record["results"]["natural"]
    assert natural["classes"][TOPICS.index("sea")]["support"] == pytest.approx(12 / n_rows)


def test_weights_let_rare_classes_count_more(tuner: TuneBench) -> None:
    flags = {"data": uneven(tuner), "balance": "weights", "batch_rows": 8}
    job = classify_job(resolve(ClassifyOptions, flags=flags), tuner.base, None, tuner.folder)
    weights = job.task.class_weights  # pyright: ignore
    assert int(weights.argmax()) == TOPICS.index("sea")
    batch = job.task.batch(0)
    classes = batch.targets[batch.targets != -100]
    total, n = job.task.loss(job.model, batch)
    assert total.item() == pytest.approx(sum(weights[classes].tolist()) * torch.log(torch.tensor(5.0)).item(), rel=1e-5)
    plain, _ = class_loss(job.model, batch.ids, batch.targets)  # pyright: ignore
    assert int(n) == 8
    assert total.item() != pytest.approx(plain.item(), rel=1e-3)
    table = read_labelled(Path(flags["data"]))
    assert sorted(class_weights(table.rows, table.labels))[-1] == pytest.approx(weights.max().item(), rel=0.3)
    tuner.classify("a", **flags)
    with pytest.raises(Halt):
        tuner.classify("b", halt_at(8), **flags)
    tuner.go_on("classify", "b")
    tuner.alike("a", "b")


def test_test_rows_of_their_own(tuner: TuneBench) -> None:
    texts = ["The ferry is late.", "Two loaves, please."]
    own = write(tuner.folder / "own.tsv", list(zip(("sea", "food"), texts, strict=True)))
    path = tuner.classify("a", test=own).path
    assert [row["text"] for row in rows_of(path / "predictions.jsonl")] == texts
    record = verify_root(path)
    assert record["data"]["n_test"] == 2
    assert record["data"]["n_train"] + record["data"]["n_val"] == record["data"]["n_rows"]
    assert record["results"]["natural"] is None  # of three classes nothing is known
    with pytest.raises(Halt):
        tuner.classify("b", halt_at(8), test=own)
    Path(own).write_text("sea\tAnother ferry.\nfood\tThree loaves.\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"own\.tsv has changed since this run began\. Put it back as it was"):
        tuner.go_on("classify", "b")


def test_an_unknown_label_in_the_test_rows(tuner: TuneBench) -> None:
    own = write(tuner.folder / "own.tsv", [("sea", "The ferry is late."), ("music", "Two songs, please.")])
    with pytest.raises(DataError) as problem:
        tuner.classify("a", test=own)
    what = f"{own}: line 2: the label 'music' is not known. Known: {', '.join(TOPICS)}."
    assert str(problem.value).startswith(what)
    assert not (tuner.folder / "a").exists()


def test_copies_are_left_out_and_said(tuner: TuneBench) -> None:
    rows = known(tuner)
    twice = write(tuner.folder / "twice.tsv", [*rows, *rows[:10], ("sea", rows[0][1].upper())])
    tuner.classify("a", data=twice)
    assert "11 of 171 rows repeat an earlier text and were left out." in tuner.notes("a")
    assert rows[0][0] != "sea"
    assert "1 text stands there with more than one label." in tuner.notes("a")
    assert "160 texts:" in tuner.notes("a")
    tuner.classify("b", data=twice, keep_duplicates=True)
    assert "repeat an earlier text" not in tuner.notes("b")
    assert "171 texts:" in tuner.notes("b")
    assert "0 stand in the training part too" in tuner.notes("b")  # copies stay on one side
    tuner.classify("c", data=twice, book=True)
    assert "171 texts:" in tuner.notes("c")


def test_texts_too_long_are_cut_and_counted(tuner: TuneBench) -> None:
    path = tuner.classify("a", max_tokens=10).path
    record = verify_root(path)
    assert record["reader"]["max_tokens"] == 10
    n_cut = record["data"]["n_cut"]
    assert 0 < n_cut <= 160
    assert f"{n_cut:,} texts are longer than 10 tokens and were cut there." in tuner.notes("a")
    with pytest.raises(UsageError, match=r"^max-tokens: the model sees 128 tokens only\. Leave it out"):
        tuner.classify("b", max_tokens=129)


def test_a_classifier_is_no_base(tuner: TuneBench) -> None:
    first = tuner.known("a", "classify")
    with pytest.raises(UsageError) as problem:
        tuner.classify("b", parent=open_run(RunRef(first)))
    hint = "Start from the language model that it was made from."
    assert str(problem.value) == f"{first}: this run is a classifier already. {hint}"
    assert not (tuner.folder / "b").exists()


@pytest.mark.parametrize("kind", ["classify", "instruct"])
def test_batches_are_where_the_model_is(tuner: TuneBench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that every machine has and that is not the CPU: on `meta` tensors have shapes only."""
    make_job, schema, data, file = WIRINGS[kind]
    job = make_job(resolve(schema, flags={data: str(tuner.folder / file)}), tuner.base, None, tuner.folder)
    assert job.task.batch(0).ids.device.type == "cpu"
    monkeypatch.setattr(finetune, "choose_device", lambda name: torch.device("meta"))
    assert finetune.place(job).type == "meta"
    batch = job.task.batch(0)
    assert {batch.ids.device.type, batch.targets.device.type, job.model.head.weight.device.type} == {"meta"}


def test_only_the_part_that_was_asked_for_learns(tuner: TuneBench) -> None:
    path = tuner.classify("a", trainable="head").path
    (start,) = tuner.log("a", "start")
    assert start["n_learning"] == 5 * 32
    base = load_model(tuner.base).state_dict()
    learned = load_model(open_run(RunRef(path))).state_dict()
    assert learned.pop("head.weight").abs().max() > 0
    assert all(torch.equal(tensor, base[name]) for name, tensor in learned.items())


def test_minutes_are_kept_on_the_clock(tuner: TuneBench) -> None:
    clock = Clock()
    tuner.clock = clock
    result = tuner.classify("a", steps=None, minutes=0.5)
    assert result.reason == "budget"
    assert 0.5 * 60 * 0.7 < clock.now < 0.5 * 60 + 5
    with pytest.raises(UsageError, match=r"^minutes: 0\.05 minutes are too short\. Reading and scoring take longer\.$"):
        tuner.classify("b", steps=None, minutes=0.05)
    assert not (tuner.folder / "b").exists()  # nothing that `last` would find


def test_a_resume_goes_on_with_the_time_left(tuner: TuneBench) -> None:
    clock = Clock()
    tuner.clock = clock
    with pytest.raises(Gone):
        tuner.classify("a", gone_at(0.4), steps=None, minutes=0.5)
    used, before = tuner.log("a", "train")[-1]["elapsed_s"], clock.now
    assert tuner.go_on("classify", "a").reason == "budget"
    assert used + clock.now - before < 0.5 * 60 + 5
    assert tuner.log("a", "train")[-1]["progress"] == pytest.approx(1.0, abs=0.02)


def test_two_budgets_and_none(tuner: TuneBench) -> None:
    with pytest.raises(UsageError, match=r"^--steps and --epochs are both budgets\. Say one of them\.$"):
        tuner.classify("a", epochs=2.0)
    tuner.classify("b", steps=None, epochs=0.5)
    record = verify_root(tuner.folder / "b")
    n_train = record["data"]["n_train"]
    assert record["results"]["steps"] == math.ceil(0.5 * math.ceil(n_train / 8))


def test_ctrl_c_lands_and_a_resume_is_as_if_it_never_happened(tuner: TuneBench) -> None:
    tuner.known("whole", "classify", steps=40)
    result = tuner.classify("landed", land_at(10), steps=40)
    assert (result.reason, result.signum) == ("landed", signal.SIGINT)
    record = verify_root(tuner.folder / "landed")
    assert record["status"] == "landed"
    assert result.results["test"]["n"] == record["data"]["n_test"]  # scored all the same
    assert tuner.log("landed", "phase")[-1]["name"] == "landing"
    assert Run(result.path, device="cpu").predict("The ferry is late.").label in TOPICS
    tuner.go_on("classify", "landed")
    tuner.alike("whole", "landed", step=40)


def test_the_second_ctrl_c_stops_at_once_and_loses_nothing_saved(tuner: TuneBench) -> None:
    def again(event: Event) -> None:
        if event["event"] == "phase" and event["name"] == "landing":
            os.kill(os.getpid(), signal.SIGTERM)

    tuner.known("whole", "classify", steps=40)
    with pytest.raises(KeyboardInterrupt):
        tuner.classify("stopped", land_at(10), again, steps=40)
    assert checkpoint_steps(tuner.folder / "stopped" / "checkpoints")
    tuner.go_on("classify", "stopped")
    tuner.alike("whole", "stopped", step=40)


def test_changed_rows_are_named(tuner: TuneBench) -> None:
    with pytest.raises(Halt):
        tuner.classify("a", halt_at(7))
    rows = tuner.folder / "messages.tsv"
    before = rows.read_text(encoding="utf-8")
    rows.write_text(before + "sea\tOne more.\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"messages\.tsv has changed since this run began\. Put it back as it was"):
        tuner.go_on("classify", "a")
    rows.write_text(before, encoding="utf-8")
    assert tuner.go_on("classify", "a").reason == "budget"


def test_run_toml_makes_the_same_run_again(tuner: TuneBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuner.folder)
    tuner.classify("a", data="messages.tsv")
    options = from_dict(ClassifyOptions, read_toml(tuner.folder / "a" / "run.toml"))
    assert options.labels.data == str(tuner.folder / "messages.tsv")  # from wherever it is resumed
    assert resolve(ClassifyOptions, file=tuner.folder / "a" / "run.toml") == options
    again = classify_job(options, tuner.base, None, tuner.folder)
    assert again.options == options


def test_patience_ends_early_and_the_best_is_kept(tuner: TuneBench) -> None:
    result = tuner.classify("a", steps=400, evals=40, patience=2, lr=0.05, dropout=0.0)
    assert result.reason == "patience"
    looks = tuner.log("a", "eval")
    best = min(looks, key=lambda look: look["nats_per_token"])
    assert best["step"] < looks[-1]["step"] < 400
    (end,) = tuner.log("a", "end")
    assert f"The result is the model of step {best['step']}, the best on the validation rows." in end["message"]
    assert open_run(RunRef(result.path)).step == best["step"]
    run = Run(result.path, device="cpu")
    rows = rows_of(result.path / "predictions.jsonl")
    assert [run.predict(row["text"]).label for row in rows] == [row["predicted"] for row in rows]


def test_no_rows_are_named(tuner: TuneBench) -> None:
    with pytest.raises(UsageError, match=r"^no labelled texts are named\. For example --data messages\.tsv\.$"):
        tuner.classify("a", data=None)
