"""What do temperature, top-k and top-p trade? How varied the texts are, how real their words, how much is copied.

The reader's own model writes the same number of texts with each setting. Variety is the share of word pairs and triples
that are not repeated; a word is real if it stands in the training text; copied is what stands there in runs of 30
characters or more (`evals/copying`); the perplexity is the model's own, of what it wrote, without any setting. Beside
them stands held-out text: what people would have written. Not here: the settings themselves (`model/sampling`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vidro.config.schema import SamplingOptions
from vidro.evals.copying import CopyFigures, copied_text, copy_index
from vidro.evals.memorisation import CopyIndex
from vidro.evals.perplexity import score_text
from vidro.infer.session import Session
from vidro.learn.experiments.registry import Report, Request, Table
from vidro.learn.figures import curves

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
TEMPERATURES = (0.2, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
CUTS: tuple[dict[str, Any], ...] = (
    {"top_k": 5}, {"top_k": 40}, {"top_p": 0.5}, {"top_p": 0.9}, {"temperature": 1.5, "top_p": 0.9},
)  # fmt: skip
SHOWN = (0.2, 1.0, 2.0)  # temperatures of which a sample is shown
SHOWN_CHARS = 160


@dataclass(frozen=True)
class TemperatureSettings:
    """How much of everything."""

    seed: int = 1
    n_texts: int = 24
    max_tokens: int = 80
    min_chars: int = 30


@dataclass(frozen=True)
class Measured:
    """Some texts together: shares in per cent, `perplexity` under the model that wrote them."""

    pairs: float
    triples: float
    real: float
    copied: float
    perplexity: float

    def row(self, name: str) -> tuple[Any, ...]:
        """The line of the table."""
        return (name, round(self.pairs), round(self.triples), round(self.real, 1), round(self.copied),
                round(self.perplexity, 2))  # fmt: skip


def run(request: Request) -> Report:
    """All settings, with the run of the request and the text that it learned from."""
    from vidro.api.memorisation import learned_text
    from vidro.api.places import default_cache_dir

    assert request.run is not None
    learned = learned_text(request.run, cache_dir=default_cache_dir())
    return study(request.run.session, learned.train, learned.held_out, TemperatureSettings(), request.say)


def study(
    session: Session,
    train: Sequence[str],
    held_out: Sequence[str],
    settings: TemperatureSettings,
    say: Callable[[str], None],
) -> Report:
    """The report on any model; `train` is what it learned from."""
    say("reading the training text …")
    judge = Judge(session, train, settings)
    by_temperature: dict[float, Measured] = {}
    samples: list[tuple[Any, ...]] = []
    rows: list[tuple[Any, ...]] = []
    for value in TEMPERATURES:
        say(f"writing at temperature {value:g} …")
        texts = judge.write(SamplingOptions(temperature=value))
        by_temperature[value] = judge.measure(texts)
        rows.append(by_temperature[value].row(f"temperature {value:g}"))
        if value in SHOWN:
            samples.append((f"{value:g}", texts[0][:SHOWN_CHARS].replace("\n", " ")))
    for cut in CUTS:
        name = named(cut)
        say(f"writing with {name} …")
        rows.append(judge.measure(judge.write(SamplingOptions(**{"temperature": 1.0, **cut}))).row(name))
    people = judge.measure(alike(held_out, judge.lengths))
    rows.append(people.row("held-out text"))
    columns = ("written with", "distinct pairs, %", "distinct triples, %", "real words, %", "copied, %", "perplexity")
    tables = [Table(f"{settings.n_texts} texts with each setting", columns, rows),
              Table("Samples", ("temperature", "text"), samples)]  # fmt: skip
    shown = {"seed": settings.seed, "n_texts": settings.n_texts, "max_tokens": settings.max_tokens,
             "min_chars": settings.min_chars}  # fmt: skip
    return Report(tables, findings(by_temperature, people), {"temperature": figure(by_temperature)}, shown)


def named(cut: dict[str, Any]) -> str:
    """How the table calls it; the temperature is 1 where none is said.

    >>> named({"top_k": 5}), named({"temperature": 1.5, "top_p": 0.9})
    ('top-k 5', 'temperature 1.5, top-p 0.9')
    """
    return ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in cut.items())


class Judge:
    """Lets a model write and measures what came of it."""

    def __init__(self, session: Session, train: Sequence[str], settings: TemperatureSettings) -> None:
        self.session, self.settings = session, settings
        self.index: CopyIndex = copy_index(train)
        self.known = {word for text in train for word in words(text)}
        self.lengths: list[int] = []

    def write(self, options: SamplingOptions) -> list[str]:
        """Texts from the bare start, always with the same seeds."""
        chosen = replace(options, seed=self.settings.seed, max_tokens=self.settings.max_tokens)
        drawn = self.session.generate([""], chosen, n=self.settings.n_texts)
        texts = [one.text for one in drawn if one.text.strip()]
        self.lengths = self.lengths or [len(text) for text in texts]
        return texts

    def measure(self, texts: Sequence[str]) -> Measured:
        """Everything that is asked of some texts."""
        spoken = [words(text) for text in texts]
        flat = [word for one in spoken for word in one]
        copied = CopyFigures.of([copied_text(self.index, one, min_chars=self.settings.min_chars) for one in texts])
        score = score_text(self.session.model, self.session.tokenizer, texts)
        real = sum(word in self.known for word in flat) / max(1, len(flat))
        return Measured(distinct(spoken, 2), distinct(spoken, 3), 100 * real, 100 * copied.copied_frac,
                        score.perplexity)  # fmt: skip


def words(text: str) -> list[str]:
    """The words of a text in small letters.

    >>> words("It was Otis's, 7 days ago.")
    ['it', 'was', "otis's", 'days', 'ago']
    """
    return [match.group().lower() for match in WORD.finditer(text)]


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """How many of the runs of `n` words, of all texts together, are different ones, in per cent.

    >>> distinct([["a", "b", "a", "b"], ["a", "b"]], 2)
    50.0
    """
    grams = [tuple(one[start : start + n]) for one in texts for start in range(len(one) - n + 1)]
    return 100 * len(set(grams)) / max(1, len(grams))


def alike(texts: Sequence[str], lengths: Sequence[int]) -> list[str]:
    """The beginnings of as many texts, cut to these lengths (in characters): texts that begin as the samples do."""
    usable = [text for text in texts if text.strip()]
    return [text[:length] for text, length in zip(usable, lengths, strict=False)]


def figure(measured: dict[float, Measured]) -> Any:
    """Three shares by temperature."""
    across = list(measured)
    lines = {
        "distinct triples of words": (across, [one.triples for one in measured.values()]),
        "words that exist": (across, [one.real for one in measured.values()]),
        "copied": (across, [one.copied for one in measured.values()]),
    }
    return curves(lines, x="temperature", y="%", title="What temperature trades")


def findings(measured: dict[float, Measured], people: Measured) -> list[str]:
    """What the numbers say."""
    low, high = measured[min(measured)], measured[max(measured)]
    nearest = min(measured, key=lambda value: abs(measured[value].triples - people.triples))
    return [
        f"From temperature {min(measured):g} to {max(measured):g} distinct triples go from {low.triples:.0f} to "
        f"{high.triples:.0f} %, words that exist from {low.real:.1f} to {high.real:.1f} %, and what is copied "
        f"from {low.copied:.0f} to {high.copied:.0f} %.",
        f"As varied as held-out text ({people.triples:.0f} %) it is nearest to temperature {nearest:g}, where "
        f"{100 - measured[nearest].real:.1f} % of the words do not exist.",
        f"Of held-out text {people.copied:.0f} % stands in the training text too: so much repeats itself anyway.",
    ]
