"""Packed rows in instruction tuning: the same examples, counted aloud, gone on with exactly."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
import torch
from tests.train.conftest import Halt, TuneBench, halt_at
from tests.train.test_instruct import job_of

from vidro.config.load import from_dict, read_toml
from vidro.config.schema import InstructOptions
from vidro.core.errors import UsageError
from vidro.data.collate import collate
from vidro.model.loss import lm_loss
from vidro.train.defaults import optimizer_settings
from vidro.train.finetune import Job
from vidro.train.instruct import InstructTask, instruct_job
from vidro.train.optim import Optimizer
from vidro.train.step import Batch, StepSettings, train_step


def gradients_of(job: Job, task: InstructTask, batch: Batch, *, micro_batch: int) -> tuple[float, dict[str, Any]]:
    optimizer = Optimizer(job.model, optimizer_settings(job.options.optim, job.model.config))
    settings = StepSettings(micro_batch=micro_batch, clip=0.0, autocast=contextlib.nullcontext)
    report = train_step(job.model, optimizer, batch, loss=task.loss, multiplier=0.0, settings=settings)
    return report.loss_nats, {name: parameter.grad for name, parameter in job.model.named_parameters()}


def padded(task: InstructTask, step: int) -> Batch:
    """The examples of a step, a row each."""
    ids, targets = collate([task.train[number] for number in task.order.step(step)], pad_id=task.pad_id)
    return Batch(torch.from_numpy(ids), torch.from_numpy(targets))


@pytest.mark.parametrize("micro_batch", [8, 1])
@pytest.mark.parametrize("flags", [{}, {"learn_prompt": True, "style": "phi3"}])
def test_a_step_has_the_loss_and_gradient_of_its_rows_one_by_one(
    tuner: TuneBench, flags: dict[str, Any], micro_batch: int
) -> None:
    job, task = job_of(tuner, pack=True, batch_rows=8, optimizer="adamw", **flags)
    batch = task.batch(1)
    assert batch.pieces is not None
    assert len(batch.ids) < 8
    loss, packed = gradients_of(job, task, batch, micro_batch=micro_batch)
    expected, alone = gradients_of(
        *job_of(tuner, pack=True, optimizer="adamw", **flags), padded(task, 1), micro_batch=1
    )
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, gradient in alone.items():
        torch.testing.assert_close(packed[name], gradient, rtol=1e-5, atol=1e-5)
    assert max(gradient.abs().max() for gradient in alone.values()) > 1e-3


def test_a_step_holds_its_examples_whole_and_every_end_is_learned(tuner: TuneBench) -> None:
    job, task = job_of(tuner, pack=True)
    end = job.tokenizer.special_ids["<|im_end|>"]
    seen: list[int] = []
    for step in range(task.order.steps_per_epoch):
        batch, numbers = task.batch(step), task.order.step(step)
        assert batch.pieces is not None
        for place, number in enumerate(numbers):
            mine = batch.pieces == place
            assert batch.ids[mine].tolist() == task.train[number].ids[:-1]
            assert int(batch.targets[mine][-1]) == end
        assert int((batch.pieces >= 0).sum()) == sum(task.train[number].n_inputs for number in numbers)
        assert batch.ids.shape[1] <= job.model.config.context_length
        seen += numbers
    assert sorted(seen) == list(range(task.n_rows))


def test_what_a_packed_run_says_and_keeps(tuner: TuneBench) -> None:
    """How full its rows are, counted anew; its first loss, computed without packing; its settings."""
    tuner.instruct("a", pack=True, dropout=0.0, evals=1, test_rows=2)
    said = re.search(
        r"^Packed: in the first epoch the (\d+) rows to learn from lie in (\d+), of which ([\d.]+)% is padding; "
        r"not packed, rows of similar length together, it would be ([\d.]+)%\.$",
        tuner.notes("a"),
        re.MULTILINE,
    )
    assert said is not None
    job, task = job_of(tuner, pack=True, batch_rows=8)
    pieces = [batch.pieces for batch in map(task.batch, range(task.order.steps_per_epoch)) if batch.pieces is not None]
    assert (int(said[1]), int(said[2])) == (task.n_rows, sum(map(len, pieces)))
    n_padding = sum(int((each < 0).sum()) for each in pieces)
    assert float(said[3]) == pytest.approx(100 * n_padding / sum(each.numel() for each in pieces), abs=0.06)
    plain_job, plain = job_of(tuner, batch_rows=8)
    assert not any("Packed" in note for note in plain_job.notes)
    places = sum(plain.batch(step).ids.numel() for step in range(plain.order.steps_per_epoch))
    needed = sum(example.n_inputs for example in plain.train)
    assert float(said[4]) == pytest.approx(100 * (1 - needed / places), abs=0.06)
    first = padded(task, 0)
    with torch.no_grad():
        nats, n = lm_loss(job.model, first.ids, first.targets)
    assert tuner.losses("a")[0][1] == pytest.approx(nats.item() / int(n), rel=1e-5)
    options = from_dict(InstructOptions, read_toml(tuner.folder / "a" / "run.toml"))
    assert options.rows.pack
    assert instruct_job(options, tuner.base, None, tuner.folder).options == options


def test_it_goes_on_bit_for_bit(tuner: TuneBench) -> None:
    flags = {"pack": True, "evals": 2, "test_rows": 2, "micro_batch": 2, "optimizer": "muon", "lr": None}
    tuner.instruct("whole", **flags)
    with pytest.raises(Halt):
        tuner.instruct("broken", halt_at(7), **flags)
    tuner.go_on("instruct", "broken")
    tuner.alike("whole", "broken")


def test_one_row_a_step_has_nothing_to_be_packed_with(tuner: TuneBench) -> None:
    with pytest.raises(UsageError, match=r"^pack: it means nothing beside --batch-rows 1\. There is nothing to pack"):
        tuner.instruct("a", pack=True, batch_rows=1)
    assert not (tuner.folder / "a").exists()
