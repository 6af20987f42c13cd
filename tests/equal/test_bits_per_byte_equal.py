"""Figures per byte are production's, and files really become as small as production's losses say."""

from __future__ import annotations

import gzip
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.config.schema import ModelConfig
from vidro.data import tinyworld
from vidro.evals.perplexity import TextScore, score_text
from vidro.evals.yardsticks import ORDER, ngram_bits
from vidro.learn.bits_per_byte import WHOLE_PARTS, Counts, bits_per_byte, compress, expand, nats_of, parts
from vidro.learn.surprise import bits
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

TRAIN, VAL = tinyworld.text(0, 6_000).encode(), tinyworld.text(1, 600).encode()[:600]


def test_bits_per_byte_is_productions() -> None:
    assert bits_per_byte(431.0, 300) == pytest.approx(TextScore.of(431.0, n_tokens=90, n_bytes=300).bits_per_byte)


@pytest.mark.parametrize("order", [1, 2, ORDER])
def test_counts_are_the_n_gram_yardstick(order: int) -> None:
    found = nats_of(VAL, Counts(TRAIN, order))
    assert bits_per_byte(found, len(VAL)) == pytest.approx(ngram_bits(TRAIN, VAL, order=order), rel=1e-9)


@pytest.mark.parametrize("train", [b"", b"a", b"abc"])
def test_counts_of_hardly_any_text(train: bytes) -> None:
    found = bits_per_byte(nats_of(b"abcabd", Counts(train, ORDER)), 6)
    assert found == pytest.approx(ngram_bits(train, b"abcabd", order=ORDER), rel=1e-9)


def test_a_file_is_as_small_as_the_yardstick_says() -> None:
    model = Counts(TRAIN, ORDER)
    packed = compress(VAL, model)
    assert bytes(expand(packed, len(VAL), model)) == VAL
    size = ngram_bits(TRAIN, VAL, order=ORDER) * len(VAL) / 8
    assert size <= len(packed) <= size + 2
    assert len(packed) < len(gzip.compress(VAL, 9))


def test_a_file_is_as_small_as_a_models_loss_says() -> None:
    """A transformer of production, its own protocol, and its `nats_per_byte` weighed."""
    tokenizer = build_bytes()
    torch.manual_seed(3)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=256, d_model=16, n_layers=1, n_heads=2,
                         n_kv_heads=2, d_head=8, d_ff=32)  # fmt: skip
    model, text = Transformer(config).eval(), VAL[:120].decode()
    with torch.no_grad():  # far from uniform
        model.head.weight.add_(torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(4)))
    score = score_text(model, tokenizer, [text])

    @torch.no_grad()
    def predict(before):
        ids = torch.tensor([[tokenizer.eot_id, *before]])
        return model(ids)[0, -1].double().softmax(dim=-1).tolist()

    ids = [int(token) for token in tokenizer.encode(text)]
    packed = compress(ids, predict)
    assert expand(packed, len(ids), predict) == ids
    size = score.bits_per_byte * score.n_bytes / 8
    assert size - 0.01 <= len(packed) <= size + 2


PROBABILITIES = st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any)


@settings(deadline=None)
@given(weights=st.lists(PROBABILITIES, min_size=1, max_size=4), data=st.data())
def test_any_symbols_come_back_from_a_file_of_the_right_size(weights: list[list[int]], data: st.DataObject) -> None:
    """Chances that change from place to place, among them near 0 and near 1."""
    tables = [[weight / sum(row) for weight in row] for row in weights]
    length = data.draw(st.integers(0, 60))

    def predict(before):
        return tables[len(before) % len(tables)]

    symbols = [data.draw(st.integers(0, len(tables[place % len(tables)]) - 1)) for place in range(length)]
    packed = compress(symbols, predict)
    assert expand(packed, length, predict) == symbols
    paid = sum(-math.log2(parts(predict(symbols[:n]))[symbol] / WHOLE_PARTS) for n, symbol in enumerate(symbols))
    assert paid / 8 - 1e-6 <= len(packed) <= paid / 8 + 1.26


@given(weights=PROBABILITIES)
def test_parts_add_up_and_leave_out_nothing(weights: list[int]) -> None:
    probabilities = [weight / sum(weights) for weight in weights]
    found = parts(probabilities)
    assert sum(found) == WHOLE_PARTS
    assert min(found) >= 1
    for part, p in zip(found, probabilities, strict=True):
        assert abs(part / WHOLE_PARTS - p) < 1e-7


def test_a_thousand_sure_things_cost_nothing() -> None:
    packed = compress([1] * 1000, lambda before: [0.0, 1.0])
    assert len(packed) == 1
    assert bits(nats_of([1] * 1000, lambda before: [0.0, 1.0])) == 0.0
