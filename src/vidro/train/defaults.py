"""From what the user said and what the text is to one complete plan; pure, nothing measured enters it.

These are fixed, sensible defaults by the size of the text and of the model. Sources: GPT-2's and nanoGPT's published
settings for AdamW, Jordan's for Muon, and our own runs (`docs/diary.md`). Not here: reading the text (`data`),
training (`loop`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from vidro.config.presets import preset
from vidro.config.schema import BudgetOptions, ModelConfig, ModelOptions, OptimOptions, PretrainOptions, Settings, setting
from vidro.core.errors import DataError, UsageError

# Vocabulary by bytes of training text: each token needs to be seen often enough to be learned.
VOCABULARIES = ((60_000, 512), (3_000_000, 1024), (15_000_000, 2048), (math.inf, 4096))
MICRO_TOKENS = 8192  # tokens computed at once; more only costs memory on a CPU


@dataclass(frozen=True, kw_only=True)
class Plan(Settings):
    """Everything resolved; written to ``run.toml`` and read back by a resume."""

    model: ModelConfig = ModelConfig()
    rows: int = setting(16, "Sequences per optimizer step.", ge=1)
    micro_batch: int = setting(16, "Sequences computed at once.", ge=1)
    steps: int | None = setting(None, "Optimizer steps planned; with minutes, None.", ge=1)
    optimizer: str = setting("muon", "muon or adamw.")
    lr: float = setting(0.003, "Peak learning rate of AdamW's parameters.", gt=0)
    muon_lr: float = setting(0.02, "Peak learning rate of Muon's matrices.", gt=0)
    weight_decay: float = setting(0.1, "Weight decay.", ge=0)

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


def default_vocab_size(train_bytes: int) -> int:
    """The vocabulary to train for a text of this size."""
    return next(size for limit, size in VOCABULARIES if train_bytes < limit)


def check_budget(budget: BudgetOptions) -> str:
    """The name of the one budget that is said. Raises UsageError for none or several."""
    said = [item.name for item in fields(budget) if getattr(budget, item.name) is not None]
    if len(said) == 1:
        return said[0]
    hint = "Say one of --minutes, --tokens, --steps, --epochs."
    if not said:
        raise UsageError("how long should it train?", hint=f"{hint} For example --minutes 10.")
    raise UsageError(f"{' and '.join('--' + name for name in said)} contradict each other", hint=hint)


def make_plan(options: PretrainOptions, facts: TextFacts, *, parent: ModelConfig | None = None) -> Plan:
    """The complete plan. `parent` (of ``--from``) fixes the model's shape.

    Raises UsageError for sizes that contradict each other and DataError for a text shorter than one window.
    """
    kind = check_budget(options.budget)
    model = model_shape(options.model, facts.vocab_size) if parent is None else _inherit(options.model, parent)
    context = model.context_length
    if facts.train_tokens < context + 1:
        what = f"the training part has {facts.train_tokens} tokens, fewer than one window of {context}"
        raise DataError(what, where=facts.name, hint="Give more text, or a smaller --context-length.")
    rows = _rows(options.train.batch_tokens, context, facts.train_tokens)
    micro = options.train.micro_batch
    if micro is None:
        micro = max(1, min(rows, MICRO_TOKENS // context))
    lr, muon_lr, decay = learning_rates(options.optim, model)
    steps = _steps(kind, options.budget, rows * context, (facts.train_tokens // context) * context)
    return Plan(
        model=model, rows=rows, micro_batch=min(micro, rows), steps=steps, optimizer=options.optim.optimizer, lr=lr,
        muon_lr=muon_lr, weight_decay=decay,
    )  # fmt: skip


def model_shape(options: ModelOptions, vocab_size: int) -> ModelConfig:
    """The model: the preset or the default, with every size the user said put in."""
    base = ModelConfig() if options.preset is None else preset(options.preset)
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
            sizes.setdefault("d_head", base.d_head)
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


def _heads(d_model: int, d_head: int) -> int:
    if d_model % d_head:
        hint = "Say --n-heads and --d-head, or choose a width that is a multiple of it."
        raise UsageError(f"a width of {d_model} is no multiple of the head width {d_head}", where="d-model", hint=hint)
    return d_model // d_head


def _feedforward(d_model: int, family: str) -> int:
    """4 × width for GPT-2's two matrices; 8/3 × width, rounded up to a multiple of 32, for SwiGLU's three."""
    return 4 * d_model if family == "gpt2" else math.ceil(8 * d_model / 3 / 32) * 32


def _inherit(options: ModelOptions, parent: ModelConfig) -> ModelConfig:
    for item in fields(options):
        value = getattr(options, item.name)
        if item.name == "dropout" or value is None:
            continue
        if item.name == "preset" or value != getattr(parent, item.name):
            flag = item.name.replace("_", "-")
            raise UsageError("--from keeps the shape of the run it starts from", where=flag, hint="Leave it out.")
    return parent if options.dropout is None else replace(parent, dropout=options.dropout)


def _rows(batch_tokens: int | None, context: int, train_tokens: int) -> int:
    """Sequences per step: 4,096 tokens by default, but at most an eighth of a small text."""
    if batch_tokens is None:
        return max(1, min(4096, train_tokens // 8) // context)
    if batch_tokens % context:
        hint = f"Choose a multiple of the context length {context}."
        raise UsageError(f"{batch_tokens} tokens are no whole number of sequences", where="batch-tokens", hint=hint)
    return batch_tokens // context


def learning_rates(optim: OptimOptions, model: ModelConfig) -> tuple[float, float, float]:
    """(AdamW's peak, Muon's peak, weight decay). AdamW's falls with the root of the width, from 768 upwards known."""
    if optim.optimizer == "muon":
        lr = 0.003 * min(1.0, (192 / model.d_model) ** 0.5)
    else:
        lr = 6e-4 * min(2.0, (768 / model.d_model) ** 0.5)
    decay = 0.1 if optim.weight_decay is None else optim.weight_decay
    return (
        lr if optim.lr is None else optim.lr,
        0.02 if optim.muon_lr is None else optim.muon_lr,
        decay,
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
