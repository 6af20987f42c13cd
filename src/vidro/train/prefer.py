r"""Preference tuning: pairs of answers, one better than the other; a run that writes like the better ones.

Direct preference optimisation (Rafailov et al. 2023), with log p(answer) summed over the answer's tokens, its end
token included, and `ref` the model as it was before:

    reward(answer) = beta · (log p(answer) - log p_ref(answer))
    loss           = -ln sigmoid(reward(chosen) - reward(rejected))        ln 2 before the first step

A pair is two rows of a batch that follow each other. What the reference says of each row is computed once, before the
first step. Not here: reading pairs (`data/instructions`), the loop (`finetune`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.checkpoint.huggingface import read_model
from vidro.checkpoint.run import OpenedRun, load_tokenizer, read_record
from vidro.checkpoint.training_state import Checkpoint
from vidro.config.schema import PreferenceOptions, PreferOptions
from vidro.core.errors import DataError, UsageError
from vidro.core.files import sha256_file
from vidro.core.shapes import Float, Int
from vidro.data.collate import Example, check_ends, collate, make_example
from vidro.data.instructions import PreferenceRow, PreferenceTable, RowSplit, read_preferences, split_instructions
from vidro.evals.accuracy import wilson
from vidro.infer.answering import style_of_run
from vidro.model.loss import IGNORE
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer
from vidro.text.conversation import PromptStyle
from vidro.text.styles import get_style, special_id
from vidro.text.tokenizer import Tokenizer
from vidro.train.finetune import Job, TuneSettings
from vidro.train.instruct import answered
from vidro.train.rows import RowOrder
from vidro.train.step import Batch
from vidro.train.tuning import checksums, lasting, lora_notes, prepare_learning, resolved_rates, shape_of, with_budget

EPOCHS = 1.0
ROWS_AT_ONCE = 32  # where nothing is learned


@dataclass(frozen=True)
class Pair:
    """A better and a worse answer as ids, and what the reference says of both (nats, summed)."""

    chosen: Example
    rejected: Example
    reference: tuple[float, float] = (0.0, 0.0)

    @property
    def n_inputs(self) -> int:
        """How many tokens the model reads of the longer one."""
        return max(self.chosen.n_inputs, self.rejected.n_inputs)


@dataclass(kw_only=True)
class PreferTask:
    """Pairs as the loop sees them."""

    train: list[Pair]
    val: list[Pair]
    val_rows: Sequence[PreferenceRow]
    order: RowOrder
    beta: float
    pad_id: int
    tokenizer: Tokenizer
    style: PromptStyle
    device: torch.device

    @property
    def n_rows(self) -> int:
        """Pairs of the training part."""
        return len(self.train)

    @property
    def row_tokens(self) -> float:
        """Mean tokens a pair, without padding."""
        return sum(pair.chosen.n_inputs + pair.rejected.n_inputs for pair in self.train) / len(self.train)

    def batch(self, step: int) -> Batch:
        """Rows in pairs; the step is divided by the pairs."""
        return self._batch([self.train[number] for number in self.order.step(step)])

    def _batch(self, pairs: Sequence[Pair]) -> Batch:
        return batch_of(pairs, self.pad_id, self.device)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum of nats, number of pairs) of a micro-batch."""
        assert isinstance(model, Transformer)
        assert batch.known is not None
        margins = self.beta * margins_of(answer_log_probs(model, batch.ids, batch.targets) - batch.known)
        return -F.logsigmoid(margins).sum(), torch.tensor(len(margins))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss, margin and reward accuracy of the validation pairs."""
        assert isinstance(model, Transformer)
        margins = self.margins(model, self.val)
        return {
            "nats_per_token": -F.logsigmoid(margins).mean().item(),
            "margin": margins.mean().item(),
            "reward_accuracy": (margins > 0).float().mean().item(),
            "n_rows": len(self.val),
        }

    def margins(self, model: Transformer, pairs: Sequence[Pair]) -> Float[Tensor, "N"]:
        """By how much the reward of the chosen answer is above that of the rejected one, of each pair."""
        found = []
        with at_rest(model):
            for some in in_groups(pairs, ROWS_AT_ONCE // 2):
                batch = self._batch(some)
                assert batch.known is not None
                rewards = answer_log_probs(model, batch.ids, batch.targets) - batch.known
                found.append(self.beta * margins_of(rewards).float().cpu())
        return torch.cat(found)

    def samples(self, model: nn.Module, step: int) -> list[dict[str, Any]]:
        """What the model answers to the first validation questions."""
        assert isinstance(model, Transformer)
        return answered(model, self.tokenizer, self.style, self.val_rows)

    def probe(self, model: nn.Module, step: int, *, last: bool = False) -> None:
        """Nothing is recorded of the inside."""


def answer_log_probs(model: Transformer, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """ln p of each row's learned tokens, summed, not averaged: a mean would forgive a long answer its odd words."""
    learned = targets != IGNORE
    logits = model.head(model.hidden(ids)[learned])
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    each = -F.cross_entropy(precise, targets[learned], reduction="none")
    rows = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)[learned]
    return each.new_zeros(len(ids)).index_add(0, rows, each)


