"""The explanation tells what really happens: same token, same numbers, and a page that fits a terminal."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import UsageError
from vidro.infer.explain import Explanation, explain, explanations
from vidro.infer.explain_text import WIDTH, display_width, percent, quoted, render, table
from vidro.infer.session import Session
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars

FAMILIES = ("gpt2", "llama", "qwen3")
ALL = SamplingOptions(temperature=0.7, top_k=9, top_p=0.9, min_p=0.02, repetition_penalty=1.2, seed=3)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_chars(["abcdefghijklmnopqrstuvwxyz ."], unk=False)


def random_model(family: str, vocab_size: int, n_layers: int = 3) -> Transformer:
    model = Transformer(
        ModelConfig(
            family=family, vocab_size=vocab_size, context_length=32, d_model=32, n_layers=n_layers, n_heads=4,
            n_kv_heads=4, d_head=8, d_ff=48,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.3, generator=generator)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [ALL, SamplingOptions(greedy=True), SamplingOptions(seed=9)])
def test_it_chooses_the_token_that_the_session_chooses(family, options, tokenizer):
    model = random_model(family, tokenizer.vocab_size)
    for prompt in ("", "the fox", "a b c d e"):
        told = explain(model, tokenizer, prompt, options)
        piece = next(Session(model, tokenizer).stream(prompt, options))
        assert told.chosen == piece.id
        assert np.log(told.stages[0].probabilities[told.chosen]) == pytest.approx(piece.logprob_nats, abs=1e-4)
        start, end = told.chosen_span
        assert told.u is None if options.greedy else start <= told.u < end


def test_one_token_after_another_is_the_sessions_text(tokenizer):
    """Past a full context of 32, too."""
    model = random_model("qwen3", tokenizer.vocab_size)
    for options in (ALL, SamplingOptions(greedy=True, repetition_penalty=1.3)):
        options = replace(options, max_tokens=40)
        (said,) = Session(model, tokenizer).generate(["the fox"], options)
        told = list(explanations(model, tokenizer, "the fox", options))
        assert [each.chosen for each in told if not each.chosen_ends] == said.ids
        assert told[-1].prompt + told[-1].chosen_text * (not told[-1].chosen_ends) == "the fox" + said.text


@pytest.mark.parametrize("family", FAMILIES)
def test_the_numbers_are_the_models_own(family, tokenizer):
    model = random_model(family, tokenizer.vocab_size)
    told = explain(model, tokenizer, "the fox", ALL)
    assert told.ids == [tokenizer.eot_id, *tokenizer.encode("the fox")]
    assert told.marked
    assert told.pieces == ["<|endoftext|>", *"the fox"]
    with torch.no_grad():
        ids = torch.tensor([told.ids])
        assert np.allclose(told.logits, model(ids)[0, -1], atol=1e-4)
        assert np.allclose(told.token_vectors, model.token_embedding(ids)[0])
        assert np.allclose(told.logits, model.head.weight @ torch.tensor(told.last_vector), atol=1e-4)
    if family == "gpt2":
        assert model.position_embedding is not None
        assert np.allclose(told.position_vectors, model.position_embedding.weight[: len(told.ids)].detach())
    else:
        assert told.position_vectors is None
    assert len(told.blocks) == 3
    assert told.blocks[-1].guess == int(told.logits.argmax()), "after the last block the guess is the prediction"
    assert all(0 <= block.looks_at < len(told.ids) for block in told.blocks)


def test_the_stages_follow_the_filters_and_sum_to_one(tokenizer):
    told = explain(random_model("qwen3", tokenizer.vocab_size), tokenizer, "the fox", ALL)
    labels = [
        "softmax",
        "text only",
        "repetition penalty 1.2",
        "÷ temperature 0.7",
        "top-k 9",
        "top-p 0.9",
        "min-p 0.02",
    ]
    assert [stage.label for stage in told.stages] == labels
    left = [stage.n_left for stage in told.stages]
    assert left == sorted(left, reverse=True)
    assert left[0] == tokenizer.vocab_size
    assert left[4] == 9
    for stage in told.stages:
        assert stage.probabilities.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_shows_the_steps_and_fits(family, tokenizer):
    told = explain(random_model(family, tokenizer.vocab_size, n_layers=30), tokenizer, "the quick fox and the hen", ALL)
    page = render(told)
    assert str(told) == page
    assert max(map(display_width, page.split("\n"))) <= WIDTH
    titles = re.findall(r"^(\d)  (.+)$", page, flags=re.MULTILINE)
    assert [number for number, _ in titles] == list("1234567")
    assert titles[2][1] == "Through 30 blocks"
    assert f"fall on {told.u:.4f}" in page
    assert f"e^{told.logits.max():.2f}" in page
    assert ("+ position" in page) == (family == "gpt2")
    assert ("rotary" in page) == (family != "gpt2")
    assert "tokens left" in page
    assert f"make {quoted('the quick fox and the hen' + told.chosen_text, 60)}" in page
    assert "\t" not in page


def test_a_table_keeps_its_columns_and_cut_tokens_stay_in_it(tokenizer):
    model = random_model("qwen3", tokenizer.vocab_size)
    page = render(explain(model, tokenizer, "the fox", SamplingOptions(temperature=1.0, top_k=2, seed=1)))
    rows = [line for line in page.split("\n") if re.search(r'\d+  "', line) and "%" in line and " at " not in line]
    assert len({display_width(row) for row in rows}) == 1
    assert sum(row.endswith("cut") for row in rows) == 6
    assert sum("→" in row for row in rows) == 1


def test_greedy_and_the_end_mark_are_said(tokenizer):
    model = random_model("llama", tokenizer.vocab_size)
    assert "Greedy: the most probable token is taken" in render(
        explain(model, tokenizer, "the fox", SamplingOptions(greedy=True))
    )
    with torch.no_grad():
        model.head.weight[tokenizer.eot_id] = 100 * torch.tensor(explain(model, tokenizer, "the fox", ALL).last_vector)
    told = explain(model, tokenizer, "the fox", replace(ALL, repetition_penalty=1e6))  # it spares the end mark
    assert told.chosen_ends
    assert "the model says that the text is over" in render(told)


def test_half_characters_and_line_ends_stay_on_their_line():
    tokenizer = build_bytes()
    told: Explanation = explain(random_model("qwen3", tokenizer.vocab_size), tokenizer, "é\n👍", ALL)
    page = render(told)
    assert '"\\xc3"' in page
    assert '"\\n"' in page
    assert "\ufffd" not in "".join(told.pieces)


def test_a_character_of_two_tokens_comes_when_it_is_whole():
    tokenizer = build_bytes()
    told = list(explanations(random_model("qwen3", tokenizer.vocab_size), tokenizer, "", replace(ALL, max_tokens=20)))
    assert [each.prompt for each in told] == [
        "".join(each.chosen_text for each in told[:count]) for count in range(len(told))
    ]
    assert "" in [each.chosen_text for each in told]


def test_mistakes_are_those_of_the_session(tokenizer):
    model = random_model("qwen3", tokenizer.vocab_size)
    with pytest.raises(UsageError, match="it is 40 tokens long, and the model sees 32"):
        explain(model, tokenizer, "a" * 40, ALL)
    with pytest.raises(UsageError, match="top-k: with greedy"):
        explain(model, tokenizer, "a", SamplingOptions(greedy=True, top_k=3))


def test_percent_and_quoted_and_table():
    assert [percent(share) for share in (0.0, 1e-9, 0.0005, 0.12345, 1.0)] == [
        "0.0 %", "<0.1 %", "0.1 %", "12.3 %", "100.0 %",
    ]  # fmt: skip
    assert quoted("漢字漢字漢字", 9) == '"漢字漢…"'
    assert display_width("漢é") == 3
    assert display_width("e\u0301") == 1
    assert table(["id", "token"], [["7", "漢"], ["12", "ab"]], left=(1,)) == ["id  token", " 7  漢", "12  ab"]
