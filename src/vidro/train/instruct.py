"""Instruction tuning: conversations in; a run that answers, and how right its answers to unseen questions are.

    rows ─ style ─ ids and what is learned ─ loop (`finetune`) ─ answers to the test rows beside the base model's

Only answers and the token that ends each are learned, unless prompts are asked for. Not here: forms of rows
(`data/instructions`), framing (`text/styles`), padding and targets (`data/collate`), the measures (`evals/answers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidro.checkpoint.huggingface import read_model
from vidro.checkpoint.run import OpenedRun, load_tokenizer
from vidro.checkpoint.training_state import Checkpoint
from vidro.config.schema import InstructionOptions, InstructOptions, SamplingOptions
from vidro.core.errors import DataError, UsageError
from vidro.core.files import sha256_file
from vidro.data.collate import Example, collate, fit_lengths, make_example
from vidro.data.instructions import (
    HasPrompt,
    InstructionRow,
    InstructionTable,
    RowSplit,
    read_instructions,
    split_instructions,
)
from vidro.data.packing import filling, pack, row_length
from vidro.evals.answer_loss import examples_loss
from vidro.evals.answer_yardsticks import repeated_questions, similar_answers
from vidro.evals.answering import answers_to, evenly, fits, write_answers
from vidro.evals.answers import score_answers
from vidro.infer.answering import Answerer
from vidro.model.loss import lm_loss
from vidro.model.modes import at_rest
from vidro.model.transformer import Transformer
from vidro.text.conversation import PromptStyle
from vidro.text.styles import default_style, get_style, special_id
from vidro.text.tokenizer import Tokenizer
from vidro.train.finetune import Job, TuneSettings
from vidro.train.rows import RowOrder
from vidro.train.step import Batch
from vidro.train.tuning import checksums, lasting, lora_notes, prepare_learning, resolved_rates, shape_of, with_budget

EPOCHS = 3.0
RESPONSES = "responses.jsonl"
SAMPLE_TOKENS = 60  # of an answer that is shown while it learns


@dataclass(kw_only=True)
class InstructTask:
    """Conversations as the loop sees them."""

    train: list[Example]
    val: list[Example]
    val_rows: Sequence[InstructionRow]
    order: RowOrder
    pad_id: int
    tokenizer: Tokenizer
    style: PromptStyle
    device: torch.device
    pack_into: int | None = None  # tokens of the longest row that examples are packed into; None: padded, one a row
    look_rows: int | None = None  # validation rows of a look while training (`looks`); None: all of them

    @property
    def n_rows(self) -> int:
        """Of the training part."""
        return len(self.train)

    @property
    def row_tokens(self) -> float:
        """Mean tokens a row, without padding."""
        return self.order.mean_tokens

    def batch(self, step: int) -> Batch:
        """Ids and targets, packed or padded. The same examples in any way give the same loss and gradient."""
        examples = [self.train[number] for number in self.order.step(step)]
        if self.pack_into is None:
            return self._batch(examples)
        length = row_length([example.n_inputs for example in examples], self.pack_into)
        packed = pack(examples, length, pad_id=self.pad_id)
        ids, targets, pieces = (
            torch.from_numpy(each).to(self.device) for each in (packed.ids, packed.targets, packed.pieces)
        )
        return Batch(ids, targets, pieces=pieces)

    def _batch(self, examples: Sequence[Example]) -> Batch:
        ids, targets = collate(examples, pad_id=self.pad_id)
        return Batch(torch.from_numpy(ids).to(self.device), torch.from_numpy(targets).to(self.device))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum of nats, learned tokens) of a micro-batch."""
        assert isinstance(model, Transformer)
        return lm_loss(model, batch.ids, batch.targets, pieces=batch.pieces)

    @property
    def n_val(self) -> int:
        """Validation rows, of which a look takes some."""
        return len(self.val)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Nats per learned token of the validation rows of a look, evenly spaced and always the same."""
        return self._measured(model, self.val if self.look_rows is None else evenly(self.val, self.look_rows))

    def evaluate_all(self, model: nn.Module) -> dict[str, float]:
        """The same of all validation rows."""
        return self._measured(model, self.val)

    def _measured(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
        assert isinstance(model, Transformer)
        nats, n = examples_loss(model, examples, pad_id=self.pad_id)
        return {"nats_per_token": nats / n, "n_tokens": n, "n_rows": len(examples)}

    def samples(self, model: nn.Module, step: int) -> list[dict[str, Any]]:
        """What the model answers to the first validation questions."""
        assert isinstance(model, Transformer)
        return answered(model, self.tokenizer, self.style, self.val_rows)

    def probe(self, model: nn.Module, step: int, *, last: bool = False) -> None:
        """Nothing is recorded of the inside."""


def answered(
    model: Transformer, tokenizer: Tokenizer, style: PromptStyle, rows: Sequence[HasPrompt], *, n: int = 2
) -> list[dict[str, Any]]:
    """What the model answers to the first questions, as ``sample`` events have it."""
    asked = [row.prompt for row in rows[:n]]
    how = SamplingOptions(greedy=True, max_tokens=SAMPLE_TOKENS)
    with at_rest(model):
        answers = Answerer(model, tokenizer, style).answers(asked, how)
    return [
        {"prompt": f"{talk[-1].text}\n", "text": answer.text, "seed": None}
        for talk, answer in zip(asked, answers, strict=True)
    ]


def instruct_job(options: TuneSettings, parent: OpenedRun | None, checkpoint: Checkpoint | None, path: Path) -> Job:
    """Everything in place for `finetune`. Raises DataError and UsageError for what cannot be trained on."""
    assert isinstance(options, InstructOptions)
    table, split = read_rows(options.rows, seed=options.train.seed)
    tokenizer = Tokenizer.load(path) if parent is None else load_tokenizer(parent)
    style = get_style(options.rows.style or default_style(tokenizer), tokenizer)
    model = base_of(parent, checkpoint, options)
    options = replace(options, train=prepare_learning(model, options.train))
    options = resolved(options, model, style)
    context = model.config.context_length
    train, notes = examples_of(split.train, options.rows, style, tokenizer, context, "to learn from")
    val, more = examples_of(split.val, options.rows, style, tokenizer, context, "to check with")
    answerer = Answerer(model, tokenizer, style)
    if not any(fits(answerer, row) for row in split.test):
        hint = "Give some that are shorter: --test FILE."
        raise DataError(f"no question to score with fits {context:,} tokens", hint=hint)
    task = InstructTask(
        train=train,
        val=val,
        val_rows=[row for row in split.val if fits(answerer, row)],
        order=RowOrder(train, options.train.batch_rows, options.train.seed, mixed=options.rows.pack),
        pad_id=tokenizer.padding_id,
        tokenizer=tokenizer,
        style=style,
        device=torch.device("cpu"),
        pack_into=context if options.rows.pack else None,
    )
    data = Path(options.rows.data or "")
    sizes = {"n_train": len(train), "n_val": len(val), "n_test": len(split.test)}
    return Job(
        kind="instruct",
        options=options,
        model=model,
        tokenizer=tokenizer,
        task=task,
        record={
            "prompt_style": style.name,
            "data": {
                "name": data.name, "source": str(data), "sha256": sha256_file(data), "form": table.form,
                "n_rows": len(table.rows), **sizes,
            },
        },
        start={"style": style.name, **sizes},
        facts={
            **checksums(options.rows.data, options.rows.test, template_of(options.rows.style)),
            "its tokenizer": tokenizer.fingerprint,
        },
        finish=lambda kept, path: finish(kept, tokenizer, style, split, options.rows, path, seed=options.train.seed),
        notes=(
            *table.notes,
            *known_questions(split),
            f"The style is {style.name}; an answer ends with {style.end_token}.",
            *notes,
            *more,
            *packing_notes(task),
            *lora_notes(model),
        ),
        style=style,
    )  # fmt: skip


def base_of(parent: OpenedRun | None, checkpoint: Checkpoint | None, options: InstructOptions) -> Transformer:
    """The parent's model; of a run that goes on, its shape, into which the loop puts the weights."""
    if checkpoint is not None:
        return shape_of(checkpoint, options.train)
    assert parent is not None
    model = read_model(parent.model_dir)
    if model.config.labels:
        hint = "Start from the language model that it was made from."
        raise UsageError("this run is a classifier; it cannot answer", where=parent.path, hint=hint)
    if options.train.dropout is None or options.train.dropout == model.config.dropout:
        return model
    other = Transformer(replace(model.config, dropout=options.train.dropout))
    other.load_state_dict(model.state_dict())
    return other


