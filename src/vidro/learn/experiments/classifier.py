"""What is pretraining worth to a classifier? Few and many labelled messages, a pretrained and a random start.

The reader's own model and one of the same shape that has learned nothing are taught the five topics of tiny world's
messages, with the same messages, steps and order; a bag of words learns from the same messages. Both starts are tried
with the rates of fine-tuning and with the faster ones of pretraining: gentle ones are made for a model that knows
something. Scored are messages of templates and things that never occurred together in training. Not here: finetuning
for real (`train/classify`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidro.config.schema import OptimOptions
from vidro.data.tinyworld.messages import Labelled, messages
from vidro.evals.baselines import BagOfWords
from vidro.infer.classifier import ClassifierSession, Reader
from vidro.learn.experiments.drawing import doubling
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.experiments.small import USUAL, fresh, spread
from vidro.learn.figures import curves
from vidro.model.heads import class_loss, with_class_head
from vidro.model.loss import IGNORE
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.train.defaults import optimizer_settings
from vidro.train.optim import Optimizer
from vidro.train.rows import RowOrder
from vidro.train.step import Batch, StepSettings, train_step
from vidro.train.tuning import resolved_rates

TRAIN_SEED, TEST_SEED = 1, 2  # of the messages; each seed of the experiment takes others of the first kind
STARTS = ("pretrained", "random", "pretrained, faster", "random, faster", "bag of words")


@dataclass(frozen=True)
class ClassifierSettings:
    """How much of everything."""

    seeds: tuple[int, ...] = (1, 2, 3)
    sizes: tuple[int, ...] = (8, 32, 128, 512)
    steps: int = 64
    batch_rows: int = 8
    n_test: int = 250


def run(request: Request) -> Report:
    """All starts with all sizes, beginning from the run of the request."""
    assert request.run is not None
    return study(request.run.model, request.run.tokenizer, ClassifierSettings(), request.say)


def study(model: Transformer, tokenizer: Tokenizer, settings: ClassifierSettings, say: Callable[[str], None]) -> Report:
    """The report on any model and its tokenizer."""
    test = list(messages(seed=TEST_SEED, n=settings.n_test, task="topics", held_out=True))
    found: dict[tuple[str, int], list[float]] = {}
    for size in settings.sizes:
        say(f"{size} labelled messages …")
        for seed in settings.seeds:
            some = labelled(size, seed)
            empty = fresh(model.config, seed)
            scores = (
                taught(model, tokenizer, some, test, settings, seed=seed),
                taught(empty, tokenizer, some, test, settings, seed=seed),
                taught(model, tokenizer, some, test, settings, seed=seed, gentle=False),
                taught(empty, tokenizer, some, test, settings, seed=seed, gentle=False),
                bag(some, test),
            )
            for start, score in zip(STARTS, scores, strict=True):
                found.setdefault((start, size), []).append(score)
    rows = [(size, *(spread(found[start, size], 0) for start in STARTS)) for size in settings.sizes]
    title = f"Right of {len(test)} messages, % (mean of {len(settings.seeds)} draws ± half the range)"
    table = Table(title, ("labelled messages", *STARTS), rows)
    means = {key: sum(values) / len(values) for key, values in found.items()}
    lines = {start: (settings.sizes, [means[start, size] for size in settings.sizes]) for start in STARTS}
    figure = curves(lines, x="labelled messages", y="right, %", title="What pretraining is worth to a classifier")
    shown = {"seeds": settings.seeds, "steps": settings.steps, "batch_rows": settings.batch_rows, "n_test": len(test)}
    return Report([table], findings(means, settings.sizes), {"classifier": doubling(figure, settings.sizes)}, shown)


def labelled(n: int, seed: int) -> list[Labelled]:
    """`n` messages of which no two have the same text; each seed has others."""
    different = {one.text: one for one in messages(seed=TRAIN_SEED + 10 * seed, n=4 * n + 40, task="topics")}
    return list(different.values())[:n]


def bag(some: Sequence[Labelled], test: Sequence[Labelled]) -> float:
    """The share (%) that a bag of words gets right."""
    fitted = BagOfWords().fit([one.text for one in some], [one.label for one in some])
    said = fitted.predict([one.text for one in test])
    return 100 * sum(a == one.label for a, one in zip(said, test, strict=True)) / len(test)


def taught(
    model: Transformer, tokenizer: Tokenizer, some: Sequence[Labelled], test: Sequence[Labelled],
    settings: ClassifierSettings, *, seed: int, gentle: bool = True,
) -> float:  # fmt: skip
    """The share (%) that is right after learning from `some`; `gentle` is at the rates of fine-tuning."""
    names = tuple(sorted({one.label for one in (*some, *test)}))
    learner = with_class_head(model, names).train()
    reader = Reader(tokenizer, model.config.context_length)
    rows = reader.rows([one.text for one in some])
    order = RowOrder(rows, settings.batch_rows, seed)
    optim = resolved_rates(OptimOptions(), learner) if gentle else OptimOptions()
    optimizer = Optimizer(learner, optimizer_settings(optim, learner.config))
    how = StepSettings(micro_batch=settings.batch_rows, clip=1.0, autocast=nullcontext)
    for step in range(settings.steps):
        chosen = order.step(step)
        ids, last = reader.batch([rows[number] for number in chosen])
        targets = torch.full_like(ids, IGNORE)
        targets[torch.arange(len(ids)), last] = torch.tensor([names.index(some[number].label) for number in chosen])
        multiplier = USUAL.multiplier((step + 0.5) / settings.steps)
        train_step(learner, optimizer, Batch(ids, targets), loss=_loss, multiplier=multiplier, settings=how)
    logits = ClassifierSession(learner, reader).logits(reader.rows([one.text for one in test]))
    said = logits.argmax(dim=-1).tolist()
    return 100 * sum(names[a] == one.label for a, one in zip(said, test, strict=True)) / len(test)


def _loss(module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    assert isinstance(module, Transformer)
    return class_loss(module, batch.ids, batch.targets)


def findings(means: dict[tuple[str, int], float], sizes: Sequence[int]) -> list[str]:
    """What the numbers say; each start is taken at the rates that suit it better."""
    known, random = ({n: max(means[start, n], means[f"{start}, faster", n]) for n in sizes} for start in STARTS[:2])
    said = [
        f"With {size} labelled messages {known[size]:.0f} % are right after pretraining, "
        f"{random[size]:.0f} % from a random start, {means['bag of words', size]:.0f} % with a bag of words."
        for size in (sizes[0], sizes[-1])
    ]
    pairs = [(few, many) for few in sizes for many in sizes if many > few and known[few] >= random[many]]
    if pairs:
        few, many = max(pairs, key=lambda pair: pair[1] / pair[0])
        said.append(f"Pretrained, {few} messages are worth at least as much as {many} from a random start.")
    beaten = [size for size in sizes if means["bag of words", size] > known[size]]
    if beaten:
        said.append(f"The bag of words is better with {', '.join(map(str, beaten))}.")
    return said
