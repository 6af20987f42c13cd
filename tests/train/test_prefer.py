"""Preferences: the loss by hand, pairs that stay together, a run that ranks better afterwards, resumed to the bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.conftest import Halt, TuneBench, halt_at

from vidro.checkpoint.run import RunRef, open_run, read_record
from vidro.config.load import resolve
from vidro.config.schema import ModelConfig, PreferOptions
from vidro.core.errors import DataError, UsageError
from vidro.data.collate import Example
from vidro.data.tinyworld import instructions
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.train import finetune as tuning
from vidro.train.prefer import Pair, PreferTask, answer_log_probs, batch_of, prefer_job, with_reference
from vidro.train.pretrain import PretrainResult
from vidro.train.rows import RowOrder
from vidro.train.step import Batch

TINY = ModelConfig(
    vocab_size=32, context_length=16, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, d_head=16, d_ff=64
)
CPU = torch.device("cpu")


def tiny(seed: int = 3) -> Transformer:
    model = Transformer(TINY)
    initialise(model, seed=seed, scheme="pytorch")
    return model


def example(ids: list[int], n_prompt: int) -> Example:
    return Example(ids, [place >= n_prompt for place in range(len(ids))])


PAIRS = [
    Pair(example([1, 2, 3, 9, 8, 31], 3), example([1, 2, 3, 7, 31], 3)),
    Pair(example([4, 5, 6, 31], 2), example([4, 5, 9, 9, 9, 9, 31], 2)),
    Pair(example([2, 11, 31], 1), example([2, 12, 13, 31], 1)),
]


def task(pairs: list[Pair], beta: float = 0.5) -> PreferTask:
    return PreferTask(
        train=pairs, val=pairs, val_rows=[], order=RowOrder(pairs, 3, 1), beta=beta, pad_id=0,
        tokenizer=None, style=None, device=CPU,
    )  # fmt: skip  # pyright: ignore[reportArgumentType]


def by_hand(model: Transformer, one: Example) -> float:
    """ln p of the learned tokens, each from the text before it alone."""
    total = 0.0
    for place, learned in enumerate(one.learned):
        if learned:
            log_p = model(torch.tensor([one.ids[:place]]))[0, -1].log_softmax(-1)
            total += log_p[one.ids[place]].item()
    return total


def test_log_probabilities_are_summed_with_the_end_token_and_without_padding() -> None:
    model = tiny()
    batch = batch_of(PAIRS, 0, CPU)
    found = answer_log_probs(model, batch.ids, batch.targets).tolist()
    expected = [by_hand(model, one) for pair in PAIRS for one in (pair.chosen, pair.rejected)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_before_the_first_step_the_loss_is_ln_2_and_afterwards_it_is_the_formula() -> None:
    reference, model = tiny(3), tiny(4)
    known = task(with_reference(PAIRS, reference, 0))
    batch = known._batch(known.train)
    nats, n = known.loss(reference, batch)
    assert nats.item() / int(n) == pytest.approx(math.log(2), abs=1e-5)
    expected = 0.0
    for pair in PAIRS:
        rewards = [0.5 * (by_hand(model, one) - by_hand(reference, one)) for one in (pair.chosen, pair.rejected)]
        expected += math.log1p(math.exp(rewards[1] - rewards[0]))
    assert known.loss(model, batch)[0].item() == pytest.approx(expected, rel=1e-4)


def test_pairs_in_micro_batches_give_the_gradient_of_one_batch() -> None:
    model = tiny(4)
    known = task(with_reference(PAIRS, tiny(3), 0))
    batch = known._batch(known.train)
    assert batch.n_counted == 3
    gradients = []
    for rows in (6, 2):
        model.zero_grad()
        for first in range(0, 6, rows):
            part = slice(first, first + rows)
            assert batch.known is not None
            some = Batch(batch.ids[part], batch.targets[part], known=batch.known[part])
            (known.loss(model, some)[0] / 3).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


Prefer = Callable[..., PretrainResult]


@pytest.fixture
def prefer(tuner: TuneBench) -> Prefer:
    """Trains on pairs whose rejected answer says that nobody knows; `go_on` names a run to resume."""
    pairs = [
        {"instruction": row.instruction, "input": row.input, "chosen": row.output, "rejected": "Nobody knows that."}
        for row in instructions(seed=3, n=80, kinds=["passive", "story"])
    ]
    (tuner.folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
    tuner.known("taught", "instruct")

    def run(name: str, *listeners: Any, go_on: bool = False, base: str = "taught", **flags: Any) -> PretrainResult:
        if go_on:
            return tuning.resume(prefer_job, PreferOptions, tuner.folder / name, around=tuner.around(*listeners))
        usual = {"steps": 8, "batch_rows": 4, "evals": 2, "checkpoint_steps": 2, "threads": 1, "val_share": 0.1}
        flags = {"data": str(tuner.folder / "pairs.json"), **usual, **flags}
        parent = open_run(RunRef(tuner.folder / base)) if base != "base" else tuner.base
        return tuning.finetune(
            prefer_job, resolve(PreferOptions, flags=flags), parent, stem=name, around=tuner.around(*listeners),
            out=tuner.folder / name,
        )  # fmt: skip

    return run


def test_a_run_prefers_better_afterwards_and_keeps_its_style(prefer: Prefer, tuner: TuneBench) -> None:
    result = prefer("liked", steps=30, muon_lr=0.004, lr=0.001)
    found = result.results["preferences"]
    assert found["loss_nats"] < math.log(2) - 0.05
    assert found["margin"] > 0
    assert found["kl_nats_per_token"] > 0
    assert 0 <= found["reward_accuracy_interval"][0] <= found["reward_accuracy"] <= 1
    record = read_record(result.path)
    assert (record["kind"], record["prompt_style"]) == ("preferred", "chatml")
    assert (result.path / "chat_template.jinja").read_text() == (
        tuner.folder / "taught/chat_template.jinja"
    ).read_text()


def test_a_stopped_run_goes_on_to_the_bit(prefer: Prefer, tuner: TuneBench) -> None:
    whole = prefer("whole")
    with pytest.raises(Halt):
        prefer("broken", halt_at(5, "train"))
    resumed = prefer("broken", go_on=True)
    assert tuner.losses("whole") == tuner.losses("broken")
    for name in ("model.safetensors", "checkpoints/step-8/optimizer.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes(), name


def test_lora_goes_on_to_the_bit_and_leaves_an_adapter(prefer: Prefer) -> None:
    whole = prefer("whole", trainable="lora", lora_rank=2)
    with pytest.raises(Halt):
        prefer("broken", halt_at(5, "train"), trainable="lora", lora_rank=2)
    resumed = prefer("broken", go_on=True)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors", "checkpoints/step-8/optimizer.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes(), name


def test_mistakes_are_one_line(prefer: Prefer, tuner: TuneBench) -> None:
    with pytest.raises(UsageError, match="this run was not taught to answer"):
        prefer("x", base="base")
    with pytest.raises(UsageError, match="this run answers in the style chatml"):
        prefer("x", style="alpaca")
    prefer("plain", base="base", style="phi3", steps=1)  # a base model is moved in the style that is said
    same = Path(tuner.folder / "same.json")
    same.write_text(json.dumps([{"instruction": "a", "chosen": "b", "rejected": "b"}] * 3), encoding="utf-8")
    with pytest.raises(DataError, match="the chosen and the rejected answer are the same"):
        prefer("x", data=str(same))


def test_a_pair_is_as_long_as_its_longer_answer() -> None:
    assert [pair.n_inputs for pair in PAIRS] == [5, 6, 3]
    assert replace(PAIRS[0], reference=(1.0, 2.0)).reference == (1.0, 2.0)
