"""Every setting, once: its name, default, unit, range and one sentence a beginner understands.

The command line, TOML files, Python keywords and ``run.toml`` are all made from these frozen dataclasses, so a name
or a default cannot differ between them. `None` means "not said; derived from the text and the budget", never zero.
Not here: reading files and merging (`load`), named models (`presets`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from vidro.core.errors import UsageError, did_you_mean


def setting(
    default: Any,
    help: str,
    *,
    unit: str | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field that carries its help sentence, unit and range."""
    metadata = {"help": help, "unit": unit, "ge": ge, "gt": gt, "le": le, "choices": choices}
    return field(default=default, metadata={key: value for key, value in metadata.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all sections: checks each value against the range its field states."""

    def __post_init__(self) -> None:
        for item in fields(self):
            check_range(item.name, getattr(self, item.name), item.metadata)


def check_range(name: str, value: Any, rule: Any) -> None:
    """Raise UsageError when `value` lies outside the field's stated range or choices."""
    if value is None or isinstance(value, Settings | tuple):
        return
    flag = name.replace("_", "-")
    choices = rule.get("choices")
    if choices is not None and value not in choices:
        raise UsageError(f"{value!r} is not possible", where=flag, hint=did_you_mean(str(value), choices))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        raise UsageError(f"{value} is not a finite number", where=flag)
    if "ge" in rule and value < rule["ge"]:
        raise UsageError(f"{value} is too small", where=flag, hint=f"It must be at least {rule['ge']}.")
    if "gt" in rule and value <= rule["gt"]:
        raise UsageError(f"{value} is too small", where=flag, hint=f"It must be greater than {rule['gt']}.")
    if "le" in rule and value > rule["le"]:
        raise UsageError(f"{value} is too large", where=flag, hint=f"It must be at most {rule['le']}.")


FAMILIES = ("gpt2", "llama", "qwen3")


@dataclass(frozen=True, kw_only=True)
class RopeScaling(Settings):
    """Llama 3's stretching of rotary wavelengths (`rope_type: llama3` in Hugging Face configs)."""

    factor: float = setting(32.0, "How far long wavelengths are stretched.", ge=1)
    low_freq_factor: float = setting(1.0, "Wavelengths above original context / this are fully stretched.", gt=0)
    high_freq_factor: float = setting(4.0, "Wavelengths below original context / this are kept.", gt=0)
    original_context_length: int = setting(8192, "The context the model was first trained with.", ge=1, unit="tokens")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """The complete shape of a model. Every field is resolved; `vidro.config.presets` has named ones."""

    family: str = setting("qwen3", "Kind of transformer: gpt2, llama or qwen3.", choices=FAMILIES)
    vocab_size: int = setting(4096, "Number of different tokens.", ge=1, unit="tokens")
    context_length: int = setting(256, "How many tokens the model sees at once.", ge=1, unit="tokens")
    d_model: int = setting(192, "Width: numbers per token.", ge=1)
    n_layers: int = setting(4, "Number of transformer blocks.", ge=1)
    n_heads: int = setting(3, "Attention heads per block.", ge=1)
    n_kv_heads: int = setting(3, "Key/value heads; fewer than heads = grouped-query attention.", ge=1)
    d_head: int = setting(64, "Width of one attention head.", ge=1)
    d_ff: int = setting(512, "Width of the feed-forward layer.", ge=1)
    norm_eps: float = setting(1e-6, "Small number that keeps normalisation from dividing by zero.", gt=0)
    rope_theta: float = setting(10_000.0, "Base of the rotary wavelengths (llama, qwen3).", gt=0)
    rope_scaling: RopeScaling | None = setting(None, "Llama 3's stretched rotary wavelengths.")  # noqa: RUF009
    tie_embeddings: bool = setting(False, "Use the token embedding as the output head too.")
    dropout: float = setting(0.0, "Share of activations dropped while training.", ge=0, le=0.95)
    labels: tuple[str, ...] = setting((), "Names of a classifier's classes; none: a language model.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UsageError(f"{', '.join(self.labels)}: a classifier needs two or more classes", where="labels")
        if self.labels and self.tie_embeddings:
            raise UsageError("a classifier's head is not the embedding", where="tie-embeddings")
        if self.n_heads % self.n_kv_heads:
            raise UsageError(
                f"{self.n_heads} heads cannot share {self.n_kv_heads} key/value heads evenly",
                where="n-kv-heads",
                hint="Choose a divisor of n-heads.",
            )
        if self.family == "gpt2" and (self.n_kv_heads != self.n_heads or self.n_heads * self.d_head != self.d_model):
            raise UsageError(
                "gpt2 needs n-kv-heads = n-heads and n-heads × d-head = d-model",
                where="n-heads",
                hint=f"Here {self.n_heads} × {self.d_head} is not {self.d_model}, or key/value heads are grouped.",
            )
        if self.family != "gpt2" and self.d_head % 2:
            raise UsageError("rotary positions need an even d-head", where="d-head")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Settings):
    """What the user may say about the model; `None` is filled from the preset, the text or the budget."""

    preset: str | None = setting(None, "A named model: toy, gpt2, gpt2-medium, llama-3.2-1b, qwen3-0.6b.")
    family: str | None = setting(None, "Kind of transformer: gpt2, llama or qwen3.", choices=FAMILIES)
    context_length: int | None = setting(None, "How many tokens the model sees at once.", ge=1, unit="tokens")
    d_model: int | None = setting(None, "Width: numbers per token.", ge=1)
    n_layers: int | None = setting(None, "Number of transformer blocks.", ge=1)
    n_heads: int | None = setting(None, "Attention heads per block.", ge=1)
    n_kv_heads: int | None = setting(None, "Key/value heads; fewer than heads = grouped-query attention.", ge=1)
    d_head: int | None = setting(None, "Width of one attention head.", ge=1)
    d_ff: int | None = setting(None, "Width of the feed-forward layer.", ge=1)
    tie_embeddings: bool | None = setting(None, "Use the token embedding as the output head too.")
    dropout: float | None = setting(None, "Share of activations dropped while training.", ge=0, le=0.95)


@dataclass(frozen=True, kw_only=True)
class DataOptions(Settings):
    """Which text, how it is read, and which tokenizer cuts it."""

    val: str | None = setting(None, "A text of its own for validation, instead of the last tenth.")
    tokenizer: str | None = setting(
        None, "bpe (default, trained on your text), words, chars, bytes, or a tokenizer file or directory."
    )
    vocab_size: int | None = setting(None, "Size of the vocabulary to train; a multiple of 64.", ge=64, unit="tokens")
    encoding: str | None = setting(None, "Text encoding, when it is not UTF-8 (latin-1, cp1252 …).")
    skip_bad: bool = setting(False, "Skip and count records that cannot be read, instead of stopping.")
    unk: bool = setting(False, "Let unknown words or characters become <|unk|> (words, chars).")


@dataclass(frozen=True, kw_only=True)
class BudgetOptions(Settings):
    """How long to train: exactly one of the four."""

    minutes: float | None = setting(None, "Train this long, from start to finish.", gt=0, unit="min")
    tokens: int | None = setting(None, "Train on this many tokens.", ge=1, unit="tokens")
    steps: int | None = setting(None, "Train this many optimizer steps.", ge=1, unit="steps")
    epochs: float | None = setting(None, "Read the training text this many times.", gt=0, unit="epochs")


@dataclass(frozen=True, kw_only=True)
class OptimOptions(Settings):
    """Optimizer and learning-rate schedule."""

    optimizer: str = setting("muon", "muon (matrices; AdamW for the rest) or adamw.", choices=("muon", "adamw"))
    lr: float | None = setting(None, "Peak learning rate of AdamW's parameters.", gt=0)
    embedding_lr: float | None = setting(None, "Peak learning rate of the token embedding, where it is untied.", gt=0)
    muon_lr: float | None = setting(None, "Peak learning rate of Muon's matrices.", gt=0)
    weight_decay: float | None = setting(None, "How strongly weights are pulled to zero.", ge=0)
    beta1: float = setting(0.9, "AdamW: memory of the gradient's mean.", ge=0, le=0.9999)
    beta2: float = setting(0.95, "AdamW: memory of the gradient's square.", ge=0, le=0.99999)
    clip: float = setting(1.0, "Largest gradient norm; 0 switches clipping off.", ge=0)
    schedule: str = setting(
        "wsd", "wsd (warm-up, stable, decay), cosine or constant.", choices=("wsd", "cosine", "constant")
    )
    warmup: float = setting(0.02, "Share of the run spent warming up.", ge=0, le=0.9)
    decay: float = setting(0.5, "wsd: share of the run spent decaying.", ge=0, le=1)
    final_lr: float = setting(0.0, "Learning rate at the end, as a share of the peak.", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class LoopOptions(Settings):
    """What every kind of training lets one choose: seeds, precision, how often it looks, saves and stops."""

    micro_batch: int | None = setting(None, "Sequences computed at once; the rest is accumulated.", ge=1)
    seed: int = setting(1337, "Same seed, text and settings: same model.", ge=0)
    threads: int | None = setting(None, "CPU threads.", ge=1)
    device: str = setting("auto", "auto, cpu, cuda, cuda:N or mps.")
    precision: str = setting(
        "auto",
        "auto (bf16 on GPUs that have it, else fp32), fp32, bf16 or fp16.",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    evals: int = setting(20, "How many times the validation loss is looked at.", ge=1)
    checkpoint_every: float = setting(60.0, "Seconds between checkpoints.", gt=0, unit="s")
    checkpoint_steps: int | None = setting(None, "Steps between checkpoints, instead of seconds.", ge=1, unit="steps")
    keep: int = setting(2, "Newest checkpoints kept, beside the best and the one before the decay.", ge=1)
    patience: int | None = setting(
        None, "Stop when the validation loss has not improved for this many looks; 0 never stops early.", ge=0
    )


@dataclass(frozen=True, kw_only=True)
class TrainOptions(LoopOptions):
    """The loop of pretraining: what every loop has, its batches, first weights and samples."""

    batch_tokens: int | None = setting(None, "Tokens per optimizer step.", ge=1, unit="tokens")
    init: str = setting(
        "family",
        "First weights: as the family does it, or pytorch (what PyTorch's layers do by themselves, as in many books).",
        choices=("family", "pytorch"),
    )
    compile: bool = setting(False, "Compile the model with torch.compile (needs a C++ compiler).")
    sample_prompts: tuple[str, ...] = setting((), "Prompts continued while training; repeat the flag for more.")
    sample_tokens: int = setting(48, "Tokens per sample while training.", ge=1, unit="tokens")


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(Settings):
    """All that `vidro pretrain` and `vidro.pretrain` accept beside the text itself and where to put the run."""

    data: DataOptions = DataOptions()
    model: ModelOptions = ModelOptions()
    budget: BudgetOptions = BudgetOptions()
    optim: OptimOptions = OptimOptions()
    train: TrainOptions = TrainOptions()


@dataclass(frozen=True, kw_only=True)
class TableOptions(Settings):
    """How a table of labelled texts is read."""

    text_column: str | None = setting(None, "The column with the text; otherwise guessed and said.")
    label_column: str | None = setting(None, "The column with the label; otherwise guessed and said.")
    skip_empty: bool = setting(False, "Leave out and count rows without text, instead of stopping.")


@dataclass(frozen=True, kw_only=True)
class LabelOptions(TableOptions):
    """Which labelled texts, and how they are divided and weighed."""

    data: str | None = setting(None, "The labelled texts: CSV, TSV or JSONL.")
    val_share: float = setting(0.1, "Share of the texts to check with while training.", gt=0, le=0.5)
    test_share: float = setting(0.2, "Share of the texts to score with at the end.", gt=0, le=0.5)
    test: str | None = setting(None, "Labelled texts of their own to score with at the end, instead of a share.")
    balance: str = setting(
        "none",
        "Rare classes: none (as they are), undersample (as many texts of each as of the rarest) or weights.",
        choices=("none", "undersample", "weights"),
    )
    keep_duplicates: bool = setting(False, "Keep texts that stand in the data more than once.")
    max_tokens: int | None = setting(None, "Cut longer texts to this many tokens (counted).", ge=1, unit="tokens")
    book: bool = setting(
        False, "As in the book: plain random split, all texts padded to one length, the last place read, pads included."
    )


@dataclass(frozen=True, kw_only=True)
class TuneOptions(LoopOptions):
    """The loop of fine-tuning: what every loop has, rows a step, and which part of the model learns."""

    batch_rows: int = setting(16, "Rows per optimizer step.", ge=1)
    trainable: str | None = setting(None, "Which part learns: all, head, last-blocks=N or lora.")
    lora_rank: int | None = setting(None, "LoRA: rows of the thin matrices (8 if not said).", ge=1)
    lora_alpha: float | None = setting(None, "LoRA: their weight, divided by the rank (twice the rank).", gt=0)
    lora_targets: tuple[str, ...] = setting(
        (), "LoRA: which matrices, such as q_proj; repeat the flag for more (all of each block if not said)."
    )
    dropout: float | None = setting(None, "Share of activations dropped while training.", ge=0, le=0.95)


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(Settings):
    """All that `vidro finetune classify` accepts beside the run and where to put the new one."""

    labels: LabelOptions = LabelOptions()
    budget: BudgetOptions = BudgetOptions()
    optim: OptimOptions = OptimOptions()
    train: TuneOptions = TuneOptions()


@dataclass(frozen=True, kw_only=True)
class InstructionOptions(Settings):
    """Which instructions with answers, how they are framed, and what of them is learned."""

    data: str | None = setting(None, "Instructions with answers: JSON or JSONL (Alpaca, messages, ShareGPT, pairs).")
    style: str | None = setting(
        None, "How they are framed: alpaca, phi3, phi3-chat, chatml, llama3 or jinja:FILE; otherwise chosen and said."
    )
    learn_prompt: bool = setting(False, "Learn the prompts too, not only the answers (the book's first way).")
    too_long: str = setting(
        "drop", "Rows longer than the context: drop them or cut them (counted).", choices=("drop", "cut")
    )
    val_share: float = setting(0.05, "Share of the rows to check with while training.", gt=0, le=0.5)
    test_share: float = setting(0.1, "Share of the rows to score with at the end.", gt=0, le=0.5)
    test: str | None = setting(None, "Rows of their own to score with at the end, instead of a share.")
    test_rows: int = setting(500, "Answer at most this many of the rows to score with (evenly spaced).", ge=1)
    answer_tokens: int = setting(256, "Longest answer when scoring.", ge=1, unit="tokens")
    skip_empty: bool = setting(False, "Leave out and count rows without an answer, instead of stopping.")
    pack: bool = setting(False, "Put several rows one behind the other, each seeing only itself, instead of padding.")


@dataclass(frozen=True, kw_only=True)
class InstructOptions(Settings):
    """All that `vidro finetune instruct` accepts beside the run and where to put the new one."""

    rows: InstructionOptions = InstructionOptions()
    budget: BudgetOptions = BudgetOptions()
    optim: OptimOptions = OptimOptions()
    train: TuneOptions = TuneOptions()


@dataclass(frozen=True, kw_only=True)
class PreferenceOptions(Settings):
    """Which pairs of answers, and how strongly the model is held to what it was."""

    data: str | None = setting(None, "Questions with a chosen and a rejected answer: JSON or JSONL.")
    style: str | None = setting(None, "How they are framed, where the run has no style of its own.")
    beta: float = setting(0.1, "How strongly the model is held to what it was; smaller moves it further.", gt=0)
    val_share: float = setting(0.05, "Share of the pairs to check with while training.", gt=0, le=0.5)
    test_share: float = setting(0.1, "Share of the pairs to score with at the end.", gt=0, le=0.5)
    skip_empty: bool = setting(False, "Leave out and count rows without an answer, instead of stopping.")


@dataclass(frozen=True, kw_only=True)
class PreferOptions(Settings):
    """All that `vidro finetune prefer` accepts beside the run and where to put the new one."""

    rows: PreferenceOptions = PreferenceOptions()
    budget: BudgetOptions = BudgetOptions()
    optim: OptimOptions = OptimOptions()
    train: TuneOptions = TuneOptions()


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(Settings):
    """How the next token is chosen from the model's probabilities, and when to stop."""

    max_tokens: int = setting(200, "Most tokens to generate.", ge=1, unit="tokens")
    greedy: bool = setting(False, "Always take the most probable token.")
    temperature: float = setting(0.8, "Below 1 bolder about the likely, above 1 more random; 0 is greedy.", ge=0)
    top_k: int | None = setting(None, "Choose among the k most probable tokens only.", ge=1)
    top_p: float | None = setting(None, "Choose among the fewest tokens that hold this probability.", gt=0, le=1)
    min_p: float | None = setting(None, "Drop tokens less probable than this share of the best one.", ge=0, le=1)
    repetition_penalty: float = setting(1.0, "Above 1 makes tokens already used less probable.", gt=0)
    stop: tuple[str, ...] = setting((), "Stop when this text appears; repeat the flag for more.")
    seed: int | None = setting(None, "Same seed: same text. Not said: a fresh one, which is printed.", ge=0)
    on_full: str = setting(
        "slide", "When the context is full: slide (keep the last half) or stop.", choices=("slide", "stop")
    )
