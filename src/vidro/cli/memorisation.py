"""``vidro evaluate --memorisation``: what models know by heart, with the copied passages underlined in their samples.

Not here: flags (`evaluate`), drawing and searching (`api/memorisation`), the page of ``--report``
(`reports`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from vidro.api.run import Run
    from vidro.evals.copying import CopiedText, CopyFigures, Memorisation

SHOWN_SAMPLES = 3
WIDTH = 90
OPEN, CLOSE = "⟦", "⟧"
"""Around copies where nothing can be underlined: in files and pipes."""


def on_memorisation(
    opened: Sequence[Run],
    text: str | None,
    options: Mapping[str, Any],
    *,
    prompts_file: str | Path | None = None,
    seed: int | None = None,
    report: str | None = None,
    json: bool = False,
) -> int:
    """Draw samples from each run, search them in its training text (or in `text`), show what was copied."""
    from dataclasses import replace

    from vidro.api.evaluate import names_of
    from vidro.api.memorisation import SEED
    from vidro.cli.generate import all_prompts
    from vidro.cli.places import cache_dir
    from vidro.cli.reports import write_memorisation_page
    from vidro.cli.terminal import note, print_json

    prompts = [] if prompts_file is None else all_prompts((), Path(prompts_file))
    chosen_seed = SEED if seed is None else seed
    found = []
    for run, name in zip(opened, names_of(opened), strict=True):
        note(f"{name} writes, and what it writes is looked for in its training text …")
        one = run.memorisation(text, prompts=prompts, seed=chosen_seed, cache_dir=cache_dir(), **options)
        found.append(replace(one, run=name))
    if report is not None:
        write_memorisation_page(found, opened, Path(report))
    if json:
        results = [one.to_json() for one in found]
        print_json(results[0] if len(results) == 1 else {"results": results})
        return 0
    show_figures(found)
    for one in found:
        show_samples(one, alone=len(found) == 1)
    return 0


def show_figures(found: Sequence[Memorisation]) -> None:
    """Two lines for each run: what it wrote, and held-out text of the same lengths."""
    from vidro.api.words import human_bytes
    from vidro.cli.terminal import show, table
    from vidro.evals.copying import READING

    columns = ("texts", "characters", "median", "longest", "copied")
    grid = table("text", *columns, right=columns)
    for one in found:
        grid.add_row(f"written by {one.run}", *figure_cells(one.wrote, one))
        grid.add_row("held-out text", *figure_cells(one.unseen, one))
    for name, size in dict.fromkeys((one.text, one.text_bytes) for one in found):
        print(f"Searched in {name}, {human_bytes(size)} of training text:")
    show(grid)
    words = (
        "Median, longest: characters of the longest passage of each text that stands in the training text. Copied: the "
        f"share of characters in such passages of {found[0].min_chars} or more. {READING}"
    )
    print(textwrap.fill(words, WIDTH) + "\n")


def figure_cells(figures: CopyFigures, one: Memorisation) -> tuple[str, ...]:
    """A line of the table: counts, lengths in characters, the share copied."""
    from vidro.evals.copying import length_word

    lengths = (figures.median_longest_chars, figures.longest_chars)
    shown = (length_word(length, shortest=one.shortest_chars) for length in lengths)
    return f"{figures.n_texts:,}", f"{figures.n_chars:,}", *shown, f"{figures.copied_frac:.1%}"


def show_samples(one: Memorisation, *, alone: bool) -> None:
    """The samples with the longest copies, each copy underlined."""
    from vidro.cli.terminal import stdout_console

    shown = sorted(one.samples, key=lambda sample: sample.sort_key)[:SHOWN_SAMPLES]
    whose = "" if alone else f" of {one.run}"
    console = stdout_console()
    how = "underlined" if console.is_terminal else f"in {OPEN}{CLOSE}"
    print(f"{len(shown):,} of {len(one.samples):,} samples{whose}, the longest copy first. What is copied is {how}, or")
    print(f"where no passage has {one.min_chars} characters, the longest in common:")
    for sample in shown:
        print(f"\n{sample_line(sample, one)}")
        if console.is_terminal:
            console.print(underlined(sample), width=min(WIDTH, console.width))
        else:
            print(marked(sample))


def sample_line(sample: CopiedText, one: Memorisation) -> str:
    """Which sample this is and how much of it is copied."""
    from vidro.api.words import visible
    from vidro.evals.copying import length_word

    seed = "" if sample.seed is None else f"seed {sample.seed}: "
    after = f" (after {visible(sample.prompt)!r})" if sample.prompt else ""
    longest = length_word(sample.longest_chars, shortest=one.shortest_chars)
    return f"{seed}longest copy {longest} characters, {sample.copied_frac:.0%} copied{after}"


def underlined(sample: CopiedText) -> Text:
    """The sample with its copies underlined and the longest one bold."""
    from rich.text import Text

    from vidro.api.words import visible

    shown = Text(visible(sample.text))  # as long as before, so that the places are still right
    for start, end in sample.shown:
        shown.stylize("underline", start, end)
    if sample.longest is not None:
        shown.stylize("bold", *sample.longest)
    return shown


def marked(sample: CopiedText) -> str:
    """The sample with brackets around its copies."""
    from vidro.api.words import visible

    text, place, parts = visible(sample.text), 0, []
    for start, end in sample.shown:
        parts += [text[place:start], OPEN, text[start:end], CLOSE]
        place = end
    return "".join([*parts, text[place:]])
