"""The confusion matrix as a picture: the right words, none cut and none over another, for few and for many classes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from vidro.core.errors import UsageError
from vidro.evals.accuracy import ClassScores, class_scores
from vidro.evals.confusion_plot import confusion_chart, plot_confusion
from vidro.evals.plots import plain_style

PNG = b"\x89PNG\r\n\x1a\n"


def scores_of(names: list[str], n: int, *, right: float = 0.8) -> ClassScores:
    rng = np.random.default_rng(0)
    true = rng.integers(0, len(names), n)
    predicted = np.where(rng.random(n) < right, true, rng.integers(0, len(names), n))
    return class_scores([names[number] for number in true], [names[number] for number in predicted], names)


CASES = {
    "two": scores_of(["ham", "spam"], 1115, right=0.97),
    "three long and large": scores_of(["positive, and a long name of words", "neutral_$x$^2$", "no"], 300_000),
    "eight": scores_of([f"class number {number}" for number in range(8)], 9000),
    "twenty long": scores_of([f"a long name of some words {number}" for number in range(20)], 200_000),
    "thirty": scores_of([f"c{number}" for number in range(30)], 400),
    "sixty": scores_of([f"class number {number}" for number in range(60)], 9000),
    "one class has no rows": class_scores(["a", "a"], ["a", "c"], ["a", "b", "c"]),
}


@pytest.fixture(autouse=True, scope="module")
def _plain() -> Iterator[None]:
    with plain_style():
        yield


@functools.cache
def chart(case: str) -> Figure:
    return confusion_chart(CASES[case], "Who is taken for whom")


def drawn_texts(figure: Figure) -> list[Text]:
    """Every text that is really drawn."""
    drawn: list[Text] = []
    draw = Text.draw

    def remember(self: Text, renderer: Any) -> None:
        drawn.append(self)
        draw(self, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", remember)
        figure.canvas.draw()
    return [text for text in drawn if text.get_visible() and text.get_text().strip()]


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in drawn_texts(figure)]


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_or_covered(case: str) -> None:
    figure = chart(case)
    width, height = figure.get_size_inches() * figure.dpi
    shown = [text for text in drawn_texts(figure) if text.get_rotation() in (0, 90)]  # a slanted text's box is too big
    words = [text.get_text() for text in shown]
    boxes = np.array([text.get_window_extent().extents for text in shown])  # left, bottom, right, top
    cut = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > (width, height)).any(axis=1)
    assert [words[place] for place in np.flatnonzero(cut)] == []
    for place, box in enumerate(boxes[:-1]):
        later = boxes[place + 1 :]
        covers = (box[:2] < later[:, 2:]).all(axis=1) & (later[:, :2] < box[2:]).all(axis=1)
        assert not covers.any(), f"{words[place]!r} stands on {words[place + 1 + int(covers.argmax())]!r}"


@pytest.mark.parametrize("case", CASES)
def test_names_below_stay_inside(case: str) -> None:
    figure = chart(case)
    for label in figure.axes[0].get_xticklabels():
        box = label.get_window_extent()
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1
        assert inside, f"{label.get_text()!r} is cut"


def test_the_words_in_the_cells() -> None:
    scores = class_scores(["ham"] * 6 + ["spam"] * 2, ["ham"] * 5 + ["spam"] * 3, ["ham", "spam"])
    words = words_of(confusion_chart(scores, "Spam"))
    wanted = ["Spam", "ham (6)", "spam (2)", "ham", "spam", "5", "83.3 %", "1", "16.7 %", "2", "100.0 %", "0",
              "true class (its rows)", "predicted class",
              "accuracy 87.5 % (95 % interval 52.9 % to 97.8 %): 7 of 8 rows right"]  # fmt: skip
    assert sorted(words) == sorted(wanted)


def test_a_cell_stands_where_its_row_and_column_are_and_is_as_dark_as_its_share() -> None:
    scores = class_scores(["a"] * 10 + ["b"] * 10, ["a"] * 3 + ["b"] * 7 + ["b"] * 10, ["a", "b"])
    axes = confusion_chart(scores, "x").axes[0]
    places = {text.get_text(): tuple(text.xy) for text in axes.texts if hasattr(text, "xy")}
    assert (places["3"], places["7"], places["10"]) == ((0, 0), (1, 0), (1, 1))
    assert axes.get_ylim() == (1.5, -0.5)  # the first class on top
    image = np.asarray(axes.images[0].get_array())
    lightness = image.mean(axis=2)
    assert lightness[1, 0] == 1.0  # nothing there: white
    assert lightness[1, 1] < lightness[0, 1] < lightness[0, 0] < lightness[1, 0]
    red, _, blue = image[0, 1]
    assert red > blue, "a mistake is orange"
    red, _, blue = image[0, 0]
    assert blue > red, "what is right is blue"


def test_long_names_are_shortened_and_formulas_are_not_set() -> None:
    words = words_of(confusion_chart(CASES["three long and large"], "costs $5 and $6"))
    assert "costs \\$5 and \\$6" in words
    assert "neutral_\\$x\\$^2\\$" in words
    assert "positive, an…me of words" in words


def test_many_classes_have_no_numbers_and_it_is_said() -> None:
    words = words_of(chart("sixty"))
    assert not any(word.endswith("%") for word in words)
    assert any("too many classes for numbers in the cells" in word for word in words)


@pytest.mark.parametrize("case", ["two", "eight"])
def test_the_file_is_a_picture_and_always_the_same(case: str, tmp_path: Path) -> None:
    first = plot_confusion(CASES[case], tmp_path / "plots" / "first.png", title="x")
    second = plot_confusion(CASES[case], tmp_path / "second.png", title="x")
    assert first == tmp_path / "plots" / "first.png"
    assert first.read_bytes().startswith(PNG)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["first.png"]


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a picture ends in .png or .svg"):
        plot_confusion(CASES["two"], tmp_path / "x.jpg", title="x")
    with pytest.raises(UsageError, match="a confusion matrix of 101 classes cannot be read as a picture"):
        plot_confusion(scores_of([str(number) for number in range(101)], 500), tmp_path / "x.png", title="x")
    assert list(tmp_path.iterdir()) == []
