"""The texts of one column: every form of table gives the same ones, all of them, or one line that says why not."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data.blocks import BLOCK_BYTES
from vidro.data.tables import lines_of, read_column, read_lines, read_table

TEXTS = ['He said "hi", then left;', "WIN a prize\nnow", "Olá — até já", "  x "]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def written(rows, delimiter: str) -> str:
    """What Python's own writer makes of them."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()


def error(path: Path, column: str = "body", **how) -> str:
    with pytest.raises(DataError) as caught:
        read_column(path, column, **how)
    return str(caught.value).removeprefix(f"{path}: ")


ROWS = [("id", "body"), *enumerate(TEXTS)]
RECORDS = [{"id": number, "body": text} for number, text in enumerate(TEXTS)]
FORMS = {
    "a.csv": written(ROWS, ","),
    "semicolon.csv": written(ROWS, ";"),
    "tab.csv": written(ROWS, "\t"),
    "a.tsv": written(ROWS, "\t"),
    "a.txt": written(ROWS, "\t"),
    "only.csv": written([("body",), *((text,) for text in TEXTS)], ","),
    "a.jsonl": "\n".join(json.dumps(record) for record in RECORDS),
    "a.json": json.dumps(RECORDS, indent=1),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_texts(tmp_path, name):
    assert read_column(put(tmp_path, name, FORMS[name]), "body") == TEXTS
    assert read_column(put(tmp_path, f"{name}.gz", gzip.compress(FORMS[name].encode())), "body") == TEXTS
    assert read_column(put(tmp_path, f"{name}.zst", zstandard.compress(FORMS[name].encode())), "body") == TEXTS


def test_without_a_header_columns_have_numbers(tmp_path):
    path = put(tmp_path, "a.csv", "1,first message\n2,second message\n")
    assert read_column(path, "2") == ["first message", "second message"]
    assert error(path) == "there is no column 'body' (columns: 1, 2). Name one of these."


def test_what_was_guessed_and_changed_is_said(tmp_path):
    said: list[str] = []
    latin = put(tmp_path, "a.csv", "id,body\r\n1,olá\r\n".encode("latin-1"))
    assert read_column(latin, "body", encoding="latin-1", say=said.append) == ["olá"]
    assert said == ["Windows line ends (CR LF) made LF (2 lines).", "Line 1 was read as the header."]


def test_a_row_without_text_is_an_error_with_its_line(tmp_path):
    hint = "Fill it in, or take such rows out."
    two = put(tmp_path, "a.csv", "id,body\n1,x\n2,\n\n3,  \n")
    assert error(two) == f"there is no text in 2 lines (3, 5). {hint}"
    lines = ['{"body": "x"}', "", '{"body": null}']
    assert error(put(tmp_path, "a.jsonl", "\n".join(lines))) == f"there is no text in line 3. {hint}"
    assert error(put(tmp_path, "a.json", '[{"body": "x"}, {"id": 1}]')) == f"there is no text in item 2. {hint}"
    only = put(tmp_path, "only.csv", 'body\nx\n""\ny\n')
    assert error(only) == f"there is no text in line 3. {hint}", "a written cell is a row, though a blank line is none"


BAD = [
    ("a.csv", "id,bodi\n1,x\n", "there is no column 'body' (columns: id, bodi). Did you mean bodi?"),
    ("a.jsonl", "{}\n", "there is no column 'body' (columns: none). Name one of these."),
    ("a.csv", "body,body\nx,y\n", "2 columns are called 'body'. Give each a name of its own."),
    ("a.csv", "", "there are no rows in it. Choose a table that has a text in each row."),
    ("a.csv", "id,body\n", "there are no rows in it below the header. Choose a table that has a text in each row."),
    ("a.json", "[]", "there are no rows in it. Choose a table that has a text in each row."),
    ("a.json", '["x"]', 'item 1: "x" is not an object with a text. Write one object a line, or one list of objects.'),
    ("a.jsonl", '{"body": 5}', "line 1: column 'body' is 5, not text. Repair it."),
    ("a.jsonl", '{"body": "\\ud800"}', "line 1: 'text' holds half a surrogate pair (\\ud800) at character 0. Repair"),
]


@pytest.mark.parametrize(("name", "content", "line"), BAD)
def test_what_has_no_such_texts(tmp_path, name, content, line):
    assert error(put(tmp_path, name, content)).startswith(line)


def test_files_that_cannot_be_read(tmp_path):
    assert error(tmp_path / "a.csv") == "there is no such file or folder"
    torn = put(tmp_path, "a.csv.gz", gzip.compress(FORMS["a.csv"].encode())[:-9])
    assert error(torn) == "the compressed file is cut short. Fetch or pack it again."
    assert error(torn, encoding="utf-9").startswith("encoding: there is no text encoding called 'utf-9'")


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).filter(str.strip)


