"""Named corpora: from a local server, from a folder, held to their checksums."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import itertools
import json
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from vidro.core.errors import DataError
from vidro.core.files import sha256_file
from vidro.data.catalogue import CORPORA, Corpus, CorpusFile
from vidro.data.corpora import cached_corpus, corpus_file, find_corpus, get_corpus, is_made
from vidro.data.documents import read_documents
from vidro.data.made import MAKERS, story_floor


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


MUST_BE = "It may have any name, and lie in a .gz or .zip, but must be these very bytes."
TEXT, VAL = b"Once upon a time.\n" * 50, b"The end.\n" * 9


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A small corpus with a name, served from a folder on this machine."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "train.txt").write_bytes(TEXT)
    (folder / "valid.txt").write_bytes(VAL)
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.writestr("Inner", TEXT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        base = f"http://127.0.0.1:{server.server_address[1]}"
        train = CorpusFile("train.txt", url=f"{base}/train.txt", sha256=sha(TEXT), n_bytes=len(TEXT))
        unseen = CorpusFile("valid.txt", role="val", url=f"{base}/valid.txt")
        packed = CorpusFile("inner.tsv", url=f"{base}/packed.zip", member="Inner", sha256=sha(TEXT), n_bytes=len(TEXT))
        for name, files in (("small", (train, unseen)), ("packed", (packed,))):
            monkeypatch.setitem(CORPORA, name, Corpus(name, "text", "About.", "public domain", "here", files))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


def change(monkeypatch, name, **values):
    corpus = CORPORA[name]
    monkeypatch.setitem(CORPORA, name, replace(corpus, files=(replace(corpus.files[0], **values), *corpus.files[1:])))


def failure(function, *arguments, **how) -> str:
    with pytest.raises(DataError) as caught:
        function(*arguments, **how)
    return str(caught.value)


def test_a_corpus_is_fetched_once_and_then_found(site, tmp_path):
    cache = tmp_path / "cache"
    path = get_corpus("small", cache_dir=cache)
    assert path.read_bytes() == TEXT
    assert corpus_file("small", "val", cache_dir=cache).read_bytes() == VAL
    for item in site.iterdir():
        item.unlink()
    assert get_corpus("small", cache_dir=cache) == path == cached_corpus("small", cache_dir=cache)
    assert [d.text for d in read_documents("small", cache_dir=cache)] == [TEXT.decode()]


def test_unseen_bytes_are_locked_at_the_first_download(site, tmp_path):
    cache = tmp_path / "cache"
    get_corpus("small", cache_dir=cache)
    lock = json.loads((cache / "corpora" / "lock.json").read_text())
    assert lock["small/valid.txt"]["sha256"] == sha(VAL)
    corpus_file("small", "val", cache_dir=cache).unlink()
    (site / "valid.txt").write_bytes(b"other bytes")
    assert "the checksum is wrong" in failure(get_corpus, "small", cache_dir=cache)


def test_a_file_altered_in_the_cache_is_fetched_again(site, tmp_path):
    path = get_corpus("small", cache_dir=tmp_path)
    path.write_bytes(TEXT[:-1])
    assert "not on this machine yet. Get it: vidro data get small" in failure(
        cached_corpus, "small", cache_dir=tmp_path
    )
    assert get_corpus("small", cache_dir=tmp_path).read_bytes() == TEXT


def test_bytes_other_than_the_known_ones_are_refused(site, tmp_path):
    (site / "train.txt").write_bytes(b"changed")
    assert "the checksum is wrong" in failure(get_corpus, "small", cache_dir=tmp_path)


def test_a_member_of_a_zip_archive(site, tmp_path, monkeypatch):
    assert get_corpus("packed", cache_dir=tmp_path).read_bytes() == TEXT
    assert {item.name for item in (tmp_path / "corpora" / "packed").iterdir()} == {"inner.tsv", ".lock"}
    change(monkeypatch, "packed", sha256="0" * 64)
    assert "Inner has another checksum than expected" in failure(get_corpus, "packed", cache_dir=tmp_path / "b")
    change(monkeypatch, "packed", member="Nothing")
    assert "the archive does not hold Nothing. With a copy of the right file on this machine: --mirror DIR" in failure(
        get_corpus, "packed", cache_dir=tmp_path / "c"
    )


def test_a_folder_can_stand_in_for_the_network(site, tmp_path, monkeypatch):
    monkeypatch.setitem(CORPORA, "small", replace(CORPORA["small"], files=CORPORA["small"].files[:1]))
    change(monkeypatch, "small", url=None)
    for number, (name, data) in enumerate(
        [("any name.dat", TEXT), ("packed.gz", gzip.compress(TEXT)), ("sub/archive.zip", None)]
    ):
        mirror = tmp_path / f"mirror{number}"
        (mirror / name).parent.mkdir(parents=True)
        (mirror / "decoy").write_bytes(b"x" * len(TEXT))
        (mirror / "torn.gz").write_bytes(gzip.compress(TEXT)[:-9] + len(TEXT).to_bytes(4, "little"))
        if data is None:
            with zipfile.ZipFile(mirror / name, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("deep/train.txt", TEXT)
        else:
            (mirror / name).write_bytes(data)
        assert get_corpus("small", cache_dir=tmp_path / f"cache{number}", mirror=mirror).read_bytes() == TEXT
    empty = tmp_path / "nothing"
    empty.mkdir()
    line = failure(get_corpus, "small", cache_dir=tmp_path / "c", mirror=empty)
    assert line == f"{empty}: no file in this folder is train.txt (sha256 {sha(TEXT)[:12]}…, 900 bytes). {MUST_BE}"
    line = failure(get_corpus, "small", cache_dir=tmp_path / "c", mirror=empty / "x")
    assert line == f"{empty / 'x'}: there is no such folder"


def test_files_that_cannot_be_had_say_why(site, tmp_path, monkeypatch):
    line = failure(get_corpus, "english-novels", cache_dir=tmp_path)
    assert line.startswith("english-novels: english-novels.jsonl.gz has no address to fetch it from")
    assert line.endswith("Point --mirror at a folder that holds it.")
    line = failure(get_corpus, "tinystories-valid", cache_dir=tmp_path, mirror=site)
    assert "has no known checksum, so it cannot be recognised in a folder" in line
    assert failure(find_corpus, "tinystory") == "there is no corpus called 'tinystory'. Did you mean tinystories?"
    assert failure(corpus_file, "small", "test", cache_dir=tmp_path) == (
        "the corpus small has no test file. It has: train, val."
    )


def test_the_catalogue_is_sound():
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        assert corpus.kind in ("text", "labels", "instructions")
        assert corpus.licence
        assert corpus.about.endswith(".")
        assert corpus.files[0].role == "train"
        for item in corpus.files:
            assert item.url is None or item.url.startswith("https://")
            assert (item.sha256 is None) == (item.n_bytes is None)
            assert item.sha256 is None or len(item.sha256) == 64
            assert item.url is not None or item.sha256 is not None
    assert "not for commercial use" in CORPORA["alpaca"].licence


def test_the_page_about_data_names_every_corpus_with_its_licence():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.split("| name | what | licence |")[1].splitlines()[2:]]
    table = {name: row[2] for row in itertools.takewhile(lambda row: len(row) == 3, rows) for name in named(row[0])}
    assert list(table) == list(CORPORA)
    for name, corpus in CORPORA.items():
        assert table[name].split()[0].rstrip(",") == corpus.licence.split()[0].rstrip(","), name
    assert "VIDRO_CACHE" in page


def named(cell: str) -> list[str]:
    return [name.strip("` ") for name in cell.split(",")]


MADE = [name for name, corpus in CORPORA.items() if is_made(corpus.files[0])]
SEEN = [name for name, corpus in CORPORA.items() if all(item.sha256 for item in corpus.files) and name not in MADE]


@pytest.mark.parametrize("name", MADE)
def test_what_vidro_writes_itself_needs_no_network_and_is_the_same_everywhere(name, tmp_path):
    for item in CORPORA[name].files:
        path = corpus_file(name, item.role, cache_dir=tmp_path)
        assert path.stat().st_size == item.n_bytes
        assert sha256_file(path) == item.sha256
    assert get_corpus(name, cache_dir=tmp_path) == tmp_path / "corpora" / name / CORPORA[name].files[0].name


def test_what_vidro_writes_itself_takes_no_mirror(tmp_path):
    line = failure(get_corpus, "tinyworld-spam", cache_dir=tmp_path / "cache", mirror=tmp_path)
    assert line == "tinyworld-spam: Vidro writes this corpus itself. Leave --mirror out."
    assert not (tmp_path / "cache").exists()


def test_what_vidro_writes_itself_is_held_to_its_checksum(tmp_path, monkeypatch):
    monkeypatch.setitem(MAKERS, "tinyworld-spam.tsv", lambda: iter(["spam\tother bytes\n"]))
    line = failure(cached_corpus, "tinyworld-spam", cache_dir=tmp_path)
    assert line.startswith("tinyworld-spam.tsv: other bytes than expected were made (sha256 ")
    assert line.endswith("This is a fault of Vidro: please report it.")
    assert not (tmp_path / "corpora" / "tinyworld-spam" / "tinyworld-spam.tsv").exists()


def test_the_lock_says_where_each_file_came_from(site, tmp_path, monkeypatch):
    get_corpus("packed", cache_dir=tmp_path)
    get_corpus("tinyworld-spam", cache_dir=tmp_path)
    monkeypatch.setitem(CORPORA, "small", replace(CORPORA["small"], files=CORPORA["small"].files[:1]))
    get_corpus("small", cache_dir=tmp_path, mirror=site)
    lock = json.loads((tmp_path / "corpora" / "lock.json").read_text())
    assert {name: entry["origin"] for name, entry in lock.items()} == {
        "packed/inner.tsv": CORPORA["packed"].files[0].url,
        "small/train.txt": str(site.resolve()),
        "tinyworld-spam/tinyworld-spam-test.tsv": "made by Vidro",
        "tinyworld-spam/tinyworld-spam.tsv": "made by Vidro",
    }


def test_held_out_rows_are_not_among_those_to_learn_from(tmp_path):
    for name in MADE:
        sides = [corpus_file(name, item.role, cache_dir=tmp_path) for item in CORPORA[name].files]
        if len(sides) == 2:
            train, test = (set(path.read_text(encoding="utf-8").splitlines()) for path in sides)
            assert test
            assert not train & test


def test_the_stories_know_their_floor(tmp_path):
    texts = [one.text for one in read_documents(corpus_file("tinyworld", "train", cache_dir=tmp_path))]
    assert len(texts) > 5000
    bits = story_floor(texts)
    assert bits is not None
    assert 0.04 < bits < 0.2
    assert story_floor([texts[0], "not one of them"]) is None


@pytest.mark.parametrize("name", SEEN)
def test_real_files_are_recognised_by_their_checksums(name, shared_data: Path, tmp_path):
    path = get_corpus(name, cache_dir=tmp_path, mirror=shared_data)
    assert path.stat().st_size == CORPORA[name].files[0].n_bytes
