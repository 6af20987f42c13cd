"""Figures: every number is in them, nothing is cut off, the same bytes again; and their form in plain characters."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from vidro.learn.figures import bars, curves, heat, number, png, points
from vidro.learn.terminal import as_text, grid, grid_of, shade

LONG = "A title that is much too long for such a small matrix and must be broken"


def figures() -> dict[str, Figure]:
    many = {"one": ([1, 2, 3], [3, 1, 2]), "two": (range(99), np.sqrt(range(99)))}
    return {
        "heat": heat(torch.eye(3), rows=["a", "b", "c"], columns=["a", "b", "c"], title=LONG),
        "wide": heat(np.random.default_rng(0).normal(size=(3, 40)), title=LONG),
        "one": heat([0.5], title="One row"),
        "curves": curves(many, x="x", y="y", title=LONG),
        "bars": bars({f"a rather long label {n}": (-1.0) ** n * n for n in range(6)}, y="times", title=LONG),
        "points": points({"cat": (1, 2), "dog": (1.2, 1.9)}, arrows=True, title=LONG),
    }  # fmt: skip


@pytest.mark.parametrize("name", figures())
def test_nothing_is_cut_off(name: str) -> None:
    figure = figures()[name]
    png(figure)  # lays it out
    drawn, paper = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= -0.01
    assert drawn.y0 >= -0.01
    assert drawn.x1 <= paper[0] + 0.01
    assert drawn.y1 <= paper[1] + 0.01


@pytest.mark.parametrize("name", figures())
def test_the_same_figure_gives_the_same_bytes(name: str) -> None:
    first = png(figures()[name])
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert png(figures()[name]) == first
    shown: Any = figures()[name]
    assert shown._repr_png_() == first


def test_a_matrix_shows_its_numbers() -> None:
    figure = heat([[0.125, -2.0], [math.inf, 0.0]], digits=1, rows=["r", "s"], columns=["c", "d"], title="T")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.1", "-2.0", "∞", "0.0"]
    found = grid_of(figure)
    assert found is not None
    assert (found.title, found.rows, found.columns) == ("T", ["r", "s"], ["c", "d"])
    assert found.shares.tolist() == [[0.0625, -1.0], [0.0, 0.0]]


def test_large_matrices_and_curves_have_no_plain_form() -> None:
    assert as_text(heat(np.ones((17, 2)))) is None
    assert as_text(figures()["curves"]) is None
    assert as_text(figures()["points"]) is None


def test_plain_forms() -> None:
    assert (
        as_text(bars({"a": 4.0, "b": -1.0}, y="n", digits=0, title="T"))
        == "T\na  " + 40 * "█" + " 4\nb  " + 10 * "█" + " -1"
    )
    assert grid([[0.0, 1.0]], digits=0) == "  0  █ 1"
    text = as_text(heat([[1.0, 0.0]], rows=["cats"], columns=["a", "longer name"], digits=0))
    assert text is not None
    assert text.splitlines() == ["        a  longer name", "cats  █ 1            0"]


def test_shades_grow_and_are_blank_only_at_nothing() -> None:
    steps = [shade(share / 100) for share in range(101)]
    assert steps == sorted(steps, key=" ░▒▓█".index)
    assert shade(0.0) == shade(0.04) == " "
    assert shade(0.1) == "░"
    assert shade(1.0) == shade(-1.0) == "█"


def test_numbers_have_no_signed_zero() -> None:
    assert [number(value, 1) for value in (-0.04, 0.06, math.nan, -math.inf)] == ["0.0", "0.1", "nan", "−∞"]
