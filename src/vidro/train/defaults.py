"""From what the user said and what the text is to one complete plan; pure, nothing measured enters it.

These are fixed, sensible defaults by the size of the text and of the model; for a budget in minutes the planner's
`Blueprint` takes the place of the model's and the batch's (`plan`). Sources: GPT-2's and nanoGPT's published
settings for AdamW, Jordan's for Muon, and our own runs (`docs/diary.md`). Not here: reading the text (`data`),
training (`loop`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from vidro.config.load import the_budget
from vidro.config.presets import preset
from vidro.config.schema import (
    BudgetOptions,
    DataOptions,
    LoopOptions,
    ModelConfig,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
)
from vidro.core.errors import DataError, UsageError
from vidro.train.optim import OptimizerSettings

# Vocabulary by bytes of training text: each token needs to be seen often enough to be learned.
VOCABULARIES = ((60_000, 512), (3_000_000, 1024), (15_000_000, 2048), (math.inf, 4096))
STEP_TOKENS = 4096  # of a budget that is not in minutes
EMBEDDING_RATE = 20.0  # of the head's rate, beside Muon
MICRO_TOKENS = 8192  # tokens computed at once; more only costs memory on a CPU


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything resolved. `rows` sequences make one optimizer step, `micro_batch` of them are computed at once."""

    model: ModelConfig
    rows: int
    micro_batch: int
    steps: int | None
    epoch_tokens: int
    optimizer: OptimizerSettings
    most_steps: int | None = None
    """Of a budget in minutes: training ends here even where time is left."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens predicted in one optimizer step."""
        return self.rows * self.model.context_length


@dataclass(frozen=True)
class TextFacts:
    """What the plan must know of the text."""

    name: str
    train_tokens: int
    vocab_size: int


def trains_bpe(data: DataOptions) -> bool:
    """Whether the run makes a byte-level BPE of its own."""
    return data.tokenizer is None or data.tokenizer == "bpe"


def default_vocab_size(train_bytes: int) -> int:
    """The vocabulary to train for a text of this size."""
    return next(size for limit, size in VOCABULARIES if train_bytes < limit)


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """What the planner chose for a budget in minutes (`plan`): the base from which what the user said departs."""

    model: ModelConfig
    batch_tokens: int
    most_epochs: float


