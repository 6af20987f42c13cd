"""Asking rows: nothing is asked twice, a stop loses nothing, and each answer is the model's own."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidro.config.schema import ModelConfig, SamplingOptions
from vidro.core.errors import DataError, UsageError
from vidro.data.instructions import InstructionRow
from vidro.evals import answering
from vidro.evals.answering import Answers, answer_rows, answers_to, evenly, fits, read_kept, write_answers
from vidro.evals.answers import read_answers
from vidro.infer.answering import Answerer
from vidro.infer.session import Generation
from vidro.model.transformer import Transformer
from vidro.text.conversation import Message
from vidro.text.styles import get_style
from vidro.text.train import build_bytes


class Counting(Answerer):
    """A model with weights that nobody trained, which counts what it is asked and may be stopped."""

    def __init__(self, *, style: str = "chatml", seed: int = 1) -> None:
        tokenizer = build_bytes()
        config = ModelConfig(
            family="llama", vocab_size=tokenizer.vocab_size, context_length=64, d_model=16, n_layers=1, n_heads=2,
            n_kv_heads=1, d_head=8, d_ff=16,
        )  # fmt: skip
        model = Transformer(config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
        super().__init__(model, tokenizer, get_style(style, tokenizer))
        self.asked: list[str] = []
        self.stop_after: int | None = None

    def answers(
        self, conversations: Sequence[Sequence[Message]], options: SamplingOptions, *, slots: int | None = None
    ) -> list[Generation]:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += [talk[-1].text for talk in conversations]
        return super().answers(conversations, options, slots=slots)


def row(question: str, expected: str = "yes", *, line: int = 0, kind: str | None = None) -> InstructionRow:
    return InstructionRow((Message("user", question), Message("assistant", expected)), kind, line)


WORDS = ("one", "two", "three", "four")
ROWS = [row(f"say {word}", word, line=number, kind="echo") for number, word in enumerate(WORDS)]


@pytest.fixture
def model() -> Counting:
    return Counting()


def ask(asked: Answerer, rows: Sequence[InstructionRow], out: Path, **other: Any) -> Answers:
    return answer_rows(asked, rows, out, **{"model": "a" * 64, "max_tokens": 5, **other})


def test_answers_are_those_of_the_model_one_at_a_time(model: Counting, tmp_path: Path) -> None:
    found = ask(model, ROWS, tmp_path / "deep" / "responses.jsonl")
    alone = [answers_to(model, [each], max_tokens=5)[0] for each in ROWS]
    assert list(found.rows) == alone
    assert [(each.instruction, each.expected, each.kind) for each in alone][1] == ("say two", "two", "echo")
    assert len({each.answer for each in alone}) > 1, "the questions matter"
    lines = [json.loads(line) for line in (tmp_path / "deep" / "responses.jsonl").read_text().splitlines()]
    assert [(line["row"], line["answer"]) for line in lines] == [(i, each.answer) for i, each in enumerate(alone)]
    assert lines[0]["settings"] == {"end": "<|im_end|>", "greedy": True, "max_tokens": 5}


def test_nothing_is_asked_twice_but_what_has_changed_is(model: Counting, tmp_path: Path) -> None:
    out = tmp_path / "responses.jsonl"
    first = ask(model, ROWS, out)
    assert (len(model.asked), first.n_resumed) == (4, 0)
    again = ask(model, ROWS[::-1], out)
    assert (len(model.asked), again.n_resumed) == (4, 4)
    assert again.rows == first.rows[::-1]
    ask(model, ROWS, out, model="b" * 64)  # other weights
    ask(model, ROWS, out, max_tokens=6)  # another setting
    ask(model, [*ROWS, row("say five")], out)  # one row more
    assert model.asked == [each.messages[0].text for each in ROWS] * 3 + ["say five"]
    other = Counting(style="phi3")  # another prompt, another end
    ask(other, ROWS, out)
    assert len(other.asked) == 4


def test_an_expected_answer_that_was_mended_counts_at_once(model: Counting, tmp_path: Path) -> None:
    ask(model, ROWS, tmp_path / "r.jsonl")
    (found,) = ask(model, [row("say one", "uno")], tmp_path / "r.jsonl").rows
    assert (found.expected, len(model.asked)) == ("uno", 4)


def test_equal_questions_are_asked_once(model: Counting, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    twins = [row("hello", "a"), row("hello", "b"), row("other", "c")]
    found = ask(model, twins, tmp_path / "r.jsonl", on_progress=lambda done, total: told.append((done, total)))
    assert model.asked == ["hello", "other"]
    assert [each.expected for each in found.rows] == ["a", "b", "c"]
    assert found.rows[0].answer == found.rows[1].answer
    assert told == [(0, 3), (3, 3)]


def test_a_stop_keeps_the_groups_that_were_written(
    model: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "TOGETHER", 2)
    out, whole = tmp_path / "r.jsonl", ask(Counting(), ROWS, tmp_path / "whole.jsonl")
    model.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        ask(model, ROWS, out)
    assert len(read_kept(out)) == 2
    out.write_bytes(out.read_bytes() + b'{"row": 2, "model": "aaaa')  # and a line torn by the kill
    model.stop_after = None
    told: list[tuple[int, int]] = []
    found = ask(model, ROWS, out, on_progress=lambda done, total: told.append((done, total)))
    assert (found.rows, found.n_resumed) == (whole.rows, 2)
    assert told == [(2, 4), (4, 4)]
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("content", ["hello\n", '{"text": "a"}\n', '{"row": 1, "model": "a"}\n', "[]\n", "not torn"])
def test_another_file_is_never_written_to(content: str, model: Counting, tmp_path: Path) -> None:
    out = tmp_path / "mine.txt"
    out.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="line 1 is not a kept answer") as caught:
        ask(model, ROWS, out)
    assert caught.value.where == str(out)
    assert (out.read_text(encoding="utf-8"), model.asked) == (content, [])
    with pytest.raises(DataError, match="this is a folder"):
        read_kept(tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        path.write_bytes(data)
        try:
            found = read_kept(path)
        except DataError:
            return
        assert found == {}, "random bytes hold no answer"


def test_a_question_without_room_is_known_before(model: Counting) -> None:
    frame = len(model.prompt_ids([Message("user", "")]))
    exact, over = row("a" * (63 - frame)), row("a" * (64 - frame))
    assert fits(model, exact)
    assert not fits(model, over)
    assert len(answers_to(model, [exact], max_tokens=9)) == 1
    with pytest.raises(UsageError, match="prompt 1 has 64 tokens"):
        answers_to(model, [over], max_tokens=9)


def test_written_answers_are_read_back(model: Counting, tmp_path: Path) -> None:
    found = answers_to(model, ROWS, max_tokens=5)
    write_answers(tmp_path / "responses.jsonl", found)
    assert read_answers(tmp_path / "responses.jsonl") == found


@given(st.integers(0, 60), st.integers(1, 70))
def test_evenly_spaced(n: int, most: int) -> None:
    found = evenly(range(n), most)
    assert len(found) == min(n, most)
    assert len(set(found)) == len(found)
    gaps = {b - a for a, b in itertools.pairwise(found)}
    assert not gaps or max(gaps) - min(gaps) <= 1
