"""The fast evaluations against their readable twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.config.schema import ModelConfig
from vidro.evals.memorisation import CopyIndex, CopyReport
from vidro.evals.perplexity import evaluate_tokens
from vidro.model.transformer import Transformer


def copied_plainly(train: str, text: str, min_chars: int) -> CopyReport:
    """The definition, word for word: from each place, the longest piece that stands in the training text."""
    longest = 0
    covered = [False] * len(text)
    for start in range(len(text)):
        length = 0
        while start + length < len(text) and text[start : start + length + 1] in train:
            length += 1
        if length >= min_chars:
            longest = max(longest, length)
            covered[start : start + length] = [True] * length
    spans: list[tuple[int, int]] = []
    for place, yes in enumerate(covered):
        if yes and spans and spans[-1][1] == place:
            spans[-1] = (spans[-1][0], place + 1)
        elif yes:
            spans.append((place, place + 1))
    return CopyReport(sum(covered) / len(text) if text else 0.0, longest, tuple(spans))


FEW_LETTERS = st.text(alphabet="aaabé日\n", max_size=120)


@settings(max_examples=150, deadline=None)
@given(train=FEW_LETTERS, pieces=st.lists(st.tuples(st.integers(0, 119), st.integers(0, 60), FEW_LETTERS), max_size=4),
       min_chars=st.integers(4, 40))  # fmt: skip
def test_copied_runs_equal_the_plain_search(train: str, pieces: list[tuple[int, int, str]], min_chars: int) -> None:
    text = "".join(train[start : start + length] + between[:5] for start, length, between in pieces)
    expected = copied_plainly(train, text, min_chars)
    assert CopyIndex(train, shortest=min_chars).copied(text, min_chars=min_chars) == expected
    assert CopyIndex(train, shortest=4).copied(text, min_chars=min_chars) == expected


def nats_one_token_at_a_time(model: Transformer, documents: list[list[int]], eot_id: int, stride: int | None) -> float:
    """The protocol, word for word: each token from exactly the ids it may see, one forward pass a token."""
    length = model.config.context_length
    total = 0.0
    for document in documents:
        line = [eot_id, *document]
        start = 0
        for place in range(1, len(line)):
            if place - start > length:  # the window is full: the next one begins
                start += length if stride is None else stride
            seen = torch.tensor([line[start:place]])
            with torch.no_grad():
                total -= torch.log_softmax(model(seen)[0, -1].double(), dim=-1)[line[place]].item()
    return total


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("stride", [None, 1, 3, 6])
def test_batched_windows_equal_one_token_at_a_time(family: str, stride: int | None) -> None:
    torch.manual_seed(1)
    model = Transformer(
        ModelConfig(
            family=family, vocab_size=64, context_length=6, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2,
            d_head=8, d_ff=24,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    rng = np.random.default_rng(2)
    documents = [rng.integers(0, 63, size=n) for n in (1, 25, 6, 7, 3, 13)]
    expected = nats_one_token_at_a_time(model.eval(), [ids.tolist() for ids in documents], 63, stride)
    for batch in (1, 4, None):
        nats, n_tokens = evaluate_tokens(model, documents, eot_id=63, batch=batch, stride=stride)
        assert n_tokens == 55
        assert nats == pytest.approx(expected, rel=1e-5)
