from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import pytest

from vidro.core.errors import RunError, StorageError
from vidro.core.files import atomic_path, read_json, remove_directory, sha256_bytes, sha256_file, write_json_atomic


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_disk_full_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.txt: no space left on the disk"), atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_json_round_trip_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json_atomic(path, {"á": [1, 2.5, None]})
    assert read_json(path, error=RunError) == {"á": [1, 2.5, None]}
    path.write_text(path.read_text()[:-5])
    with pytest.raises(RunError, match=r"x\.json: this is not valid JSON"):
        read_json(path, error=RunError)
    with pytest.raises(RunError, match="there is no such file"):
        read_json(tmp_path / "y.json", error=RunError)
    with pytest.raises(ValueError, match="Out of range"):
        write_json_atomic(path, float("nan"))


def test_checksum_of_file_equals_checksum_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9999
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == sha256_bytes(data)


def test_remove_directory_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text(json.dumps(1))
    remove_directory(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_errors_come_back_whole_from_another_process() -> None:
    error = StorageError("no space left on the disk", where="a.txt", hint="Free some space.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is StorageError
    assert str(again) == str(error)


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="a part of this path is a file, not a folder"):
        write_json_atomic(tmp_path / "file" / "x.json", 1)
