"""Fine-tuning a classifier: labelled texts in; a run with a class head, its scores and those of plainer rivals out.

    table ─ duplicates ─ balance ─ split ─ rows of ids ─ loop (`finetune`) ─ test texts: scores beside a bag of words

Nothing of the test texts is used before the end. Not here: reading tables (`data/labelled`), the head (`model/heads`),
what the scores mean (`evals/accuracy`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidro.checkpoint.huggingface import read_model
from vidro.checkpoint.run import OpenedRun, load_tokenizer
from vidro.checkpoint.training_state import Checkpoint
from vidro.config.schema import ClassifyOptions, LabelOptions
from vidro.core.errors import UsageError
from vidro.core.files import atomic_path, sha256_file
from vidro.data.duplicates import LabelledSplit, deduplicate, find_duplicates, leaks, split_rows
from vidro.data.labelled import LabelledRow, LabelledTable, balance, class_weights, read_labelled
from vidro.evals.accuracy import ClassScores, class_scores, natural_rate, paired_interval
from vidro.evals.baselines import BagOfWords, Majority
from vidro.evals.confusion_plot import plot_confusion
from vidro.infer.classifier import ClassifierSession, Reader, Row
from vidro.model.heads import class_loss, with_class_head
from vidro.model.loss import IGNORE, next_token_loss
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.train.finetune import Job, TuneSettings
from vidro.train.rows import RowOrder
from vidro.train.step import Batch
from vidro.train.tuning import checksums, lasting, lora_notes, prepare_learning, resolved_rates, shape_of, with_budget

EPOCHS = 3.0
PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Texts:
    """The labelled texts of a run, divided, and what was found while doing so."""

    split: LabelledSplit
    labels: tuple[str, ...]
    shares: dict[str, float]
    notes: tuple[str, ...]


@dataclass(kw_only=True)
class ClassifyTask:
    """Rows with a class each as the loop sees them."""

    reader: Reader
    train: list[Row]
    train_labels: list[int]
    val: list[Row]
    val_labels: list[int]
    order: RowOrder
    device: torch.device
    class_weights: Tensor | None

    @property
    def n_rows(self) -> int:
        """Of the training part."""
        return len(self.train)

    @property
    def row_tokens(self) -> float:
        """Mean tokens a row."""
        return self.order.mean_tokens

    def batch(self, step: int) -> Batch:
        """Padded ids; the class stands at the place that is read, `IGNORE` everywhere else."""
        chosen = self.order.step(step)
        ids, last = self.reader.batch([self.train[number] for number in chosen])
        targets = torch.full_like(ids, IGNORE)
        targets[torch.arange(len(ids)), last] = torch.tensor([self.train_labels[number] for number in chosen])
        return Batch(ids.to(self.device), targets.to(self.device))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum of nats, number of texts) of a micro-batch."""
        assert isinstance(model, Transformer)
        weights = None if self.class_weights is None else self.class_weights.to(batch.ids.device)
        return class_loss(model, batch.ids, batch.targets, weights)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Nats and accuracy on the validation texts. The nats are of the one place that is read in each."""
        assert isinstance(model, Transformer)
        logits = ClassifierSession(model, self.reader).logits(self.val)
        true = torch.tensor(self.val_labels)
        nats, n = next_token_loss(logits, true)
        right = (logits.argmax(-1) == true).float().mean().item()
        return {"nats_per_token": nats.item() / int(n), "accuracy": right, "n_rows": len(self.val)}

    def samples(self, model: nn.Module, step: int) -> list[dict[str, Any]]:
        """A classifier writes nothing."""
        return []

    def probe(self, model: nn.Module, step: int, *, last: bool = False) -> None:
        """Nothing is recorded of the inside."""


def classify_job(options: TuneSettings, parent: OpenedRun | None, checkpoint: Checkpoint | None, path: Path) -> Job:
    """Everything in place for `finetune`. Raises DataError and UsageError for what cannot be trained on."""
    assert isinstance(options, ClassifyOptions)
    table, texts = read_texts(options.labels, seed=options.train.seed)
    tokenizer = Tokenizer.load(path) if parent is None else load_tokenizer(parent)
    model = base_of(parent, checkpoint, options, texts.labels)
    reader = make_reader(options.labels, tokenizer, texts.split.train, model.config.context_length)
    parts = {name: reader.rows([row.text for row in getattr(texts.split, name)]) for name in ("train", "val", "test")}
    options = replace(options, train=prepare_learning(model, options.train))
    options = resolved(options, model)
    number = {label: place for place, label in enumerate(texts.labels)}
    weights = None
    if options.labels.balance == "weights":
        weights = torch.tensor(class_weights(texts.split.train, texts.labels))
    task = ClassifyTask(
        reader=reader,
        train=parts["train"],
        train_labels=[number[row.label] for row in texts.split.train],
        val=parts["val"],
        val_labels=[number[row.label] for row in texts.split.val],
        order=RowOrder(parts["train"], options.train.batch_rows, options.train.seed),
        device=torch.device("cpu"),
        class_weights=weights,
    )
    n_cut = sum(row.n_cut > 0 for rows in parts.values() for row in rows)
    notes = [*texts.notes]
    if n_cut:
        notes.append(f"{n_cut:,} texts are longer than {reader.max_tokens} tokens and were cut there.")
    return Job(
        kind="classifier",
        options=options,
        model=model,
        tokenizer=tokenizer,
        task=task,
        record=record(options, texts, table, reader, n_cut),
        start={
            "labels": list(texts.labels),
            "majority_frac": majority_frac(texts.split),
            "n_train": len(texts.split.train),
            "n_val": len(texts.split.val),
            "n_test": len(texts.split.test),
        },
        facts={**checksums(options.labels.data, options.labels.test), "its tokenizer": tokenizer.fingerprint},
        finish=lambda kept, folder: finish(kept, reader, texts, folder, seed=options.train.seed),
        notes=(*notes, *lora_notes(model)),
    )


def base_of(
    parent: OpenedRun | None, checkpoint: Checkpoint | None, options: ClassifyOptions, labels: tuple[str, ...]
) -> Transformer:
    """The parent's model with a fresh head; of a run that goes on, its shape, into which the loop puts the weights."""
    if checkpoint is not None:
        return shape_of(checkpoint, options.train)
    assert parent is not None
    model = read_model(parent.model_dir)
    if model.config.labels:
        hint = "Start from the language model that it was made from."
        raise UsageError("this run is a classifier already", where=parent.path, hint=hint)
    if options.train.dropout is not None:
        other = Transformer(replace(model.config, dropout=options.train.dropout))
        other.load_state_dict(model.state_dict())
        model = other
    return with_class_head(model, labels)


