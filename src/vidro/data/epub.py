"""EPUB books: the chapters in the order the book says they are read in, as one text.

An EPUB is a zip of XHTML pages; `META-INF/container.xml` names the package file, whose spine lists the pages.
Navigation pages and pictures are left out, and so are books locked by DRM (as an error: nothing could be read).
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from vidro.core.errors import DataError
from vidro.data.blocks import unreadable
from vidro.data.markup import html_text
from vidro.data.report import ReadReport

_MOST_MEMBER_BYTES = 200_000_000
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
_AGAIN = "Fetch it again."
_LOCKED = "this book is locked by its seller (DRM), so its text cannot be read"


@dataclass(frozen=True)
class Book:
    """The text of a book and what its package says about it."""

    text: str
    title: str | None
    author: str | None


def read_epub(path: Path, *, report: ReadReport) -> Book:
    """The book's text, chapters apart by an empty line. Raises DataError for what is not a readable EPUB."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path, report)
    except zipfile.BadZipFile:
        raise DataError(
            "this is not an EPUB: it is not a zip file, or it is cut short", where=path, hint=_AGAIN
        ) from None
    except (zlib.error, EOFError):
        raise DataError("this EPUB is damaged: a page cannot be unpacked", where=path, hint=_AGAIN) from None
    except OSError as problem:
        raise unreadable(path, problem) from None


def _read(archive: zipfile.ZipFile, path: Path, report: ReadReport) -> Book:
    package_name = _package_name(archive, path)
    package = _xml(_member(archive, package_name, path), f"{path}!{package_name}")
    folder = posixpath.dirname(package_name)
    locked = _locked_members(archive, path)
    pages: list[str] = []
    for name in _spine(package, folder, report):
        if name in locked:
            raise DataError(_LOCKED, where=path, hint="Choose a copy without DRM.")
        if name not in archive.NameToInfo:
            report.count("unlisted")
            continue
        page = _member(archive, name, path)
        pages.append(html_text(page, where=f"{path}!{name}", encoding=None, report=report).strip("\n"))
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise DataError("this EPUB holds no text (pictures only?)", where=path, hint="Use an OCR program first.")
    return Book(text + "\n", _first(package, "title"), _first(package, "creator"))


def _package_name(archive: zipfile.ZipFile, path: Path) -> str:
    if "META-INF/container.xml" not in archive.NameToInfo:
        what = "this zip file is not an EPUB (it has no META-INF/container.xml)"
        raise DataError(what, where=path, hint="Unpack it and name the folder, if it holds texts.")
    container = _xml(_member(archive, "META-INF/container.xml", path), f"{path}!META-INF/container.xml")
    for element in container.iter():
        if _tag(element) == "rootfile" and element.get("full-path"):
            return unquote(str(element.get("full-path")))
    raise DataError("this EPUB does not say where its package file is", where=path, hint=_AGAIN)


def _locked_members(archive: zipfile.ZipFile, path: Path) -> set[str]:
    """Members that `encryption.xml` lists. Obfuscated fonts are listed too, which is why the list alone is no lock."""
    if "META-INF/encryption.xml" not in archive.NameToInfo:
        return set()
    listing = _xml(_member(archive, "META-INF/encryption.xml", path), f"{path}!META-INF/encryption.xml")
    return {unquote(str(e.get("URI"))) for e in listing.iter() if _tag(e) == "CipherReference" and e.get("URI")}


def _spine(package: ElementTree.Element, folder: str, report: ReadReport) -> list[str]:
    """Archive names of the text pages, in reading order; what is not a page is counted."""
    items = {e.get("id"): e for e in package.iter() if _tag(e) == "item"}
    names = []
    for reference in package.iter():
        if _tag(reference) != "itemref":
            continue
        item = items.get(reference.get("idref"))
        if item is None or not item.get("href"):
            report.count("unlisted")
        elif item.get("media-type") not in _PAGES:
            report.count("nondocument")
        elif "nav" not in (item.get("properties") or "").split():
            href = unquote(str(item.get("href")).partition("#")[0])
            names.append(posixpath.normpath(posixpath.join(folder, href)))
    return names


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    info = archive.NameToInfo.get(name)
    if info is None:
        raise DataError(f"this EPUB names {name}, which it does not hold", where=path, hint=_AGAIN)
    if info.flag_bits & 0x1:
        raise DataError("this EPUB is a zip file with a password", where=path, hint="Choose a copy without one.")
    if info.file_size > _MOST_MEMBER_BYTES:
        raise DataError(f"a page of this EPUB unpacks to {info.file_size:,} bytes, which no book needs", where=path)
    return archive.read(info)


def _xml(data: bytes, where: str) -> ElementTree.Element:
    """Parsed XML. Entity declarations are refused: no EPUB needs them, and they can blow up to gigabytes."""
    if b"<!ENTITY" in data:
        raise DataError("this XML declares entities, which is refused", where=where)
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as problem:
        raise DataError(f"this is not valid XML ({problem})", where=where, hint=_AGAIN) from None


def _first(package: ElementTree.Element, tag: str) -> str | None:
    """Text of the first metadata element with this name."""
    for element in package.iter():
        if _tag(element) == tag and element.text and element.text.strip():
            return element.text.strip()
    return None


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]
