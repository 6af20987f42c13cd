"""A lesson as a page in Markdown, with what its code printed and drew: for the site (`docs/site/build.py`).

The pieces are those of the terminal (`lesson_run`); the figures are written beside the page. At the end stand links to
the modules in which the idea lives, and to the lessons before and after. Not here: the site around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vidro.core.files import write_bytes_atomic
from vidro.learn.figures import png
from vidro.learn.lesson_run import Code, Markdown, Piece, Printed
from vidro.learn.path import LESSONS, Lesson, next_of
from vidro.learn.terminal import title_of


def page(lesson: Lesson, pieces: Iterable[Piece], folder: Path, *, exercise: bool) -> str:
    """The page; its figures are written into `folder` as ``NAME-1.png`` and so on."""
    parts: list[str] = []
    for piece in pieces:
        if isinstance(piece, Markdown):
            parts.append(linked(piece.text))
        elif isinstance(piece, Code):
            parts.append(fenced(piece.text, "python"))
        elif isinstance(piece, Printed):
            parts.append(fenced(piece.text, "text"))
        else:
            name = f"{lesson.name}-{piece.number}.png"
            write_bytes_atomic(folder / name, png(piece.figure))
            parts.append(f"![{title_of(piece.figure)}]({name})")
    return "\n\n".join([*parts, footer(lesson, exercise=exercise)]) + "\n"


def footer(lesson: Lesson, *, exercise: bool) -> str:
    """Where to go from here: the code, the book, the command line, the next lesson."""
    code = ", ".join(f"[{module}](../source/{module}.md)" for module in lesson.modules)
    lines = [f"- The code: {code}"]
    if lesson.book:
        lines.append(f"- In the book: {lesson.book}")
    lines.append(f"- On your machine: `vidro learn {lesson.name}`, or `vidro learn notebook {lesson.name}`")
    if exercise:
        name = lesson.name
        lines.append(f"- Exercise: `vidro learn stub {name} --out mine.py`, then `vidro learn check {name} mine.py`")
    following = next_of(lesson.name)
    if following is not None:
        lines.append(f"- Next: [{following.title}]({following.name}.md)")
    return "\n".join(["---", "", *lines])


def fenced(text: str, language: str) -> str:
    """A block of code, whatever fences are in it.

    >>> print(fenced("a = 1", "python"))
    ```python
    a = 1
    ```
    """
    longest = max((len(found) for found in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def linked(markdown: str) -> str:
    """Words in which each lesson that is named as a command leads to its page.

    >>> linked("See `vidro learn words`; not `vidro learn stub words`.")
    'See [`vidro learn words`](words.md); not `vidro learn stub words`.'
    """

    def link(match: re.Match[str]) -> str:
        return f"[{match[0]}]({match[1]}.md)" if match[1] in LESSONS else match[0]

    return re.sub(r"`vidro learn ([a-z0-9-]+)`", link, markdown)
