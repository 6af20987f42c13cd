"""Models that are none of language, that raise, that compute in unseen ways: no probe breaks, all say what they saw."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.learn.checker.models import BOOK, BookGPT
from torch import Tensor, nn

from vidro.core.errors import ModelError
from vidro.learn.checker import FAULTS, Report, assert_sound, check_model


def outcomes(report: Report) -> dict[str, str]:
    return {finding.probe: finding.outcome for finding in report.findings}


class Moody(BookGPT):
    """Raises at its third call and each third after."""

    calls = 0

    def forward(self, in_idx: Tensor) -> Tensor:
        self.calls += 1
        if self.calls % 3 == 0:
            raise RuntimeError("not today")
        return super().forward(in_idx)


class Recurrent(nn.Module):
    """No attention at all."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.head = nn.Embedding(50, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 50)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(tokens))[0])


class LastOnly(BookGPT):
    """Logits of the last token alone, never of all."""

    def forward(self, in_idx: Tensor) -> Tensor:
        return super().forward(in_idx)[:, -1]


class Nothing(nn.Module):
    """No weights; the same for every text."""

    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, 10)


class Unloved(nn.Module):
    """Returns what no one can use."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)

    def forward(self, ids: Tensor) -> Any:
        return {"answer": 42}


class Bigram(nn.Module):
    """A table of what follows what."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(30, 30)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, idx: Tensor) -> Tensor:
        return self.table(idx)


def test_errors_of_the_model_are_said_and_the_rest_goes_on() -> None:
    report = check_model(Moody(BOOK))
    raised = [f for f in report.findings if "RuntimeError: not today (test_odd_models.py, line " in f.seen]
    assert len(raised) >= 3
    assert "passed" in outcomes(report).values()


def test_a_model_without_attention() -> None:
    said = outcomes(assert_sound(Recurrent(), trained=False))
    assert said["future"] == said["context"] == said["gradients"] == "passed"
    assert said["mask"] == said["softmax"] == said["scale"] == "not applicable"


def test_logits_of_the_last_token_only() -> None:
    report = check_model(LastOnly(BOOK))
    assert report.sound
    assert outcomes(report)["future"] == "not applicable"
    assert "no logits for every token" in report.findings[0].seen


def test_a_bigram_model_uses_no_context() -> None:
    # what it cannot know it cannot learn by heart either: in three texts, three tokens follow the same one
    assert check_model(Bigram()).names == {"context-unused", "cannot-overfit"}


@pytest.mark.parametrize("model", [Nothing(), Unloved()], ids=lambda m: type(m).__name__)
def test_what_is_no_model_of_text(model: nn.Module) -> None:
    report = check_model(model, vocab_size=10, context_length=16)
    assert len(report.findings) > 20
    assert not {f.fault for f in report.faults} & {"future-leak", "mask-never-applied"}


def test_a_model_that_does_not_run_is_one_fault() -> None:
    report = check_model(nn.Linear(3, 3), vocab_size=5, context_length=8)
    assert report.names == {"does-not-run"}
    assert {f.seen for f in report.findings[1:]} == {"the model does not run"}


def test_the_vocabulary_must_be_known() -> None:
    with pytest.raises(ModelError, match=r"does not say how many tokens it knows\. Give vocab_size"):
        check_model(nn.Linear(3, 3))
    with pytest.raises(ModelError, match="meta device"):
        check_model(nn.Embedding(3, 3, device="meta"))


def test_the_helper_for_pytest_names_the_faults() -> None:
    with pytest.raises(AssertionError, match=r"Bigram has faults:\ncontext-unused: logits do not depend"):
        assert_sound(Bigram())


def test_every_probe_has_its_own_name_and_every_fault_its_words() -> None:
    from vidro.learn.checker.checking import PROBES

    report = check_model(BookGPT(BOOK))
    assert [f.probe for f in report.findings] == ["runs", *PROBES]
    for name, fault in FAULTS.items():
        assert name == name.lower()
        assert fault.title[0].islower()
        assert fault.todo.endswith(".")


def test_the_same_seed_says_the_same() -> None:
    torch.manual_seed(3)
    model = BookGPT(BOOK)
    one, two = check_model(model, seed=4), check_model(model, seed=4)
    assert one.findings == two.findings
    assert check_model(model, seed=5).findings != one.findings
