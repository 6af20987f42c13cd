"""From a source to tokens: the split, the cache, what is stale, cut short or altered, and tokens that exist already."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest

from vidro.config.schema import DataOptions
from vidro.core.errors import DataError, UsageError
from vidro.data.catalogue import CORPORA, Corpus, CorpusFile
from vidro.data.prepare import prepare, read_split, tokenize_source
from vidro.data.survey import open_source, stage
from vidro.data.windows import TokenStream
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, train_bpe

STORY = "Once upon a time there was a glass house. It stood on a hill.\n" * 40


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_bytes()


@pytest.fixture
def book(tmp_path):
    (tmp_path / "book.txt").write_text(STORY)
    return tmp_path / "book.txt"


@pytest.fixture
def lines(tmp_path):
    rows = [json.dumps({"text": f"Document {n} says é {n * n}."}) for n in range(60)]
    (tmp_path / "many.jsonl").write_text("\n".join(rows))
    return tmp_path / "many.jsonl"


def decoded(shards, tokenizer) -> list[str]:
    return [tokenizer.decode(ids.tolist()) for ids in shards.documents()]


def error(*arguments, **how) -> str:
    with pytest.raises(DataError) as caught:
        prepare(*arguments, **how)
    return str(caught.value)


def test_one_text(book, tokenizer, tmp_path):
    prepared = prepare(book, tokenizer, cache_dir=tmp_path / "cache")
    cut = int(0.9 * len(STORY))
    assert decoded(prepared.train, tokenizer) == list(prepared.train_texts()) == [STORY[:cut]]
    assert decoded(prepared.val, tokenizer) == list(prepared.val_texts()) == [STORY[cut:]]
    assert (prepared.train_bytes, prepared.val_bytes) == (cut, len(STORY) - cut)
    assert (prepared.train.n_text_bytes, prepared.val.n_text_bytes) == (cut, len(STORY) - cut)
    assert (prepared.n_documents, prepared.name, prepared.notes) == (1, "book.txt", [])
    assert np.asarray(prepared.train)[-1] == np.asarray(prepared.val)[-1] == tokenizer.eot_id
    x, _ = TokenStream(prepared.train.tokens, context_length=32, seed=1).batch(0, 4)
    assert x.shape == (4, 32)


def test_the_source_checksum_is_the_files_own(book, tokenizer, tmp_path):
    import hashlib

    prepared = prepare(book, tokenizer, cache_dir=tmp_path / "cache")
    assert prepared.source_sha256 == hashlib.sha256(book.read_bytes()).hexdigest()


def test_documents_are_divided_as_read_split_says(lines, tokenizer, tmp_path):
    prepared = prepare(lines, tokenizer, cache_dir=tmp_path / "cache")
    split = read_split(lines, DataOptions())
    assert decoded(prepared.train, tokenizer) == split.train == list(prepared.train_texts())
    assert decoded(prepared.val, tokenizer) == split.val == list(prepared.val_texts())
    assert len(split.train) + len(split.val) == prepared.n_documents == 60
    assert prepared.train_bytes == sum(len(text.encode()) for text in split.train)
    assert prepared.val_bytes == sum(len(text.encode()) for text in split.val)


def test_the_second_time_nothing_is_made(lines, tokenizer, tmp_path):
    cache = tmp_path / "cache"
    prepare(lines, tokenizer, cache_dir=cache)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    told = []
    again = prepare(lines, tokenizer, cache_dir=cache, progress=lambda done, total: told.append((done, total)))
    assert told == []
    assert again.notes == []
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()} == before


def test_progress_reaches_the_whole_text(lines, tokenizer, tmp_path):
    told = []
    prepared = prepare(
        lines, tokenizer, cache_dir=tmp_path / "cache", progress=lambda done, total: told.append((done, total))
    )
    total = prepared.train_bytes + prepared.val_bytes
    assert told[-1] == (total, total)


def test_another_text_tokenizer_or_setting_has_tokens_of_its_own(book, lines, tokenizer, tmp_path):
    cache = tmp_path / "cache"
    prepare(book, tokenizer, cache_dir=cache)
    prepare(book, build_chars([STORY], unk=False), cache_dir=cache)
    prepare(book, tokenizer, cache_dir=cache, options=DataOptions(val=str(lines)))
    book.write_text(STORY + "A new ending.\n")
    assert "A new ending" in next(prepare(book, tokenizer, cache_dir=cache).val_texts())
    assert len(list((cache / "tokens").glob("*.lock"))) == 4


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (lambda data: data[:-2], "these tokens are cut short"),
        (lambda data: data + b"xx", "these tokens are longer than they should be"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "its cached tokens had been altered; they were made again."),
        (lambda data: None, "this file of tokens is missing"),
    ],
)
def test_damaged_cached_tokens_are_made_again_and_it_is_said(book, tokenizer, tmp_path, damage, note):
    cache = tmp_path / "cache"
    whole = np.asarray(prepare(book, tokenizer, cache_dir=cache).train).tolist()
    [path] = cache.rglob("*.train.tokens")
    damaged = damage(path.read_bytes())
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    again = prepare(book, tokenizer, cache_dir=cache)
    assert any(note in line for line in again.notes)
    assert np.asarray(again.train).tolist() == whole
    assert prepare(book, tokenizer, cache_dir=cache).notes == []


def test_a_damaged_survey_is_made_again(book, tokenizer, tmp_path):
    cache = tmp_path / "cache"
    prepare(book, tokenizer, cache_dir=cache)
    [path] = (cache / "surveys").iterdir()
    for content in ("{", "[]", '{"rule": {}}'):
        path.write_text(content)
        assert prepare(book, tokenizer, cache_dir=cache).n_documents == 1


def test_validation_text_of_its_own(book, lines, tokenizer, tmp_path):
    prepared = prepare(book, tokenizer, cache_dir=tmp_path / "cache", options=DataOptions(val=str(lines)))
    assert decoded(prepared.train, tokenizer) == [STORY]
    assert len(list(prepared.val_texts())) == prepared.val.n_documents == 60
    assert prepared.n_documents == 1
    split = read_split(book, DataOptions(val=str(lines)))
    assert (split.train, len(split.val)) == ([STORY], 60)
    (lines.parent / "empty.txt").touch()
    options = DataOptions(val=str(lines.parent / "empty.txt"))
    wanted = f"{options.val}: the file is empty. Choose a text with words in it."
    assert error(book, tokenizer, cache_dir=tmp_path / "c", options=options) == wanted


def test_a_corpus_with_a_validation_text_of_its_own(book, lines, tokenizer, tmp_path, monkeypatch):
    import hashlib

    cache = tmp_path / "cache"
    folder = cache / "corpora" / "glass"
    folder.mkdir(parents=True)
    files = []
    for role, data in (("train", b"training text"), ("val", b"validation")):
        (folder / f"{role}.txt").write_bytes(data)
        files.append(CorpusFile(f"{role}.txt", role, None, hashlib.sha256(data).hexdigest(), len(data)))
    monkeypatch.setitem(CORPORA, "glass", Corpus("glass", "text", "A.", "free", "here", tuple(files)))
    prepared = prepare("glass", tokenizer, cache_dir=cache)
    assert (list(prepared.train_texts()), list(prepared.val_texts())) == (["training text"], ["validation"])
    assert prepared.name == "glass"
    assert prepared.notes == ["glass has a validation text of its own, which is used."]
    given = prepare("glass", tokenizer, cache_dir=cache, options=DataOptions(val=str(book)))
    assert list(given.val_texts()) == [STORY]


def test_standard_input_is_kept_so_that_it_can_be_read_twice(tokenizer, tmp_path):
    path = stage("-", cache_dir=tmp_path, stdin=io.BytesIO(STORY.encode()))
    assert path.read_text() == STORY
    source = open_source("-", DataOptions(), cache_dir=tmp_path, stdin=io.BytesIO(STORY.encode()))
    assert source.name == "stdin"
    prepared = prepare(source, tokenizer, cache_dir=tmp_path)
    assert "".join([*prepared.train_texts(), *prepared.val_texts()]) == STORY
    with pytest.raises(DataError, match="standard input: there is no text in it"):
        stage("-", cache_dir=tmp_path, stdin=io.BytesIO(b" \n"))


def test_what_was_read_and_changed_is_said_also_from_the_cache(tmp_path, tokenizer):
    start, end = "*** START OF THE PROJECT GUTENBERG EBOOK A ***", "*** END OF THE PROJECT GUTENBERG EBOOK A ***"
    (tmp_path / "pg.txt").write_text(f"Header\n{start}\n{STORY}{end}\nLicence\n", newline="\r\n")
    for _ in range(2):
        prepared = prepare(tmp_path / "pg.txt", tokenizer, cache_dir=tmp_path / "cache")
        assert prepared.notes == [
            "Windows line ends (CR LF) made LF (44 lines).",
            "Project Gutenberg header or footer removed (1 text).",
        ]
    assert "".join([*prepared.train_texts(), *prepared.val_texts()]) == STORY


def test_a_bpe_of_the_training_side_encodes_both(book, tmp_path):
    source = open_source(book, DataOptions(), cache_dir=tmp_path / "cache")
    trained = train_bpe(source.train_texts(), 320)
    prepared = prepare(source, trained, cache_dir=tmp_path / "cache")
    assert decoded(prepared.train, trained) == list(source.train_texts())
    assert len(prepared.train) < prepared.train_bytes


def test_files_and_processes_do_not_change_the_tokens(lines, book, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("vidro.data.tokenizing.WORTH_A_PROCESS_BYTES", 0)
    sources = [lines, book]
    one = prepare(sources, tokenizer, cache_dir=tmp_path / "a")
    two = prepare(sources, tokenizer, cache_dir=tmp_path / "b", processes=2)
    assert np.asarray(one.train).tolist() == np.asarray(two.train).tolist()
    assert np.asarray(one.val).tolist() == np.asarray(two.val).tolist()
    assert one.n_documents == 61


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "the file is empty"),
        (b" \n", "there is no text in it"),
        (b"x", "one character cannot be divided into training and validation text"),
        (b"\0", "this is a binary file"),
    ],
)
def test_texts_that_cannot_be_used(tmp_path, tokenizer, content, line):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert error(path, tokenizer, cache_dir=tmp_path / "cache").startswith(f"{path}: {line}")


def test_a_ten_character_text_is_found_too_short_by_the_windows(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("0123456789")
    prepared = prepare(tmp_path / "a.txt", tokenizer, cache_dir=tmp_path / "cache")
    with pytest.raises(DataError, match="the text has 10 tokens, fewer than one window of 64"):
        TokenStream(prepared.train.tokens, context_length=64, seed=0)


# Tokens that exist already


def test_a_folder_of_shards_instead_of_text(lines, tokenizer, tmp_path):
    made = tokenize_source(lines, tmp_path / "tokens", tokenizer)
    assert made.n_made == 1
    prepared = prepare(tmp_path / "tokens", tokenizer, cache_dir=tmp_path / "cache")
    split = read_split(lines, DataOptions())
    assert (list(prepared.train_texts()), list(prepared.val_texts())) == (split.train, split.val)
    assert prepared.train_bytes == sum(len(text.encode()) for text in split.train)
    assert (prepared.n_documents, prepared.name, prepared.notes) == (60, "tokens", [])
    assert "made by another tokenizer" in error(
        tmp_path / "tokens", build_chars(["abc"], unk=True), cache_dir=tmp_path / "cache"
    )


def test_altered_shards_are_refused(lines, tokenizer, tmp_path):
    tokenize_source(lines, tmp_path / "tokens", tokenizer)
    [path] = (tmp_path / "tokens").glob("*.train.tokens")
    data = path.read_bytes()
    path.write_bytes(b"\7" + data[1:])
    assert error(tmp_path / "tokens", tokenizer, cache_dir=tmp_path / "cache").startswith(
        f"{path}: these tokens were altered: their checksum is wrong"
    )


def test_shards_without_a_validation_side(lines, book, tokenizer, tmp_path):
    tokenize_source(lines, tmp_path / "tokens", tokenizer, options=DataOptions(val=str(book)))
    prepared = prepare(tmp_path / "tokens", tokenizer, cache_dir=tmp_path / "cache")
    assert prepared.notes == [
        "No validation text was set apart when these tokens were made, so the last tenth is used."
    ]
    assert (prepared.train.n_documents, prepared.val.n_documents) == (54, 6)
    assert prepared.val_bytes == sum(len(text.encode()) for text in list(prepared.val_texts()))
    options = DataOptions(val=str(book))
    given = prepare(tmp_path / "tokens", tokenizer, cache_dir=tmp_path / "cache", options=options)
    assert (list(given.val_texts()), given.val_bytes, given.train.n_documents) == ([STORY], len(STORY), 60)
    assert given.val.n_tokens == len(STORY) + 1


def test_settings_about_reading_are_refused_where_no_text_is_read(lines, book, tokenizer, tmp_path):
    tokens, cache = tmp_path / "tokens", tmp_path / "cache"
    tokenize_source(lines, tokens, tokenizer)
    for name, options in (
        ("encoding", DataOptions(encoding="cp1252")),
        ("skip-bad", DataOptions(skip_bad=True)),
    ):
        with pytest.raises(UsageError) as caught:
            prepare(tokens, tokenizer, cache_dir=cache, options=options)
        assert str(caught.value) == f"{name}: {tokens} holds tokens, so no text is read. Leave it out."
        prepare(tokens, tokenizer, cache_dir=cache, options=dataclasses.replace(options, val=str(book)))


def test_what_reading_the_validation_text_changed_is_said(lines, tokenizer, tmp_path):
    tokenize_source(lines, tmp_path / "tokens", tokenizer)
    folder = tmp_path / "val"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"text": "One."}\n{"text": ""}\nnot json\n')
    (folder / "picture.png").touch()
    options = DataOptions(val=str(folder), skip_bad=True)
    notes = prepare(tmp_path / "tokens", tokenizer, cache_dir=tmp_path / "cache", options=options).notes
    assert notes[:2] == ["1 empty document left out.", "1 file of other kinds left out (.png 1)."]
    assert notes[2].startswith("Skipped as bad: ")


def test_a_validation_text_that_is_not_there_is_said_at_once(lines, tokenizer, tmp_path):
    with pytest.raises(DataError, match="there is no such file or folder"):
        tokenize_source(lines, tmp_path / "tokens", tokenizer, options=DataOptions(val=str(tmp_path / "no.txt")))
    assert not (tmp_path / "tokens").exists()


def test_tokens_of_other_programs(tokenizer, tmp_path):
    (tmp_path / "dolma").mkdir()
    texts = [f"Document {n}." for n in range(20)]
    ids = np.concatenate([[*tokenizer.encode(text), tokenizer.eot_id] for text in texts])
    ids.astype("<u2").tofile(tmp_path / "dolma" / "part-0-00000.npy")
    prepared = prepare(tmp_path / "dolma", tokenizer, cache_dir=tmp_path / "cache")
    assert [*prepared.train_texts(), *prepared.val_texts()] == texts
    assert prepared.train_bytes + prepared.val_bytes == sum(map(len, texts))
    assert prepared.notes[0].startswith("These tokens do not say which tokenizer made them")
    with pytest.raises(dataclasses.FrozenInstanceError):
        prepared.name = "other"


def test_what_lay_beside_a_file_is_not_said_of_the_file_alone(tmp_path):
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "a.txt").write_text("A book of many words. " * 400)
    (folder / "picture.jpg").touch()
    notes = [open_source(where, DataOptions(), cache_dir=tmp_path / "cache").notes
             for where in (folder, folder / "a.txt", folder)]  # fmt: skip
    said = ["1 file of other kinds left out (.jpg 1)." in each for each in notes]
    assert said == [True, False, True]
