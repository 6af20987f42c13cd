"""The numbers that a lesson's words quote, held against those that its code prints.

Words are written once and code is changed many times; a number in `backticks` must therefore be one that the lesson
prints. `tests/learn/test_lessons.py` asks this of every lesson. Code in backticks (`x @ W`, `attention_3`) and
numbers without backticks (a chapter, a year) are not quotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from vidro.learn.lesson_run import Markdown, Piece, Printed

NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d,_]*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
AROUND = re.compile(r"[\s\[\](){},;:%×·*/+=<>≈…−-]*")


def numbers_in(text: str) -> list[Decimal]:
    """All numbers of a text, by value: 0.50 and 0.5 are one number, and so are 1,000 and 1000.

    >>> numbers_in("loss 0.50, then -1.2e-3 of 1,000; x2 and v1.2.3 are names")
    [Decimal('0.5'), Decimal('-0.0012'), Decimal('1000')]
    """
    found = []
    for match in NUMBER.finditer(text):
        value = Decimal(match[0].rstrip(",_").replace(",", "").replace("_", "").replace("−", "-"))
        found.append(value.normalize() if value != value.to_integral() else value.quantize(Decimal(1)))
    return found


def quoted_in(markdown: str) -> list[Decimal]:
    """The numbers in backticks of a cell of words; a span with letters in it is code and quotes nothing.

    >>> quoted_in("The share is `0.94`, the rows `[1, 0]`; `x[2]` and 7 are no quotations.")
    [Decimal('0.94'), Decimal('1'), Decimal('0')]
    """
    spans = SPAN.findall(FENCE.sub("", markdown))
    return [value for span in spans if AROUND.fullmatch(NUMBER.sub("", span)) for value in numbers_in(span)]


def unproved(pieces: Iterable[Piece]) -> list[tuple[int, Decimal]]:
    """Quoted numbers that nothing printed, each with the line at which its cell begins."""
    every = list(pieces)
    printed = {value for piece in every if isinstance(piece, Printed) for value in numbers_in(piece.text)}
    return [
        (piece.line, value)
        for piece in every
        if isinstance(piece, Markdown)
        for value in quoted_in(piece.text)
        if value not in printed
    ]
