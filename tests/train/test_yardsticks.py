"""The yardsticks of a run: measured once, kept in the cache, and not mistaken for those of another text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.train.conftest import Halt, halt_at

from vidro.config.schema import DataOptions
from vidro.data.made import story_text
from vidro.data.prepare import prepare
from vidro.text.train import build_bytes
from vidro.train import yardsticks
from vidro.train.text_task import TextTask
from vidro.train.yardsticks import FLOOR, known_yardsticks

Known = Callable[..., dict[str, float]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One more entry for each time that a text is really measured."""
    calls: list[int] = []
    real = yardsticks.text_yardsticks

    def counted(*texts: Any) -> dict[str, float]:
        calls.append(1)
        return real(*texts)

    monkeypatch.setattr(yardsticks, "text_yardsticks", counted)
    return calls


@pytest.fixture
def known(tmp_path: Path) -> Known:
    source = tmp_path / "text.txt"
    source.write_text("The fox took seven hens on a calm night. " * 300, encoding="utf-8")
    prepared = prepare(str(source), build_bytes(), cache_dir=tmp_path / "cache")

    def call(data: DataOptions = DataOptions(), *, val_sha256: str | None = None) -> dict[str, float]:  # noqa: B008
        return known_yardsticks(prepared, data, val_sha256=val_sha256, cache_dir=tmp_path / "cache")

    return call


def test_they_are_measured_once(known: Known, measured: list[int]) -> None:
    first = known()
    assert first == known()
    assert len(measured) == 1
    assert set(first) == {"uniform", "unigram", "5-gram", "gzip", "xz", "bzip2"}


def test_a_damaged_copy_is_made_again(known: Known, measured: list[int], tmp_path: Path) -> None:
    first = known()
    (copy,) = (tmp_path / "cache" / "yardsticks").iterdir()
    for damage in ("{torn", "[]", '{"gzip": "much"}'):
        copy.write_text(damage, encoding="utf-8")
        assert known() == first
    assert len(measured) == 4


def test_another_text_or_another_way_of_measuring_is_measured_anew(
    known: Known, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    val = DataOptions(val="val.txt")
    known(val, val_sha256="a")
    known(val, val_sha256="b")  # the file of that name has changed
    known(DataOptions(val="elsewhere/val.txt"), val_sha256="b")  # moved, the same
    assert len(measured) == 2
    monkeypatch.setattr(yardsticks, "VERSION", yardsticks.VERSION + 1)
    known(val, val_sha256="b")
    assert len(measured) == 3


def test_a_run_in_minutes_measures_once_and_another_vocabulary_does_not_again(bench: Any, measured: list[int]) -> None:
    with contextlib.suppress(Halt):
        bench.train("a", halt_at(1), steps=None, minutes=1.0, vocab_size=None)
    assert len(measured) == 1
    bench.train("b", steps=1, tokenizer="bytes", vocab_size=None)
    assert len(measured) == 1


def test_a_run_on_the_stories_names_the_floor_and_never_passes_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TextTask.evaluate
    monkeypatch.setattr(TextTask, "evaluate", lambda *given: {**real(*given), "bits_per_byte": 0.01})
    bench.source = bench.folder / "tinyworld.txt"
    bench.source.write_text("".join(story_text()), encoding="utf-8")
    bench.train("a", steps=2, tokenizer="bytes", vocab_size=None, evals=1)
    bars = bench.log("a", "start")[0]["yardsticks_bits_per_byte"]
    assert 0 < bars[FLOOR] < min(bits for name, bits in bars.items() if name != FLOOR)
    passed = {name for event in bench.log("a", "passed") for name in event["yardsticks"]}
    assert passed == bars.keys() - {FLOOR}
