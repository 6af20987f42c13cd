"""Word, PDF and Parquet, where their libraries are installed, and the line that says what to install."""

from __future__ import annotations

import sys

import pytest

from vidro.core.errors import DataError
from vidro.data.documents import ReadReport, read_documents


def make_pdf(text: str) -> bytes:
    """A PDF with two pages: one with `text`, one without any."""
    stream = f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET" if text else ""
    page = "<</Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] {}>>"
    objects = [
        "<</Type /Catalog /Pages 2 0 R>>",
        "<</Type /Pages /Kids [3 0 R 6 0 R] /Count 2>>",
        page.format("/Contents 4 0 R /Resources <</Font <</F1 5 0 R>>>>"),
        f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream",
        "<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>",
        page.format(""),
    ]
    body, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    rows = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 7\n0000000000 65535 f \n{rows}trailer\n<</Root 1 0 R /Size 7>>\nstartxref\n{len(body)}\n%%EOF\n"
    return (body + end).encode()


def error(path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_documents(path))
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("a.docx", "docx", "documents"), ("a.pdf", "pypdf", "documents"), ("a.parquet", "pyarrow.parquet", "parquet")],
)
def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch, name, library, extra):
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, library, None)
    suffix = name[1:]
    assert error(tmp_path / name) == (
        f": reading {suffix} needs the library {library}. Install it: pip install 'vidro[{extra}]'"
    )


def test_word_documents(tmp_path):
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.add_heading("Title", 1)
    document.add_paragraph("First paragraph.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "a", "b"
    document.add_paragraph("Last.")
    document.save(str(tmp_path / "a.docx"))
    assert [d.text for d in read_documents(tmp_path / "a.docx")] == ["Title\n\nFirst paragraph.\n\na\tb\n\nLast.\n"]
    (tmp_path / "b.docx").write_bytes(b"not a zip")
    assert error(tmp_path / "b.docx").startswith(": this Word document cannot be read (")
    assert error(tmp_path / "b.docx").endswith("). Save it anew as .docx, or as a plain text.")


def test_pdf_pages(tmp_path):
    pytest.importorskip("pypdf")
    (tmp_path / "a.pdf").write_bytes(make_pdf("Made of glass."))
    report = ReadReport()
    assert [d.text for d in read_documents(tmp_path / "a.pdf", report=report)] == ["Made of glass.\n"]
    assert report.notes == ["1 PDF page without text left out (pictures of text are not read)."]
    (tmp_path / "b.pdf").write_bytes(make_pdf(""))
    assert error(tmp_path / "b.pdf") == ": this PDF holds no text, only pictures of it. Use an OCR program first."
    (tmp_path / "c.pdf").write_bytes(b"not a pdf")
    assert error(tmp_path / "c.pdf").startswith(": this PDF cannot be read (")
    assert error(tmp_path / "c.pdf").endswith("). Save its text as .txt with another program.")


def test_parquet_rows(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": [f"row {n}" for n in range(1000)], "id": list(range(1000)), "n": [0.5] * 1000})
    parquet.write_table(table, tmp_path / "a.parquet")
    documents = list(read_documents(tmp_path / "a.parquet"))
    assert [d.text for d in documents] == [f"row {n}" for n in range(1000)]
    assert documents[7].id == "7"
    parquet.write_table(pyarrow.table({"body": ["x"]}), tmp_path / "b.parquet")
    assert error(tmp_path / "b.parquet") == (
        ": there is no 'text' column (columns: body). Rename the column that holds the texts to 'text'."
    )
    (tmp_path / "c.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-100])
    assert error(tmp_path / "c.parquet").startswith(": this is not a Parquet file (")
    assert error(tmp_path / "c.parquet").endswith("). Give the file the ending of what it is, or fetch it again.")
    parquet.write_table(pyarrow.table({"text": ["a", None, "c"]}), tmp_path / "d.parquet")
    assert error(tmp_path / "d.parquet").startswith(": row 2: 'text' is null, not text.")
    assert [d.text for d in read_documents(tmp_path / "d.parquet", skip_bad=True)] == ["a", "c"]
    damaged = bytearray((tmp_path / "a.parquet").read_bytes())
    damaged[4:200] = b"\xff" * 196
    (tmp_path / "e.parquet").write_bytes(damaged)
    assert error(tmp_path / "e.parquet").startswith(": this Parquet file is damaged (")
    assert error(tmp_path / "e.parquet").endswith("). Fetch it again.")
