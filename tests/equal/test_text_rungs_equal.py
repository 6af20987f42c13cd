"""The rungs between text and model, windows and embeddings, give exactly what production gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.config.schema import ModelConfig
from vidro.data.windows import TokenStream, sliding_windows
from vidro.learn.embeddings import Embeddings, one_hot
from vidro.learn.windows import batches, one_epoch, questions, windows
from vidro.model.trace import Trace
from vidro.model.transformer import Transformer


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=2, max_size=60), st.integers(1, 10), st.integers(1, 12))
def test_windows_equal_production(ids: list[int], length: int, stride: int) -> None:
    length = min(length, len(ids) - 1)
    x, y = sliding_windows(ids, length, stride)
    assert (x.tolist(), y.tolist()) == windows(ids, length, stride)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 80), st.integers(1, 9), st.integers(0, 1000), st.integers(0, 3))
def test_an_epoch_of_training_is_an_epoch_of_the_rung(n_tokens: int, length: int, seed: int, epoch: int) -> None:
    """The same windows of the same circle; only their order is another."""
    length = min(length, n_tokens - 1)
    ids = list(range(n_tokens))
    stream = TokenStream(np.array(ids), context_length=length, seed=seed)
    n_blocks = stream.blocks_per_epoch
    x, y = stream.batch(epoch * n_blocks, n_blocks)
    # Where this epoch was cut: production's windows begin at offset, offset + length, … of the circle.
    offset = next(
        start
        for start in x[:, 0].tolist()
        if sorted(one_epoch(ids, length, start)[0]) == sorted(x.tolist()) or n_blocks == 1
    )
    assert sorted(zip(*one_epoch(ids, length, offset), strict=True)) == sorted(zip(x.tolist(), y.tolist(), strict=True))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_batches_hold_each_window_at_most_once(ids: list[int], length: int, size: int, seed: int) -> None:
    x, y = windows(ids, length, 1)
    found = batches(x, y, size, seed)
    assert len(found) == len(x) // size
    rows = [(tuple(a), tuple(b)) for inputs, targets in found for a, b in zip(inputs, targets, strict=True)]
    every = [(tuple(a), tuple(b)) for a, b in zip(x, y, strict=True)]
    assert all(rows.count(row) <= every.count(row) for row in rows)
    assert found == batches(x, y, size, seed)


def test_a_window_asks_a_question_at_each_place() -> None:
    x, y = windows([5, 6, 7, 8, 9], length=4, stride=4)
    asked = questions([*x[0], y[0][-1]])
    assert [answer for _, answer in asked] == y[0]
    assert asked[-1] == ([5, 6, 7, 8], 9)


def test_embeddings_equal_production() -> None:
    """Token and position tables of the gpt2 family, in production and here."""
    config = ModelConfig(family="gpt2", vocab_size=17, context_length=9, d_model=6, n_layers=1, n_heads=2,
                         n_kv_heads=2, d_head=3, d_ff=8)  # fmt: skip
    production = Transformer(config)
    assert production.position_embedding is not None
    rung = Embeddings(17, 6, 9)
    with torch.no_grad():
        rung.token.copy_(production.token_embedding.weight)
        rung.position.copy_(production.position_embedding.weight)
    ids = torch.randint(0, 17, (3, 7), generator=torch.Generator().manual_seed(0))
    trace = Trace()
    production.hidden(ids, trace=trace)
    assert trace.token_embedding is not None
    assert trace.position_embedding is not None
    assert torch.equal(rung(ids), trace.token_embedding + trace.position_embedding)


def test_looking_up_is_multiplying_by_one_hot_rows() -> None:
    dice = torch.Generator().manual_seed(1)
    table, ids = torch.randn(11, 4, generator=dice), torch.randint(0, 11, (2, 5), generator=dice)
    assert torch.equal(one_hot(ids, 11) @ table, table[ids])
    assert torch.equal(one_hot(ids, 11), torch.nn.functional.one_hot(ids, 11).float())


def test_a_place_beyond_the_table_is_refused() -> None:
    with pytest.raises(AssertionError, match="more tokens than there are places"):
        Embeddings(5, 2, 3)(torch.zeros(1, 4, dtype=torch.long))
