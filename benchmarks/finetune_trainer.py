"""Instruction tuning: Vidro against `transformers.Trainer`, the same model, rows, batches and optimizer.

    python benchmarks/finetune_trainer.py RUN --data instructions.json --threads 2

Both start from RUN's weights, take the same rows (prompt masked, 16 a step, padded to the longest of the batch) and use
AdamW in fp32 with clipping at 1. They take turns, some steps at a time; what is quoted is rows a second. Vidro puts
rows of similar length together (`data/collate`), Trainer is shown both ways: in random order, which is its default, and
with its own `group_by_length`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from common import interleave, machine_line, report, table
from vidro.checkpoint.huggingface import read_model, write_model
from vidro.checkpoint.run import load_tokenizer, open_run, resolve_run
from vidro.config.schema import OptimOptions
from vidro.data.collate import Example, collate, fit_lengths, make_example
from vidro.data.instructions import read_instructions
from vidro.model.device import autocast, choose_precision
from vidro.model.loss import lm_loss
from vidro.text.styles import default_style, get_style, special_id
from vidro.train.defaults import optimizer_settings
from vidro.train.machine import settled
from vidro.train.optim import Optimizer
from vidro.train.rows import RowOrder
from vidro.train.step import Batch, StepSettings, train_step

ROWS = 16
CPU = torch.device("cpu")


class Rows(Dataset):
    """The examples as Trainer wants them."""

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, number: int) -> dict[str, Any]:
        example = self.examples[number]
        labels = [one if learned else -100 for one, learned in zip(example.ids, example.learned, strict=True)]
        return {"input_ids": example.ids, "labels": labels, "length": len(example.ids)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("run")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    options = parser.parse_args()
    opened = open_run(resolve_run(options.run))
    tokenizer = load_tokenizer(opened)
    style = get_style(default_style(tokenizer), tokenizer)
    rows = read_instructions(options.data, skip_empty=True).rows
    made = [make_example(style, tokenizer, row) for row in rows]
    context = read_model(opened.model_dir).config.context_length
    examples, *_ = fit_lengths(made, context, end_id=special_id(tokenizer, style.end_token))
    pad = tokenizer.padding_id
    with settled(options.threads), tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), read_model(opened.model_dir), tokenizer)
        contestants = {
            "vidro": ours(read_model(opened.model_dir), examples, pad, options.steps),
            "Trainer": theirs(Path(folder), examples, pad, options.steps, grouped=False),
            "Trainer, group_by_length": theirs(Path(folder), examples, pad, options.steps, grouped=True),
        }
        for work in contestants.values():
            work()  # warm-up
        seconds = interleave(contestants, rounds=options.rounds)
    middle = {who: statistics.median(values) for who, values in seconds.items()}
    body = [
        [who, f"{options.steps * ROWS / value:.0f}", f"{value / middle['vidro']:.2f}"] for who, value in middle.items()
    ]
    lines = [machine_line(options.threads), "", table(["", "rows a second", "its time over vidro's"], body)]
    report(f"Fine-tuning on {options.data.name}", lines, data=seconds, json_path=options.json)


def ours(model: Any, examples: list[Example], pad: int, steps: int) -> Callable[[], float]:
    """Some steps as `vidro finetune instruct --optimizer adamw` makes them; seconds."""
    model.train()
    optimizer = Optimizer(model, optimizer_settings(OptimOptions(optimizer="adamw"), model.config))
    order = RowOrder(examples, ROWS, 1)
    precision = choose_precision("fp32", CPU)
    settings = StepSettings(micro_batch=ROWS, clip=1.0, autocast=lambda: autocast(CPU, precision))
    done = 0

    def work() -> float:
        nonlocal done
        started = time.perf_counter()
        for _ in range(steps):
            ids, targets = collate([examples[number] for number in order.step(done)], pad_id=pad)
            batch = Batch(torch.from_numpy(ids), torch.from_numpy(targets))
            train_step(
                model, optimizer, batch, loss=lambda m, b: lm_loss(m, b.ids, b.targets), multiplier=0.1,
                settings=settings,
            )  # fmt: skip
            done += 1
        return time.perf_counter() - started

    return work


def theirs(folder: Path, examples: list[Example], pad: int, steps: int, *, grouped: bool) -> Callable[[], float]:
    """As many steps of Trainer; seconds of its training loop alone, without building it."""
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    model = AutoModelForCausalLM.from_pretrained(folder)

    def padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        columns = {}
        for name, filling in (("input_ids", pad), ("labels", -100)):
            columns[name] = torch.tensor([[*row[name], *[filling] * (longest - len(row[name]))] for row in rows])
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        return {**columns, "attention_mask": (torch.arange(longest) < lengths[:, None]).long()}

    class Clock(TrainerCallback):
        started = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.perf_counter()

    def work() -> float:
        clock = Clock()
        sampling = {"train_sampling_strategy": "group_by_length"} if grouped else {}
        arguments = TrainingArguments(
            output_dir=str(folder / "out"), max_steps=steps, per_device_train_batch_size=ROWS, learning_rate=1e-4,
            save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no",
            optim="adamw_torch", remove_unused_columns=False, **sampling,
        )  # fmt: skip
        trainer = Trainer(
            model=model, args=arguments, train_dataset=Rows(examples), data_collator=padded, callbacks=[clock]
        )
        trainer.train()
        return clock.ended - clock.started

    return work


if __name__ == "__main__":
    main()
