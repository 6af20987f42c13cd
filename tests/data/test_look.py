"""A look at a text: right numbers, and a warning for each thing that is odd."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import pytest

from vidro.core.errors import DataError
from vidro.data import look as look_module
from vidro.data.look import look
from vidro.text.train import build_bytes

LONG = "This is a sentence of a book, and it is not very exciting. " * 1500


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def warnings(path, text, **how) -> list[str]:
    return list(look(write(path, text, **how)).warnings)


def test_numbers_are_right(tmp_path):
    text = "Olá mundo.\nSegunda linha\n\nfim"
    found = look(write(tmp_path / "a.txt", text))
    assert (found.n_bytes, found.n_characters, found.n_words, found.n_lines) == (30, 29, 5, 4)
    assert (found.n_documents, found.n_files, found.disk_bytes, found.encoding) == (1, 1, 30, "UTF-8")
    assert found.n_distinct_characters == len(set(text))
    assert (found.n_tokens, found.n_tokens_is_estimate, found.complete) == (7, True, True)
    with_tokens = look(tmp_path / "a.txt", tokenizer=build_bytes())
    assert (with_tokens.n_tokens, with_tokens.n_tokens_is_estimate) == (30, False)


def test_encodings_are_named(tmp_path):
    assert look(write(tmp_path / "a.txt", "plain")).encoding == "ASCII"
    assert look(write(tmp_path / "b.txt", "é", "utf-16")).encoding == "UTF-16"
    assert look(write(tmp_path / "c.txt", "é", "latin-1"), encoding="latin-1").encoding == "latin-1"
    with pytest.raises(DataError, match="not UTF-8"):
        look(tmp_path / "c.txt")


def test_an_ordinary_text_has_no_warnings(tmp_path):
    text = "\n\n".join(f"Paragraph {n} of a book that goes on and on, as books do." for n in range(2000))
    found = look(write(tmp_path / "a.txt", text))
    assert found.warnings == ()
    assert len(found.samples) == 3
    assert all(sample in text for sample in found.samples)


def test_duplicates_are_counted(tmp_path):
    paragraph = "A paragraph that is long enough to count as one, é."
    rows = [{"text": f"{paragraph}\n\nunique {n}"} for n in range(10)] + [{"text": "the same"}] * 3
    found = look(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert (found.n_documents, found.duplicate_documents, found.duplicate_paragraphs) == (13, 2, 9)
    assert found.duplicate_paragraph_bytes == 9 * len(paragraph.encode())
    text = " ".join(found.warnings)
    assert "2 of 13 documents are copies of others" in text
    assert "% of the text are paragraphs that stood there before." in text


def test_every_oddity_is_warned_of(tmp_path):
    path = tmp_path / "a.txt"
    assert any("The text is very small (3 bytes)" in line for line in warnings(path, "abc"))
    assert any("of the text is the character U+0061 'a'." in line for line in warnings(path, LONG + "a" * 99_999))
    assert "3 control characters (U+0001, U+009D)." in warnings(path, LONG.replace(". ", ".\n") + "\x01\x01\x9d")
    assert any("2 replacement characters (U+FFFD)" in line for line in warnings(path, LONG + "��"))
    assert any("9 times 'Ã©': UTF-8 text that was" in line for line in warnings(path, LONG + "cafÃ© " * 9))
    assert any(line.startswith("The longest line has 88,500 characters") for line in warnings(path, LONG))
    assert "Mixed line ends (CR LF 1, CR 1, LF 2); all are made LF." in warnings(path, LONG + "\r\n \r \n\n ")
    rows = "\n".join(json.dumps({"text": text}) for text in (LONG, "hi"))
    assert "1 of 2 documents have fewer than 20 characters." in warnings(tmp_path / "b.jsonl", rows)


def test_a_large_source_is_looked_at_in_part_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(look_module, "MOST_LOOKED_AT_BYTES", 1000)
    rows = "\n".join(json.dumps({"text": f"{n:0100d}"}) for n in range(100))
    found = look(write(tmp_path / "a.jsonl", rows))
    assert (found.complete, found.n_documents) == (False, 10)
    assert "Only the first 1,000 bytes of text were looked at." in found.notes


def test_it_can_be_shown_and_is_plain_data(tmp_path):
    found = look(write(tmp_path / "a.txt", LONG))
    shown = str(found)
    assert "88,500 bytes of text in 1 document, ASCII" in shown
    assert "(estimated at 4 bytes each)" in shown
    assert "warning      The longest line has 88,500 characters." in shown
    assert "sample 1" in shown
    json.dumps(asdict(found))


def test_samples_come_from_many_documents_and_the_seed_decides(tmp_path):
    rows = "\n".join(json.dumps({"text": f"document number {n}"}) for n in range(200))
    path = write(tmp_path / "a.jsonl", rows)
    assert look(path).samples == look(path).samples
    assert look(path, seed=1).samples != look(path).samples
    assert len(look(path).samples) == 3


def test_standard_input(tmp_path):
    found = look("-", stdin=io.BytesIO(b"some text"))
    assert (found.name, found.n_bytes) == ("standard input", 9)