def make_plan(
    options: PretrainOptions,
    facts: TextFacts,
    *,
    shape: ModelConfig | None = None,
    blueprint: Blueprint | None = None,
) -> Plan:
    """The complete plan; `shape` fixes the model (a run that goes on, or the parent of one).

    Raises UsageError for sizes that contradict each other and DataError for a text shorter than one window.
    """
    kind = the_budget(options.budget)
    check_conflicts(options.optim, options.train)
    if shape is None:
        shape = model_shape(options.model, facts.vocab_size, base=None if blueprint is None else blueprint.model)
    model = shape
    context = model.context_length
    if facts.train_tokens < context + 1:
        what = f"the training part has {facts.train_tokens} tokens, fewer than one window of {context} + 1"
        raise DataError(what, where=facts.name, hint="Give more text, or a smaller --context-length.")
    usual = STEP_TOKENS if blueprint is None else blueprint.batch_tokens
    rows = _rows(options.train.batch_tokens, context, most=min(usual, facts.train_tokens // 8))
    micro = options.train.micro_batch
    if micro is None:
        micro = min(rows, max(1, MICRO_TOKENS // context))
    elif micro > rows:
        raise UsageError(f"{micro} sequences are more than the {rows} of a whole step", where="micro-batch")
    epoch_tokens = facts.train_tokens // context * context
    most_steps = None
    if blueprint is not None:
        most_steps = max(1, math.ceil(blueprint.most_epochs * epoch_tokens / (rows * context)))
    return Plan(
        model=model,
        rows=rows,
        micro_batch=micro,
        steps=_steps(kind, options.budget, rows * context, epoch_tokens),
        epoch_tokens=epoch_tokens,
        optimizer=optimizer_settings(options.optim, model),
        most_steps=most_steps,
    )


def check_conflicts(optim: OptimOptions, train: LoopOptions) -> None:
    """Raise UsageError for a setting that another one makes meaningless: nothing is ignored silently."""
    usual, often = OptimOptions(), LoopOptions()
    ignored = {
        "muon-lr": (optim.muon_lr is not None and optim.optimizer == "adamw", "--optimizer adamw"),
        "decay": (optim.decay != usual.decay and optim.schedule != "wsd", f"--schedule {optim.schedule}"),
        "final-lr": (optim.final_lr != usual.final_lr and optim.schedule == "constant", "--schedule constant"),
        "checkpoint-every": (
            train.checkpoint_every != often.checkpoint_every and train.checkpoint_steps is not None,
            "--checkpoint-steps",
        ),
    }
    for name, (conflicts, other) in ignored.items():
        if conflicts:
            raise UsageError(f"it means nothing beside {other}", where=name, hint="Leave one of the two out.")


def resolved(options: PretrainOptions, plan: Plan, *, own_vocabulary: bool) -> PretrainOptions:
    """The options with every gap filled from the plan: what ``run.toml`` holds. Its own plan is the same plan.

    `own_vocabulary`: the run trained a BPE, so that its size is one of the settings.
    """
    names = [item.name for item in fields(ModelOptions) if item.name != "preset"]
    optimizer = plan.optimizer
    return replace(
        options,
        data=replace(options.data, vocab_size=plan.model.vocab_size) if own_vocabulary else options.data,
        model=replace(options.model, **{name: getattr(plan.model, name) for name in names}),
        optim=replace(
            options.optim,
            lr=optimizer.lr,
            embedding_lr=optimizer.embedding_lr,
            muon_lr=optimizer.muon_lr if optimizer.kind == "muon" else None,
            weight_decay=optimizer.weight_decay,
        ),
        train=replace(options.train, batch_tokens=plan.tokens_per_step, micro_batch=plan.micro_batch),
    )  # fmt: skip


def model_shape(options: ModelOptions, vocab_size: int, *, base: ModelConfig | None = None) -> ModelConfig:
    """The model: the preset, or else `base`, with every size the user said put in."""
    if options.preset is not None:
        base = preset(options.preset)
    elif base is None:
        base = ModelConfig()
    said = {
        item.name: getattr(options, item.name)
        for item in fields(options)
        if item.name != "preset" and getattr(options, item.name) is not None
    }
    family = said.get("family", base.family)
    if options.preset is None and family == "gpt2":
        base = replace(base, family="gpt2", norm_eps=1e-5, tie_embeddings=True)
    sizes = dict(said)
    if "d_model" in said:  # what follows from the width, unless it is said too
        sizes.setdefault("d_ff", _feedforward(said["d_model"], family))
        if "n_heads" in said:
            sizes.setdefault("d_head", _head(said["d_model"], said["n_heads"]))
        else:
            sizes.setdefault("d_head", _usual_head(said["d_model"], base.d_head))
            sizes["n_heads"] = _heads(said["d_model"], sizes["d_head"])
    elif "n_heads" in said:
        sizes.setdefault("d_head", _head(base.d_model, said["n_heads"]))
    elif "d_head" in said:
        sizes["n_heads"] = _heads(base.d_model, said["d_head"])
    if "n_heads" in sizes:
        sizes.setdefault("n_kv_heads", sizes["n_heads"])
    return replace(base, **{**sizes, "vocab_size": vocab_size})


def _head(d_model: int, n_heads: int) -> int:
    if d_model % n_heads:
        hint = "Choose a number of heads that divides it, or say --d-head too."
        raise UsageError(f"a width of {d_model} cannot be divided into {n_heads} heads", where="n-heads", hint=hint)
    return d_model // n_heads


def _usual_head(d_model: int, wanted: int) -> int:
    """The head width wanted, halved at most twice where the width is no multiple of it."""
    return next((width for width in (wanted, wanted // 2, wanted // 4) if width and d_model % width == 0), wanted)


def _heads(d_model: int, d_head: int) -> int:
    if d_model % d_head:
        hint = "Say --n-heads and --d-head, or choose a width that is a multiple of it."
        raise UsageError(f"a width of {d_model} is no multiple of the head width {d_head}", where="d-model", hint=hint)
    return d_model // d_head


def _feedforward(d_model: int, family: str) -> int:
    """4 × width for GPT-2's two matrices; 8/3 × width, rounded up to a multiple of 32, for SwiGLU's three."""
    return 4 * d_model if family == "gpt2" else math.ceil(8 * d_model / 3 / 32) * 32


def inherited_shape(options: ModelOptions, parent: ModelConfig) -> ModelConfig:
    """The parent's shape for ``--from``; only dropout may differ. Raises UsageError for any other size that does."""
    for item in fields(options):
        value = getattr(options, item.name)
        if item.name != "dropout" and value is not None and value != getattr(parent, item.name, None):
            flag = item.name.replace("_", "-")
            raise UsageError("--from keeps the shape of the run it starts from", where=flag, hint="Leave it out.")
    return parent if options.dropout is None else replace(parent, dropout=options.dropout)


def _rows(batch_tokens: int | None, context: int, *, most: int) -> int:
    """Sequences per step: what the user said, or as many as make at most `most` tokens."""
    if batch_tokens is None:
        return max(1, most // context)
    if batch_tokens % context:
        hint = f"Choose a multiple of the context length {context}."
        raise UsageError(f"{batch_tokens} tokens are no whole number of sequences", where="batch-tokens", hint=hint)
    return batch_tokens // context


def optimizer_settings(optim: OptimOptions, model: ModelConfig) -> OptimizerSettings:
    """The optimizer's numbers. AdamW's rate falls with the root of the width (GPT-2's at 768 is the fixed point).

    Beside Muon the token embedding, where it is untied, goes twenty times as fast as the head (`docs/diary.md`).
    """
    muon = optim.optimizer == "muon"
    if optim.embedding_lr is not None and model.tie_embeddings:
        raise UsageError("the embedding is tied to the head", where="embedding-lr", hint="Leave it out, or untie them.")
    if muon:
        lr = 0.003 * min(1.0, (192 / model.d_model) ** 0.5)
    else:
        lr = 6e-4 * min(2.0, (768 / model.d_model) ** 0.5)
    lr = lr if optim.lr is None else optim.lr
    own_rate = optim.embedding_lr
    if own_rate is None and not model.tie_embeddings:
        own_rate = EMBEDDING_RATE * lr if muon else lr
    return OptimizerSettings(
        kind=optim.optimizer,
        lr=lr,
        embedding_lr=own_rate,
        muon_lr=0.02 if optim.muon_lr is None else optim.muon_lr,
        weight_decay=0.1 if optim.weight_decay is None else optim.weight_decay,
        beta1=optim.beta1,
        beta2=optim.beta2,
    )


def _steps(kind: str, budget: BudgetOptions, step_tokens: int, epoch_tokens: int) -> int | None:
    """Optimizer steps of a budget that is not in minutes; at least one."""
    if kind == "steps":
        return budget.steps
    if kind == "tokens" and budget.tokens is not None:
        return max(1, math.ceil(budget.tokens / step_tokens))
    if kind == "epochs" and budget.epochs is not None:
        return max(1, math.ceil(budget.epochs * epoch_tokens / step_tokens))
    return None
