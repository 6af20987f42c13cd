"""How often must a model read a passage to know it by heart? Passages put into its text 1, 2, 4 … 64 times.

A passage is a row of words of tiny world in an order that is drawn: nothing in the language foretells it. Models of two
sizes read the stories, the passages strewn among them, exactly once. Then each is given the first words of a passage
and writes on, always its likeliest token (Carlini et al. 2022, "Quantifying Memorization Across Neural Language
Models"). Passages that were never in the text are the control. Not here: what of a run's own samples is copied
(`vidro evaluate --memorisation`, `evals/copying`).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidro.config.schema import SamplingOptions
from vidro.evals.continuations import score_continuations
from vidro.infer.session import Session
from vidro.learn.experiments.drawing import doubling
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.experiments.small import Material, Recipe, fresh, shape, spread, tiny_world, train
from vidro.learn.figures import curves
from vidro.model.count import count
from vidro.model.transformer import Transformer

TIMES = (0, 1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class MemorisationSettings:
    """How much of everything."""

    seeds: tuple[int, ...] = (1, 2)
    models: tuple[tuple[int, int], ...] = ((64, 2), (160, 2))
    """(width, blocks)."""

    times: tuple[int, ...] = TIMES
    passages: int = 8
    """For each number of times."""

    words: int = 16
    given: int = 8
    """Of the words, the prompt."""

    train_bytes: int = 700_000
    vocab_size: int = 1024
    context: int = 128
    rows: int = 8


@dataclass(frozen=True)
class Known:
    """Passages that stood in the text so many times, after training: shares in per cent."""

    whole: float
    """Written to the end without a mistake."""

    right: float
    """Tokens of the rest that are right before the first mistake."""

    nats: float
    """Per token of the rest."""


def run(request: Request) -> Report:
    """Train both sizes and ask them; the request's run plays no part."""
    return study(MemorisationSettings(), request.say)


def study(settings: MemorisationSettings, say: Callable[[str], None]) -> Report:
    """The report: recall by times and size."""
    found: dict[tuple[str, int], list[Known]] = {}
    names: list[str] = []
    plain = tiny_world(settings.train_bytes, val_bytes=2_000, vocab_size=settings.vocab_size)
    for width, layers in settings.models:
        config = shape(plain.tokenizer.vocab_size, width=width, layers=layers, heads=width // 16,
                       context=settings.context)  # fmt: skip
        names.append(f"{count(config).n_parameters / 1e6:.2f}M")
        for seed in settings.seeds:
            say(f"{names[-1]} parameters, seed {seed} …")
            passages = drawn_passages(plain, settings, seed)
            material = strewn(plain, passages, seed)
            model = fresh(config, seed)
            steps = len(material.stream) // (settings.rows * settings.context)
            train(model, material, Recipe(steps=steps, rows=settings.rows, seed=seed))
            for times, some in passages.items():
                found.setdefault((names[-1], times), []).append(recall(model, material, some, settings.given))
    shown = {"seeds": settings.seeds, "passages": settings.passages, "words": settings.words, "given": settings.given,
             "train_bytes": settings.train_bytes}  # fmt: skip
    lines = {f"{name} parameters": (settings.times, [mean(found[name, n], "whole") for n in settings.times])
             for name in names}  # fmt: skip
    figure = curves(lines, x="times in the text", y="passages recalled, %", title="Learned by heart")
    tables = [known_table(found, name, settings) for name in names]
    return Report(tables, findings(found, names, settings), {"memorisation": doubling(figure, settings.times)}, shown)


def drawn_passages(material: Material, settings: MemorisationSettings, seed: int) -> dict[int, list[str]]:
    """Passages of words in no order, by how many times they are to stand in the text."""
    dice = random.Random(seed)
    words = sorted({word for text in material.train_texts[:200] for word in text.split() if word.isalpha()})
    return {times: [" ".join(dice.choice(words) for _ in range(settings.words)) + "." for _ in range(settings.passages)]
            for times in settings.times}  # fmt: skip


def strewn(material: Material, passages: dict[int, list[str]], seed: int) -> Material:
    """The stories and, as documents between them, each passage as often as it is to stand there; shuffled."""
    extra = [one for times, some in passages.items() for one in some for _ in range(times)]
    ids = [np.asarray(one, dtype=np.int64) for one in material.tokenizer.encode_batch(extra)]
    documents = [*zip(material.train_texts, material.train, strict=True), *zip(extra, ids, strict=True)]
    random.Random(seed).shuffle(documents)
    return replace(material, train_texts=[text for text, _ in documents], train=[one for _, one in documents])


def recall(model: Transformer, material: Material, passages: Sequence[str], given: int) -> Known:
    """What the model makes of the rest of each passage after its first `given` words."""
    tokenizer = material.tokenizer
    session = Session(model, tokenizer)
    pairs = []
    for one in passages:
        words = one.split(" ")
        prompt, rest = " ".join(words[:given]), " " + " ".join(words[given:])
        pairs.append(((tokenizer.eot_id, *tokenizer.encode(prompt)), tuple(tokenizer.encode(rest))))
    nats = [-found.logprob_nats / len(rest)
            for found, (_, rest) in zip(score_continuations(model, pairs), pairs, strict=True)]  # fmt: skip
    shares = []
    for prompt, rest in pairs:
        (wrote,) = session.generate([list(prompt)], SamplingOptions(greedy=True, max_tokens=len(rest)))
        agree = [a == b for a, b in zip(wrote.ids, rest, strict=False)]
        n_right = agree.index(False) if False in agree else len(agree)
        shares.append(n_right / len(rest))
    whole = 100 * sum(one == 1 for one in shares) / len(shares)
    return Known(whole, 100 * statistics.fmean(shares), statistics.fmean(nats))


def mean(some: Sequence[Known], what: str) -> float:
    """Of one measure, over the seeds."""
    return statistics.fmean(getattr(one, what) for one in some)


def known_table(found: dict[tuple[str, int], list[Known]], name: str, settings: MemorisationSettings) -> Table:
    """All three measures of one model, by times."""
    columns = ("times in the text", "written whole %", "right tokens %", "nats per token")
    rows = []
    for times in settings.times:
        some = found[name, times]
        measures = ([one.whole for one in some], [one.right for one in some], [one.nats for one in some])
        rows.append((str(times), *(spread(values, n) for values, n in zip(measures, (0, 0, 2), strict=True))))
    n = settings.passages * len(settings.seeds)
    title = f"{name} parameters: the second half of {n} passages each, after the first {settings.given} words"
    return Table(title, columns, rows)


def findings(
    found: dict[tuple[str, int], list[Known]], names: Sequence[str], settings: MemorisationSettings
) -> list[str]:
    """What the numbers say."""
    said = []
    for name in names:
        half = [times for times in settings.times if mean(found[name, times], "whole") >= 50]
        what = f"from {half[0]} readings on, half or more of the passages" if half else "at no number, half of them"
        most = settings.times[-1]
        said.append(f"{name} parameters know by heart, {what}; after {most} readings "
                    f"{mean(found[name, most], 'whole'):.0f} %.")  # fmt: skip
        if 1 in settings.times and 0 in settings.times:
            gained = mean(found[name, 0], "nats") - mean(found[name, 1], "nats")
            said.append(f"One reading makes a passage {gained:.2f} nats per token likelier than one never read.")
    return said
