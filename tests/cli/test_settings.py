"""Keywords to settings: who knows which name, what wins, what contradicts."""

from __future__ import annotations

from pathlib import Path

import pytest

import vidro
from vidro.api.loggers import Loggers
from vidro.api.pretrain import request
from vidro.api.settings import RunOptions, sampling_options, split
from vidro.core.errors import UsageError


def test_names_are_divided_and_paths_become_text() -> None:
    where, said = split({"out": Path("a") / "b", "minutes": 3, "val": Path("v.txt"), "from_run": None})
    assert where == RunOptions(out=str(Path("a") / "b"))
    assert said == {"minutes": 3, "val": "v.txt"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("minuts", "Did you mean minutes?"), ("resum", "Did you mean resume?"), ("d_modl", "Did you mean d_model?")],
)
def test_an_unknown_keyword_is_named_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        vidro.pretrain("book.txt", **{name: 3})
    assert str(caught.value) == f"there is no setting {name!r}. {hint}"


def test_an_unknown_sampling_keyword() -> None:
    with pytest.raises(UsageError, match="there is no setting 'temprature'"):
        sampling_options({"temprature": 1.0})


def test_one_stop_text_may_stand_alone() -> None:
    assert sampling_options({"stop": "\n"}).stop == ("\n",)
    assert sampling_options({"stop": ["a", "b"]}).stop == ("a", "b")


def test_flags_win_over_the_file_and_its_budget(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[budget]\nminutes = 10.0\n[optim]\nlr = 0.5\nclip = 2.0\n", encoding="utf-8")
    wish = request("book.txt", {"config": file, "steps": 30, "lr": 0.1})
    assert (wish.options.budget.steps, wish.options.budget.minutes) == (30, None)
    assert (wish.options.optim.lr, wish.options.optim.clip) == (0.1, 2.0)
    assert request("book.txt", {"config": str(file)}).options.budget.minutes == 10.0


@pytest.mark.parametrize("flag", ["out", "from_run", "config"])
def test_a_resumed_run_keeps_its_place_and_settings(flag: str) -> None:
    with pytest.raises(UsageError, match="does not go with --resume"):
        request(None, {"resume": "last", flag: "x"})


def test_a_resume_may_repeat_settings_which_are_checked_later() -> None:
    wish = request(None, {"resume": "last", "lr": 0.1, "more": 5})
    assert wish.said == {"lr": 0.1}
    assert wish.where.more == 5


def test_loggers_open_with_the_first_event_and_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    class Logger:
        def __init__(self, name: str, path: Path) -> None:
            seen.append((name, path))

        def __call__(self, event: dict[str, object]) -> None:
            seen.append(event["event"])

        def close(self) -> None:
            seen.append("closed")

    monkeypatch.setattr("vidro.api.loggers.open_logger", Logger)
    with Loggers(("tensorboard",), path=None, runs_dir=tmp_path) as sink:
        sink({"event": "note", "message": "too early"})
        sink({"event": "start", "run": "book-1"})
        sink({"event": "train"})
    assert seen == [("tensorboard", tmp_path / "book-1"), "start", "train", "closed"]
    with Loggers(("tensorboard",), path=tmp_path / "x", runs_dir=tmp_path) as sink:
        sink({"event": "resumed", "step": 4})
    assert seen[4:] == [("tensorboard", tmp_path / "x"), "resumed", "closed"]
