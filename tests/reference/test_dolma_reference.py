"""Real Dolma and C4 shards, counted by their own toolkit's test data; and read as training text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from vidro.core.errors import DataError
from vidro.data.documents import ReadReport, read_documents
from vidro.data.prepare import prepare
from vidro.data.shards import TokenShards
from vidro.text.train import build_bytes


@pytest.fixture(scope="module")
def dolma(shared_data: Path) -> Path:
    return shared_data / "dolma"


def raw(path: Path) -> list[dict]:
    """The records, by the standard library alone."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("provided/documents/000.json.gz", 10),
        ("multiple_files/cc_en_head-0091.jsonl.gz", 10),
        ("multiple_files/cc_en_head-0174.jsonl.gz", 10),
        ("expected/mixer.json.gz", 6),
        ("expected/remove-paragraphs.json.gz", 10),
        ("expected/filter-by-spans.json.gz", 6),
        ("expected/email-spans.json.gz", 10),
        ("c4-sample.01.json.gz", 10),
        ("c4-sample.02.json.gz", 10),
        ("c4-sample.03.json.gz", 10),
    ],
)
def test_every_document_is_read_as_it_stands(dolma, name, count):
    records, documents = raw(dolma / name), list(read_documents(dolma / name))
    assert len(documents) == count
    assert [d.text for d in documents] == [r["text"].replace("\r\n", "\n").replace("\r", "\n") for r in records]
    assert [d.id for d in documents] == [r.get("id") for r in records]
    assert all(d.source == r.get("source", Path(name).name) for d, r in zip(documents, records, strict=True))


def test_the_dolma_folder_layout_leaves_attributes_out(dolma):
    report = ReadReport()
    assert len(list(read_documents(dolma / "provided", report=report))) == 10
    assert report.notes == ["4 Dolma attribute files left out (they hold marks on the documents, not text)."]


def test_attribute_files_on_their_own_are_one_clear_line(dolma):
    path = dolma / "provided" / "attributes" / "pii" / "000.json.gz"
    with pytest.raises(DataError, match="line 1: this is a Dolma attribute record"):
        list(read_documents(path))


def test_c4_documents_keep_their_address(dolma):
    assert all(d.metadata["url"].startswith("http") for d in read_documents(dolma / "c4-sample.01.json.gz"))


def test_shards_hold_exactly_the_documents_and_nothing_twice(dolma, tmp_path):
    tokenizer = build_bytes()
    files = str(dolma / "multiple_files" / "*.jsonl.gz")
    prepared = prepare(files, tokenizer, cache_dir=tmp_path, processes=2)
    texts = [record["text"] for path in sorted((dolma / "multiple_files").glob("*")) for record in raw(path)]
    found = [tokenizer.decode(ids.tolist()) for side in (prepared.train, prepared.val) for ids in side.documents()]
    assert sorted(found) == sorted(texts)
    assert prepared.n_documents == 20
    assert prepared.train_bytes + prepared.val_bytes == sum(len(text.encode()) for text in texts)
    assert len(prepared.train) + len(prepared.val) == prepared.train_bytes + prepared.val_bytes + 20


def test_novels_survive_the_way_through_shards(shared_data, tmp_path):
    """35 MB of real Portuguese: every byte comes back from the tokens."""
    tokenizer = build_bytes()
    path = shared_data / "text" / "portuguese-novels.jsonl.gz"
    prepared = prepare(path, tokenizer, cache_dir=tmp_path)
    assert prepared.n_documents == 90
    assert 0.03 < prepared.val_bytes / prepared.train_bytes < 0.3
    texts = {record["id"]: record["text"] for record in raw(path)}
    whole = sorted(text.encode() for text in texts.values())
    table = np.zeros(tokenizer.vocab_size, dtype=np.uint8)
    for number in range(tokenizer.vocab_size):
        if data := tokenizer.token_bytes(number):
            table[number] = data[0]
    sides: list[TokenShards] = [prepared.train, prepared.val]
    assert sorted(table[ids].tobytes() for side in sides for ids in side.documents()) == whole