def resolved(options: ClassifyOptions, model: Transformer) -> ClassifyOptions:
    """The options with every gap filled, as ``run.toml`` keeps them."""
    return replace(
        options,
        labels=replace(options.labels, data=lasting(options.labels.data), test=lasting(options.labels.test)),
        budget=with_budget(options.budget, epochs=EPOCHS),
        optim=resolved_rates(options.optim, model),
    )


def read_texts(options: LabelOptions, *, seed: int) -> tuple[LabelledTable, Texts]:
    """The table, its copies taken out, balanced and divided as the options say; everything found is said."""
    if options.data is None:
        raise UsageError("no labelled texts are named", hint="For example --data messages.tsv.")
    columns = {"text_column": options.text_column, "label_column": options.label_column}
    table = read_labelled(Path(options.data), **columns, skip_empty=options.skip_empty)
    notes = list(table.notes)
    rows: Sequence[LabelledRow] = table.rows
    if n := len(find_duplicates(rows).conflicting):
        notes.append(f"{n:,} {'text stands' if n == 1 else 'texts stand'} there with more than one label.")
    if not (options.keep_duplicates or options.book):
        rows, n_removed = deduplicate(rows)
        if n_removed:
            notes.append(f"{n_removed:,} of {len(table.rows):,} rows repeat an earlier text and were left out.")
    counts = Counter(row.label for row in rows)
    shares = {label: counts[label] / len(rows) for label in table.labels}
    if options.balance == "undersample":
        rows, n_removed = balance(rows, seed=seed)
        notes.append(f"{n_removed:,} rows left out to have as many of each class ({len(rows):,} are left).")
    split = divide(rows, options, table.labels, columns, seed=seed)
    notes.append(leak_note(split))
    sizes = f"{len(split.train):,} to learn from, {len(split.val):,} to check with, {len(split.test):,} to score with"
    notes.append(f"{len(rows):,} texts: {sizes}.")
    return table, Texts(split, table.labels, shares, tuple(notes))


