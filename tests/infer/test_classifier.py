"""A classifier at work: company and padding change nothing, order is kept, and every token's part can be checked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidro.config.schema import ModelConfig
from vidro.core.errors import DataError, TokenizerError, UsageError
from vidro.infer import classifier
from vidro.infer.classifier import ClassifierSession, Reader, Row, batched
from vidro.model.heads import class_logits
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars

LABELS = ("ham", "maybe", "spam")
TOKENIZER = build_bytes()
GPT2 = ModelConfig(
    family="gpt2", vocab_size=TOKENIZER.vocab_size, context_length=32, d_model=24, n_layers=2, n_heads=3, n_kv_heads=3,
    d_head=8, d_ff=40, labels=LABELS,
)  # fmt: skip
LLAMA = replace(GPT2, family="llama", n_heads=4, n_kv_heads=2, d_head=6)
QWEN3 = replace(LLAMA, family="qwen3", n_kv_heads=1, d_head=10)
families = pytest.mark.parametrize("config", [GPT2, LLAMA, QWEN3], ids=lambda config: config.family)
TEXTS = ["win", "You have won a prize!", "x", "see you at the usual place", "olá", "a b"]


def awake(config: ModelConfig = QWEN3, seed: int = 0) -> Transformer:
    """A model without zero weights: one that has not learned says the same of every text."""
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model


def session(config: ModelConfig = QWEN3, *, max_tokens: int = 32, pad_to: int | None = None) -> ClassifierSession:
    return ClassifierSession(awake(config), Reader(TOKENIZER, max_tokens, pad_to=pad_to))


def alone(one: ClassifierSession, text: str) -> torch.Tensor:
    """Logits by the plainest way: the ids of one text through the model, read at the end, no padding anywhere."""
    ids = torch.tensor([TOKENIZER.encode(text)])
    with torch.no_grad():
        return one.model.eval()(ids)[0, -1]


@families
@pytest.mark.parametrize("batch_tokens", [8192, 30, 1])
def test_padding_and_company_never_change_a_score(
    config: ModelConfig, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "BATCH_TOKENS", batch_tokens)
    one = session(config)
    wanted = torch.stack([alone(one, text) for text in TEXTS])
    torch.testing.assert_close(one.logits(one.reader.rows(TEXTS)), wanted, atol=1e-5, rtol=1e-5)
    spread = (wanted[:, None] - wanted[None]).abs().amax(-1) + torch.eye(len(TEXTS))
    assert spread.min() > 1e-2, "the texts must differ, or the test could not fail"


@families
def test_what_stands_in_the_padding_does_not_matter(config: ModelConfig) -> None:
    one = session(config)
    rows = one.reader.rows(TEXTS)
    ids, last = one.reader.batch(rows)
    other = ids.clone()
    for row, text in zip(other, rows, strict=True):
        assert (row[text.n_inputs :] == TOKENIZER.pad_id).all()
        row[text.n_inputs :] = 7
    with torch.no_grad():
        a, b = (class_logits(one.model.eval(), each, last) for each in (ids, other))
    assert torch.equal(a, b)


def test_the_stream_keeps_the_order() -> None:
    one = session()
    texts = [("ab " * (number * 7 % 10) + str(number)) for number in range(40)]
    assert len({len(text) for text in texts}) > 8
    wanted = [one.predict(text) for text in texts]
    for together in (1, 7, 512):
        found = list(one.stream(iter(texts), together=together))
        assert [each.label for each in found] == [each.label for each in wanted]
        for a, b in zip(found, wanted, strict=True):
            assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
    assert len({each.label for each in wanted}) > 1
    assert list(one.stream([])) == []


def test_the_stream_reads_no_further_than_it_must() -> None:
    read = []
    texts = (read.append(text) or text for text in TEXTS)
    stream = session().stream(texts, together=2)
    assert read == []
    next(stream)
    assert read == TEXTS[:2]


def test_a_prediction() -> None:
    one = session()
    found = one.predict("You have won a prize!")
    shares = alone(one, "You have won a prize!").softmax(-1).tolist()
    assert found.probabilities == pytest.approx(dict(zip(LABELS, shares, strict=True)), abs=1e-6)
    assert list(found.probabilities) == list(LABELS)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.label == LABELS[shares.index(max(shares))]
    assert found.n_cut == 0


def test_what_does_not_fit_is_cut_and_counted() -> None:
    one = session(max_tokens=5)
    long, short = one.stream(["abcdefgh", "abcde"])
    assert (long.n_cut, short.n_cut) == (3, 0)
    assert long.probabilities == pytest.approx(short.probabilities, abs=1e-6)
    assert one.reader.row("abcdefgh") == Row(tuple(TOKENIZER.encode("abcde")), 3)


def test_a_model_is_left_in_the_mode_it_was_in_and_drops_nothing() -> None:
    one = ClassifierSession(awake(replace(QWEN3, dropout=0.5)), Reader(TOKENIZER, 32))
    one.model.train()
    first, second = one.predict("a text"), one.predict("a text")
    assert first == second
    assert one.model.training


# -- as the book does it -----------------------------------------------------------------------------------------------


@families
def test_padded_to_one_length_the_last_place_is_read(config: ModelConfig) -> None:
    one = session(config, max_tokens=28, pad_to=28)
    rows = one.reader.rows(TEXTS)
    ids, last = one.reader.batch(rows)
    assert ids.shape == (len(TEXTS), 28)
    assert last.tolist() == [27] * len(TEXTS)
    found = one.logits(rows)
    for text, row, scores in zip(TEXTS, rows, found, strict=True):
        padded = [*row.ids, *[TOKENIZER.pad_id] * (28 - row.n_inputs)]
        with torch.no_grad():
            wanted = one.model(torch.tensor([padded]))[0, -1]
        torch.testing.assert_close(scores, wanted, atol=1e-5, rtol=1e-5)
        assert (scores - alone(one, text)).abs().max() > 1e-2, "pads are read here"


def test_a_tokenizer_without_a_pad_pads_with_the_end_as_the_book_does() -> None:
    spec = json.loads(TOKENIZER.to_json())
    for token in spec["added_tokens"]:
        token["content"] = token["content"].replace("pad", "other")
    spec["model"]["vocab"] = {name.replace("<|pad|>", "<|other|>"): at for name, at in spec["model"]["vocab"].items()}
    tokenizer = Tokenizer.from_json(json.dumps(spec))
    assert tokenizer.pad_id is None
    ids, last = Reader(tokenizer, 32).batch([Row((1, 2, 3)), Row((4,))])
    assert ids.tolist() == [[1, 2, 3], [4, tokenizer.eot_id, tokenizer.eot_id]]
    assert last.tolist() == [2, 0]


# -- what each token did -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad_to", [None, 30])
def test_a_weight_is_what_leaving_the_token_out_does_to_the_log_odds(pad_to: int | None) -> None:
    one = session(max_tokens=30, pad_to=pad_to)
    text = "won it"
    found = one.explain(text)
    assert [token for token, _ in found] == list(text)

    def odds(text: str) -> float:
        share = one.predict(text).probabilities[label]
        return float(torch.tensor(share / (1 - share)).log())

    label = one.predict(text).label
    for place, (_, weight) in enumerate(found):
        without = text[:place] + text[place + 1 :]
        assert weight == pytest.approx(odds(text) - odds(without), abs=1e-4)
    assert max(abs(weight) for _, weight in found) > 1e-2


def test_explain_has_a_weight_for_each_token_that_was_read() -> None:
    one = session(max_tokens=6)
    assert len(one.explain("abc")) == 3
    assert [token for token, _ in one.explain("abcdefgh")] == list("abcdef")
    assert one.explain("x") == [("x", 0.0)]
    assert [token for token, _ in session().explain("é")] == ["\\xc3", "\\xa9"], "half a character can be seen"


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_a_text_without_anything_is_an_error_that_says_which() -> None:
    one = session()
    for text in ("", "  \n"):
        for call in (one.predict, one.explain):
            with pytest.raises(DataError, match="there is no text to classify"):
                call(text)
    with pytest.raises(DataError, match=r"^text 3: there is no text to classify$"):
        one.reader.rows(["a", "b", ""])
    with pytest.raises(DataError, match=r"^text 6: there is no text to classify$"):
        list(one.stream(["a", "b", "c", "d", "e", ""], together=2))
    tokenizer = build_chars(["abc "], unk=False)
    letters = ClassifierSession(awake(replace(QWEN3, vocab_size=tokenizer.vocab_size)), Reader(tokenizer, 32))
    with pytest.raises(TokenizerError, match=r"^text 4: the character 'z' \(U\+007A\) at offset 1 is not in"):
        list(letters.stream(["a", "b", "c", "az"], together=3))
    with pytest.raises(TokenizerError, match=r"^the character 'z'"):
        letters.reader.row("z")


def test_a_language_model_is_no_classifier() -> None:
    model = Transformer(replace(QWEN3, labels=()))
    with pytest.raises(UsageError) as caught:
        ClassifierSession(model, Reader(TOKENIZER, 32))
    assert str(caught.value) == (
        "this run is a language model, not a classifier. "
        "Make a classifier of it: vidro finetune classify RUN --data FILE."
    )


@given(st.lists(st.text(max_size=3)), st.integers(1, 5))
def test_groups_hold_every_text_in_order(texts: list[str], size: int) -> None:
    groups = list(batched(texts, size))
    assert [text for group in groups for text in group] == texts
    assert all(len(group) == size for group in groups[:-1])
    assert all(groups)


@given(st.lists(st.integers(1, 40), min_size=1), st.sampled_from([None, 40]), st.integers(1, 100))
def test_batches_hold_every_row_once_and_stay_small(lengths: list[int], pad_to: int | None, most: int) -> None:
    one = session(pad_to=pad_to)
    rows = [Row((1,) * length) for length in lengths]
    order = sorted(range(len(rows)), key=lambda number: lengths[number])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "BATCH_TOKENS", most)
        groups = list(one._groups(rows, order))
    assert [number for group in groups for number in group] == order
    for group in groups:
        padded = max(lengths[number] for number in group) if pad_to is None else pad_to
        assert len(group) == 1 or len(group) * padded <= most
