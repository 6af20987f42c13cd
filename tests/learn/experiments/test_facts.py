"""The fact experiment: its questions, its tools proved on a tiny model, and the whole of it once."""

from __future__ import annotations

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.data.tinyworld import text
from vidro.data.tinyworld.facts import PEOPLE, PLACES
from vidro.learn.experiments.cloze import questions
from vidro.learn.experiments.edits import Edit, edit_rows
from vidro.learn.experiments.facts import FactSettings, study
from vidro.learn.experiments.patching import Patch, parts_of, patched
from vidro.learn.experiments.rank_one import Effort, edited, find_value, key_at, rank_one, second_moment
from vidro.learn.experiments.recall import ask
from vidro.learn.experiments.rows import Rows, answer_nats, name_places, rows_of
from vidro.learn.experiments.tracing import ablate, mean_outputs, probability
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import train_bpe

STORIES = text(1, 40_000)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe([STORIES], vocab_size=512)


@pytest.fixture
def model() -> Transformer:
    return make("qwen3")


def make(family: str) -> Transformer:
    """Two random blocks; all weights drawn, since a new model's heads and outputs are zero."""
    model = Transformer(
        ModelConfig(
            family=family,
            vocab_size=512,
            context_length=256,
            d_model=32,
            n_layers=2,
            n_heads=2,
            n_kv_heads=2,
            d_head=16,
            d_ff=48,
        )
    )
    initialise(model, seed=1)
    draw = torch.Generator().manual_seed(1)
    for weights in model.parameters():
        if weights.ndim == 2:
            weights.data = torch.randn(weights.shape, generator=draw) / weights.shape[1] ** 0.5
        weights.requires_grad_(False)
    return model.eval()


@pytest.fixture
def rows(tokenizer: Tokenizer) -> Rows:
    return rows_of(tokenizer, [one for one in questions() if one.wording == 0][:8])


def test_every_question_asks_for_a_cell_of_the_worlds_tables() -> None:
    asked = questions()
    assert len({one.fact for one in asked}) == 199
    for one in asked:
        assert one.answer in one.candidates
        assert one.answer.strip() not in one.prompt, "the answer is given away"
        assert one.mention in one.prompt
        if one.kind in ("lives", "owns", "fears"):
            being = PEOPLE[one.subject]
            assert one.answer == " " + {"lives": being.home, "owns": being.a_own, "fears": being.fear}[one.kind]
        if one.kind == "place is known for":
            assert one.answer == " " + PLACES[one.subject.removeprefix("the ")].fact


def test_the_questions_are_worded_as_the_stories_are() -> None:
    told = text(1, 1_500_000)
    for kind in ("lives", "owns", "likes", "fears", "has the friend", "makes"):
        ends = [one.prompt[-16:] + one.answer + one.end for one in questions() if one.kind == kind and one.wording == 0]
        assert sum(end in told for end in ends) >= 0.8 * len(ends), kind


def test_the_names_tokens_are_found(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.eot_id, *tokenizer.encode("Here comes Granny Pell. And Ivo with Granny Pell.")]
    places = name_places(tokenizer, ids, "Granny Pell")
    assert "".join(tokenizer.decode([ids[i]]) for i in places) == " Granny Pell Granny Pell"


def test_asking_is_the_sum_over_the_answers_tokens(model: Transformer, tokenizer: Tokenizer) -> None:
    some = [one for one in questions() if one.kind in ("fears", "owns")][::9]
    expected = answer_nats(model, rows_of(tokenizer, some)).tolist()
    for answered, nats in zip(ask(model, tokenizer, some), expected, strict=True):
        assert answered.nats[answered.question.answer] == pytest.approx(nats, abs=1e-4)
        assert answered.right == (max(answered.nats.values()) == answered.nats[answered.question.answer])


def test_switching_nothing_off_changes_nothing(model: Transformer, rows: Rows) -> None:
    whole, nowhere = answer_nats(model, rows), torch.zeros_like(rows.subject)
    for part, given in parts_of(model, rows.ids).items():
        with patched(model, [Patch(part, torch.ones_like(nowhere), given)]):  # its own result
            torch.testing.assert_close(answer_nats(model, rows), whole)
        with patched(model, [Patch(part, nowhere, torch.full((32,), 9.0))]):
            torch.testing.assert_close(answer_nats(model, rows), whole)
    torch.testing.assert_close(answer_nats(model, rows), whole)


