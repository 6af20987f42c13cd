from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.core.errors import DataError, UsageError
from vidro.evals.perplexity import (
    TextScore,
    batches,
    check_lossless,
    count_words,
    document_windows,
    evaluate_tokens,
    score_text,
    word_perplexity,
)
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_words

IGNORE = -100


def small_model(vocab_size: int = 320, context_length: int = 8) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(
        ModelConfig(
            vocab_size=vocab_size, context_length=context_length, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2,
            d_head=8, d_ff=16,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def in_bytes() -> Tokenizer:
    return build_bytes()


def as_lists(ids: list[int], length: int, stride: int | None = None) -> list[tuple[list[int], list[int]]]:
    windows = document_windows(np.array(ids, dtype=np.uint16), 0, length, stride=stride)
    return [(inputs.tolist(), targets.tolist()) for inputs, targets in windows]


def test_windows_start_from_the_last_token_of_the_one_before() -> None:
    assert as_lists([1, 2, 3, 4, 5, 6, 7], 3) == [
        ([0, 1, 2], [1, 2, 3]), ([3, 4, 5], [4, 5, 6]), ([6], [7]),
    ]  # fmt: skip
    assert as_lists([1, 2], 3) == [([0, 1], [1, 2])]
    assert as_lists([], 3) == []


def test_sliding_windows_predict_each_token_once_with_more_context() -> None:
    i = IGNORE
    assert as_lists([1, 2, 3, 4, 5, 6], 4, stride=2) == [
        ([0, 1, 2, 3], [1, 2, 3, 4]), ([2, 3, 4, 5], [i, i, 5, 6]),
    ]  # fmt: skip
    assert as_lists([1, 2, 3, 4, 5], 4, stride=2)[1] == ([2, 3, 4], [i, i, 5])
    assert as_lists([1, 2, 3, 4, 5], 4, stride=4) == as_lists([1, 2, 3, 4, 5], 4)


@pytest.mark.parametrize("stride", [None, 1, 3, 8])
def test_every_token_is_predicted_once_whatever_the_batches(stride: int | None) -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, 300, size=n) for n in (0, 1, 7, 8, 9, 40, 3, 100)]
    windows = [w for ids in documents for w in document_windows(ids, 0, 8, stride=stride)]
    seen = [t for _, targets in batches(windows, rows=3, length=8) for t in targets.flatten().tolist() if t != IGNORE]
    assert sorted(seen) == sorted(np.concatenate(documents).tolist())


def test_short_documents_share_a_batch() -> None:
    windows = [w for _ in range(100) for w in document_windows(np.array([5, 6]), 0, 64)]
    assert [tuple(ids.shape) for ids, _ in batches(windows, rows=4, length=64)] == [(100, 2)]


def test_score_is_in_bytes_of_the_text_and_bits_and_nats_agree(in_bytes: Tokenizer) -> None:
    model = small_model(in_bytes.vocab_size)
    score = score_text(model, in_bytes, ["olá, mundo", "", "x" * 30])
    assert (score.n_bytes, score.n_tokens) == (11 + 30, 41)
    assert score.nats_per_token == pytest.approx(score.nats_per_byte)
    assert score.bits_per_byte == pytest.approx(score.nats_per_byte / math.log(2))
    assert score.perplexity == pytest.approx(math.exp(score.nats_per_token))
    assert score.stride is None


def test_batch_size_does_not_move_the_score_and_stride_does(in_bytes: Tokenizer) -> None:
    model = small_model(in_bytes.vocab_size)
    texts = ["the quick brown fox jumps over the lazy dog", "and a second one"]
    plain = score_text(model, in_bytes, texts, batch=1)
    assert score_text(model, in_bytes, texts, batch=5).nats_per_byte == pytest.approx(plain.nats_per_byte, rel=1e-6)
    sliding = score_text(model, in_bytes, texts, stride=2)
    assert sliding.stride == 2
    assert sliding.nats_per_byte != pytest.approx(plain.nats_per_byte, rel=1e-4)


