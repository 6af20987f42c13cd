"""Files to shards: the same bytes however the work is shared out, nothing done twice, nothing stale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vidro.core.errors import DataError, TokenizerError, UsageError
from vidro.data.documents import Reading, ReadReport
from vidro.data.prepare import tokenize_source
from vidro.data.shard_files import manifest_path, side_paths
from vidro.data.shards import TokenShards
from vidro.data.sources import find_inputs
from vidro.data.split import SplitRule, hash_rule
from vidro.data.tokenizing import tokenize_files
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars

PLAIN = Reading()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_bytes()


@pytest.fixture(autouse=True)
def every_file_is_worth_a_process(monkeypatch):
    monkeypatch.setattr("vidro.data.tokenizing.WORTH_A_PROCESS_BYTES", 0)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine files, one of them in a subfolder, some with several documents."""
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    for n in range(7):
        lines = [json.dumps({"text": f"file {n} document {k} " * (k + 1)}) for k in range(4 + n)]
        (source / f"{n}.jsonl").write_text("\n".join(lines))
    (source / "sub" / "a.txt").write_text("a text\r\nof two lines\n" * 30)
    (source / "sub" / "0.jsonl").write_text(json.dumps({"text": "the same name elsewhere"}))
    return source


def make(source, out, tokenizer, *, rule=None, reading=PLAIN, **how):
    files = find_inputs(source, report=ReadReport())
    return tokenize_files(files, out, tokenizer, rule=rule or hash_rule(), reading=reading, **how)


