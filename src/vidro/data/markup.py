"""HTML to readable text: paragraphs apart by an empty line, no scripts, styles or navigation.

BeautifulSoup does the parsing (with Python's own parser, so nothing depends on what else is installed); what is a
paragraph is decided here. Not here: the EPUB around XHTML pages (`epub`).
"""

from __future__ import annotations

import re
from typing import Any

from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from bs4.element import CData, NavigableString, PreformattedString, Tag

from vidro.data.blocks import decode_bytes
from vidro.data.report import ReadReport

# fmt: off
_DROPPED = frozenset((
    "script", "style", "nav", "head", "template", "noscript", "svg", "math", "form", "button", "select", "iframe",
    "object", "audio", "video", "canvas",
))
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr",
    "html", "legend", "main", "ol", "p", "pre", "section", "summary", "table", "ul",
))
# fmt: on
_ITEMS = frozenset(("li", "tr"))
_CELLS = frozenset(("td", "th"))
_SPACE = re.compile(r"[ \t\n\r\f\v]+")
# Marks of our own while the layout is not known yet: control characters that no HTML may contain.
_PARAGRAPH, _ITEM, _LINE, _KEPT_SPACE = "\x1c", "\x1d", "\x1e", "\x1f"
_MARKS = str.maketrans("", "", _PARAGRAPH + _ITEM + _LINE + _KEPT_SPACE)
_KEPT = str.maketrans({"\n": _LINE, " ": _KEPT_SPACE, "\t": _KEPT_SPACE * 4})


def html_text(data: bytes, *, where: object, encoding: str | None, report: ReadReport) -> str:
    """Readable text of an HTML page given as bytes; the encoding is `encoding`, the one it declares, or UTF-8."""
    if encoding is None and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        declared = EncodingDetector.find_declared_encoding(data[:4096], is_html=True)
        encoding = _known(declared)
    return readable(decode_bytes(data, where=where, encoding=encoding, report=report))


def readable(html: str) -> str:
    """Readable text of an HTML string.

    >>> readable("<p>One <b>two</b><br>three</p><script>x</script><p>Four</p>")
    'One two\\nthree\\n\\nFour\\n'
    """
    pieces: list[str] = []
    _collect(BeautifulSoup(html, "html.parser"), pieces)
    return _layout(pieces)


def title_of(html: str) -> str | None:
    """The page's <title>, if it has one."""
    title = BeautifulSoup(html, "html.parser").title
    return _SPACE.sub(" ", title.get_text()).strip() or None if title else None


def _known(name: str | None) -> str | None:
    """A declared encoding that Python knows; pages that declare UTF-16 in ASCII are not (they mean UTF-8)."""
    if name is None or name.lower().replace("_", "-").startswith("utf-16"):
        return None
    try:
        "".encode(name)
    except LookupError:
        return None
    return "cp1252" if name.lower() in ("iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii") else name


def _collect(root: Tag, pieces: list[str]) -> None:
    """Walk the tree with a stack of its own (a page may be nested deeper than Python's)."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    preformatted = 0
    while stack:
        node, leaving = stack.pop()
        if isinstance(node, Tag):
            if leaving:
                preformatted -= node.name == "pre"
                pieces.append(_edge(node))
                continue
            if node.name in _DROPPED or node.get("hidden") is not None:
                continue
            if node.name == "br":
                pieces.append(_LINE)
                continue
            preformatted += node.name == "pre"
            pieces.append(_edge(node))
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.contents))
        elif isinstance(node, NavigableString) and _is_text(node):
            text = str(node).translate(_MARKS)
            pieces.append(text.translate(_KEPT) if preformatted else _SPACE.sub(" ", text))


def _is_text(node: NavigableString) -> bool:
    """Text and CDATA sections; not comments, doctypes and processing instructions."""
    return not isinstance(node, PreformattedString) or isinstance(node, CData)


def _edge(tag: Tag) -> str:
    if tag.name in _BLOCKS:
        return _PARAGRAPH
    if tag.name in _ITEMS:
        return _ITEM
    return "\t" if tag.name in _CELLS else ""


def _layout(pieces: list[str]) -> str:
    """One empty line between paragraphs, no spaces at the ends of lines."""
    paragraphs = []
    for paragraph in re.sub(f"{_ITEM}[ {_ITEM}]*", _LINE, "".join(pieces)).split(_PARAGRAPH):
        lines = [re.sub(r" ?\t[ \t]*", "\t", line).strip(" \t") for line in paragraph.split(_LINE)]
        text = re.sub(r" {2,}", " ", re.sub(r"\n{3,}", "\n\n", "\n".join(lines))).strip("\n")
        if text:
            paragraphs.append(text)
    return "\n\n".join(paragraphs).replace(_KEPT_SPACE, " ") + "\n" if paragraphs else ""
