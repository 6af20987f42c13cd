"""Likelihoods of continuations: batches, shared contexts and padding change nothing but the time."""

from __future__ import annotations

import random

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.core.errors import DataError
from vidro.evals import continuations
from vidro.evals.continuations import Ids, Likelihood, cut_to_fit, rows_of, score_continuations
from vidro.model.transformer import Transformer

LIMIT = 48
FAMILIES = {
    "gpt2": {"family": "gpt2", "n_kv_heads": 2, "tie_embeddings": True},
    "llama": {"family": "llama", "n_kv_heads": 1},
    "qwen3": {"family": "qwen3", "n_kv_heads": 2},
}


def make_model(family: str = "qwen3") -> Transformer:
    shape = {"vocab_size": 40, "context_length": LIMIT, "d_model": 16, "n_layers": 2, "n_heads": 2, "d_head": 8}
    model = Transformer(ModelConfig(**shape, d_ff=32, **FAMILIES[family]))
    torch.manual_seed(5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def one_at_a_time(model: Transformer, context: Ids, continuation: Ids) -> Likelihood:
    """The readable twin: one pass for each token."""
    nats, greedy, ids = 0.0, True, list(context)
    for token in continuation:
        with torch.no_grad():
            logprobs = model(torch.tensor([ids]))[0, -1].double().log_softmax(-1)
        nats += float(logprobs[token])
        greedy = greedy and int(logprobs.argmax()) == token
        ids.append(token)
    return Likelihood(nats, greedy)


def make_pairs(seed: int, n: int = 12) -> list[tuple[Ids, Ids]]:
    """Questions with one to four answers; some share their beginnings, some fill the context, some come twice."""
    dice = random.Random(seed)
    pairs: list[tuple[Ids, Ids]] = []
    for _ in range(n):
        context = tuple(dice.choices(range(40), k=dice.choice([1, 2, 16, 17, 25, 40])))
        start = tuple(dice.choices(range(40), k=dice.randrange(4)))
        for _ in range(dice.randint(1, 4)):
            longest = LIMIT + 1 - len(context)
            pairs.append((context, (start + tuple(dice.choices(range(40), k=dice.randint(1, 9))))[:longest]))
    return [*pairs, pairs[0], pairs[3]]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_one_token_at_a_time_gives(family: str) -> None:
    model, pairs = make_model(family), make_pairs(1)
    with torch.no_grad():  # a pair that the model itself would write
        best: Ids = ()
        for _ in range(3):
            best += (int(model(torch.tensor([(7, 8, *best)]))[0, -1].argmax()),)
    pairs += [((7, 8), best), ((7, 8), (*best, 39))]
    found = score_continuations(model, pairs)
    for pair, each in zip(pairs, found, strict=True):
        twin = one_at_a_time(model, *pair)
        assert each.logprob_nats == pytest.approx(twin.logprob_nats, abs=1e-4)
        assert each.greedy == twin.greedy
    assert found[-2].greedy
    assert not all(each.greedy for each in found)


@pytest.mark.parametrize("tokens", [1, 60, 10_000])
def test_the_size_of_a_batch_changes_nothing(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = make_model(), make_pairs(2)
    usual = score_continuations(model, pairs)
    monkeypatch.setattr(continuations, "BATCH_TOKENS", tokens)
    monkeypatch.setattr(continuations, "CACHE_TOKENS", tokens)
    other = score_continuations(model, pairs)
    assert [each.greedy for each in other] == [each.greedy for each in usual]
    for a, b in zip(usual, other, strict=True):
        assert a.logprob_nats == pytest.approx(b.logprob_nats, abs=1e-4)


def test_a_shared_context_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    fed: list[int] = []
    hidden = model.hidden
    monkeypatch.setattr(model, "hidden", lambda ids, **how: (fed.append(ids.numel()), hidden(ids, **how))[1])
    context = tuple(range(30))
    score_continuations(model, [(context, (each, each)) for each in range(4)])
    assert fed == [29, 4 * 2], "the context but its last token, then that and one token of each answer"
    fed.clear()
    score_continuations(model, [(context, (each,)) for each in range(4)])
    assert fed == [30], "answers of one token are read off one row"


def test_progress_and_order() -> None:
    model, pairs = make_model(), make_pairs(3)
    told: list[int] = []
    score_continuations(model, pairs, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(pairs)
    assert score_continuations(model, []) == []
    assert model.training, "the model is left in the mode it was in"


def test_equal_pairs_are_one_row() -> None:
    rows = rows_of([((1, 2), (3, 4)), ((1, 2), (3, 5)), ((1, 2), (6, 5)), ((1, 2), (3, 4))])
    assert [[number for number, _ in row.asked] for row in rows] == [[0, 1, 3], [2]]


def test_what_does_not_fit_is_cut_on_the_left() -> None:
    assert cut_to_fit((1, 2, 3), (4, 5), 4) == ((1, 2, 3), 0)
    assert cut_to_fit((1, 2, 3), (4, 5, 6), 4) == ((2, 3), 1)
    assert cut_to_fit((1, 2, 3), (4, 5, 6, 7), 4) == ((3,), 2)
    with pytest.raises(DataError, match="a continuation of 5 tokens does not fit into the context of 4"):
        cut_to_fit((1, 2, 3), (4, 5, 6, 7, 8), 4)
