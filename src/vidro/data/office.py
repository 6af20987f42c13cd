"""Formats that need an optional library: Word (python-docx), PDF (pypdf), Parquet (pyarrow).

Each function imports its library when called; where it is missing, one line says what to install.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from vidro.core.errors import DataError
from vidro.data.blocks import unreadable
from vidro.data.jsonl import Record, bad, record_of
from vidro.data.report import ReadReport


def read_docx(path: Path) -> str:
    """Paragraphs and table rows of a Word document, in order. Raises DataError."""
    docx = _library("docx", "documents", path)
    try:
        document: Any = docx.Document(str(path))
        pieces = [_docx_block(block) for block in document.iter_inner_content()]
    except OSError as problem:
        raise unreadable(path, problem) from None
    except Exception as problem:  # python-docx lets zip, XML and key errors of damaged files through
        hint = "Save it anew as .docx, or as a plain text."
        raise DataError(f"this Word document cannot be read ({_said(problem)})", where=path, hint=hint) from None
    text = "\n\n".join(piece for piece in pieces if piece.strip())
    return text + "\n" if text else ""


def _docx_block(block: Any) -> str:
    """A paragraph's text, or a table's rows as lines with tabs between the cells."""
    if hasattr(block, "rows"):
        return "\n".join("\t".join(cell.text.strip() for cell in row.cells) for row in block.rows)
    return block.text


def read_pdf(path: Path, *, report: ReadReport) -> str:
    """The pages' text, apart by an empty line; pages without text are counted. Raises DataError."""
    pypdf = _library("pypdf", "documents", path)
    try:
        reader: Any = pypdf.PdfReader(str(path))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError("this PDF is locked with a password", where=path, hint="Save a copy without one.")
        pages = [page.extract_text().strip() for page in reader.pages]
    except DataError:
        raise
    except OSError as problem:
        raise unreadable(path, problem) from None
    except Exception as problem:  # damaged PDFs raise whatever the parser stumbled over
        hint = "Save its text as .txt with another program."
        raise DataError(f"this PDF cannot be read ({_said(problem)})", where=path, hint=hint) from None
    report.count("pages", sum(not page for page in pages))
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise DataError("this PDF holds no text, only pictures of it", where=path, hint="Use an OCR program first.")
    return text + "\n"


def read_parquet(path: Path, *, skip_bad: bool, report: ReadReport) -> Iterator[Record]:
    """The rows of a Parquet table with a `text` column, a batch at a time. Raises DataError."""
    parquet = _library("pyarrow.parquet", "parquet", path)
    try:
        table: Any = parquet.ParquetFile(str(path))
        names = list(table.schema_arrow.names)
    except OSError as problem:
        raise unreadable(path, problem) from None
    except Exception as problem:  # pyarrow's own error types exist only where it is installed
        hint = "Give the file the ending of what it is, or fetch it again."
        raise DataError(f"this is not a Parquet file ({_said(problem)})", where=path, hint=hint) from None
    if "text" not in names:
        hint = "Rename the column that holds the texts to 'text'."
        raise DataError(f"there is no 'text' column (columns: {', '.join(names[:8])})", where=path, hint=hint)
    with table:
        wanted = [name for name in ("text", "id", "source", "url") if name in names]
        for number, row in enumerate(_rows(table, wanted, path), start=1):
            try:
                yield record_of(row)
            except ValueError as problem:
                bad(f"row {number:,}", str(problem), where=str(path), skip_bad=skip_bad, report=report)


def _rows(table: Any, columns: list[str], path: Path) -> Iterator[dict[str, Any]]:
    batches = table.iter_batches(batch_size=256, columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except Exception as problem:  # OSError and pyarrow's own types, all for damaged pages
            what = f"this Parquet file is damaged ({_said(problem)})"
            raise DataError(what, where=path, hint="Fetch it again.") from None
        if batch is None:
            return
        yield from batch.to_pylist()


def _library(name: str, extra: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        hint = f"Install it: pip install 'vidro[{extra}]'"
        raise DataError(f"reading {path.suffix} needs the library {name}", where=path, hint=hint) from None


def _said(problem: Exception) -> str:
    """The first line of a library's error, or its kind when it says nothing."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]
