"""The classifier experiment: its messages, that it teaches, and the whole of it once."""

from __future__ import annotations

from collections import Counter

from vidro.config.schema import ModelConfig
from vidro.data.tinyworld import text
from vidro.data.tinyworld.messages import messages
from vidro.learn.experiments.classifier import STARTS, ClassifierSettings, bag, findings, labelled, study, taught
from vidro.learn.experiments.small import fresh
from vidro.text.train import train_bpe

TOKENIZER = train_bpe([text(1, 20_000)], vocab_size=384)
MODEL = fresh(ModelConfig(vocab_size=384, context_length=96, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2,
                          d_head=16, d_ff=48), seed=1)  # fmt: skip


def test_labelled_messages_differ_from_each_other_and_by_seed() -> None:
    some = labelled(64, seed=1)
    assert len({one.text for one in some}) == 64
    assert len(Counter(one.label for one in some)) == 5
    assert {one.text for one in some} != {one.text for one in labelled(64, seed=2)}


def test_a_random_start_learns_and_the_given_model_is_left_as_it_was() -> None:
    some = labelled(64, seed=1)
    before = {name: tensor.clone() for name, tensor in MODEL.state_dict().items()}
    settings = ClassifierSettings(steps=40)
    score = taught(MODEL, TOKENIZER, some, some, settings, seed=1, gentle=False)
    untaught = taught(MODEL, TOKENIZER, some, some, ClassifierSettings(steps=0), seed=1)
    assert score > untaught + 20
    assert all(before[name].equal(tensor) for name, tensor in MODEL.state_dict().items())


def test_the_bag_knows_what_it_learned_from() -> None:
    some = labelled(64, seed=1)
    assert bag(some, some) == 100
    assert bag(some, list(messages(seed=2, n=20, task="topics", held_out=True))) <= 100


def test_findings_follow_from_the_numbers() -> None:
    right = dict(zip(STARTS, ((60, 70), (20, 50), (55, 90), (30, 55), (70, 80)), strict=True))
    means = {(start, size): float(value) for start in STARTS for size, value in zip((8, 32), right[start], strict=True)}
    said = findings(means, (8, 32))
    assert said[0].startswith(
        "With 8 labelled messages 60 % are right after pretraining, 30 % from a random start, 70 %"
    )
    assert said[2] == "Pretrained, 8 messages are worth at least as much as 32 from a random start."
    assert said[3] == "The bag of words is better with 8."


def test_the_whole_report() -> None:
    settings = ClassifierSettings(seeds=(1, 2), sizes=(8, 16), steps=2, n_test=20)
    report = study(MODEL, TOKENIZER, settings, lambda line: None)
    assert [row[0] for row in report.tables[0].rows] == [8, 16]
    assert all("±" in cell for cell in report.tables[0].rows[0][1:])
    assert list(report.figures) == ["classifier"]
