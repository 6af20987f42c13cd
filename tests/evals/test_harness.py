"""The class that answers lm-evaluation-harness: where context ends, what is cut, how texts are written."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import DataError, UsageError
from vidro.infer.session import Session
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance

from vidro.evals.harness import VidroLM, sampling
from vidro.evals.perplexity import evaluate_tokens

LIMIT = 16


def make_lm(seed: int = 1, **told: Any) -> VidroLM:
    """A model with random weights that reads bytes, 16 at once."""
    tokenizer = build_bytes()
    shape = {"context_length": LIMIT, "d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "d_head": 8}
    model = Transformer(ModelConfig(vocab_size=tokenizer.vocab_size, d_ff=16, **shape))
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return VidroLM(Session(model, tokenizer), seed=seed, **told)


def asked(*pairs: tuple[Any, ...]) -> list[Any]:
    """Requests as the harness makes them."""
    return [Instance("loglikelihood", {}, pair, 0) for pair in pairs]


def test_blanks_at_the_end_of_a_context_belong_to_the_continuation() -> None:
    lm = make_lm()
    assert lm.pair_ids("ab", " c") == ([97, 98], [32, 99])
    assert lm.pair_ids("ab ", "c") == ([97, 98], [32, 99])
    assert lm.pair_ids("ab\n ", "c") == ([97, 98], [10, 32, 99])


def test_a_context_that_is_nothing_is_the_end_mark() -> None:
    lm = make_lm()
    end = lm.session.tokenizer.eot_id
    assert lm.pair_ids("", "ab") == ([end], [97, 98])
    assert lm.pair_ids("  ", "a") == ([end], [32, 32, 97])
    with pytest.raises(DataError, match=r"the answer '' has no token of its own after 'ab'. Begin answers with"):
        lm.loglikelihood(asked(("ab", "")))


def test_names_of_special_tokens_are_text() -> None:
    ids, _ = make_lm().pair_ids("<|endoftext|>", " a")
    assert ids == list(b"<|endoftext|>")


def test_what_is_cut_is_counted() -> None:
    lm = make_lm()
    long, short = lm.loglikelihood(asked(("x" * 3 + "abcdefghijklmn", "opq"), ("abcdefghijklmn", "opq")))
    assert long == short, "the model sees the same end of both"
    assert (lm.fit.n_requests, lm.fit.n_cut, lm.fit.n_cut_tokens) == (2, 1, 3)
    with pytest.raises(DataError, match="a continuation of 17 tokens does not fit into the context of 16"):
        lm.loglikelihood(asked(("a", "b" * 17)))


def test_a_whole_text_costs_what_evaluate_says_where_one_window_holds_it() -> None:
    lm = make_lm()
    texts = ["a", "the cat sat on", "", "x" * 16, "the cat sat on the mat. " * 3]
    found = lm.loglikelihood_rolling(asked(*((text,) for text in texts)))
    end = lm.session.tokenizer.eot_id
    for text, nats in zip(texts[:4], found, strict=False):
        ids = lm.session.tokenizer.encode_batch([text])
        assert -nats == pytest.approx(evaluate_tokens(lm.session.model, ids, eot_id=end)[0], rel=1e-5), text
    windows = lm.windows(texts[4])
    assert [len(before) + len(after) for before, after in windows] == [17, 17, 17, 17, 17]
    assert [token for _, after in windows for token in after] == list(texts[4].encode()), "each token once"
    assert lm.fit.n_cut == 0


def test_greedy_texts_stop_where_they_are_told_to() -> None:
    lm = make_lm()
    (whole,) = lm.generate_until(asked(("ab", {"until": [], "max_gen_toks": 8})))
    expected = lm.session.generate([[97, 98]], SamplingOptions(greedy=True, max_tokens=8))[0].text
    assert whole == expected
    stop = whole[3]
    (cut,) = lm.generate_until(asked(("ab", {"until": [stop, ""], "max_gen_toks": 8})))
    assert cut == whole.split(stop)[0]
    (one,) = lm.generate_until(asked(("ab", {"until": stop, "max_gen_toks": 8, "do_sample": False, "top_p": 0.9})))
    assert one == cut


def test_each_repeat_is_another_draw_and_the_seed_gives_them_again() -> None:
    settings = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0}
    repeats = asked(*[("ab", settings)] * 4, ("b", settings))
    first = make_lm().generate_until(repeats)
    assert len(set(first[:4])) == 4
    assert make_lm().generate_until(repeats) == first
    assert make_lm(seed=50).generate_until(repeats) != first


def test_a_long_text_slides_and_half_of_the_context_is_kept() -> None:
    lm = make_lm()
    lm.generate_until(asked(("abcdefghijklmnop", {"until": [], "max_gen_toks": 40})))
    assert (lm.fit.n_cut, lm.fit.n_cut_tokens, lm.fit.n_slid) == (1, 8, 1)
    assert lm.prompt_ids("abcdefghijklmnop", 4) == list(b"efghijklmnop")
    assert lm.prompt_ids("abc", 15) == list(b"abc"), "a short one is whole, whatever is asked for"
    assert lm.prompt_ids("", 4) == [lm.session.tokenizer.eot_id]


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    lm = make_lm(on_progress=lambda *words: told.append(words))
    lm.loglikelihood(asked(("a", "b"), ("a", "c")))
    lm.generate_until(asked(("a", {"max_gen_toks": 1}), ("b", {"max_gen_toks": 1})))
    assert told == [("answers", 2, 2), ("texts written", 2, 2)]


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ({}, SamplingOptions(greedy=True, max_tokens=256)),
        ({"until": "\n", "max_gen_toks": 5}, SamplingOptions(greedy=True, max_tokens=5, stop=("\n",))),
        ({"max_new_tokens": 7, "temperature": 0.0}, SamplingOptions(greedy=True, max_tokens=7)),
        ({"do_sample": False, "top_k": 3}, SamplingOptions(greedy=True, max_tokens=256)),
        ({"do_sample": True}, SamplingOptions(max_tokens=256, temperature=1.0, seed=4)),
        ({"temperature": 0.5}, SamplingOptions(max_tokens=256, temperature=0.5, seed=4)),
        (
            {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 0.9},
            SamplingOptions(max_tokens=256, temperature=0.7, top_p=0.9, seed=4),
        ),
    ],
)
def test_settings_of_tasks(said: dict[str, Any], options: SamplingOptions) -> None:
    assert sampling(said, seed=4) == options


def test_a_setting_that_vidro_lacks_is_an_error() -> None:
    with pytest.raises(DataError, match=r"the task asks for num_beams. Vidro knows until, max_gen_toks, do_sample"):
        sampling({"num_beams": 4}, seed=1)
    with pytest.raises(UsageError, match="0 is too small"):
        sampling({"max_gen_toks": 0}, seed=1)


def test_a_probability_is_never_above_one() -> None:
    lm = make_lm()
    every = lm.loglikelihood(asked(*[("a", chr(number)) for number in range(33, 127)]))
    assert sum(math.exp(nats) for nats, _ in every) < 1
    assert sum(greedy for _, greedy in every) <= 1