def margins_of(rewards: Float[Tensor, "two_B"]) -> Float[Tensor, "B"]:
    """Chosen minus rejected, of rows that follow each other."""
    return rewards[0::2] - rewards[1::2]


def batch_of(pairs: Sequence[Pair], pad_id: int, device: torch.device) -> Batch:
    """The pairs as rows: chosen, rejected, chosen, rejected …"""
    examples = [example for pair in pairs for example in (pair.chosen, pair.rejected)]
    ids, targets = collate(examples, pad_id=pad_id)
    known = torch.tensor([value for pair in pairs for value in pair.reference], device=device)
    both = torch.from_numpy(ids).to(device), torch.from_numpy(targets).to(device)
    return Batch(*both, n_counted=len(pairs), known=known)


def in_groups(pairs: Sequence[Pair], n: int) -> Iterator[Sequence[Pair]]:
    """The pairs in their order, some at a time."""
    return (pairs[first : first + n] for first in range(0, len(pairs), n))


def prefer_job(options: TuneSettings, parent: OpenedRun | None, checkpoint: Checkpoint | None, path: Path) -> Job:
    """Everything in place for `finetune`. Raises DataError and UsageError for what cannot be trained on."""
    assert isinstance(options, PreferOptions)
    table, split = read_pairs(options.rows, seed=options.train.seed)
    tokenizer = Tokenizer.load(path) if parent is None else load_tokenizer(parent)
    if checkpoint is not None:
        before, taught = Path(checkpoint.state["facts"]["base"]), path
    else:
        assert parent is not None
        before, taught = parent.model_dir, parent.path
    style = the_style(options.rows.style, taught, tokenizer)
    reference = read_model(before)
    if reference.config.labels:
        raise UsageError("this run is a classifier; it cannot answer", where=before, hint="Start from one that can.")
    model = read_model(before) if checkpoint is None else shape_of(checkpoint, options.train)
    options = replace(options, train=prepare_learning(model, options.train))
    options = resolved(options, model, style)
    context = model.config.context_length
    parts: dict[str, list[Pair]] = {}
    notes = [*table.notes]
    if n_same := len(table.rows) - sum(map(len, (split.train, split.val, split.test))):
        notes.append(f"{n_same:,} pairs of the same answer twice are left out.")
    for name in ("train", "val", "test"):
        rows: Sequence[PreferenceRow] = getattr(split, name)
        pairs = [pair_of(row, style, tokenizer) for row in rows]
        kept = [pair for pair in pairs if pair.n_inputs <= context]
        if len(kept) < len(pairs):
            notes.append(f"{len(pairs) - len(kept):,} of {len(pairs):,} pairs ({name}) do not fit {context} tokens.")
        if not kept:
            raise DataError(f"no pair to {name} fits {context} tokens", hint="Use shorter texts or a longer context.")
        parts[name] = kept
    check_ends([pair.chosen for pair in parts["train"]], special_id(tokenizer, style.end_token))
    pad_id = tokenizer.padding_id
    parts = {name: with_reference(pairs, reference, pad_id) for name, pairs in parts.items()}
    task = PreferTask(
        train=parts["train"],
        val=parts["val"],
        val_rows=[row for row in split.val if pair_of(row, style, tokenizer).n_inputs < context],
        order=RowOrder(parts["train"], options.train.batch_rows, options.train.seed),
        beta=options.rows.beta,
        pad_id=pad_id,
        tokenizer=tokenizer,
        style=style,
        device=torch.device("cpu"),
    )
    sizes = {f"n_{name}": len(pairs) for name, pairs in parts.items()}
    return Job(
        kind="preferred",
        options=options,
        model=model,
        tokenizer=tokenizer,
        task=task,
        record={"prompt_style": style.name, "data": data_record(options, table, sizes)},
        start={"style": style.name, "beta": options.rows.beta, **sizes},
        facts={**checksums(options.rows.data), "its tokenizer": tokenizer.fingerprint},
        finish=lambda kept, folder: finish(kept, reference, task, parts["test"]),
        notes=(*notes, *lora_notes(model)),
        style=style,
        rows_each=2,
    )


