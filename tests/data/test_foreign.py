"""Token files of Dolma and datatrove, and numpy's."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from vidro.core.errors import DataError
from vidro.data.foreign import foreign_files, is_shards, open_foreign

IDS = np.array([5, 6, 9, 7, 9, 8, 9])
ENDS = [3, 5, 7]


def opened(path, **how):
    return open_foreign(foreign_files(path), **{"vocab_size": 10, "eot_id": 9, **how})


def error(path, **how) -> str:
    with pytest.raises(DataError) as caught:
        opened(path, **how)
    return str(caught.value).removeprefix(str(path))


def test_dolmas_headerless_npy_with_its_table(tmp_path):
    IDS.astype("<u2").tofile(tmp_path / "part-0-00000.npy")
    rows = "0,3,a,x.gz,1\r\n3,5,b,x.gz,2\r\n5,7,c,x.gz,3\r\n"
    (tmp_path / "part-0-00000.csv.gz").write_bytes(gzip.compress(rows.encode()))
    shards = opened(tmp_path, eot_id=None)
    assert (np.asarray(shards).tolist(), shards.document_ends.tolist()) == (IDS.tolist(), ENDS)
    assert is_shards(tmp_path)
    assert is_shards(tmp_path / "part-0-00000.npy")


def test_ends_are_found_by_the_end_id_where_nothing_else_says_them(tmp_path):
    IDS.astype("<u2").tofile(tmp_path / "a.npy")
    assert opened(tmp_path / "a.npy").document_ends.tolist() == ENDS
    assert opened(tmp_path / "a.npy", eot_id=1).document_ends.tolist() == [7]
    assert [ids.tolist() for ids in opened(tmp_path).documents()] == [[5, 6], [7], [8]]


def test_large_vocabularies_have_four_bytes_a_token(tmp_path):
    (IDS + 100_000).astype("<u4").tofile(tmp_path / "a.npy")
    assert np.asarray(opened(tmp_path, vocab_size=100_010)).tolist() == (IDS + 100_000).tolist()


def test_numpys_own_format_is_told_apart(tmp_path):
    np.save(tmp_path / "a.npy", IDS.astype("<u2"))
    assert np.asarray(opened(tmp_path)).tolist() == IDS.tolist()
    assert opened(tmp_path)[np.array([[1, 2], [6, 0]])].tolist() == [[6, 9], [9, 5]]
    np.save(tmp_path / "a.npy", IDS.astype("<f8"))
    assert error(tmp_path / "a.npy") == (
        ": this holds float64 of shape (7,), not a row of 16 or 32-bit unsigned token ids"
    )


def test_datatrove_files_with_index_and_metadata(tmp_path):
    IDS.astype("<u4").tofile(tmp_path / "00000.ds")
    np.array(ENDS, dtype="<u8").tofile(tmp_path / "00000.ds.index")
    (tmp_path / "00000.ds.metadata").write_text("some/tokenizer|4\n7\n7 T")
    shards = opened(tmp_path, eot_id=None)
    assert (np.asarray(shards).tolist(), shards.document_ends.tolist()) == (IDS.tolist(), ENDS)
    (tmp_path / "00000.ds.metadata").write_text("some/tokenizer|4\n8\n")
    assert error(tmp_path / "00000.ds").startswith(": the metadata says 8 tokens, but there are 7. The file is cut")
    np.array([3, 8], dtype="<u8").tofile(tmp_path / "00000.ds.index")
    assert error(tmp_path / "00000.ds").startswith(": the document ends say 8 tokens, but there are 7. The file is cut")


def test_files_cut_short_empty_or_of_another_tokenizer(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\1\0\2")
    assert error(tmp_path / "a.npy").startswith(": 3 bytes are no whole number of 2-byte tokens. The file is cut short")
    (tmp_path / "a.npy").write_bytes(b"")
    assert error(tmp_path / "a.npy") == ": this file of tokens is empty. Make it anew, or take it out of the folder."
    IDS.astype("<u2").tofile(tmp_path / "a.npy")
    assert error(tmp_path / "a.npy", vocab_size=9) == (
        ": these tokens do not belong to this tokenizer: id 9 is not in its vocabulary of 9. Give the tokenizer they "
        "were made with: --tokenizer"
    )
    (tmp_path / "a.csv.gz").write_bytes(b"broken")
    with pytest.raises(
        DataError, match=r"this table of documents cannot be read .* Make it anew, or remove it: documents then end"
    ):
        opened(tmp_path)


def test_a_folder_with_texts_is_no_folder_of_shards(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\1\0")
    (tmp_path / "a.txt").write_text("text")
    assert not is_shards(tmp_path)
    assert not is_shards(tmp_path / "a.txt")
    assert not is_shards(["x"])
    assert not is_shards("tinyshakespeare")