def resolved(options: InstructOptions, model: Transformer, style: PromptStyle) -> InstructOptions:
    """The options with every gap filled, as ``run.toml`` keeps them."""
    return replace(
        options,
        rows=replace(
            options.rows,
            data=lasting(options.rows.data),
            test=lasting(options.rows.test),
            style=lasting_style(options.rows.style or style.name),
        ),
        budget=with_budget(options.budget, epochs=EPOCHS),
        optim=resolved_rates(options.optim, model),
    )


def template_of(style: str | None) -> str | None:
    """The file that a style is read from, where it is a template."""
    return style.removeprefix("jinja:") if style is not None and style.startswith("jinja:") else None


def lasting_style(style: str) -> str:
    """The style as a resume from another folder can find it."""
    file = template_of(style)
    return style if file is None else f"jinja:{lasting(file)}"


def read_rows(options: InstructionOptions, *, seed: int) -> tuple[InstructionTable, RowSplit[InstructionRow]]:
    """The table and its parts; the test rows are those of ``--test`` where it is said."""
    if options.data is None:
        raise UsageError("no instructions are named", hint="For example --data instructions.json.")
    table = read_instructions(Path(options.data), skip_empty=options.skip_empty)
    if options.test is None:
        return table, own_parts(table, options, seed=seed)
    given = read_instructions(Path(options.test), skip_empty=options.skip_empty)
    parts = own_parts(table, options, seed=seed)
    return table, RowSplit(parts.train, parts.val, given.rows)


