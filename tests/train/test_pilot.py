"""The trial on the text itself: the same figure each time, lower for easier texts, and kept."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from vidro.config.schema import ModelConfig
from vidro.core.errors import DataError
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
    assert bits < pilot.trial([noise[:50_000]], [noise[50_000:]])


def test_it_is_kept_and_a_torn_record_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = [STORIES[:20_000]], [STORIES[20_000:24_000]]
    first = pilot.known_trial(train, val, cache_dir=tmp_path)
    (record,) = (tmp_path / "trials").iterdir()
    assert json.loads(record.read_text()) == first
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
    assert pilot.sample(["a" * 1000], 100) == ["a" * 100]
    many = pilot.sample(["b" * 9000] * 100, 100_000)
    assert len(many) > 10
    assert sum(map(len, many)) == 100_000
    assert pilot.sample(["c" * 5000], 100_000) == ["c" * 5000]
    assert pilot.sample(["é" * 100], 101) == ["é" * 50]


def test_a_text_too_small_to_try() -> None:
    with pytest.raises(DataError, match="too small to try a model on"):
        pilot.trial(["short"], ["text"])
