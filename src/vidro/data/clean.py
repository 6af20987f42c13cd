"""What is taken away from a text before anything else sees it, and how it is said.

Three things only: a byte-order mark at the front, line ends that are not LF, and the header and footer that Project
Gutenberg puts around its books. Everything else (form feeds, control characters, front matter, spelling) is the
user's text and stays. Not here: finding and decoding files (`documents`), complaints about odd texts (`look`).
"""

from __future__ import annotations

import re

from vidro.data.report import ReadReport

BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"

_BOOK = r"project\s+gutenberg(?:\s+|'s\s+|’s\s+)e(?:book|text)"
_START = re.compile(
    rf"\*\*\*\s*start\s+of\s+(?:the|this)\s+{_BOOK}(?:[^*]{{0,400}}?\*\*\*|[^\n]*)[^\n]*"
    r"|\*END\*?\s*the\s+small\s+print![^\n]*",
    re.IGNORECASE,
)
_END = re.compile(
    rf"(?:^[ \t]*end\s+of\s+(?:the\s+|this\s+)?project\s+gutenberg[^\n]*\s*)?\*\*\*\s*end\s+of\s+(?:the|this)\s+{_BOOK}"
    r"|^[ \t]*end\s+of\s+(?:the\s+|this\s+)?project\s+gutenberg(?:'s|’s|\s+e(?:book|text))",
    re.IGNORECASE | re.MULTILINE,
)
_CREDIT = re.compile(
    r"\s*(?:produced|e-?text\s+prepared|this\s+e-?(?:text|book)\s+was\s+(?:produced|prepared)|transcribed)\s+(?:by|from)\b"
    r"[^\n]*(?:\n[^\n]+)*(?:\n|$)",
    re.IGNORECASE,
)


def clean_text(text: str, report: ReadReport) -> str:
    """The text without byte-order mark and Gutenberg wrapping, with LF line ends; changes are counted in `report`."""
    if text.startswith(BYTE_ORDER_MARK):
        text = text.removeprefix(BYTE_ORDER_MARK)
        report.count("bom")
    text = unify_newlines(text, report)
    text, note = strip_gutenberg(text)
    if note is not None:
        report.count("gutenberg")
    return text


def unify_newlines(text: str, report: ReadReport) -> str:
    """CR LF (Windows) and lone CR (old Macintosh) become LF."""
    if "\r" not in text:
        return text
    windows = text.count("\r\n")
    lone_cr = text.count("\r") - windows
    report.count("crlf", windows)
    report.count("cr", lone_cr)
    report.count("lf", text.count("\n") - windows)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def strip_gutenberg(text: str) -> tuple[str, str | None]:
    """The book inside Project Gutenberg's header and footer, and a note of what went (None: nothing did).

    Several books in one text are each unwrapped. A header or footer alone is removed too.

    >>> strip_gutenberg("Title: A\\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\\n\\nOnce upon a time.\\n")
    ('Once upon a time.\\n', 'Project Gutenberg header removed (57 characters)')
    """
    if "GUTENBERG" not in text and "Gutenberg" not in text:
        return text, None
    marks = [(m.start(), m.end(), "header") for m in _START.finditer(text)]
    marks += [(m.start(), m.end(), "footer") for m in _END.finditer(text)]
    if not marks:
        return text, None
    books: list[str] = []
    begin: int | None = 0 if min(marks)[2] == "footer" else None
    for start, end, kind in sorted(marks):
        if kind == "header":
            begin = end
        elif begin is not None:
            books.append(text[begin:start])
            begin = None
    if begin is not None:
        books.append(text[begin:])
    kept = "\n\n\n".join(_without_credit(book).strip("\n") for book in books) + "\n"
    kinds = [kind for kind in ("header", "footer") if any(mark[2] == kind for mark in marks)]
    return kept, f"Project Gutenberg {' and '.join(kinds)} removed ({len(text) - len(kept):,} characters)"


def _without_credit(book: str) -> str:
    """Drop the transcriber's credit that stands between Gutenberg's header and the book."""
    credit = _CREDIT.match(book)
    return book[credit.end() :] if credit else book