def own_parts(table: InstructionTable, options: InstructionOptions, *, seed: int) -> RowSplit[InstructionRow]:
    """The parts of the table itself; none of it is kept to score with where ``--test`` names rows for that."""
    share = options.test_share if options.test is None else 0.0
    return split_instructions(table.rows, val=options.val_share, test=share, seed=seed)


def known_questions(split: RowSplit[InstructionRow]) -> list[str]:
    """In words, how many test questions the training part has too (only where the test rows came from elsewhere)."""
    asked = {row.prompt for row in split.train}
    n = sum(row.prompt in asked for row in split.test)
    return [f"Of {len(split.test):,} test questions {n:,} stand in the training part too."] if n else []


def examples_of(
    rows: Sequence[InstructionRow],
    options: InstructionOptions,
    style: PromptStyle,
    tokenizer: Tokenizer,
    context: int,
    purpose: str,
) -> tuple[list[Example], list[str]]:
    """The rows as ids that fit the context, and in words how many did not."""
    made = [make_example(style, tokenizer, row, mask_prompt=not options.learn_prompt) for row in rows]
    how = "drop" if options.too_long == "drop" else "cut"
    kept, n_dropped, n_cut = fit_lengths(made, context, how, end_id=special_id(tokenizer, style.end_token))
    notes = []
    if n_dropped:
        notes.append(f"{n_dropped:,} of {len(rows):,} rows {purpose} are longer than {context} tokens: left out.")
    if n_cut:
        notes.append(f"{n_cut:,} of {len(rows):,} rows {purpose} are longer than {context} tokens: cut there.")
    return kept, notes


def packing_notes(task: InstructTask) -> list[str]:
    """In words, how full the rows of the first epoch are, packed and as they would be without."""
    if task.pack_into is None:
        return []
    packed = filling(task.train, task.order.batches(0), context=task.pack_into)
    usual = RowOrder(task.train, task.order.batch_rows, task.order.seed).batches(0)
    before = filling(task.train, usual, context=None).padding_frac
    return [
        f"Packed: in the first epoch the {packed.n_pieces:,} rows to learn from lie in {packed.n_rows:,}, of which "
        f"{packed.padding_frac:.1%} is padding; not packed, rows of similar length together, it would be {before:.1%}."
    ]


def finish(
    model: Transformer,
    tokenizer: Tokenizer,
    style: PromptStyle,
    split: RowSplit[InstructionRow],
    options: InstructionOptions,
    folder: Path,
    *,
    seed: int,
) -> dict[str, Any]:
    """Answer the test rows and score the answers, beside answers that need no model; all are in ``responses.jsonl``."""
    answerer = Answerer(model, tokenizer, style)
    possible = [row for row in split.test if fits(answerer, row)]
    chosen = evenly(possible, options.test_rows)
    scored = answers_to(answerer, chosen, max_tokens=options.answer_tokens)
    write_answers(folder / RESPONSES, scored)
    yardsticks = [repeated_questions(chosen, seed=seed), similar_answers(chosen, split.train, seed=seed)]
    return {
        "answers": score_answers(scored, seed=seed).to_json(),
        "yardsticks": [each.to_json() for each in yardsticks],
        "n_unanswerable": len(split.test) - len(possible),
    }
