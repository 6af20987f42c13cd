"""The temperature experiment: what it counts, and the whole of it once."""

from __future__ import annotations

import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.data.tinyworld import stories
from vidro.infer.session import Session
from vidro.learn.experiments.temperature import CUTS, TEMPERATURES, Judge, TemperatureSettings, alike, study
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.train import train_bpe

TRAIN, HELD_OUT = list(stories(seed=1, n_bytes=20_000)), list(stories(seed=2, n_bytes=4_000))
SETTINGS = TemperatureSettings(n_texts=3, max_tokens=10)


def session() -> Session:
    model = Transformer(ModelConfig(vocab_size=384, context_length=64, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2,
                                    d_head=16, d_ff=48))  # fmt: skip
    initialise(model, seed=1)
    model.head.weight.data = torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(1))
    return Session(model, train_bpe(TRAIN, vocab_size=384))


def test_training_text_is_copied_and_real_and_invented_words_are_not() -> None:
    judge = Judge(session(), TRAIN, SETTINGS)
    told = judge.measure([TRAIN[0], TRAIN[0]])
    assert (told.copied, told.real) == (100, 100)
    assert 45 < told.triples <= 50  # the second time nothing is new
    made_up = judge.measure(["Brilvox quendal zarp brilvox."])
    assert (made_up.copied, made_up.real, made_up.pairs) == (0, 0, 100)


def test_the_same_seeds_write_the_same_and_only_the_setting_differs() -> None:
    judge = Judge(session(), TRAIN, SETTINGS)
    once = judge.write(SamplingOptions(temperature=1.0))
    assert once == judge.write(SamplingOptions(temperature=1.0)) != judge.write(SamplingOptions(temperature=0.1))


def test_held_out_text_is_cut_to_the_lengths_of_the_samples() -> None:
    assert [len(one) for one in alike(HELD_OUT, [10, 20])] == [10, 20]


def test_the_whole_report() -> None:
    report = study(session(), TRAIN, HELD_OUT, SETTINGS, lambda line: None)
    measured, samples = report.tables
    assert len(measured.rows) == len(TEMPERATURES) + len(CUTS) + 1
    assert len(samples.rows) == 3
    assert all(len(row) == len(table.columns) for table in report.tables for row in table.rows)
    assert report.findings[0].startswith("From temperature 0.2 to 2 ")
    assert list(report.figures) == ["temperature"]