def divide(
    rows: Sequence[LabelledRow],
    options: LabelOptions,
    labels: tuple[str, ...],
    columns: dict[str, str | None],
    *,
    seed: int,
) -> LabelledSplit:
    """Train, validation and test rows; the test rows are those of ``--test`` where it is said."""
    if options.test is None:
        return split_rows(rows, val=options.val_share, test=options.test_share, seed=seed, book=options.book)
    given = read_labelled(Path(options.test), **columns, skip_empty=options.skip_empty, known=labels)
    split = split_rows(rows, val=options.val_share, test=0.0, seed=seed, book=options.book)
    return LabelledSplit(split.train, split.val, given.rows)


def leak_note(split: LabelledSplit) -> str:
    """Which test texts the training part gives away."""
    found = leaks(split.train, split.test)
    n = len(split.test)
    return f"Of {n:,} test texts {len(found.exact):,} stand in the training part too, {len(found.near):,} nearly so."


def make_reader(options: LabelOptions, tokenizer: Tokenizer, train: Sequence[LabelledRow], context: int) -> Reader:
    """How texts are read; the book pads every text to the longest of the training part."""
    most = context if options.max_tokens is None else options.max_tokens
    if most > context:
        hint = "Leave it out to use all of it."
        raise UsageError(f"the model sees {context} tokens only", where="max-tokens", hint=hint)
    if not options.book:
        return Reader(tokenizer, most)
    longest = max(len(ids) for ids in tokenizer.encode_batch([row.text for row in train]))
    return Reader(tokenizer, min(most, longest), pad_to=min(most, longest))


def majority_frac(split: LabelledSplit) -> float:
    """The share of validation texts that have the most frequent class of the training part."""
    usual = Counter(row.label for row in split.train).most_common(1)[0][0]
    return sum(row.label == usual for row in split.val) / len(split.val)


def record(options: ClassifyOptions, texts: Texts, table: LabelledTable, reader: Reader, n_cut: int) -> dict[str, Any]:
    """What ``vidro.json`` says of the texts and of how they are read."""
    data = Path(options.labels.data or "")
    return {
        "labels": list(texts.labels),
        "reader": {"max_tokens": reader.max_tokens, "pad_to": reader.pad_to},
        "data": {
            "name": data.name,
            "source": str(data),
            "sha256": sha256_file(data),
            "text_column": table.text_column,
            "label_column": table.label_column,
            "n_rows": len(table.rows),
            "n_train": len(texts.split.train),
            "n_val": len(texts.split.val),
            "n_test": len(texts.split.test),
            "n_cut": n_cut,
            "natural_shares": texts.shares,
        },
    }


def finish(model: Transformer, reader: Reader, texts: Texts, folder: Path, *, seed: int) -> dict[str, Any]:
    """Score the test texts, with a bag of words and the most frequent class on the same split beside."""
    train, test = texts.split.train, texts.split.test
    session = ClassifierSession(model, reader)
    predictions = list(session.stream(row.text for row in test))
    scores = class_scores([row.label for row in test], [p.label for p in predictions], texts.labels)
    with atomic_path(folder / PREDICTIONS) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row, one in zip(test, predictions, strict=True):
            shares = {label: round(share, 6) for label, share in one.probabilities.items()}
            line = {"text": row.text, "label": row.label, "predicted": one.label, "probabilities": shares}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    plot_confusion(scores, folder / "plots" / "confusion.png", title=f"{folder.name}: {len(test):,} test texts")
    return test_results(scores, texts, train, test, [p.label for p in predictions], seed=seed)


def test_results(
    scores: ClassScores,
    texts: Texts,
    train: Sequence[LabelledRow],
    test: Sequence[LabelledRow],
    predicted: Sequence[str],
    *,
    seed: int,
) -> dict[str, Any]:
    """Scores, those of the rivals, and the difference to the bag of words with its interval."""
    true = [row.label for row in test]
    learn = [row.text for row in train], [row.label for row in train]
    words = BagOfWords().fit(*learn).predict([row.text for row in test])
    usual = Majority().fit(*learn).predict([row.text for row in test])
    right = [a == b for a, b in zip(true, predicted, strict=True)]
    difference = paired_interval(right, [a == b for a, b in zip(true, words, strict=True)], seed=seed)
    return {
        "test": scores.to_json(),
        "bag_of_words": class_scores(true, words, texts.labels).to_json(),
        "majority": class_scores(true, usual, texts.labels).to_json(),
        "over_bag_of_words": {
            "difference": difference.value,
            "low": difference.low,
            "high": difference.high,
        },
        "natural": natural_rate(scores, texts.shares).to_json() if min(scores.support) else None,
    }
