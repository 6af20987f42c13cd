"""The trial on the text itself: the same figure each time, lower for easier texts, and kept."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from vidro.config.schema import DataOptions, ModelConfig
from vidro.core.errors import DataError
from vidro.data.survey import open_source
from vidro.data.tinyworld import text
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.train import train_bpe
from vidro.train import pilot

STORIES = text(seed=1, n_bytes=60_000)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "STEPS", 12)
    monkeypatch.setattr(pilot, "VOCAB_SIZE", 320)


def test_the_figure_belongs_to_the_text() -> None:
    train, val = [STORIES[:50_000]], [STORIES[50_000:]]
    bits = pilot.trial(train, val)
    assert bits == pilot.trial(train, val)
    generator = random.Random(1)
    noise = "".join(generator.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(60_000))
    assert bits.bits < bits.halfway
    assert bits.bits < pilot.trial([noise[:50_000]], [noise[50_000:]]).bits


def test_it_is_kept_and_a_torn_record_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = [STORIES[:20_000]], [STORIES[20_000:24_000]]
    first = pilot.known_trial(train, val, cache_dir=tmp_path)
    (record,) = (tmp_path / "trials").iterdir()
    assert json.loads(record.read_text()) == list(first)
    record.write_text("torn")
    assert pilot.known_trial(train, val, cache_dir=tmp_path) == first
    monkeypatch.setattr(pilot, "trial", lambda *_: pytest.fail("it was known"))
    assert pilot.known_trial(train, val, cache_dir=tmp_path) == first


def test_a_model_goes_on_with_a_text_and_another_that_is_too_small() -> None:
    tokenizer = train_bpe([STORIES[:20_000]], 320)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, context_length=32, d_model=32, n_layers=1, n_heads=1, n_kv_heads=1, d_head=32,
        d_ff=64,
    )  # fmt: skip
    model = Transformer(shape)
    initialise(model, seed=1)
    found = pilot.continued(model, tokenizer, [STORIES[:20_000]], [STORIES[20_000:24_000]])
    assert found.after < 0.9 * found.before
    assert found.passes == pytest.approx(pilot.PASSES, rel=0.1)
    with pytest.raises(DataError, match="too small to try a model on"):
        pilot.continued(model, tokenizer, ["short"], ["text"])


def test_samples_of_one_long_text_and_of_many_short_ones() -> None:
    assert pilot.sample(["c" * 5000], 100_000, total=5000) == ["c" * 5000]
    long = "".join(chr(ord("a") + place) * pilot.PIECE for place in range(20))
    assert [piece[0] for piece in pilot.sample([long], 4 * pilot.PIECE, total=len(long))] == ["e", "j", "o", "t"]
    short = [f"{number:04d}" for number in range(1000)]
    found = pilot.sample(short, 400, total=4000)
    assert len(found) == 100
    assert found[::33] == ["0009", "0339", "0669", "0999"]


def test_of_a_large_corpus_only_the_beginning_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "READ_BYTES", 10_000)
    texts = iter(["é" * 500] * 1000)
    assert len(pilot.sample(texts, 5_000, total=1_000_000)) == 5
    assert len(list(texts)) == 990


def test_a_text_too_small_to_try() -> None:
    with pytest.raises(DataError, match="too small to try a model on"):
        pilot.trial(["short"], ["text"])


def test_both_sides_are_sampled_where_validation_is_a_text_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "TRAIN_BYTES", 10_000)
    monkeypatch.setattr(pilot, "VAL_BYTES", 6_000)
    (tmp_path / "train.txt").write_text("learn " * 20_000)
    (tmp_path / "val.txt").write_text("judge " * 5_000)
    options = DataOptions(val=str(tmp_path / "val.txt"))
    train, val = pilot.samples(open_source(str(tmp_path / "train.txt"), options, cache_dir=tmp_path / "cache"))
    assert "judge" not in "".join(train)
    assert "learn" not in "".join(val)
    assert sum(map(len, train)) == pytest.approx(10_000, rel=0.25)
    assert sum(map(len, val)) == pytest.approx(6_000, rel=0.35)
