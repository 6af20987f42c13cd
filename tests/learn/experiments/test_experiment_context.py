"""The context experiment: what is visible and what is not, and the whole of it once."""

from __future__ import annotations

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.data.tinyworld import text
from vidro.learn.experiments.context import ContextSettings, places, predicted, study, visible, write
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import train_bpe

SETTINGS = ContextSettings(n_targets=20, held_out_bytes=2_000, written_tokens=6, examples=2)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe([text(1, 20_000)], vocab_size=384)


@pytest.fixture
def model() -> Transformer:
    """Random, its head and outputs too, since those of a new model are zero."""
    model = Transformer(ModelConfig(vocab_size=384, context_length=16, d_model=32, n_layers=2, n_heads=2, n_kv_heads=2,
                                    d_head=16, d_ff=48))  # fmt: skip
    initialise(model, seed=1)
    draw = torch.Generator().manual_seed(1)
    for weights in model.parameters():
        if weights.ndim == 2:
            weights.data = torch.randn(weights.shape, generator=draw) / weights.shape[1] ** 0.5
    return model.eval()


def test_targets_have_a_whole_context_before_them_and_are_no_marks(tokenizer: Tokenizer) -> None:
    stream, targets = places(tokenizer, SETTINGS, 16)
    assert len(set(targets)) == 20
    assert min(targets) >= 16
    assert tokenizer.eot_id not in stream[targets].tolist()


def test_only_what_is_visible_counts(model: Transformer, tokenizer: Tokenizer) -> None:
    stream, targets = places(tokenizer, SETTINGS, 16)
    place = targets[3]
    for k in visible(16):
        logits = model(stream[None, place - k : place])[0, -1]
        nats, right = predicted(model, stream, [place], k)
        torch.testing.assert_close(nats[0], -logits.log_softmax(-1)[stream[place]])
        assert right == 100 * (logits.argmax() == stream[place])
        other = stream.clone()
        other[place - k - 1] += 1
        torch.testing.assert_close(predicted(model, other, [place], k)[0], nats)
        other[place - k] += 1
        assert not torch.allclose(predicted(model, other, [place], k)[0], nats)


def test_with_few_visible_the_beginning_is_forgotten(model: Transformer, tokenizer: Tokenizer) -> None:
    ends = tokenizer.encode(" a girl")[-2:]
    one, other = ([*tokenizer.encode(start), *ends] for start in ("Once there was", "The"))
    texts = [write(model, tokenizer, begin, 2, SETTINGS)[len(tokenizer.decode(begin)) :] for begin in (one, other)]
    assert texts[0] == texts[1] != ""


def test_the_whole_report(model: Transformer, tokenizer: Tokenizer) -> None:
    report = study(model, tokenizer, SETTINGS, lambda line: None)
    losses, examples, samples = report.tables
    assert [row[0] for row in losses.rows] == ["1", "2", "4", "8", "16"]
    assert len(examples.rows) == 2
    assert [row[0] for row in samples.rows] == ["2", "all"]
    assert all(len(row) == len(table.columns) for table in report.tables for row in table.rows)
    assert "bits per byte" in report.findings[0]
    assert list(report.figures) == ["context"]
