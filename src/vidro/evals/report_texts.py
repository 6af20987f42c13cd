"""What stands in the report of models that write: how well they predict a text, and what they know by heart.

Everything is made from figures that were computed elsewhere. Not here: how a page looks (`report`), pages of answers
and classes (`report_pages`), the numbers (`perplexity`, `yardsticks`, `copying`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidro.evals.copying import READING, CopiedText, CopyFigures, Memorisation, length_word
from vidro.evals.perplexity import TextScore
from vidro.evals.report import FOOT, Example, Page, Said, Section, Table, picture_of
from vidro.evals.report_charts import bits_chart, copies_chart
from vidro.evals.report_curves import NO_CURVES, RunCurves, curve_sections, versions_section
from vidro.infer.explain_text import percent
from vidro.infer.reading import human_bytes

EXAMPLES = 8
_BITS = (
    "Bits per byte is what a byte of the text costs after all that stands before it; every model and compressor can be "
    "compared by it. Perplexity and nats per token depend on the tokenizer: compare them only between runs that share "
    "it."
)
_YARDSTICKS = (
    "Yardsticks need no training: compressors that have packed the training text before, and models that count how "
    "often bytes follow each other in it."
)


@dataclass(frozen=True)
class TextPrediction:
    """How well some runs predict one text; `yardsticks` are bits per byte after the training text of `yardsticks_of`.

    `without` says why there are no yardsticks, where there are none.
    """

    data: str
    scores: Mapping[str, TextScore]
    yardsticks: Mapping[str, float] = field(default_factory=dict)
    yardsticks_of: str = ""
    without: str = ""


def text_page(found: TextPrediction, *, versions: Mapping[str, str], curves: RunCurves = NO_CURVES) -> Page:
    """The report of one run or several that predicted the same text."""
    first = next(iter(found.scores.values()))
    lead = f"{human_bytes(first.n_bytes)} of {found.data}, predicted by {', '.join(found.scores)}."
    bits = {name: score.bits_per_byte for name, score in found.scores.items()}
    known = f"{_YARDSTICKS} Here it is the training text of {found.yardsticks_of}."
    words = [_BITS, *([known] if found.yardsticks else [found.without] if found.without else [])]
    if first.stride is not None:
        words.append(f"Windows overlap: each predicts only its last {first.stride:,} tokens.")
    picture = picture_of(
        bits_chart(bits, found.yardsticks), "Bits per byte of each run and yardstick, as in the table."
    )
    scores = Section("Bits per byte", tuple(words), (score_table(found),), (picture,))
    sections = (scores, *curve_sections(curves), versions_section(versions))
    return Page(f"How well {Path(found.data).name} is predicted", lead, sections, FOOT)


def score_table(found: TextPrediction) -> Table:
    """Runs and yardsticks, the best first."""
    rows = []
    for name, score in found.scores.items():
        figures = (f"{score.nats_per_token:.4f}", f"{score.perplexity:,.2f}", f"{score.n_tokens:,}")
        rows.append((score.bits_per_byte, (name, f"{score.bits_per_byte:.4f}", *figures)))
    rows += [(bits, (f"{name} (yardstick)", f"{bits:.4f}", "", "", "")) for name, bits in found.yardsticks.items()]
    head = ("run", "bits/byte", "nats/token", "perplexity", "tokens")
    return Table(head, tuple(row for _, row in sorted(rows, key=lambda row: row[0])), (1, 2, 3, 4))


def memorisation_page(
    found: Sequence[Memorisation], *, versions: Mapping[str, str], curves: RunCurves = NO_CURVES
) -> Page:
    """The report of what one run or several know by heart."""
    names = ", ".join(one.run for one in found)
    texts = ", ".join(dict.fromkeys(f"{one.text} ({human_bytes(one.text_bytes)})" for one in found))
    lead = f"What {names} wrote, looked for word for word in the training text: {texts}."
    counted = f"Copied is the share of characters in passages of {found[0].min_chars} or more that stand in that text."
    lengths = [
        {one.run: [text.longest_chars for text in one.samples],
         held_out_name(one, found): [text.longest_chars for text in one.held_out]}
        for one in found
    ]  # fmt: skip
    below = "The first bars hold also the texts whose longest copy is shorter than the search finds."
    figures = Section("Copies", (counted, READING), (figures_table(found),))
    spread = Section("Spread", (below,), pictures=(picture_of(copies_chart(lengths), "The figures are above."),))
    samples = [samples_section(one, alone=len(found) == 1) for one in found]
    settings = Section("Settings and versions", tables=tuple(settings_tables(found, versions)))
    sections = (figures, spread, *samples, *curve_sections(curves), settings)
    return Page(f"What {names} {'knows' if len(found) == 1 else 'know'} by heart", lead, sections, FOOT)


def held_out_name(one: Memorisation, found: Sequence[Memorisation]) -> str:
    """What to call the held-out text beside a run."""
    return "held-out text" if len(found) == 1 else f"held out, beside {one.run}"


def figures_table(found: Sequence[Memorisation]) -> Table:
    """Two lines for each run: its samples, and held-out text."""
    rows = []
    for one in found:
        rows.append((f"written by {one.run}", *figure_cells(one.wrote, one.shortest_chars)))
        rows.append((held_out_name(one, found), *figure_cells(one.unseen, one.shortest_chars)))
    head = ("text", "texts", "characters", "longest copy,\nmedian", "longest copy", "copied")
    return Table(head, tuple(rows), (1, 2, 3, 4, 5))


def figure_cells(figures: CopyFigures, shortest: int) -> tuple[str, ...]:
    """A line of the table."""
    lengths = [length_word(n, shortest=shortest) for n in (figures.median_longest_chars, figures.longest_chars)]
    return f"{figures.n_texts:,}", f"{figures.n_chars:,}", *lengths, percent(figures.copied_frac)


def samples_section(one: Memorisation, *, alone: bool) -> Section:
    """The samples with the longest copies, underlined; then those without any."""
    ranked = sorted(one.samples, key=lambda sample: sample.sort_key)[:EXAMPLES]
    words = f"{len(ranked):,} of {len(one.samples):,} samples, the longest copy first. Underlined are copies of "
    words += f"{one.min_chars} characters or more, or else the longest passage in common."
    title = "Samples" if alone else f"Samples of {one.run}"
    return Section(title, (words,), examples=tuple(sample_example(sample, one) for sample in ranked))


def sample_example(sample: CopiedText, one: Memorisation) -> Example:
    """One sample, its copies underlined."""
    longest = length_word(sample.longest_chars, shortest=one.shortest_chars)
    marks = f"longest copy {longest} characters · {percent(sample.copied_frac)} copied"
    title = "greedy" if sample.seed is None else f"seed {sample.seed}"
    return Example(title, sample.prompt, (Said(marks, sample.text or "(nothing)", underlined=sample.shown),))


def settings_tables(found: Sequence[Memorisation], versions: Mapping[str, str]) -> list[Table]:
    """How the samples were drawn and what measured them; the runs of a page are asked alike."""
    settings = [(name.replace("_", " "), str(value)) for name, value in found[0].settings.items()]
    return [Table(("setting", "value"), (*settings, *versions.items()))]
