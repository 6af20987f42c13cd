"""The path: every lesson in order, what it is about, and where its idea lives in the code and in the book.

This is the one list of lessons. A lesson's text is `lessons/<name>.py`, with an exercise in `exercises/<name>.py` where
there is one (underscores for dashes). "The book" is Sebastian Raschka, *Build a Large Language Model (From Scratch)*,
Manning 2024, which this path accompanies. Not here: running (`lesson_run`), what a reader has done (`progress`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from vidro.core.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Lesson:
    """One lesson: its name on the command line, its title, and its idea in one line."""

    name: str
    title: str
    idea: str
    book: str
    """Where the book treats it: "2.5" is a section, "E" an appendix, "" nowhere."""
    modules: tuple[str, ...]
    """Where the idea lives here, small first (a rung), then in production."""
    after: tuple[str, ...] = ()
    """Lessons whose ideas it needs."""

    @property
    def file(self) -> Traversable:
        """Its source, a percent script."""
        return files("vidro.learn.lessons").joinpath(f"{self.name.replace('-', '_')}.py")


@dataclass(frozen=True)
class Chapter:
    """Lessons that belong together."""

    title: str
    lessons: tuple[Lesson, ...]


CHAPTERS: tuple[Chapter, ...] = (
    Chapter(
        "Text becomes numbers",
        (
            Lesson("words", "Words", "A dictionary gives every word a number, and has no number for a new word.",
                   "2.2–2.4", ("learn.words", "text.train")),
            Lesson("bpe", "Pieces of words", "Byte-pair encoding joins the commonest pairs and can write everything.",
                   "2.5", ("learn.bpe", "text.tokenizer"), ("words",)),
            Lesson("windows", "Windows", "A long text becomes questions: these tokens, which one comes next?",
                   "2.6", ("learn.windows", "data.windows"), ("bpe",)),
            Lesson("shards", "Texts larger than memory", "Tokens stay on the disk; place and order are computed.",
                   "1.5", ("learn.shards", "data.tokenizing", "data.shards", "data.windows"), ("windows",)),
            Lesson("embeddings", "Embeddings", "A token is a row of numbers that can be learned; so is its place.",
                   "2.7–2.8", ("learn.embeddings", "model.transformer"), ("windows",)),
        ),
    ),
    Chapter(
        "Attention",
        (
            Lesson("neuron", "One neuron", "A row of weights, a dot product, an activation: how much is it there?",
                   "A.5", ("learn.neuron", "model.feedforward"), ("embeddings",)),
            Lesson("attention-1", "Attention by likeness", "Every token mixes in the others, by likeness.",
                   "3.3", ("learn.attention_1",), ("embeddings",)),
            Lesson("attention-2", "Attention that learns", "Three matrices: what to look for, show and hand over.",
                   "3.4", ("learn.attention_2",), ("attention-1",)),
            Lesson("attention-3", "Attention that looks back only", "The shares of later tokens are taken away.",
                   "3.5", ("learn.attention_3", "model.attention"), ("attention-2",)),
            Lesson("attention-4", "Several heads", "Several small attentions side by side ask several questions.",
                   "3.6", ("learn.attention_4", "model.attention"), ("attention-3",)),
            Lesson("attention-5", "Attention today", "Turned queries and keys, shared keys, and a memory of them.",
                   "", ("learn.attention_5", "model.attention", "model.positions"), ("attention-4",)),
        ),
    ),
    Chapter(
        "The model",
        (
            Lesson("layer-norm", "Layer normalisation", "Each token's numbers are brought to mean 0 and spread 1.",
                   "4.2", ("learn.layer_norm", "model.norm"), ("neuron",)),
            Lesson("gelu", "GELU", "A smooth bend: a silent neuron keeps a slope to learn by.",
                   "4.3", ("learn.gelu", "model.feedforward"), ("neuron",)),
            Lesson("feed-forward", "Where facts live", "Keys that fire on a pattern, values that they add.",
                   "4.3", ("learn.feed_forward", "model.feedforward"), ("gelu",)),
            Lesson("shortcuts", "Shortcuts", "A sum around each layer lets the gradient through.",
                   "4.4", ("learn.shortcuts", "model.transformer"), ("feed-forward",)),
            Lesson("block", "Block and model", "Norm, attention, norm, feed-forward, and the same again.",
                   "4.5–4.6", ("learn.block", "model.transformer"), ("attention-4", "layer-norm", "shortcuts")),
            Lesson("generating", "Generating", "The last row of logits names the next token; then once more.",
                   "4.7", ("learn.generating", "infer.decode"), ("block",)),
            Lesson("kv-cache", "The cache of keys and values", "What was computed for earlier tokens is kept.",
                   "", ("learn.kv_cache", "model.cache"), ("generating",)),
        ),
    ),
    Chapter(
        "Loss",
        (
            Lesson("surprise", "The surprise of one token", "Minus the logarithm of the probability it was given.",
                   "5.1", ("learn.surprise", "model.loss"), ("generating",)),
            Lesson("cross-entropy", "Cross-entropy", "The mean surprise of a text, counted token by token.",
                   "5.1", ("learn.cross_entropy", "model.loss"), ("surprise",)),
            Lesson("entropy", "Entropy and divergence", "What must be paid, and what is paid for not knowing.",
                   "5.1", ("learn.entropy", "evals.yardsticks"), ("cross-entropy",)),
            Lesson("perplexity", "Perplexity", "Between how many equally likely tokens the model hesitates.",
                   "5.1", ("learn.perplexity", "evals.perplexity"), ("entropy",)),
            Lesson("bits-per-byte", "Bits per byte", "The loss is a file size, and an arithmetic coder reaches it.",
                   "", ("learn.bits_per_byte", "evals.perplexity"), ("perplexity",)),
        ),
    ),
    Chapter(
        "Training",
        (
            Lesson("bigram", "A bigram model", "The smallest language model: which token follows which.",
                   "", ("learn.bigram",), ("cross-entropy",)),
            Lesson("training", "The training loop", "Predict, measure, take the gradient, take a step.",
                   "5.2", ("learn.training", "train.step", "train.loop"), ("bigram", "block")),
            Lesson("saving", "Saving, and going on", "Weights alone are not enough to go on exactly.",
                   "5.4", ("learn.saving", "checkpoint.training_state"), ("training",)),
            Lesson("sampling", "Temperature and top-k", "How to choose when several tokens are possible.",
                   "5.3", ("learn.sampling", "model.sampling"), ("training",)),
        ),
    ),
    Chapter(
        "A model of your own",
        (
            Lesson("classifier", "A head for classes", "The last token's vector, and as many outputs as classes.",
                   "6", ("learn.classifier", "model.heads"), ("training",)),
            Lesson("instructions", "Instructions", "A template, padding, and −100 where nothing is to be learned.",
                   "7.2–7.3", ("learn.instructions", "text.styles", "data.collate"), ("training",)),
            Lesson("judging", "How good are its answers?", "Counting words is blind, and a judge has its moods.",
                   "7.7–7.8", ("learn.judging", "evals.answers", "evals.judge"), ("instructions",)),
            Lesson("lora", "LoRA", "Two thin matrices learn the change, and the large one stays.",
                   "E", ("learn.lora", "model.lora"), ("training",)),
            Lesson("dpo", "Preferences", "The better answer becomes likelier than the worse one.",
                   "7", ("learn.dpo", "train.prefer"), ("instructions",)),
        ),
    ),
)  # fmt: skip
LESSONS: dict[str, Lesson] = {lesson.name: lesson for chapter in CHAPTERS for lesson in chapter.lessons}


def find(name: str) -> Lesson:
    """The lesson of this name. Raises UsageError with the nearest name.

    >>> find("attention-3").book
    '3.5'
    """
    if name not in LESSONS:
        raise UsageError(f"there is no lesson {name!r}", hint=did_you_mean(name, LESSONS))
    return LESSONS[name]


def next_of(name: str) -> Lesson | None:
    """The lesson after this one; None after the last.

    >>> next_of("attention-3").name
    'attention-4'
    """
    names = list(LESSONS)
    place = names.index(name) + 1
    return LESSONS[names[place]] if place < len(names) else None
