"""From what the user names to a list of files in a fixed order."""

from __future__ import annotations

import pytest

from vidro.config.schema import DataOptions
from vidro.core.errors import DataError
from vidro.data.corpora import CORPORA
from vidro.data.documents import ReadReport, read_documents
from vidro.data.sources import find_inputs
from vidro.data.survey import open_source


def names(source, report=None, **how) -> list[str]:
    return [item.name for item in find_inputs(source, report=report or ReadReport(), **how)]


def make(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"text of {path}\n")


def test_a_folder_is_read_recursively_in_order_and_the_rest_is_counted(tmp_path):
    make(tmp_path, "b.txt", "a/z.md", "a/B.TXT", "c.jsonl.gz", "pic.png", "x.css", "y.png", ".hidden.txt", "noending")
    make(tmp_path, ".git/config.txt")
    report = ReadReport()
    assert names(tmp_path, report) == ["a/B.TXT", "a/z.md", "b.txt", "c.jsonl.gz"]
    assert report.notes == [
        "1 hidden file left out.",
        "4 files of other kinds left out (.png 2, no ending 1, .css 1).",
    ]


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path, "in/a.txt", "elsewhere/b.txt")
    try:
        (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "in" / "circle").symlink_to(tmp_path / "in", target_is_directory=True)
    except OSError:
        pytest.skip("no links on this system")
    assert names(tmp_path / "in") == ["a.txt", "link/b.txt"]


def test_a_folder_without_text_says_what_is_read(tmp_path):
    make(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"no text in this folder \(1 files of other kinds\)\. Vidro reads \.txt"):
        names(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: there is no text in this folder\. Vidro reads"):
        names(tmp_path / "empty")


def test_a_folder_of_empty_files_has_no_text(tmp_path):
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    with pytest.raises(DataError, match="all files are empty"):
        list(read_documents(tmp_path))


def test_empty_files_among_others_are_counted(tmp_path):
    make(tmp_path, "a.txt")
    (tmp_path / "b.txt").touch()
    report = ReadReport()
    assert len(list(read_documents(tmp_path, report=report))) == 1
    assert report.notes == ["1 empty document left out."]


def test_patterns_and_lists(tmp_path):
    make(tmp_path, "a1.txt", "a2.txt", "b.txt", "sub/a3.txt")
    assert names(str(tmp_path / "a*.txt")) == ["a1.txt", "a2.txt"]
    assert names(str(tmp_path / "**" / "a*.txt")) == ["a1.txt", "a2.txt", "sub/a3.txt"]
    assert names(str(tmp_path / "s*")) == ["a3.txt"]
    assert names([tmp_path / "b.txt", str(tmp_path / "a1.txt")]) == ["b.txt", "a1.txt"]
    with pytest.raises(DataError, match=r"z\*\.txt: no file matches this pattern\. \*\* goes through subfolders"):
        names(str(tmp_path / "z*.txt"))
    with pytest.raises(DataError, match="the list of files is empty"):
        names([])


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    make(tmp_path, "book[1].txt")
    assert names(str(tmp_path / "book[1].txt")) == ["book[1].txt"]


def test_dolmas_attributes_are_not_documents(tmp_path):
    make(tmp_path, "documents/000.jsonl", "documents/x/001.jsonl", "attributes/tags/000.jsonl")
    report = ReadReport()
    assert names(tmp_path, report) == ["documents/000.jsonl", "documents/x/001.jsonl"]
    assert report.notes == ["1 Dolma attribute file left out (they hold marks on the documents, not text)."]


def test_a_file_in_the_way_wins_over_a_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names").write_text("mine\n")
    assert [d.text for d in read_documents("names")] == ["mine\n"]


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if corpus.kind != "text"])
def test_rows_for_fine_tuning_are_not_a_text(name, tmp_path):
    for read in (
        lambda: names(name, cache_dir=tmp_path),
        lambda: open_source(name, DataOptions(), cache_dir=tmp_path),
        lambda: open_source("tinyworld", DataOptions(val=name), cache_dir=tmp_path),
    ):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value) == (
            f"{name}: this corpus is for fine-tuning ({CORPORA[name].kind}), not a text. "
            f"To read its rows as a text all the same, name the file that vidro data get {name} prints."
        )


def test_a_name_too_long_for_the_system_is_one_line():
    with pytest.raises(DataError, match=r"^x{80}: the file cannot be read \(File name too long\)$"):
        names("x" * 5000)
