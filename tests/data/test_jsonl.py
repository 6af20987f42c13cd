"""JSON Lines: Dolma and C4 documents, bad lines by number, streaming."""

from __future__ import annotations

import contextlib
import gzip
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data.documents import ReadReport, read_documents
from vidro.data.jsonl import line_chunks, parse_chunk

DOLMA = {"id": "7", "text": "Olá.", "source": "cc", "added": "2020", "metadata": {"lang": "pt"}}
C4 = {"text": "Hi.", "url": "http://x", "timestamp": "2019"}


def write(path, *lines):
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def error(source, **how) -> str:
    with pytest.raises(DataError) as caught:
        list(read_documents(source, **how))
    return str(caught.value)


def test_dolma_and_c4_documents(tmp_path):
    one, two = read_documents(write(tmp_path / "a.jsonl", DOLMA, "", C4))
    assert (one.id, one.text, one.source, one.metadata) == ("7", "Olá.", "cc", {"lang": "pt"})
    assert (two.id, two.text, two.source) == (None, "Hi.", "a.jsonl")
    assert two.metadata == {"url": "http://x", "timestamp": "2019"}


@pytest.mark.parametrize(
    ("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.json.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)]
)
def test_packed_lines(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(b"\n".join([json.dumps(DOLMA).encode()] * 3)))
    assert [d.text for d in read_documents(tmp_path / name)] == ["Olá."] * 3


def test_a_file_that_is_one_list(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([DOLMA, C4], indent=2))
    assert [d.text for d in read_documents(tmp_path / "a.json")] == ["Olá.", "Hi."]
    (tmp_path / "b.json").write_text("[1, 2")
    assert "b.json: this is not JSON (" in error(tmp_path / "b.json")
    assert error(tmp_path / "b.json").endswith("or use --skip-bad to leave such files out and count them.")
    (tmp_path / "c.json").write_text('[{"text": "a"}, {"body": "b"}]')
    assert "c.json: item 2: there is no 'text' field (fields: body)" in error(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"text": "a"', "line 3: this is not JSON (Expecting ',' delimiter at column 13)"),
        ("hello", "line 3: this is not JSON (Expecting value at column 1)"),
        ('{"body": "x", "id": 1}', "line 3: there is no 'text' field (fields: body, id)"),
        ("{}", "line 3: there is no 'text' field (fields: none)"),
        ('{"text": 5}', "line 3: 'text' is a number, not text"),
        ('{"text": null}', "line 3: 'text' is null, not text"),
        ('["text"]', "line 3: this is a list, not a record with a 'text' field"),
        ('{"text": "half \\ud800."}', "line 3: 'text' holds half a surrogate pair (\\ud800) at character 5"),
        ('{"id": 1, "attributes": {}}', "line 3: this is a Dolma attribute record: it marks a document"),
        ("[" * 100_000, "line 3: this JSON is nested too deeply"),
    ],
)
def test_a_bad_line_is_named_or_skipped_and_counted(tmp_path, bad, reason):
    path = write(tmp_path / "a.jsonl", DOLMA, "", bad, C4)
    line = error(path)
    assert line.startswith(f"{path}: {reason}")
    assert line.endswith("Repair that line, or use --skip-bad to leave such lines out and count them.")
    report = ReadReport()
    assert [d.text for d in read_documents(path, skip_bad=True, report=report)] == ["Olá.", "Hi."]
    assert report.n_skipped == 1
    assert report.skipped[0].startswith(f"{path} {reason}")


def test_a_line_that_is_not_utf8(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "ok"}\n{"text": "caf\xe9"}\n')
    assert "a.jsonl: line 2: not UTF-8 text at byte 13 of the line" in error(tmp_path / "a.jsonl")
    assert [d.text for d in read_documents(tmp_path / "a.jsonl", encoding="latin-1")] == ["ok", "café"]


def test_empty_texts_are_left_out_and_counted(tmp_path):
    report = ReadReport()
    path = write(tmp_path / "a.jsonl", {"text": ""}, {"text": " \n"}, C4)
    assert [d.text for d in read_documents(path, report=report)] == ["Hi."]
    assert report.notes == ["2 empty documents left out."]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_lines_cut_short_are_counted(tmp_path, suffix, pack):
    rows = [json.dumps({"text": f"{i} {i * i} {i**3}"}) for i in range(15_000)]
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(pack("\n".join(rows).encode())[:-2000])
    line = error(path)
    assert "the compressed file is cut short: " in line
    assert line.endswith(
        "whole lines could be read. Fetch or pack it again, or use --skip-bad to keep what can be read."
    )
    report = ReadReport()
    found = [d.text for d in read_documents(path, skip_bad=True, report=report)]
    assert f" {len(found):,} whole lines" in line
    assert 5_000 < len(found) < 15_000
    assert found == [json.loads(row)["text"] for row in rows[: len(found)]]
    said = f"the compressed file is cut short: {len(found):,} whole lines could be read"
    assert report.notes == [f"Skipped as bad: {path}: {said}."]


@given(st.lists(st.binary(max_size=9), max_size=8), st.integers(1, 6))
def test_chunks_put_together_are_the_file_and_know_their_lines(lines, size):
    data = b"\n".join(lines)
    chunks = list(line_chunks([data[i : i + size] for i in range(0, len(data), size)]))
    assert b"".join(chunk.data for chunk in chunks) == data
    assert all(chunk.data.endswith(b"\n") for chunk in chunks[:-1])
    before = 0
    for chunk in chunks:
        assert chunk.first_line == 1 + before
        before += chunk.data.count(b"\n")


@given(st.lists(st.text(), max_size=6), st.integers(1, 40))
def test_texts_survive_any_cutting(values, size):
    data = b"".join(json.dumps({"text": value}).encode() + b"\n" for value in values)
    chunks = line_chunks([data[i : i + size] for i in range(0, len(data), size)])
    report = ReadReport()
    found = [
        record.text
        for chunk in chunks
        for record in parse_chunk(chunk, where="x", encoding=None, skip_bad=False, report=report)
    ]
    assert found == values


@given(st.binary(max_size=200))
def test_any_bytes_give_records_or_one_line(data):
    report = ReadReport()
    lists = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    with pytest.raises(DataError, match="one JSON list") if lists else contextlib.nullcontext():
        for chunk in line_chunks([data]):
            list(parse_chunk(chunk, where="x", encoding=None, skip_bad=True, report=report))
