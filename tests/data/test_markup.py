"""HTML and EPUB to readable text."""

from __future__ import annotations

import doctest
import zipfile

import pytest

from vidro.core.errors import DataError
from vidro.data import markup
from vidro.data.documents import ReadReport, read_documents

CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
    '<rootfiles><rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles>'
    "</container>"
)
OPF = """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/" version="3.0">
<metadata><dc:title>Glass &amp; Sand</dc:title><dc:creator>A. Author</dc:creator></metadata>
<manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="text/two.xhtml#top" media-type="application/xhtml+xml"/>
<item id="a" href="text/cap%C3%ADtulo%201.xhtml" media-type="application/xhtml+xml"/>
<item id="pic" href="cover.jpg" media-type="image/jpeg"/>
{items}
</manifest>
<spine><itemref idref="nav"/><itemref idref="pic"/><itemref idref="a"/><itemref idref="b"/>{refs}</spine>
</package>"""


def make_epub(path, *, items="", refs="", **more):
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/content.opf": OPF.format(items=items, refs=refs),
        "OEBPS/nav.xhtml": "<html><body><nav><a>One</a></nav></body></html>",
        "OEBPS/text/two.xhtml": "<html><body><h1>Two</h1><p>The end.</p></body></html>",
        "OEBPS/text/capítulo 1.xhtml": (
            "<?xml version='1.0' encoding='utf-8'?><html><head><title>x</title></head>"
            "<body><h1>Um</h1><p>Olá&nbsp;&mdash; <i>vidro</i>.</p></body></html>"
        ),
        **more,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def read(path) -> str:
    [document] = read_documents(path)
    return document.text


def error(path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value).removeprefix(str(path))


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(markup).failed == 0


def test_scripts_styles_and_navigation_are_dropped(tmp_path):
    (tmp_path / "a.html").write_text(
        "<!DOCTYPE html><html><head><title>T</title><style>p{}</style></head><body><nav><a>Home</a></nav>"
        "<!-- a comment --><script>var x = 1;</script><h1>Title</h1>\n"
        "<p>One\n  <b>bold</b>   word.<br/>Second &amp; line.</p>"
        "<ul><li>first</li><li>second</li></ul><pre>a  b\n c</pre>"
        "<table><tr><td>x</td><td>y</td></tr><tr><td>1</td><td>2</td></tr></table>"
        "<p hidden>no</p><svg><text>no</text></svg>"
        "<div><div>Deep</div> tail</div></body></html>"
    )
    assert read(tmp_path / "a.html") == (
        "Title\n\nOne bold word.\nSecond & line.\n\nfirst\nsecond\n\na  b\n c\n\nx\ty\n1\t2\n\nDeep\n\ntail\n"
    )


def test_a_declared_encoding_is_used(tmp_path):
    (tmp_path / "a.html").write_bytes("<meta charset='iso-8859-1'><p>“caf\xe9”</p>".encode("cp1252"))
    assert read(tmp_path / "a.html") == "“café”\n"
    (tmp_path / "b.html").write_bytes("<meta charset='utf-16'><p>é</p>".encode())
    assert read(tmp_path / "b.html") == "é\n"
    (tmp_path / "c.html").write_bytes(b"<p>caf\xe9</p>")
    assert "this is not UTF-8 text: byte 0xE9 at byte offset 6" in error(tmp_path / "c.html")


def test_a_page_nested_deeper_than_pythons_stack(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 3000 + "deep" + "</div>" * 3000)
    assert read(tmp_path / "a.html") == "deep\n"


def test_a_page_without_text(tmp_path):
    (tmp_path / "a.html").write_text("<html><script>x</script></html>")
    assert error(tmp_path / "a.html") == ": there is no text in it. Choose a text with words in it."


def test_chapters_come_in_reading_order_without_navigation(tmp_path):
    report = ReadReport()
    [document] = read_documents(make_epub(tmp_path / "b.epub"), report=report)
    assert document.text == "Um\n\nOlá\xa0— vidro.\n\nTwo\n\nThe end.\n"
    assert document.metadata == {"title": "Glass & Sand", "author": "A. Author"}
    assert report.notes == ["1 file in the EPUB's reading order are not text (pictures, say) and were left out."]


def test_a_gutenberg_epub_loses_its_wrapping(tmp_path):
    start = (
        "<div id='pg-header'><p>The Project Gutenberg eBook</p>"
        "<span>*** START OF THE PROJECT GUTENBERG EBOOK X ***</span></div>"
    )
    path = make_epub(tmp_path / "b.epub", **{"OEBPS/text/two.xhtml": f"<html><body>{start}<p>Story.</p></body></html>"})
    assert read(path) == "Story.\n"


def test_pages_that_are_listed_but_missing_are_counted(tmp_path):
    report = ReadReport()
    path = make_epub(tmp_path / "b.epub", refs='<itemref idref="ghost"/>', **{"OEBPS/text/two.xhtml": None})
    [document] = read_documents(path, report=report)
    assert document.text.startswith("Um\n\n")
    assert "2 files named by the book's reading order are not in the EPUB." in report.notes


def test_locked_books_are_told_from_books_with_obfuscated_fonts(tmp_path):
    listing = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><enc:EncryptedData '
        'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:CipherData><enc:CipherReference URI="{}"/>'
        "</enc:CipherData></enc:EncryptedData></encryption>"
    )
    fonts = make_epub(tmp_path / "f.epub", **{"META-INF/encryption.xml": listing.format("OEBPS/fonts/a.otf")})
    assert read(fonts).startswith("Um")
    locked = make_epub(tmp_path / "l.epub", **{"META-INF/encryption.xml": listing.format("OEBPS/text/two.xhtml")})
    assert (
        error(locked)
        == ": this book is locked by its seller (DRM), so its text cannot be read. Choose a copy without DRM."
    )


def test_zip_files_that_are_no_epub(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.epub", "w") as archive:
        archive.writestr("a.txt", "x")
    assert error(tmp_path / "z.epub") == (
        ": this zip file is not an EPUB (it has no META-INF/container.xml). "
        "Unpack it and name the folder, if it holds texts."
    )
    (tmp_path / "t.epub").write_text("plain")
    assert (
        error(tmp_path / "t.epub") == ": this is not an EPUB: it is not a zip file, or it is cut short. Fetch it again."
    )
    whole = make_epub(tmp_path / "w.epub").read_bytes()
    (tmp_path / "s.epub").write_bytes(whole[: len(whole) // 2])
    assert (
        error(tmp_path / "s.epub") == ": this is not an EPUB: it is not a zip file, or it is cut short. Fetch it again."
    )


def test_damaged_and_hostile_packages(tmp_path):
    assert "this is not valid XML" in error(make_epub(tmp_path / "a.epub", **{"OEBPS/content.opf": "<package"}))
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><package>&a;</package>'
    assert "declares entities, which is refused" in error(make_epub(tmp_path / "b.epub", **{"OEBPS/content.opf": bomb}))
    assert "names OEBPS/content.opf, which it does not hold" in error(
        make_epub(tmp_path / "c.epub", **{"OEBPS/content.opf": None})
    )
    assert "does not say where its package file is" in error(
        make_epub(tmp_path / "d.epub", **{"META-INF/container.xml": "<container/>"})
    )
    blank = "<html><body><img src='x'/></body></html>"
    pictures = {"OEBPS/text/two.xhtml": blank, "OEBPS/text/capítulo 1.xhtml": blank}
    assert (
        error(make_epub(tmp_path / "e.epub", **pictures))
        == ": this EPUB holds no text (pictures only?). Use an OCR program first."
    )
