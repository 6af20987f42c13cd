from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vidro.config.schema import ModelConfig
from vidro.core.errors import DataError
from vidro.evals.perplexity import evaluate_tokens
from vidro.evals.subset import ValSubset
from vidro.model.transformer import Transformer

EOT, VOCAB, CONTEXT = 63, 64, 8


def small_model() -> Transformer:
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=VOCAB, context_length=CONTEXT, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2,
                         d_head=8, d_ff=16)  # fmt: skip
    model = Transformer(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def stream(lengths: list[int]) -> tuple[NDArray[np.uint16], NDArray[np.uint64], list[NDArray[np.uint16]]]:
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, EOT, size=n).astype(np.uint16) for n in lengths]
    tokens = np.concatenate([np.append(ids, np.uint16(EOT)) for ids in documents])
    return tokens, np.cumsum([n + 1 for n in lengths]).astype(np.uint64), documents


def subset(lengths: list[int], n_windows: int) -> ValSubset:
    tokens, ends, _ = stream(lengths)
    byte_lengths = np.arange(VOCAB)  # id i stands for i bytes
    return ValSubset(tokens, ends, byte_lengths, eot_id=EOT, context_length=CONTEXT, n_windows=n_windows)


def test_all_windows_are_the_full_protocol() -> None:
    lengths = [100, 0, 3, 8, 17]
    _, _, documents = stream(lengths)
    chosen = subset(lengths, n_windows=1000)
    nats, n_tokens = evaluate_tokens(small_model(), documents, eot_id=EOT)
    score = chosen.evaluate(small_model())
    assert (score.n_tokens, chosen.n_windows) == (n_tokens, 13 + 1 + 1 + 3)
    assert score.nats_per_token * score.n_tokens == pytest.approx(nats, rel=1e-6)
    assert score.n_bytes == int(np.concatenate(documents).astype(int).sum())


def test_a_part_is_spread_evenly_and_counts_its_own_bytes() -> None:
    chosen = subset([800], n_windows=10)
    ids = torch.cat([ids for ids, _ in chosen._batches])
    tokens, _, _ = stream([800])
    views = np.lib.stride_tricks.sliding_window_view(tokens, CONTEXT)
    firsts = [int(np.flatnonzero((views == row).all(axis=1))[0]) + 1 for row in ids.numpy()]
    assert sorted(firsts) == [40 + 80 * i for i in range(10)]  # windows 5, 15, … 95 of 100
    targets = torch.cat([targets for _, targets in chosen._batches]).flatten()
    assert chosen.n_bytes == int(targets[targets >= 0].sum())


def test_tiny_documents_make_up_the_wanted_tokens() -> None:
    assert subset([2] * 500, n_windows=16).n_tokens == 16 * CONTEXT


def test_the_same_figure_again_and_training_goes_on() -> None:
    model, chosen = small_model().train(), subset([300, 50], n_windows=6)
    assert chosen.evaluate(model) == chosen.evaluate(model)
    assert model.training


def test_an_empty_stream_is_an_error() -> None:
    with pytest.raises(DataError, match="the validation text has no tokens"):
        subset([0, 0], n_windows=4)