def test_a_part_that_is_off_is_one_whose_output_matrix_gives_the_mean(model: Transformer, rows: Rows) -> None:
    zero = dict.fromkeys(mean_outputs(model, rows.ids), torch.zeros(32))
    lost, whole = ablate(model, rows, zero), probability(model, rows)
    assert lost[(0, "feedforward"), "all"].abs().max() > 0
    model.blocks[0].get_submodule("feedforward").get_submodule("down").get_parameter("weight").data.zero_()
    torch.testing.assert_close(whole - lost[(0, "feedforward"), "all"], probability(model, rows))


def test_the_last_feed_forward_cannot_reach_later_tokens(model: Transformer, rows: Rows) -> None:
    means = mean_outputs(model, rows.ids)
    rows.subject[rows.answering] = False
    lost = ablate(model, rows, means)
    assert lost[(1, "feedforward"), "name"].abs().max() < 1e-7
    assert lost[(0, "feedforward"), "name"].abs().max() > 0


def test_the_formula_gives_the_value_for_the_key_and_spares_what_stands_across() -> None:
    draw = torch.Generator().manual_seed(0)
    W, k, v = (torch.randn(shape, generator=draw) for shape in ((4, 6), (6,), (4,)))
    keys = torch.randn(50, 6, generator=draw)
    C = keys.T @ keys / 50
    change = rank_one(W, k, v, C)
    torch.testing.assert_close((W + change) @ k, v)
    assert torch.linalg.matrix_rank(change) == 1
    other = torch.randn(6, generator=draw)
    other -= k * (other @ torch.linalg.solve(C, k)) / (k @ torch.linalg.solve(C, k))
    torch.testing.assert_close(change @ other, torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
@pytest.mark.parametrize("at", ["name", "answer"])
def test_an_edit_does_what_it_says_and_is_taken_back(family: str, at: str, tokenizer: Tokenizer) -> None:
    model = make(family)
    if family == "gpt2":
        for block in model.blocks:
            block.get_submodule("feedforward").get_submodule("down").get_parameter("bias").data.normal_()
    question = next(one for one in questions() if one.kind == "owns" and one.subject == "Ada")
    edit = Edit(question, next(one for one in question.candidates if one != question.answer))
    rows, places = edit_rows(tokenizer, edit, at, context_length=256)
    assert len(rows.ids) == 3
    block, effort = (0 if at == "name" else 1), Effort(steps=8)
    C = second_moment(model, block, rows.ids)
    before = answer_nats(model, rows).mean()
    k, v = key_at(model, block, rows, places), find_value(model, block, rows, places, effort)
    down = model.blocks[block].get_submodule("feedforward").get_submodule("down")
    with edited(model, block, rows, places, C, effort) as size:
        torch.testing.assert_close(down(k), v, atol=1e-4, rtol=1e-4)
        assert answer_nats(model, rows).mean() > before
        assert size > 0
    torch.testing.assert_close(answer_nats(model, rows).mean(), before, rtol=0, atol=0)


def test_an_edit_at_the_answer_stands_where_old_and_new_part(tokenizer: Tokenizer) -> None:
    question = next(one for one in questions() if one.kind == "lives" and one.subject == "Nora")
    edit = Edit(question, " in the lighthouse")
    rows, places = edit_rows(tokenizer, edit, "answer", context_length=256)
    for ids, place in zip(rows.ids.tolist(), places.tolist(), strict=True):
        assert tokenizer.decode(ids[1 : place + 1]).endswith("lived in the")


def test_the_whole_experiment_is_the_same_twice(tokenizer: Tokenizer) -> None:
    settings = FactSettings(n_edits=1, key_bytes=3_000, held_out_bytes=500, corpus_bytes=20_000, effort=Effort(steps=2))
    said: list[str] = []
    one, two = (study(make("qwen3"), tokenizer, settings, said.append) for _ in range(2))
    assert one.tables == two.tables
    assert one.findings == two.findings
    recall, counts, lost, gained, control, edits = one.tables
    assert recall.rows[-1][:2] == ("all", 199)
    assert sum(row[1] for row in counts.rows) == 199
    assert [row[0] for row in control.rows] == [row[0] for row in lost.rows]
    assert [row[0] for row in lost.rows] == [row[0] for row in gained.rows] == [
        "attention 1", "feed-forward 1", "attention 2", "feed-forward 2",
    ]  # fmt: skip
    assert edits.columns == ("edited in", "feed-forward 1, name", "feed-forward 2, answer")
    assert len(said) == 6
