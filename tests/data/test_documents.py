"""Reading: every kind of plain file, and one clear line for each that cannot be read."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data import blocks as blocks_module
from vidro.data.documents import ReadReport, read_documents

TRY = "Choose a text with words in it."


def texts(source, **how) -> list[str]:
    return [document.text for document in read_documents(source, **how)]


def error(source, **how) -> str:
    with pytest.raises(DataError) as caught:
        texts(source, **how)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_text_file_is_one_document_named_after_its_file(tmp_path):
    (tmp_path / "book.txt").write_text("Olá, mundo.\n\fPage two.\n", encoding="utf-8")
    report = ReadReport()
    [document] = read_documents(tmp_path / "book.txt", report=report)
    assert (document.text, document.source) == ("Olá, mundo.\n\fPage two.\n", "book.txt")
    assert (report.files, report.documents, report.bytes) == (1, 1, len(document.text.encode()))
    assert report.notes == []


def test_markdown_keeps_its_front_matter(tmp_path):
    text = "---\ntitle: T\n---\n# T\n\nText *here*.\n"
    (tmp_path / "a.md").write_text(text)
    assert texts(tmp_path / "a.md") == [text]


def test_a_name_without_ending_is_tried_as_text(tmp_path):
    (tmp_path / "LICENSE").write_text("Free.\n")
    assert texts(str(tmp_path / "LICENSE")) == ["Free.\n"]


def test_windows_text_is_made_plain_and_it_is_said(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    report = ReadReport()
    assert [d.text for d in read_documents(tmp_path / "a.txt", report=report)] == ["one\ntwo\n"]
    assert report.notes == ["Byte-order mark removed (1 text).", "Windows line ends (CR LF) made LF (2 lines)."]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_wide_encodings_are_read_by_their_mark(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("Olá\r\n日本\n".encode(encoding))
    report = ReadReport()
    assert [d.text for d in read_documents(tmp_path / "a.txt", report=report)] == ["Olá\n日本\n"]
    assert f"Read as {encoding.upper()}" in report.notes[0]


def test_an_encoding_can_be_given(tmp_path):
    (tmp_path / "a.txt").write_bytes("año".encode("cp1252"))
    assert texts(tmp_path / "a.txt", encoding="cp1252") == ["año"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_packed_text_is_unpacked(tmp_path, suffix, pack):
    text = "line é\n" * 500_000
    (tmp_path / f"a.txt{suffix}").write_bytes(pack(text.encode()))
    assert texts(tmp_path / f"a.txt{suffix}") == [text]


def test_several_members_and_frames_in_a_row_are_one_text(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one ") + b"\0" * 16 + gzip.compress(b"two"))
    (tmp_path / "b.txt.zst").write_bytes(zstandard.compress(b"one ") + zstandard.compress(b"two"))
    assert texts([tmp_path / "a.txt.gz", tmp_path / "b.txt.zst"]) == ["one two", "one two"]


def test_standard_input_is_read(tmp_path):
    report = ReadReport()
    [document] = read_documents("-", stdin=io.BytesIO("de lá\r\n".encode()), report=report)
    assert (document.text, document.source) == ("de lá\n", "stdin")
    assert error("-", stdin=io.BytesIO(b"")) == f"standard input: there is no text in it. {TRY}"


def test_separator_lines_divide_a_text_into_documents(tmp_path):
    text = "One.\nStill one.\n<|endoftext|>\n\nTwo.\n<|endoftext|>\nAn <|endoftext|> inside stays.\n<|endoftext|>"
    (tmp_path / "stories.txt").write_text(text)
    report = ReadReport()
    found = [d.text for d in read_documents(tmp_path / "stories.txt", report=report)]
    assert found == ["One.\nStill one.", "Two.", "An <|endoftext|> inside stays."]
    assert report.notes == ["3 documents told apart by lines that are exactly <|endoftext|>."]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet="aé\n <|", max_size=12), max_size=6), st.integers(1, 7))
def test_separators_do_not_depend_on_where_blocks_end(pieces, size):
    data = "\n<|endoftext|>\n".join(pieces).encode()
    whole = _divided([data])
    assert _divided([data[i : i + size] for i in range(0, len(data), size)]) == whole
    assert [p for p in whole if p.strip()] == [p.strip("\n") if len(pieces) > 1 else p for p in pieces if p.strip()]


def _divided(data: list[bytes]) -> list[str]:
    from vidro.data.documents import _divided as divided

    report = ReadReport()
    return list(divided(blocks_module.decode_blocks(data, where="x", encoding=None, report=report), report))


@settings(max_examples=60, deadline=None)
@given(st.text(), st.integers(1, 5))
def test_decoding_does_not_depend_on_where_blocks_end(text, size):
    data = text.encode()
    if b"\0" in data or data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    found = "".join(blocks_module.decode_blocks(pieces, where="x", encoding=None, report=ReadReport()))
    assert found == text.replace("\r\n", "\n").replace("\r", "\n")


# What cannot be read


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "verdict.txt").write_text("x")
    line = error(tmp_path / "verdikt.txt")
    assert line == f"{tmp_path / 'verdikt.txt'}: there is no such file or folder. Did you mean verdict.txt?"


def test_a_misspelt_corpus_is_recognised():
    assert error("tinyshakespear") == ("tinyshakespear: there is no such file or folder. Did you mean tinyshakespeare?")


def test_a_corpus_that_is_not_there_yet_says_how_to_get_it(tmp_path):
    line = error("tinyshakespeare", cache_dir=tmp_path)
    assert line == ("the corpus tinyshakespeare is not on this machine yet. Get it: vidro data get tinyshakespeare")


def test_empty_and_blank_files(tmp_path):
    for name, content in (("e.txt", b""), ("e.jsonl", b""), ("e.html", b""), ("e.txt.gz", b"")):
        (tmp_path / name).write_bytes(content)
        assert error(tmp_path / name) == f"{tmp_path / name}: the file is empty. {TRY}"
    (tmp_path / "b.txt").write_bytes(b" \n\t\n")
    assert error(tmp_path / "b.txt") == f"{tmp_path / 'b.txt'}: there is no text in it. {TRY}"


def test_a_binary_file_is_named_as_one(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"MZ" + b"x" * 100 + b"\0\1")
    assert error(tmp_path / "a.txt").startswith(
        f"{tmp_path / 'a.txt'}: this is a binary file, not text (a zero byte at byte offset 102). Vidro reads text:"
    )
    assert "zero byte" in error(tmp_path / "a.txt", encoding="latin-1")


def test_bytes_outside_utf8_are_located(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x" * 3_000_000 + "né\n".encode() + b"caf\xe9\n")
    assert error(tmp_path / "a.txt") == (
        f"{tmp_path / 'a.txt'}: this is not UTF-8 text: byte 0xE9 at byte offset 3,000,007. If you know its encoding, "
        "give it, for example --encoding cp1252 (Windows) or --encoding latin-1."
    )
    (tmp_path / "b.txt").write_bytes("fin é".encode()[:-1])
    assert "byte 0xC3 at byte offset 4" in error(tmp_path / "b.txt")


def test_a_wrong_encoding_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert error(tmp_path / "a.txt", encoding="utf-ate") == (
        "encoding: there is no text encoding called 'utf-ate'. Try utf-8, latin-1 or cp1252."
    )
    assert "no text encoding called 'base64'" in error(tmp_path / "a.txt", encoding="base64")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    assert "this is not ASCII text: byte 0xE9 at byte offset 3" in error(tmp_path / "b.txt", encoding="ascii")
    assert "this is not UTF-16 text: " in error(tmp_path / "b.txt", encoding="utf-16")


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_packed_text_cut_short_says_how_much_there_was(tmp_path, suffix, pack):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack(os.urandom(1_500_000).hex().encode())[:-1000])
    line = error(path)
    assert line.startswith(f"{path}: the compressed file is cut short: 2,")
    assert line.endswith(" bytes of text could be read. Fetch or pack it again.")


def test_a_damaged_packed_text_is_not_believed(tmp_path):
    data = bytearray(gzip.compress(b"hello world " * 1000))
    data[-6] ^= 0xFF  # the checksum at the end
    (tmp_path / "a.txt.gz").write_bytes(data)
    assert "the compressed file is damaged" in error(tmp_path / "a.txt.gz")


def test_a_file_that_is_not_what_its_ending_says(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(b"plain text")
    assert error(tmp_path / "a.txt.gz") == (
        f"{tmp_path / 'a.txt.gz'}: this is not a gzip file, though its name ends in .gz. "
        "If it is not packed, take .gz off its name."
    )
    (tmp_path / "a.epub.gz").write_bytes(b"x")
    assert error(tmp_path / "a.epub.gz") == (
        f"{tmp_path / 'a.epub.gz'}: .epub packed in .gz is not read. Unpack it first."
    )


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_no_permission_binding(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.txt").chmod(0)
    assert (
        error(tmp_path / "a.txt") == f"{tmp_path / 'a.txt'}: no permission to read this file. Its owner can allow it."
    )


def test_no_permission_is_said(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert (
        error(tmp_path / "a.txt") == f"{tmp_path / 'a.txt'}: no permission to read this file. Its owner can allow it."
    )


def test_skip_bad_leaves_a_bad_file_out_and_says_so(tmp_path):
    (tmp_path / "a.txt").write_text("good")
    (tmp_path / "b.txt").write_bytes(b"bad\0")
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    report = ReadReport()
    assert [d.text for d in read_documents(tmp_path, skip_bad=True, report=report)] == ["good"]
    assert report.n_skipped == 2
    assert report.notes[-1].startswith(f"Skipped as bad: {tmp_path / 'b.txt'}: this is a binary file")
    assert report.notes[-1].endswith(" and 1 more.")
