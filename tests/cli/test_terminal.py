"""What is printed: one JSON object, tables without trailing blanks, numbers as people read them."""

from __future__ import annotations

import doctest
import json
import math

import numpy as np
import pytest
import torch

from vidro.api import words
from vidro.cli import data, options, progress, terminal
from vidro.cli.terminal import facts, print_json, show, table
from vidro.evals.perplexity import TextScore


@pytest.mark.parametrize("module", [words, terminal, options, progress, data])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # pyright: ignore[reportArgumentType]
    assert result.attempted > 0
    assert result.failed == 0


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    score = TextScore.of(2000.0, n_tokens=2, n_bytes=10)
    assert score.perplexity == math.inf
    print_json({"score": score, "array": np.arange(2), "number": np.float32(0.5), "tensor": torch.ones(1), "text": "é"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    read = json.loads(out)
    assert read["score"]["perplexity"] is None
    assert read["array"] == [0, 1]
    assert (read["number"], read["tensor"], read["text"]) == (0.5, [1.0], "é")


def test_tables_in_a_pipe_end_where_their_text_ends(capsys: pytest.CaptureFixture[str]) -> None:
    grid = table("run", "n", right=("n",))
    grid.add_row("a", "1")
    grid.add_row("a-longer-name", "12,345")
    show(grid, facts([("Name", "value"), ("Longer name", "x " * 100)]))
    lines = capsys.readouterr().out.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert any(line.endswith(" 12,345") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (999_499, "999k"),
        (999_999, "1.00M"),
        (123_456_789, "123M"),
        (2e12, "2000B"),
    ],
)
def test_counts(number: float, text: str) -> None:
    assert words.human_count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (59.6, "1 min 00 s"), (3599.6, "1 h 00 min"), (86_400, "24 h 00 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert words.human_time(seconds) == text