def content(out: Path) -> dict[str, bytes]:
    """Everything written, manifests too."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_each_document_is_followed_by_one_end_id(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_text('{"text": "Olá"}\n{"text": "fim"}\n')
    made = make(tmp_path / "a.jsonl", tmp_path / "out", tokenizer, rule=SplitRule("train"))
    shards = TokenShards.of_stems(made.stems, side="train", tokenizer_fingerprint=tokenizer.fingerprint)
    wanted = [*tokenizer.encode("Olá"), tokenizer.eot_id, *tokenizer.encode("fim"), tokenizer.eot_id]
    assert np.asarray(shards).tolist() == wanted
    assert shards.document_ends.tolist() == [5, 9]
    assert shards.n_text_bytes == 7
    assert [tokenizer.decode(ids.tolist()) for ids in shards.documents()] == ["Olá", "fim"]


def test_special_tokens_in_a_text_stay_text(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_text('{"text": "no <|endoftext|> end"}')
    made = make(tmp_path / "a.jsonl", tmp_path / "out", tokenizer, rule=SplitRule("train"))
    shards = TokenShards.of_stems(made.stems, side="train", tokenizer_fingerprint=None)
    assert np.asarray(shards).tolist().count(tokenizer.eot_id) == 1


def test_the_manifest_says_where_tokens_come_from(folder, tmp_path, tokenizer):
    make(folder, tmp_path / "out", tokenizer)
    manifest = json.loads(manifest_path(tmp_path / "out" / "sub" / "a.txt").read_text())
    assert manifest["source"]["name"] == "sub/a.txt"
    assert manifest["source"]["bytes"] == (folder / "sub" / "a.txt").stat().st_size
    assert len(manifest["source"]["sha256"]) == 64
    assert (manifest["tokenizer"], manifest["eot_id"]) == (tokenizer.fingerprint, tokenizer.eot_id)
    assert manifest["split"]["kind"] == "hash"
    assert manifest["sides"].keys() == {"train", "val"}


def test_processes_and_machines_make_the_same_bytes(folder, tmp_path, tokenizer):
    alone = make(folder, tmp_path / "one", tokenizer)
    assert (alone.n_made, alone.n_kept, alone.report.documents) == (9, 0, 7 * 7 + 2)
    whole_files = make(folder, tmp_path / "two", tokenizer, processes=2)
    assert (whole_files.n_made, whole_files.report) == (9, alone.report)
    assert content(tmp_path / "two") == content(tmp_path / "one")
    for machine in (2, 0, 1):
        make(folder, tmp_path / "three", tokenizer, shard=(machine, 3))
    assert content(tmp_path / "three") == content(tmp_path / "one")


def test_one_file_can_be_shared_by_processes(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("vidro.data.blocks.BLOCK_BYTES", 2000)
    rows = [json.dumps({"text": f"document {n} " * (n % 9 + 1)}) for n in range(300)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    told = []
    make(tmp_path / "a.jsonl", tmp_path / "one", tokenizer)
    made = make(
        tmp_path / "a.jsonl", tmp_path / "two", tokenizer, processes=2, progress=lambda done, total: told.append(done)
    )
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert made.report.documents == 300
    assert told == sorted(told)
    assert len(told) > 10
    assert told[-1] == sum(len(json.loads(row)["text"]) for row in rows)


def test_what_is_there_is_not_made_again(folder, tmp_path, tokenizer):
    make(folder, tmp_path / "out", tokenizer)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = make(folder, tmp_path / "out", tokenizer)
    assert (again.n_made, again.n_kept, again.notes) == (0, 9, [])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_what_is_missing_cut_short_or_stale_is_made_again_and_said(folder, tmp_path, tokenizer):
    out = tmp_path / "out"
    make(folder, out, tokenizer)
    whole = content(out)
    manifest_path(out / "0.jsonl").unlink()
    tokens, _ = side_paths(out / "1.jsonl", "train")
    size = tokens.stat().st_size
    tokens.write_bytes(tokens.read_bytes()[:-2])
    manifest_path(out / "2.jsonl").write_text("{")
    manifest_path(out / "4.jsonl").write_text("{}")
    manifest_path(out / "5.jsonl").write_text("[]")
    again = make(folder, out, tokenizer)
    assert (again.n_made, again.n_kept) == (5, 4)
    assert again.notes == [
        f"1.jsonl: these tokens are cut short ({size - 2:,} of {size:,} bytes); they were made again.",
        *(f"{n}.jsonl: the record of its tokens was damaged; they were made again." for n in (2, 4, 5)),
    ]
    assert content(out) == whole
    (folder / "3.jsonl").write_text('{"text": "changed"}')
    again = make(folder, out, tokenizer)
    assert again.n_made == 1
    assert again.notes == ["3.jsonl has changed since its tokens were made; they were made again."]


def test_tokens_of_another_tokenizer_or_split_are_not_mixed_in(folder, tmp_path, tokenizer):
    make(folder, tmp_path / "out", tokenizer)
    path = manifest_path(tmp_path / "out" / "0.jsonl")
    with pytest.raises(DataError, match="made by another tokenizer"):
        make(folder, tmp_path / "out", build_chars(["abc file document"], unk=True))
    with pytest.raises(DataError) as caught:
        make(folder, tmp_path / "out", tokenizer, rule=SplitRule("train"))
    assert str(caught.value) == (
        f"{path}: these tokens were made with another setting of split. Choose another folder, or remove this one."
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_in_any_process_is_one_line_and_leaves_no_torn_shard(folder, tmp_path, tokenizer, processes):
    (folder / "5.jsonl").write_text('{"text": "fine"}\n{"text": 5}\n')
    with pytest.raises(DataError) as caught:
        make(folder, tmp_path / "out", tokenizer, processes=processes)
    assert str(caught.value).startswith(f"{folder / '5.jsonl'}: line 2: 'text' is a number, not text.")
    assert not list((tmp_path / "out").glob("*5.jsonl*"))
    made = make(folder, tmp_path / "more", tokenizer, processes=processes, reading=Reading(skip_bad=True))
    assert made.n_made == 9
    assert made.report.skipped == [f"{folder / '5.jsonl'} line 2: 'text' is a number, not text"]


def test_text_that_the_tokenizer_does_not_know_names_the_file(tmp_path):
    (tmp_path / "a.txt").write_text("abcz")
    with pytest.raises(TokenizerError) as caught:
        make(tmp_path / "a.txt", tmp_path / "out", build_chars(["abc"], unk=False))
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'}: the character 'z' (U+007A) at offset 3 is not")


def test_numbers_that_are_not_possible(folder, tmp_path, tokenizer):
    for how, line in (
        ({"processes": 0}, "processes: 0 is not possible. It must be at least 1."),
        ({"shard": (2, 2)}, "shard: 2/2 is not possible. Shards are 0/4, 1/4, 2/4, 3/4."),
        ({"shard": (0, 0)}, "shard: 0/0 is not possible. Shards are 0/4, 1/4, 2/4, 3/4."),
    ):
        with pytest.raises(UsageError) as caught:
            make(folder, tmp_path / "out", tokenizer, **how)
        assert str(caught.value) == line


def test_two_inputs_of_the_same_name_do_not_overwrite_each_other(tmp_path, tokenizer):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"text of {name}")
    made = make([tmp_path / "x" / "a.txt", tmp_path / "y" / "a.txt"], tmp_path / "out", tokenizer)
    assert [stem.name for stem in made.stems] == ["00000-a.txt", "00001-a.txt"]
    assert made.n_made == 2


def test_data_prepare_puts_the_tokenizer_beside_and_says_what_was_left_out(folder, tmp_path, tokenizer):
    (folder / "x.png").write_bytes(b"x")
    made = tokenize_source(folder, tmp_path / "out", tokenizer)
    assert made.n_made == 9
    assert "1 file of other kinds left out (.png 1)." in made.notes
    assert "Windows line ends (CR LF) made LF (30 lines)." in made.notes
    assert Tokenizer.load(tmp_path / "out").fingerprint == tokenizer.fingerprint


def test_data_prepare_does_not_mix_tokenizers_and_tells_of_strangers(folder, tmp_path, tokenizer):
    tokenize_source(folder / "0.jsonl", tmp_path / "out", tokenizer)
    with pytest.raises(DataError) as caught:
        tokenize_source(folder / "1.jsonl", tmp_path / "out", build_chars(["abc"], unk=True))
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: there are tokens of another tokenizer here. Choose another folder, or remove this one."
    )
    assert Tokenizer.load(tmp_path / "out").fingerprint == tokenizer.fingerprint
    made = tokenize_source(folder / "1.jsonl", tmp_path / "out", tokenizer)
    assert made.notes == [f"{tmp_path / 'out'} also holds tokens of other files, not named now (1)."]


def test_data_prepare_cuts_a_single_text(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("0123456789" * 10)
    tokenize_source(tmp_path / "a.txt", tmp_path / "out", tokenizer)
    train, val = (TokenShards.open(tmp_path / "out", side=side) for side in ("train", "val"))
    assert (len(train), len(val)) == (91, 11)


def test_an_absolute_pattern_stays_inside_the_output_folder(folder, tmp_path, tokenizer):
    made = tokenize_source(str(folder / "*.jsonl"), tmp_path / "out", tokenizer)
    assert all((tmp_path / "out") in stem.parents for stem in made.stems)
    assert len(list((tmp_path / "out").rglob("*.shard.json"))) == 7
