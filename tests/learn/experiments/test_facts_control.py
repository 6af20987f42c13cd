"""The controls of the fact experiment: equal disturbances, and counting facts in stories."""

from __future__ import annotations

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.data.tinyworld import stories
from vidro.learn.experiments.cloze import questions
from vidro.learn.experiments.control import at_random, control_table, count_table, story_nats
from vidro.learn.experiments.facts import story_windows
from vidro.learn.experiments.patching import parts_of, sublayers
from vidro.learn.experiments.recall import Answered
from vidro.learn.experiments.rows import rows_of
from vidro.learn.experiments.tracing import mean_outputs
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.train import train_bpe

TOKENIZER = train_bpe(list(stories(seed=1, n_bytes=20_000)), vocab_size=384)


@pytest.fixture
def model() -> Transformer:
    model = Transformer(ModelConfig(vocab_size=384, context_length=64, d_model=32, n_layers=2, n_heads=2, n_kv_heads=2,
                                    d_head=16, d_ff=48))  # fmt: skip
    initialise(model, seed=1)
    draw = torch.Generator().manual_seed(1)
    for weights in model.parameters():
        if weights.ndim == 2:
            weights.data = torch.randn(weights.shape, generator=draw) / weights.shape[1] ** 0.5
    return model.eval()


def test_the_random_disturbance_is_as_large_as_switching_off(model: Transformer) -> None:
    windows = story_windows(TOKENIZER, 2_000, 64)
    means = mean_outputs(model, windows)
    for part in sublayers(model):
        given = parts_of(model, windows)[part]
        patch = at_random(model, windows, part, means, seed=1)
        torch.testing.assert_close((patch.value - given).norm(dim=-1), (given - means[part]).norm(dim=-1))
        assert not torch.allclose(patch.value, means[part].expand_as(given), atol=0.1)


def test_control_has_a_line_for_each_part_and_says_what_it_found(model: Transformer) -> None:
    windows = story_windows(TOKENIZER, 2_000, 64)
    some = [one for one in questions() if one.kind == "is"][:4]
    table, said = control_table(model, [rows_of(TOKENIZER, some)], windows, mean_outputs(model, windows), seed=1)
    assert [row[0] for row in table.rows] == ["attention 1", "feed-forward 1", "attention 2", "feed-forward 2"]
    assert any(abs(row[3]) > 0.01 for row in table.rows)
    assert story_nats(model, windows) > 0
    assert len(said) == 2


def test_facts_are_counted_where_name_and_answer_stand_together() -> None:
    asked = [one for one in questions() if one.kind == "lives"]
    answered = [Answered(one, one.answer, True, {one.answer: 0.0}) for one in asked]
    table = count_table(answered, seed=1, n_bytes=40_000, groups=2)
    texts = list(stories(seed=1, n_bytes=40_000))
    first = [one for one in asked if one.wording == 0]
    counts = sorted(sum(one.mention in text and one.answer.strip() in text for text in texts) for one in first)
    assert [row[0] for row in table.rows] == [f"{counts[0]:,} to {counts[7]:,}", f"{counts[8]:,} to {counts[15]:,}"]
    assert [row[1:] for row in table.rows] == [(8, 100, 1.0, 100)] * 2
