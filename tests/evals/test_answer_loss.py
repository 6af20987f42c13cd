"""The loss of expected answers: as by hand, token by token, whatever the company; what is left out is counted."""

from __future__ import annotations

import pytest
import torch
from tests.evals.test_answering import Counting, row

from vidro.data.collate import make_example
from vidro.data.instructions import InstructionRow
from vidro.evals.answer_loss import ROWS_AT_ONCE, answer_losses

ROWS = [row("Why?", "So."), row("Name a colour.", "red"), row("a", "b" * 30), row("Who was it then?", "")]


def by_hand(model: Counting, one: InstructionRow) -> tuple[float, int]:
    """Each learned token given all before it, one call a token."""
    example = make_example(model.style, model.tokenizer, one)
    nats, n = 0.0, 0
    for place, learned in enumerate(example.learned):
        if learned:
            with torch.no_grad():
                logits = model.session.model(torch.tensor([example.ids[:place]]))[0, -1]
            nats -= float(logits.double().log_softmax(-1)[example.ids[place]])
            n += 1
    return nats, n


def test_it_is_the_nats_of_the_answers_and_their_ends() -> None:
    model = Counting()
    (loss,) = answer_losses([model], ROWS)
    sums = [by_hand(model, one) for one in ROWS]
    assert loss.n_tokens == sum(n for _, n in sums) == sum(len(one.messages[-1].text) + 1 for one in ROWS)
    assert loss.nats_per_token == pytest.approx(sum(nats for nats, _ in sums) / loss.n_tokens, rel=1e-5)
    assert (loss.n_rows, loss.n_too_long, loss.n_left_out) == (4, 0, 0)


def test_company_changes_nothing_and_progress_comes_to_its_end() -> None:
    model, told = Counting(), []
    many = ROWS * (ROWS_AT_ONCE // 2)
    (loss,) = answer_losses([model], many, on_progress=lambda *at: told.append(at))
    (few,) = answer_losses([model], ROWS)
    assert loss.nats_per_token == pytest.approx(few.nats_per_token, rel=1e-5)
    assert told == [(64, 128), (128, 128)]


def test_runs_are_compared_on_the_rows_that_fit_all_of_them() -> None:
    long = row("a", "b" * 200)
    between = row("a", "b" * 30)  # fits in chatml, not behind alpaca's long preamble
    first, second = Counting(), Counting(style="alpaca")
    second.context_length = first.context_length = 64
    chatml, alpaca = answer_losses([first, second], [between, long])
    assert (chatml.n_too_long, alpaca.n_too_long) == (1, 2)
    assert (chatml.n_left_out, alpaca.n_left_out) == (2, 2)
    assert (chatml.nats_per_token, chatml.n_tokens, chatml.n_rows) == (None, 0, 0)
    (alone,) = answer_losses([first], [between, long])
    assert (alone.n_rows, alone.n_tokens, alone.n_left_out) == (1, 31, 1)
