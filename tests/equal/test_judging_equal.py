"""The rung `judging` gives the marks, scores, outcomes and intervals of production, on random cases."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.evals import answers, judge
from vidro.infer.decode import decode_without_cache
from vidro.learn import generating, judging
from vidro.model.transformer import Transformer

WORDS = st.sampled_from(
    ["cat", "Cat", "cat.", "(cat", "the", "-5", ".5", "5.", "it's", '"yes"', "...", "?", "ΜΈΓΑΣ", "\n"]
)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
REPLIES = st.one_of(
    st.text(alphabet="*` \n0158/.:-ScoreABtieansw[]", max_size=14),
    st.lists(st.sampled_from(["Score", "answer", ":", "=", " ", "**", "`", "85", "100", "07", "/", ".", "A", "b", "TIE",
             "[", "]", "\t", "I say"]), max_size=7).map("".join),
)  # fmt: skip
MARKS = st.lists(st.floats(0, 100), min_size=1, max_size=40)


def test_the_same_answer_is_cut_out() -> None:
    """Production stops at the end token; the rung lets the model write on, and cuts."""
    config = ModelConfig(
        family="gpt2", vocab_size=23, context_length=24, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2, d_head=8,
        d_ff=64, norm_eps=1e-5,
    )  # fmt: skip
    torch.manual_seed(0)
    model, dice = Transformer(config).eval(), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=dice), alpha=0.5)
    task, options = [3, 1, 4, 1, 5], SamplingOptions(greedy=True, max_tokens=12)
    whole = task + generating.generate(model, task, 12, config.context_length)
    assert len(set(whole[5:])) > 3
    for end_id in range(config.vocab_size):  # those of the task among them
        with torch.no_grad():
            expected = decode_without_cache(model, task, options, eot_id=end_id)
        assert judging.answer_of(whole, len(task), end_id) == expected


@settings(max_examples=100, deadline=None)
@given(answer=TEXTS, expected=TEXTS)
def test_the_same_marks(answer: str, expected: str) -> None:
    assert judging.words_of(answer) == answers.words_of(answer)
    assert judging.word_f1(answer, expected) == answers.token_f1(answer, expected)
    assert judging.is_exact(answer, expected) == answers.exact_match(answer, expected)


@settings(max_examples=200, deadline=None)
@given(REPLIES)
def test_replies_are_read_alike(reply: str) -> None:
    assert judging.read_score(reply) == judge.parse_score(reply)
    assert judging.read_choice(reply) == judge.parse_choice(reply)


def test_forms_that_chance_seldom_makes() -> None:
    numbers = [str(number) for number in range(-2, 103)]
    for before, number, behind in product(("", "Score: ", "**score =** "), numbers, ("", "/100", " / 100.", "%", ".5")):
        reply = before + number + behind
        assert judging.read_score(reply) == judge.parse_score(reply), reply
    for before, choice, behind in product(("", "Answer: ", "[["), ("A", "b", "tie", "AB", "C"), ("", ".", "]]", "!")):
        assert judging.read_choice(before + choice + behind) == judge.parse_choice(before + choice + behind)


def test_the_same_outcomes() -> None:
    for pair in product(("A", "B", "tie", None), repeat=2):
        assert judging.outcome(*pair) == judge.pair_outcome(*pair)


@settings(max_examples=25, deadline=None)
@given(values=MARKS, seed=st.integers(0, 1000))
def test_the_same_interval(values: list[float], seed: int) -> None:
    whole = answers.estimate(values, seed=seed)
    assert judging.interval(values, seed) == pytest.approx((whole.mean, whole.low, whole.high), abs=1e-9)


def test_of_many_values_too() -> None:
    """More than production draws at once."""
    values = [float(number % 7) for number in range(500)]
    whole = answers.estimate(values, seed=3)
    assert judging.interval(values, 3) == pytest.approx((whole.mean, whole.low, whole.high), abs=1e-9)


@settings(max_examples=8, deadline=None)
@given(replies=st.lists(st.sampled_from(["85", "Score: 40/100", "0", "Well.", "", "101"]), min_size=16, max_size=16),
       said=st.lists(TEXTS, min_size=8, max_size=8))  # fmt: skip
def test_a_judge_is_asked_the_same_and_counted_alike(
    replies: list[str], said: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The prompts, the second question, the scores and their mean."""
    rows = [answers.AnswerRow("put into the passive", "", "yes", answer) for answer in said]
    asked: dict[str, list[str]] = {"production": [], "rung": []}

    def judge_of(who: str) -> Callable[[str], str]:
        waiting = iter(replies)

        def ask(prompt: str) -> str:
            asked[who].append(prompt)
            return next(waiting)

        return ask

    out = tmp_path_factory.mktemp("judge") / "judge.jsonl"
    theirs = judge.judge_rows(rows, judge_of("production"), out, judge="examples", seed=5)
    ask = judge_of("rung")
    ours = [judging.ask_score(ask, judging.score_prompt(row.instruction, row.expected, row.answer)) for row in rows]
    assert asked["rung"] == asked["production"]
    assert tuple(ours) == theirs.scores
    read = [score for score in ours if score is not None]
    assert len(ours) - len(read) == theirs.n_unparsable
    if theirs.mean is None:
        assert not read
    else:
        assert judging.interval(read, 5) == pytest.approx((theirs.mean.mean, theirs.mean.low, theirs.mean.high))
