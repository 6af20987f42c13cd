"""What fine-tuning decides where the user did not: which part of the model learns, for how long, how fast.

Also what a run that goes on needs: the shape of its model and, beside LoRA's thin matrices, the frozen weights.
Not here: the training itself (`finetune`), the settings' names and ranges (`config/schema`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vidro.checkpoint.huggingface import from_hf_config, read_model
from vidro.checkpoint.training_state import Checkpoint
from vidro.config.schema import (
    BudgetOptions,
    ClassifyOptions,
    InstructOptions,
    OptimOptions,
    PreferOptions,
    TuneOptions,
)
from vidro.core.errors import CheckpointError, RunError, UsageError, VidroError
from vidro.core.files import read_json, sha256_file
from vidro.model.count import count
from vidro.model.heads import choose_trainable
from vidro.model.lora import TARGETS, add_lora, lora_layers, lora_tensors, whole_tensors
from vidro.model.transformer import Transformer
from vidro.train.defaults import check_conflicts, optimizer_settings
from vidro.train.optim import EMBEDDING, split_parameters

LARGE = 50_000_000  # parameters; of larger models the last block learns only, and of LoRA's not the head


TuneSettings = ClassifyOptions | InstructOptions | PreferOptions


def check_settings(options: TuneSettings) -> None:
    """Raise UsageError for a setting that another one makes meaningless: nothing is ignored silently."""
    check_conflicts(options.optim, options.train)
    micro, rows = options.train.micro_batch, options.train.batch_rows
    if micro is not None and micro > rows:
        raise UsageError(f"{micro} rows are more than the {rows} of a whole step", where="micro-batch")
    check_rates(options.optim, options.train.trainable)
    if isinstance(options, PreferOptions):
        return
    section = options.labels if isinstance(options, ClassifyOptions) else options.rows
    if section.test is not None and section.test_share != type(section)().test_share:
        raise UsageError("it means nothing beside --test", where="test-share", hint="Leave one of the two out.")
    if isinstance(options, InstructOptions) and options.rows.pack and rows == 1:
        hint = "There is nothing to pack one row with: leave one of the two out."
        raise UsageError("it means nothing beside --batch-rows 1", where="pack", hint=hint)


def check_rates(optim: OptimOptions, trainable: str | None) -> None:
    """Raise UsageError for the rate of a part that does not learn."""
    idle = {
        "muon-lr": (optim.muon_lr, trainable in ("head", "lora")),
        "embedding-lr": (optim.embedding_lr, trainable not in (None, "all")),
    }
    for name, (said, conflicts) in idle.items():
        if said is not None and conflicts:
            raise UsageError(f"it means nothing beside --trainable {trainable}", where=name, hint="Leave it out.")


def prepare_learning(model: Transformer, train: TuneOptions, *, large: int = LARGE) -> TuneOptions:
    """Let the part of the model learn that the options name, in place; the options with every gap filled.

    Not said: all of a model below `large` parameters, the last block of a larger one (as in the book). Beside LoRA the
    whole head learns, of a language model only below `large`: a small base has often not read the words of an answer,
    nor the token that ends it, and thin matrices cannot teach them to a frozen head (`docs/diary.md`).
    """
    is_small = count(model.config).n_parameters < large
    which = train.trainable or ("all" if is_small else "last-blocks=1")
    if which != "lora":
        for name, said in (("rank", train.lora_rank), ("alpha", train.lora_alpha), ("targets", train.lora_targets)):
            if said:
                hint = "Say --trainable lora too."
                raise UsageError(f"it means nothing beside --trainable {which}", where=f"lora-{name}", hint=hint)
        choose_trainable(model, which)
        return replace(train, trainable=which, dropout=model.config.dropout)
    rank = train.lora_rank or 8
    alpha = train.lora_alpha or 2.0 * rank
    targets = train.lora_targets or tuple(t for t in TARGETS if t != "gate" or model.config.family != "gpt2")
    add_lora(model, rank=rank, alpha=alpha, targets=targets, seed=train.seed)
    if is_small or model.config.labels:
        model.head.requires_grad_(True)
    return replace(
        train, trainable=which, lora_rank=rank, lora_alpha=alpha, lora_targets=targets, dropout=model.config.dropout
    )


def lora_notes(model: Transformer) -> list[str]:
    """In words, what learns where thin matrices do."""
    thin, whole = (sum(t.numel() for t in of(model).values()) for of in (lora_tensors, whole_tensors))
    if not thin:
        return []
    head = "the embedding, which is the head too" if model.config.tie_embeddings else "the head"
    beside = f"and {head} ({whole:,}) learn" if whole else "learn, the head does not"
    return [f"LoRA: the thin matrices ({thin:,} numbers) {beside}; the rest stays as it is."]


def shape_of(checkpoint: Checkpoint, train: TuneOptions) -> Transformer:
    """A model of the shape of a run that goes on, into which the loop puts its weights.

    Beside LoRA's thin matrices it has the frozen weights already: the checkpoint holds both merged only.
    """
    model = Transformer(from_hf_config(read_json(checkpoint.path / "config.json", error=CheckpointError)))
    if train.trainable == "lora":
        frozen_base(Path(checkpoint.state["facts"]["base"]), model)
    return model


def frozen_base(path: Path, model: Transformer) -> None:
    """Put the weights of the run at `path` beside which thin matrices learned into `model`, all but the head.

    Raises RunError when they are not there any more.
    """
    try:
        base = read_model(path)
    except VidroError as problem:
        hint = "LoRA goes on only beside the weights that it began with."
        raise RunError(f"the run that it started from cannot be read ({problem})", where=path, hint=hint) from None
    body = {name: tensor for name, tensor in base.state_dict().items() if name in model.state_dict()}
    if model.config.labels:
        del body["head.weight"]
    model.load_state_dict({**model.state_dict(), **body})


def with_budget(budget: BudgetOptions, *, epochs: float) -> BudgetOptions:
    """The budget that was said, or so many epochs. Raises UsageError for two."""
    said = [name for name, value in vars(budget).items() if value is not None]
    if len(said) > 1:
        raise UsageError(f"{' and '.join('--' + name for name in said)} are both budgets", hint="Say one of them.")
    return budget if said else BudgetOptions(epochs=epochs)


def resolved_rates(optim: OptimOptions, model: Transformer, *, share: float = 1.0) -> OptimOptions:
    """The optimizer's options with every gap filled, as ``run.toml`` keeps them: far gentler than in pretraining.

    `share` of the usual rates, for kinds that are to move the model less.

    Measured at 128 wide (`docs/diary.md`); AdamW's falls with the width to the book's 5e-5 at 768.
    """
    matrices, others = split_parameters(model.named_parameters(), muon=optim.optimizer == "muon")
    lr = share * usual_rate(optim.optimizer, model) if optim.lr is None else optim.lr
    tied = model.config.tie_embeddings
    own = optim.embedding_lr if optim.embedding_lr is not None or tied else lr
    muon_lr = share * 0.004 if optim.muon_lr is None and optim.optimizer == "muon" else optim.muon_lr
    optim = replace(optim, lr=lr, embedding_lr=own, muon_lr=muon_lr)
    numbers = optimizer_settings(optim, model.config)
    return replace(
        optim,
        optimizer="muon" if matrices else "adamw",
        lr=numbers.lr,
        embedding_lr=numbers.embedding_lr if any(name == EMBEDDING for name, _ in others) else None,
        muon_lr=numbers.muon_lr if matrices else None,
        weight_decay=numbers.weight_decay,
    )


def usual_rate(optimizer: str, model: Transformer) -> float:
    """The rate of all that AdamW moves, where none was said."""
    width = model.config.d_model
    whole = 5e-5 * (768 / width) ** 1.6  # of AdamW that moves all of the model
    thin = [layer for _, layer in lora_layers(model)]
    if thin:
        return lora_rate(whole, width=width, rank=thin[0].lora_a.shape[0], scale=thin[0].scale)
    return 1e-3 * min(1.0, (192 / width) ** 0.5) if optimizer == "muon" else whole


def lora_rate(whole: float, *, width: int, rank: int, scale: float) -> float:
    """The rate of LoRA's thin matrices beside that of a whole matrix, at most 0.003.

    Schulman et al. (2025) find ten times the rate of whole matrices, whatever the rank, for A drawn with variance
    1 / (3 · width) and alpha 32. Ours begins with 1 / rank and has a scale of its own, so a step goes further.

    >>> [round(lora_rate(whole, width=w, rank=8, scale=2.0), 5) for whole, w in ((8.8e-4, 128), (5e-5, 768))]
    [0.00254, 6e-05]
    """
    return min(0.003, 10 * whole * 32 / (scale * (3 * width * rank) ** 0.5))


def lasting(file: str | None) -> str | None:
    """The file as a resume from another folder can find it."""
    return None if file is None else str(Path(file).resolve())


def checksums(*files: str | None) -> dict[str, str]:
    """SHA-256 of each file that is named."""
    return {file: sha256_file(Path(file)) for file in files if file is not None}
