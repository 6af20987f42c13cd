"""What a person at a terminal sees at the end of ``vidro quickstart``; the training itself is replaced by a small run.

The whole path in a process of its own: `tests/journey/test_quickstart.py`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from vidro.cli import chat, quickstart
from vidro.cli.main import main
from vidro.train.pretrain import PretrainResult


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ends(trained: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was asked of the training, and what it answers; `talks` grows when a chat begins."""
    known: dict[str, Any] = {"signum": None, "talks": []}
    path = trained / "runs" / "book-1"

    def train(wish: Any, speed: Any) -> PretrainResult:
        known["budget"] = wish.options.budget
        return PretrainResult(path=path, reason="budget", signum=known["signum"], results={"steps": 6})

    monkeypatch.setattr(quickstart, "train", train)
    monkeypatch.setattr(quickstart, "write_stories", lambda cache: desk / "book.txt")
    monkeypatch.setattr(quickstart, "show_tokens", lambda wish: (wish, None))
    monkeypatch.setattr(quickstart, "STORY_TOKENS", 4)
    monkeypatch.setattr(quickstart, "second_half", lambda run, out, **budget: (run, {"second_half": budget}))
    monkeypatch.setattr(chat, "talk", lambda runs, sampling: known["talks"].append((runs[0].path, sampling)))
    monkeypatch.setattr(sys, "stdin", Terminal())
    return known


def test_it_ends_with_what_to_do_next_and_the_path(
    ends: dict[str, Any], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{trained / 'runs' / 'book-1'}\n"
    assert err.rstrip().endswith("Now yours: vidro pretrain YOURFILE --minutes 10")
    assert ends["budget"].minutes == 2
    assert not ends["talks"], "stdout is no terminal"


@pytest.mark.parametrize(
    ("flags", "minutes", "steps"), [(["--minutes", "5"], 5, None), (["--steps", "6"], None, 6), ([], 2, None)]
)
def test_the_budget_is_the_one_that_was_said(
    flags: list[str], minutes: float | None, steps: int | None, ends: dict[str, Any]
) -> None:
    assert main(["quickstart", *flags]) == 0
    assert (ends["budget"].minutes, ends["budget"].steps) == (minutes, steps)


@pytest.mark.parametrize(("flags", "signum", "talks"), [([], None, 1), (["--no-chat"], None, 0), ([], 2, 0)])
def test_a_terminal_gets_a_chat(
    flags: list[str],
    signum: int | None,
    talks: int,
    ends: dict[str, Any],
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ends["signum"] = signum
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["quickstart", *flags]) == (0 if signum is None else 128 + signum)
    assert ends["talks"] == [(trained / "runs" / "book-1", {"temperature": 0.0})] * talks
    assert ("Ask it what it was asked above, in other words. Ctrl-D leaves." in capsys.readouterr().err) == bool(talks)


def test_a_run_that_is_there_is_neither_resumed_nor_replaced(
    ends: dict[str, Any], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = trained / "runs" / "book-1"
    assert main(["quickstart", "--out", str(out)]) == 2
    expected = f"vidro: error: {out}: this run directory exists already. Choose another --out.\n"
    assert capsys.readouterr().err == expected
    assert "budget" not in ends, "nothing was trained"
