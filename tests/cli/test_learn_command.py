"""``vidro learn``: the path, a lesson, its notebook, an exercise from the stub to the last step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidro.cli.main import main
from vidro.learn.path import LESSONS

SHORT = """\
# %% [markdown]
# # Mine
# %%
from vidro.learn.figures import heat
print(6 * 7)
heat([[1.0, 0.0]], rows=['a'])
"""


@pytest.fixture
def place(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desk with a record of lessons of its own."""
    monkeypatch.setenv("VIDRO_DATA", str(desk / "kept"))
    return desk


def test_the_path_shows_every_lesson_and_where_one_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn"]) == 0
    out, err = capsys.readouterr()
    words = out.split()
    assert all(name in words for name in LESSONS)
    assert f"0 of {len(LESSONS)} done" in out
    assert err == "Next: vidro learn words\n"


def test_from_the_stub_to_the_last_step(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "stub", "attention-3"]) == 0
    Path("mine.py").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["learn", "check", "attention-3", "mine.py"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("✗  there is a CausalAttention")
    assert "still to be written" in out
    assert err == ""

    from vidro.learn import attention_3

    Path("mine.py").write_text(Path(str(attention_3.__file__)).read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["learn", "check", "attention-3", "mine.py", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert {step["state"] for step in found["steps"]} == {"holds"}
    assert main(["learn", "check", "attention-3", "mine.py"]) == 0
    assert capsys.readouterr().err == "All of it holds. Next: vidro learn attention-4\n"
    assert main(["learn"]) == 0
    assert "✓ +  attention-3" in capsys.readouterr().out


def test_a_stub_never_replaces_somebodys_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "stub", "attention-3", "--out", "mine.py"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("mine.py\n", "Fill it in, then: vidro learn check attention-3 mine.py\n")
    Path("mine.py").write_text("# an hour of work\n", encoding="utf-8")
    assert main(["learn", "stub", "attention-3", "--out", "mine.py"]) == 2
    assert Path("mine.py").read_text(encoding="utf-8") == "# an hour of work\n"
    assert main(["learn", "stub", "attention-3", "--overwrite"]) == 2
    assert main(["learn", "stub", "attention-3", "--out", "mine.py", "--overwrite"]) == 0
    assert "raise NotImplementedError" in Path("mine.py").read_text(encoding="utf-8")


def test_one_s_own_copy_runs_with_its_figures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(SHORT, encoding="utf-8")
    assert main(["learn", "mine.py", "--out", "figures"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "# Mine", "",
        "    from vidro.learn.figures import heat", "    print(6 * 7)", "    heat([[1.0, 0.0]], rows=['a'])", "",
        "42", "", "a  █ 1.00    0.00", "", "figure: figures/mine-1.png", "",
    ]  # fmt: skip
    assert err == ""
    assert Path("figures/mine-1.png").read_bytes().startswith(b"\x89PNG")
    assert not (place / "kept").exists(), "one's own copy is no lesson of the path"


def test_a_terminal_gets_colours(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    Path("mine.py").write_text(SHORT, encoding="utf-8")
    assert main(["learn", "mine.py"]) == 0
    pretty = capsys.readouterr().out
    assert "\x1b[" in pretty
    assert "│ " in pretty
    assert "42" in pretty
    assert "1.00" in pretty
    assert str(place.parent / "cache" / "lessons" / "mine" / "mine-1.png") in pretty
    assert main(["learn", "mine.py", "--plain"]) == 0
    assert "\x1b[" not in capsys.readouterr().out


def test_a_lesson_that_ran_is_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "attention-3", "--plain"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Attention that looks back only\n")
    assert "moved by 0.000" in out
    assert json.loads((place / "kept" / "learn.json").read_text(encoding="utf-8")) == {
        "read": ["attention-3"],
        "passed": [],
    }


def test_a_notebook_and_a_script(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "notebook", "attention-3"]) == 0
    assert capsys.readouterr().out == "attention-3.ipynb\n"
    assert json.loads(Path("attention-3.ipynb").read_text(encoding="utf-8"))["nbformat"] == 4
    assert main(["learn", "notebook", "attention-3", "--out", "mine.py"]) == 0
    assert capsys.readouterr().err == "Change it, then run it: vidro learn mine.py\n"
    assert Path("mine.py").read_text(encoding="utf-8") == LESSONS["attention-3"].file.read_text(encoding="utf-8")
    assert main(["learn", "notebook", "attention-3"]) == 2
    assert main(["learn", "notebook", "attention-3", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["atention-3"], "there is no lesson 'atention-3'. Did you mean attention-3?"),
        (["--plain"], "--plain belongs to a lesson. Name one: vidro learn words."),
        (["none.py"], "none.py: this lesson cannot be read: "),
        (["stub", "perplexity-9"], "there is no lesson 'perplexity-9'. Did you mean perplexity?"),
        (["notebook", "words", "--out", "words.txt"], "words.txt: a lesson's file ends in .ipynb or .py"),
        (["check", "attention-3", "none.py"], "none.py: this file cannot be read. No such file or directory"),
        (["check", "attention-3", "broken.py"], "broken.py: line 1: SyntaxError: expected ':'"),
        (["broken_lesson.py"], "broken_lesson.py: line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_a_mistake_is_one_line(place: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.py").write_text("def f()\n", encoding="utf-8")
    Path("broken_lesson.py").write_text("# %%\n1 / 0\n", encoding="utf-8")
    assert main(["learn", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"vidro: error: {said}")
    assert err.count("\n") == 1


def test_a_lesson_without_an_exercise_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vidro.learn.exercise import exercise_names

    without = [name for name in LESSONS if name not in exercise_names()]
    if not without:
        pytest.skip("every lesson has an exercise")
    assert main(["learn", "stub", without[0]]) == 2
    assert f"the lesson {without[0]} has no exercise" in capsys.readouterr().err
