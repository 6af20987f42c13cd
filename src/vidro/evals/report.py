"""A report as one HTML page that needs no other file: sections of words, tables, pictures and examples.

The page is plain data; `render` puts it into ``report.html`` beside this file, where every text is escaped. Pictures
are SVG inside the page, so it can be mailed, printed and opened in ten years. Not here: what stands on a page
(`report_pages`), the numbers on it.
"""

from __future__ import annotations

import base64
import io
import itertools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from vidro.core.errors import UsageError
from vidro.core.files import write_text_atomic
from vidro.evals.plots import plain_style

TEMPLATE = "report.html"
FOOT = "Made by Vidro. This page needs no other file."
# What HTML does not allow in a text, as pictures: a model that learned from bytes may write any of it.
_PICTURES = {code: 0x2400 + code for code in range(32) if code not in (9, 10)}
_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0x2426)


@dataclass(frozen=True)
class Table:
    """Rows of words under their heads; the columns whose numbers are in `right` stand to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture as a data: address, and in words for those who do not see it."""

    uri: str
    words: str


@dataclass(frozen=True)
class Said:
    """What somebody said to an example, what it was worth, and which (start, end) stretches of it are underlined."""

    who: str
    text: str
    marks: str = ""
    underlined: tuple[tuple[int, int], ...] = ()

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """The text in pieces, each underlined or not.

        >>> Said("run-1", "the cat sat", underlined=((4, 7),)).parts
        [('the ', False), ('cat', True), (' sat', False)]
        """
        places = [0, *(place for span in self.underlined for place in span), len(self.text)]
        pieces = [(self.text[a:b], number % 2 == 1) for number, (a, b) in enumerate(itertools.pairwise(places))]
        return [piece for piece in pieces if piece[0]]


@dataclass(frozen=True)
class Example:
    """A question (none where it is empty) and the answers to it, side by side."""

    title: str
    asked: str
    answers: tuple[Said, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page; what there is of it stands in the order of the fields. `texts` keep their line ends."""

    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    examples: tuple[Example, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    foot: str = ""


def render(page: Page) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = shown
    source = resources.files("vidro.evals").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(page=page) + "\n"


def write_report(page: Page, path: Path) -> Path:
    """Write the page. Raises UsageError for another ending than .html."""
    check_report(path)
    write_text_atomic(path, render(page))
    return path


def check_report(path: Path) -> None:
    """Raise UsageError when the file cannot be a report: asked before the work that fills it."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError("a report ends in .html", where=path)
    if path.is_dir():
        raise UsageError("this is a folder", where=path, hint="Name a file in it.")


def picture_of(figure: Figure, words: str) -> Picture:
    """The figure as SVG with its letters drawn, so that it looks the same everywhere; same figure, same bytes."""
    drawn = io.BytesIO()
    with plain_style():
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})
    return Picture(f"data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode('ascii')}", words)


def shown(text: str) -> str:
    """The text with control characters as pictures, one for one.

    >>> shown("a\\x00b\\n") == "a␀b\\n"
    True
    """
    return text.translate(_PICTURES)
