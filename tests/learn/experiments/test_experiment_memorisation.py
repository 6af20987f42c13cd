"""The memorisation experiment: what is put into the text, what is asked of it, and the whole of it once."""

from __future__ import annotations

from collections import Counter

from vidro.learn.experiments.memorisation import (
    MemorisationSettings,
    drawn_passages,
    recall,
    strewn,
    study,
)
from vidro.learn.experiments.small import Recipe, fresh, shape, tiny_world, train

SETTINGS = MemorisationSettings(seeds=(1,), models=((32, 1),), times=(0, 1, 4), passages=2, words=8, given=4,
                                train_bytes=12_000, vocab_size=384, context=64, rows=4)  # fmt: skip


def test_each_passage_stands_in_the_text_as_often_as_said() -> None:
    plain = tiny_world(12_000, val_bytes=500, vocab_size=384)
    passages = drawn_passages(plain, SETTINGS, seed=1)
    mixed = strewn(plain, passages, seed=1)
    counts = Counter(mixed.train_texts)
    assert {times: {counts[one] for one in some} for times, some in passages.items()} == {0: {0}, 1: {1}, 4: {4}}
    assert len(mixed.train_texts) == len(plain.train_texts) + 2 * (0 + 1 + 4)
    assert all(mixed.tokenizer.decode(ids.tolist()) == text
               for ids, text in zip(mixed.train, mixed.train_texts, strict=True))  # fmt: skip
    assert all(len(one.split()) == 8 for some in passages.values() for one in some)


def test_what_was_read_very_often_is_recalled_and_what_never_was_is_not() -> None:
    plain = tiny_world(2_000, val_bytes=500, vocab_size=384)
    passages = {n: some for n, some in drawn_passages(plain, SETTINGS, seed=1).items() if n == 0}
    passages[80] = [
        "bridge seven because whisper orange under table never",
        "green lantern asked nobody for the bread",
    ]
    material = strewn(plain, passages, seed=1)
    config = shape(plain.tokenizer.vocab_size, width=48, layers=2, heads=3, context=64)
    model = fresh(config, 1)
    train(model, material, Recipe(steps=len(material.stream) // 256 * 4, rows=4))
    often, never = (recall(model, material, passages[times], 4) for times in (80, 0))
    assert often.whole == often.right == 100
    assert never.whole == 0
    assert often.nats < 0.5 < never.nats


def test_the_whole_report() -> None:
    report = study(SETTINGS, lambda line: None)
    assert [row[0] for row in report.tables[0].rows] == ["0", "1", "4"]
    assert all(len(row) == len(report.tables[0].columns) for row in report.tables[0].rows)
    assert "know by heart" in report.findings[0]
    assert list(report.figures) == ["memorisation"]
