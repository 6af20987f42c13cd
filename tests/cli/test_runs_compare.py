"""``vidro runs compare --plot``: the picture is written where it was asked for, and its path is printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vidro.cli.main import main

PNG = b"\x89PNG\r\n"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def two_runs(desk: Path, trained: Path) -> Path:
    """A desk with the runs book-1 and book-2."""
    for name in ("book-1", "book-2"):
        shutil.copytree(trained / "runs" / "book-1", desk / "runs" / name)
    return desk


def test_the_picture_is_written_and_its_path_is_the_last_line(two_runs: Path, capsys: Captured) -> None:
    assert main(["runs", "compare", "book-1", "book-2", "--plot"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "compare.png"
    assert Path("compare.png").read_bytes().startswith(PNG)
    assert sorted(path.name for path in two_runs.iterdir()) == ["book.txt", "compare.png", "runs"]


def test_a_file_of_ones_own_and_its_kind(two_runs: Path, capsys: Captured) -> None:
    assert main(["runs", "compare", "book-1", "book-2", "--json", "--plot", "pictures/two.svg"]) == 0
    assert json.loads(capsys.readouterr().out)["plot"] == str(Path("pictures/two.svg"))
    picture = Path("pictures/two.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    assert "book-1" in picture
    assert "book-2" in picture
    assert [path.name for path in Path("pictures").iterdir()] == ["two.svg"]


def test_without_the_flag_nothing_is_drawn(two_runs: Path, capsys: Captured) -> None:
    assert main(["runs", "compare", "book-1", "book-2", "--json"]) == 0
    assert "plot" not in json.loads(capsys.readouterr().out)
    assert not Path("compare.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["book-1", "--plot", "two.jpg"], "two.jpg: a picture ends in .png or .svg\n"),
        (
            ["--plot", "two.png", "book-1", "book-2"],
            "--plot takes one file. Name the runs first: vidro runs compare RUN RUN --plot FILE.\n",
        ),
    ],
)
def test_a_wish_that_cannot_be_met(words: list[str], message: str, two_runs: Path, capsys: Captured) -> None:
    assert main(["runs", "compare", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"vidro: error: {message}")
