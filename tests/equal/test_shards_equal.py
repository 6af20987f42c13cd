"""The rung `shards` writes the bytes that production writes, finds the same tokens, and computes the same order."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.data import tinyworld
from vidro.data.shards import TokenShards
from vidro.data.sources import input_file
from vidro.data.split import SplitRule
from vidro.data.tokenizing import tokenize_files
from vidro.data.windows import BlockOrder, TokenStream
from vidro.learn import shards
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, train_bpe

STRANGE = ["<|endoftext|>", "one\ntwo\n\n", 'a "quoted" \\ word', "ö, ☃ and 𝄞", "x" * 3000]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe([tinyworld.text(1, 20_000)], vocab_size=512)


@pytest.fixture(scope="module")
def both(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path, Path]:
    """Files of documents, and the folders of the rung's shards and of production's."""
    work, ours, theirs = (tmp_path_factory.mktemp(name) for name in ("documents", "rung", "production"))
    sources = [work / f"{number}.jsonl.gz" for number in range(3)]
    for number, source in enumerate(sources[:2]):
        shards.write_documents(source, tinyworld.stories(seed=number, n_bytes=4_000), name="stories")
    shards.write_documents(sources[2], STRANGE, name="strange")
    for source in sources:
        assert shards.make(source, ours, tokenizer.encode, tokenizer.eot_id)
    made = tokenize_files([input_file(source) for source in sources], theirs, tokenizer, rule=SplitRule("train"))
    assert made.n_made == 3
    return sources, ours, theirs


def test_the_bytes_are_the_same(both: tuple[list[Path], Path, Path]) -> None:
    sources, ours, theirs = both
    for source in sources:
        tokens, ends, _ = shards.files_of(source, ours)
        assert tokens.read_bytes() == (theirs / f"{source.name}.train.tokens").read_bytes()
        assert ends.read_bytes() == (theirs / f"{source.name}.train.ends").read_bytes()


def test_windows_and_documents_are_the_same(both: tuple[list[Path], Path, Path]) -> None:
    sources, ours, theirs = both
    row = TokenShards.open(theirs)
    paths = [shards.files_of(source, ours)[0] for source in sources]
    borders = [(place - 2, 5) for place in row.document_ends[:-1].tolist()]
    for start, length in ((0, 4), (1_000, 50), (0, len(row)), (len(row) - 3, 3), *borders):
        assert shards.window(paths, start, length) == row[start : start + length].tolist()
    counts = [ends.stat().st_size // 8 for ends in (shards.files_of(source, ours)[1] for source in sources)]
    mine = [shards.document(source, ours, i) for source, n in zip(sources, counts, strict=True) for i in range(n)]
    assert mine == [ids.tolist() for ids in row.documents()]


def test_what_is_there_is_left_alone_as_in_production(tmp_path: Path) -> None:
    tokenizer, source = build_bytes(), tmp_path / "a.jsonl.gz"

    def make_both() -> tuple[bool, bool]:
        made = tokenize_files([input_file(source)], tmp_path, tokenizer, rule=SplitRule("train"))
        return shards.make(source, tmp_path, tokenizer.encode, tokenizer.eot_id), bool(made.n_made)

    shards.write_documents(source, ["one", "two"], name="a")
    assert [make_both(), make_both()] == [(True, True), (False, False)]
    shards.write_documents(source, ["one", "three"], name="a")
    assert [make_both(), make_both()] == [(True, True), (False, False)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**13), st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 10**13))
def test_the_order_is_productions(n: int, seed: int, epoch: int, place: int) -> None:
    assert shards.shuffled(place % n, n, seed, epoch) == BlockOrder(n, seed).index(epoch, place % n)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(0, 9), st.integers(0, 7))
def test_each_block_comes_once_in_any_number_of_rounds(n: int, seed: int, rounds: int) -> None:
    assert sorted(shards.shuffled(i, n, seed, rounds=rounds) for i in range(n)) == list(range(n))


def test_training_reads_the_blocks_in_this_order() -> None:
    n_blocks, length = 9, 4
    stream = TokenStream(np.arange(n_blocks * length), context_length=length, seed=5)
    for epoch in range(3):
        starts = stream.starts(epoch * n_blocks, n_blocks)
        blocks = [shards.shuffled(i, n_blocks, 5, epoch) for i in range(n_blocks)]
        offsets = {
            (int(start) - block * length) % (n_blocks * length) for start, block in zip(starts, blocks, strict=True)
        }
        assert len(offsets) == 1, "an epoch is cut at one offset, and its blocks come in the rung's order"


def test_an_id_of_more_than_two_bytes_is_refused_and_leaves_no_shard(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl.gz"
    shards.write_documents(source, ["one", "two"], name="a")
    ids = itertools.count(65_534)
    with pytest.raises(ValueError, match="65537 does not fit into two bytes"):
        shards.make(source, tmp_path, lambda text: [next(ids), next(ids)], end=0)
    assert not shards.files_of(source, tmp_path)[2].exists()
