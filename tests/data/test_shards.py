"""Token shards: written whole or not at all, read as one array, checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data import shards as shards_module
from vidro.data.shard_files import ShardWriter, manifest_path, side_paths
from vidro.data.shards import TokenShards, write_shard

PRINT = "f" * 64


def make(folder, *shards, vocab_size=300):
    """Write shards of documents and return their concatenated ids and ends."""
    for number, documents in enumerate(shards):
        arrays = [np.array(ids) for ids in documents]
        write_shard(folder / f"{number:03d}", arrays, tokenizer_fingerprint=PRINT, vocab_size=vocab_size)
    everything = [ids for documents in shards for ids in documents]
    return np.concatenate([[], *everything]).astype(int), np.cumsum([len(ids) for ids in everything])


def test_bytes_on_the_disk_are_little_endian_and_small(tmp_path):
    manifest = write_shard(tmp_path / "a", [np.array([1, 258, 299])], tokenizer_fingerprint=PRINT, vocab_size=300)
    tokens, ends = side_paths(tmp_path / "a", "train")
    assert tokens.read_bytes() == b"\x01\x00\x02\x01\x2b\x01"
    assert ends.read_bytes() == b"\x03" + b"\0" * 7
    assert manifest == json.loads(manifest_path(tmp_path / "a").read_text())
    assert (manifest["format"], manifest["version"], manifest["dtype"]) == ("vidro-shard", 1, "uint16")
    assert manifest["sides"]["train"]["n_tokens"] == 3
    write_shard(tmp_path / "b", [np.array([70_000])], tokenizer_fingerprint=PRINT, vocab_size=100_000)
    assert side_paths(tmp_path / "b", "train")[0].read_bytes() == b"\x70\x11\x01\x00"


documents = st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=9), max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.lists(documents, min_size=1, max_size=4), st.data())
def test_shards_read_like_one_array(tmp_path_factory, shards, data):
    folder = tmp_path_factory.mktemp("shards")
    whole, ends = make(folder, *shards)
    opened = TokenShards.open(folder, tokenizer_fingerprint=PRINT)
    assert len(opened) == opened.n_tokens == len(whole)
    assert np.asarray(opened).tolist() == whole.tolist()
    assert opened.document_ends.tolist() == ends.tolist()
    assert opened.document_ends.dtype == np.uint64
    assert opened.n_documents == len(ends)
    assert [ids.tolist() for ids in opened.documents()] == [ids for docs in shards for ids in docs]
    opened.verify()
    if len(whole):
        index = st.integers(-len(whole) - 2, len(whole) + 2)
        piece = slice(data.draw(index), data.draw(index), data.draw(st.sampled_from([None, 1, 2, -1])))
        assert np.asarray(opened[piece]).tolist() == whole[piece].tolist()
        places = np.array(data.draw(st.lists(st.lists(st.integers(0, len(whole) - 1), min_size=3, max_size=3))))
        places = places.reshape(-1, 3).astype(int)
        assert np.asarray(opened[places]).tolist() == whole[places].tolist()
        assert np.asarray(opened.tokens[places]).tolist() == whole[places].tolist()
        assert int(opened[-1]) == whole[-1]
        with pytest.raises(IndexError):
            opened[len(whole)]


@settings(max_examples=30, deadline=None)
@given(st.lists(documents, min_size=1, max_size=3), st.floats(0.1, 0.9))
def test_dividing_loses_nothing_and_prefers_document_ends(tmp_path_factory, shards, share):
    folder = tmp_path_factory.mktemp("shards")
    whole, ends = make(folder, *shards)
    first, rest = TokenShards.open(folder).divide(share)
    assert np.concatenate([np.asarray(first), np.asarray(rest)]).tolist() == whole.tolist()
    assert [*first.document_ends.tolist(), *(e + len(first) for e in rest.document_ends.tolist())] == ends.tolist()
    inside = [end for end in ends.tolist() if end < len(whole)]
    if inside:
        assert len(first) in inside


def test_the_end_id_is_left_out_of_documents(tmp_path):
    with ShardWriter(tmp_path / "a", ["train"], 300) as writer:
        writer.append("train", np.array([5, 6, 299, 7, 299]), np.array([3, 5]), 10)
        writer.append("train", np.array([8, 299]), np.array([2]), 4)
        writer.finish({"tokenizer": PRINT, "eot_id": 299})
    opened = TokenShards.open(tmp_path)
    assert [ids.tolist() for ids in opened.documents()] == [[5, 6], [7], [8]]
    assert opened.document_ends.tolist() == [3, 5, 7]
    assert opened.n_text_bytes == 14


def test_a_shard_left_unfinished_leaves_nothing(tmp_path):
    with ShardWriter(tmp_path / "a", ["train", "val"], 300) as writer:
        writer.append("val", np.array([1]), np.array([1]), 1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), ShardWriter(tmp_path / "a", ["train"], 300) as writer:
        writer.append("test", np.array([1]), np.array([1]), 1)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_rewriting_keeps_no_torn_shard(tmp_path, monkeypatch):
    make(tmp_path, [[1, 2, 3]])

    def fail(*_):
        raise OSError(28, "full")

    monkeypatch.setattr("vidro.data.shard_files.write_json_atomic", fail)
    with pytest.raises(OSError, match="full"):
        make(tmp_path, [[4, 5]])
    assert not manifest_path(tmp_path / "000").exists()


def test_open_files_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "MOST_MAPS", 3)
    whole, _ = make(tmp_path, *[[[n, n + 1]] for n in range(20)])
    opened = TokenShards.open(tmp_path)
    places = np.random.default_rng(0).permutation(40)
    assert opened[places].tolist() == whole[places].tolist()
    assert len(opened._maps) == 3


# What is wrong with shards


def broken(folder, **how) -> str:
    with pytest.raises(DataError) as caught:
        TokenShards.open(folder, **how)
    return str(caught.value)


def test_tokens_cut_short_missing_or_altered(tmp_path):
    make(tmp_path, [[1, 2, 3, 4]])
    tokens, ends = side_paths(tmp_path / "000", "train")
    data = tokens.read_bytes()
    tokens.write_bytes(data[:-1])
    hint = ". Make the tokens again: vidro data prepare"
    assert broken(tmp_path) == f"{tokens}: these tokens are cut short (7 of 8 bytes){hint}"
    tokens.write_bytes(data + b"\0")
    assert broken(tmp_path) == f"{tokens}: these tokens are longer than they should be (9 of 8 bytes){hint}"
    tokens.write_bytes(b"\1" + data[:-1])
    with pytest.raises(DataError, match="these tokens were altered: their checksum is wrong"):
        TokenShards.open(tmp_path).verify()
    tokens.write_bytes(data)
    ends.write_bytes(b"\5" + b"\0" * 7)
    assert broken(tmp_path) == f"{ends}: the document ends do not fit the tokens{hint}"
    tokens.unlink()
    assert broken(tmp_path) == f"{tokens}: this file of tokens is missing{hint}"


def test_tokens_of_another_tokenizer(tmp_path):
    make(tmp_path, [[1]])
    assert broken(tmp_path, tokenizer_fingerprint="a" * 64) == (
        f"{manifest_path(tmp_path / '000')}: these tokens were made by another tokenizer (ffffffffffff… and not "
        "aaaaaaaaaaaa…). Use the tokenizer they were made with, or make the tokens again."
    )


def test_manifests_that_cannot_be_used(tmp_path):
    assert broken(tmp_path) == f"{tmp_path}: there are no token shards here. Make the tokens again: vidro data prepare"
    make(tmp_path, [[1]])
    path = manifest_path(tmp_path / "000")
    newer = json.loads(path.read_text()) | {"version": 2}
    path.write_text(json.dumps(newer))
    assert broken(tmp_path) == f"{path}: these tokens were written by a newer version of Vidro. Update Vidro."
    path.write_text('{"format": "other"}')
    wanted = "this is not the manifest of a token shard. Make the tokens again: vidro data prepare"
    assert broken(tmp_path) == f"{path}: {wanted}"
    path.write_text('{"format": ')
    assert "this is not valid JSON" in broken(tmp_path)
