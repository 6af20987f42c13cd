"""What a run says of itself: the event that opens its log, and the part of its record that stays the same.

Not here: putting a run together (`assemble`), what it reached (`conclude`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidro.checkpoint.run import versions
from vidro.model.count import count
from vidro.train.machine import denormals_are_flushed

if TYPE_CHECKING:
    from vidro.config.schema import ModelConfig
    from vidro.text.tokenizer import Tokenizer
    from vidro.train.assemble import AssembledRun, RunFacts
    from vidro.train.pretrain import Setup

FORMAT_VERSION = 1  # of metrics.jsonl, samples.jsonl and probes/ (docs/formats.md)


def record_facts(setup: Setup, facts: RunFacts) -> dict[str, Any]:
    """The part of ``vidro.json`` that stays the same while the run goes on."""
    prepared, model = setup.prepared, setup.plan.model
    return {
        "kind": "base",
        "parent": facts.parent,
        "prompt_style": None,
        "data": {
            "name": prepared.name,
            "source": facts.source,
            "sha256": prepared.source_sha256,
            "n_documents": prepared.n_documents,
            "train_bytes": prepared.train_bytes,
            "val_bytes": prepared.val_bytes,
            "train_tokens": prepared.train.n_tokens,
            "val_tokens": prepared.val.n_tokens,
        },
        **made_of(setup.tokenizer, model),
    }


def made_of(tokenizer: Tokenizer, model: ModelConfig) -> dict[str, Any]:
    """What ``vidro.json`` says of a run's tokenizer, its model and the versions that made it."""
    return {
        "tokenizer": {
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "fingerprint": tokenizer.fingerprint,
        },
        "model": {
            "family": model.family,
            "n_parameters": count(model).n_parameters,
            "context_length": model.context_length,
        },
        "versions": versions(),
    }


def announce(run: AssembledRun, *, resumed: bool) -> None:
    """The event that opens a run or its continuation, and what the user should know before it begins."""
    from vidro.train.planning import plan_fields  # here: it brings every reader of documents, and an import needs none

    step = run.loop.state.step
    if resumed:
        run.events.emit("resumed", step=step)
    else:
        run.events.emit("start", step=step, **start_fields(run))
        if run.setup.outlook is not None:
            run.events.emit("plan", step=step, **plan_fields(run.setup.outlook, run.setup.reasons))
    for message in run.notes:
        run.events.emit("note", step=step, message=message)


def start_fields(run: AssembledRun) -> dict[str, Any]:
    """What a reader of the log must know of the run; two of the plots' lines among it."""
    setup = run.setup
    prepared, plan, train = setup.prepared, setup.plan, setup.options.train
    budget = {name: value for name, value in vars(setup.options.budget).items() if value is not None}
    return {
        "format_version": FORMAT_VERSION,
        "run": run.path.name,
        "family": plan.model.family,
        "n_parameters": count(plan.model).n_parameters,
        "vocab_size": plan.model.vocab_size,
        "context_length": plan.model.context_length,
        "batch_tokens": plan.tokens_per_step,
        "budget": budget,
        "seed": train.seed,
        "threads": run.facts.threads,
        "device": str(run.keeper.model.head.weight.device),
        "precision": run.precision,
        "flush_denormal": denormals_are_flushed(),
        "train_tokens": prepared.train.n_tokens,
        "val_tokens": prepared.val.n_tokens,
        "val_bytes": prepared.val_bytes,
        "bytes_per_token": round(prepared.train_bytes / prepared.train.n_tokens, 4),
        "unigram_nats_per_token": run.unigram_nats,
        "yardsticks_bits_per_byte": {name: round(bits, 4) for name, bits in run.yardsticks.items()},
        "versions": versions(),
    }