def the_style(said: str | None, run: Path, tokenizer: Tokenizer) -> PromptStyle:
    """The run's own style; the one that was said where it has none. Raises UsageError for two that differ."""
    own = style_of_run(run, read_record(run), tokenizer)
    if own is None and said is None:
        hint = "Teach it first (vidro finetune instruct), or say --style."
        raise UsageError("this run was not taught to answer", where=run, hint=hint)
    if own is not None:
        if said not in (None, own.name):
            raise UsageError(f"this run answers in the style {own.name}", where="style", hint="Leave --style out.")
        return own
    assert said is not None
    return get_style(said, tokenizer)


def resolved(options: PreferOptions, model: Transformer, style: PromptStyle) -> PreferOptions:
    """The options with every gap filled, as ``run.toml`` keeps them."""
    rows = replace(options.rows, data=lasting(options.rows.data), style=options.rows.style or style.name)
    budget = with_budget(options.budget, epochs=EPOCHS)
    return replace(options, rows=rows, budget=budget, optim=resolved_rates(options.optim, model, share=GENTLER))


GENTLER = 0.1  # of the rates of other fine-tuning: the model is to stay near what it was


def data_record(options: PreferOptions, table: PreferenceTable, sizes: dict[str, int]) -> dict[str, Any]:
    """What ``vidro.json`` says of the pairs."""
    data = Path(options.rows.data or "")
    return {
        "name": data.name, "source": str(data), "sha256": sha256_file(data), "form": table.form,
        "n_rows": len(table.rows), **sizes,
    }  # fmt: skip


def read_pairs(options: PreferenceOptions, *, seed: int) -> tuple[PreferenceTable, RowSplit[PreferenceRow]]:
    """The table without pairs of the same answer twice, which teach nothing, in its parts."""
    if options.data is None:
        raise UsageError("no preferences are named", hint="For example --data preferences.json.")
    table = read_preferences(Path(options.data), skip_empty=options.skip_empty)
    different = [row for row in table.rows if row.chosen != row.rejected]
    if not different:
        raise DataError("in every row the chosen and the rejected answer are the same", where=options.data)
    return table, split_instructions(different, val=options.val_share, test=options.test_share, seed=seed)


def pair_of(row: PreferenceRow, style: PromptStyle, tokenizer: Tokenizer) -> Pair:
    """Both conversations as ids; the answers and their end tokens are learned."""
    better, worse = (make_example(style, tokenizer, each) for each in row.as_rows())
    return Pair(better, worse)


def with_reference(pairs: Sequence[Pair], reference: Transformer, pad_id: int) -> list[Pair]:
    """The pairs with what the reference says of them."""
    device = reference.head.weight.device
    order = sorted(range(len(pairs)), key=lambda number: pairs[number].n_inputs)
    found = list(pairs)
    with at_rest(reference):
        for first in range(0, len(order), ROWS_AT_ONCE // 2):
            numbers = order[first : first + ROWS_AT_ONCE // 2]
            batch = batch_of([pairs[number] for number in numbers], pad_id, device)
            said = answer_log_probs(reference, batch.ids, batch.targets).tolist()
            for place, number in enumerate(numbers):
                found[number] = replace(pairs[number], reference=(said[2 * place], said[2 * place + 1]))
    return found


def finish(model: Transformer, reference: Transformer, task: PreferTask, pairs: Sequence[Pair]) -> dict[str, Any]:
    """On the test pairs: loss, margin, reward accuracy with its interval, and how far the model has moved."""
    margins = task.margins(model, pairs)
    right = int((margins > 0).sum())
    return {
        "preferences": {
            "n": len(pairs),
            "loss_nats": -F.logsigmoid(margins).mean().item(),
            "margin": margins.mean().item(),
            "reward_accuracy": right / len(pairs),
            "reward_accuracy_interval": list(wilson(right, len(pairs))),
            "kl_nats_per_token": divergence(model, reference.to(model.head.weight.device), task, pairs),
        }
    }


def divergence(model: Transformer, reference: Transformer, task: PreferTask, pairs: Sequence[Pair]) -> float:
    """KL(model ‖ reference) in nats, mean over the answers' tokens: how differently the next token is chosen now."""
    total, n = 0.0, 0
    with at_rest(model), at_rest(reference):
        for some in in_groups(pairs, ROWS_AT_ONCE // 2):
            batch = batch_of(some, task.pad_id, task.device)
            learned = batch.targets != IGNORE
            now, before = (
                one.head(one.hidden(batch.ids)[learned]).float().log_softmax(-1) for one in (model, reference)
            )
            total += (now.exp() * (now - before)).sum().item()
            n += int(learned.sum())
    return total / n