@given(st.lists(cells, min_size=1, max_size=6), st.sampled_from([",", ";", "json", "alone"]))
def test_texts_survive(tmp_path_factory, texts, form):
    if form == "json":
        name, content = "a.jsonl", "\n".join(json.dumps({"body": text, "n": 1}) for text in texts)
    else:
        rows = [(text,) if form == "alone" else (number, text) for number, text in enumerate(texts)]
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter="," if form == "alone" else form, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerows([("body",) if form == "alone" else ("n", "body"), *rows])
        name, content = "a.csv", out.getvalue()
    assert read_column(put(tmp_path_factory.getbasetemp(), name, content), "body") == texts


pieces = st.lists(
    st.sampled_from(["a", "body", "text", ",", "\t", "\n", '"', '{"body": "x", "label": 1}', "[", "]", "1", " "])
)


@given(pieces.map("".join) | st.text(max_size=40), st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.json", "a"]))
def test_anything_is_a_table_or_one_line(tmp_path_factory, content, name):
    path = put(tmp_path_factory.getbasetemp(), name, content.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(DataError):
        table = read_table(path, holds="a text", wanted=["body"])
        assert len(table.cells) == len(table.lines) > 0
        assert {len(record) for record in table.cells} == {len(table.names)}
        assert table.lines == sorted(set(table.lines))
    with contextlib.suppress(DataError):
        texts = read_column(path, "body")
        assert texts
        assert all(text.strip() for text in texts)


def test_lines(tmp_path):
    data = "\ufeffone\r\ntwo  words \nlast".encode()
    assert list(read_lines(put(tmp_path, "a.txt", data))) == ["one", "two  words ", "last"]
    assert list(read_lines(put(tmp_path, "a.txt.gz", gzip.compress(data)))) == ["one", "two  words ", "last"]
    assert list(read_lines(put(tmp_path, "b.txt", "olá\n".encode("cp1252")), encoding="cp1252")) == ["olá"]
    many = [f"line {number} of a file of more than one block" for number in range(BLOCK_BYTES // 40)]
    assert list(read_lines(put(tmp_path, "long.txt", "\n".join(many)))) == many


@given(st.lists(cells.filter(lambda text: "\n" not in text), min_size=1), st.integers(1, 5), st.booleans())
def test_lines_do_not_depend_on_how_the_bytes_come(texts, size, closed):
    data = ("\n".join(texts) + "\n" * closed).encode()
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    if not texts[0].startswith("\ufeff"):  # which is a mark at the beginning, not text
        assert list(lines_of(blocks, where="stdin")) == texts


def test_lines_that_are_no_texts(tmp_path):
    def fault(name: str, data: bytes) -> str:
        path = put(tmp_path, name, data)
        with pytest.raises(DataError) as caught:
            list(read_lines(path))
        return str(caught.value).removeprefix(f"{path}: ")

    assert fault("a.txt", b"one\n \ntwo\n") == "there is no text in line 2. Take empty lines out."
    assert fault("a.txt", b"") == "there is no text in it. Write one text a line."
    assert fault("a.txt", b"caf\xe9\n").startswith("this is not UTF-8 text: byte 0xE9 at byte offset 3. If you know")
    rows = "".join(f"number {n * n}\n" for n in range(5000)).encode()
    assert fault("a.gz", gzip.compress(rows)[:-100]) == "the compressed file is cut short. Fetch or pack it again."