def test_documents_do_not_see_each_other(in_bytes: Tokenizer) -> None:
    model = small_model(in_bytes.vocab_size)
    both = score_text(model, in_bytes, ["first text", "second text"])
    alone = [score_text(model, in_bytes, [text]) for text in ("first text", "second text")]
    total = sum(score.nats_per_token * score.n_tokens for score in alone)
    assert both.nats_per_token * both.n_tokens == pytest.approx(total, rel=1e-6)


def test_the_model_is_put_back_into_training_and_dropout_was_off(in_bytes: Tokenizer) -> None:
    config = ModelConfig(vocab_size=320, context_length=8, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2,
                         d_head=8, d_ff=16, dropout=0.5)  # fmt: skip
    model = Transformer(config).train()
    torch.nn.init.normal_(model.head.weight)
    ids = [np.arange(20)]
    assert evaluate_tokens(model, ids, eot_id=0) == evaluate_tokens(model, ids, eot_id=0)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_progress_hears_the_tokens_done() -> None:
    heard: list[int] = []
    evaluate_tokens(small_model(), [np.arange(20)], eot_id=0, batch=1, progress=heard.append)
    assert heard == [8, 16, 20]


def test_a_text_that_does_not_come_back_is_refused() -> None:
    words = build_words(["the cat sat"], unk=True)
    model = small_model(words.vocab_size)
    with pytest.raises(DataError, match=r"does not give this text back exactly: it differs at character 4 \('dog"):
        score_text(model, words, ["the dog sat"])
    with pytest.raises(DataError, match=r"^document 2: the tokenizer does not"):
        score_text(model, words, ["the cat sat", "the dog sat"])


def test_ids_that_are_not_the_text_are_refused_by_a_lossless_tokenizer_too(in_bytes: Tokenizer) -> None:
    text = "quite long " * 10_000
    ids = np.array(in_bytes.encode(text))
    check_lossless(in_bytes, text, ids)
    for wrong in (ids[:-1], np.append(ids, ids[0]), ids[::-1]):
        with pytest.raises(DataError, match="does not give this text back"):
            check_lossless(in_bytes, text, wrong)


def test_nothing_to_evaluate_and_impossible_strides_are_errors(in_bytes: Tokenizer) -> None:
    with pytest.raises(DataError, match="there is no text to evaluate"):
        score_text(small_model(), in_bytes, ["", ""])
    for stride in (0, 9):
        with pytest.raises(UsageError, match=rf"stride: {stride} is not possible. It must be between 1 and 8"):
            evaluate_tokens(small_model(), [np.arange(20)], eot_id=0, stride=stride)


def test_a_hopeless_model_has_no_number_for_perplexity() -> None:
    score = TextScore.of(800.0 * 3, n_tokens=3, n_bytes=9)
    assert score.perplexity == math.inf
    assert score.event_fields()["perplexity"] is None
    assert set(score.event_fields()) == {
        "nats_per_token", "nats_per_byte", "bits_per_byte", "perplexity", "n_tokens", "n_bytes",
    }  # fmt: skip


def test_words_are_counted_with_one_end_a_line() -> None:
    assert [count_words(text) for text in ("", "a b", "a b\n", "\n\n", " a  b \n \n")] == [0, 3, 3, 2, 4]


def test_word_perplexity_shares_all_nats_over_words() -> None:
    score = TextScore.of(60.0, n_tokens=40, n_bytes=100)
    assert word_perplexity(score, ["one two three\n", "four\n"]) == pytest.approx(math.exp(60 / 6))


def test_wikitext_has_the_published_number_of_words(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "text" / "wikitext-2.zip") as archive:
        counts = [count_words(archive.read(f"wikitext-2/{part}.txt").decode()) for part in ("train", "valid", "test")]
    assert counts == [2_088_628, 217_646, 245_569]
