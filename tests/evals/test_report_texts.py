"""The pages of models that write, and the training curves that stand on every page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup

from vidro.evals.accuracy import class_scores
from vidro.evals.copying import CopiedText, Memorisation
from vidro.evals.perplexity import TextScore
from vidro.evals.report import Page, render
from vidro.evals.report_charts import bits_chart, copies_chart
from vidro.evals.report_curves import RunCurves, compared, curve_sections, losses_chart, training_curves
from vidro.evals.report_pages import Labelled, label_page
from vidro.evals.report_texts import TextPrediction, memorisation_page, text_page

VERSIONS = {"vidro": "0.0"}
EVIL = '<script>alert("x")</script> & {{ 7 * 7 }}'
GOOD = TextScore.of(1000.0, n_tokens=400, n_bytes=1500)
BAD = TextScore.of(4000.0, n_tokens=500, n_bytes=1500)


def soup(page: Page) -> BeautifulSoup:
    return BeautifulSoup(render(page), "html.parser")


def section(page: BeautifulSoup, title: str) -> Any:
    (found,) = [each for each in page.find_all("section") if each.h2.text == title]
    return found


def cells(part: Any, number: int = 0) -> list[list[str]]:
    rows = part.find_all("table")[number].find_all("tr")
    return [[cell.text for cell in row.find_all(["th", "td"])] for row in rows]


def write_metrics(folder: Path, *, kind: str, steps: int = 20) -> Path:
    """A run's metrics: losses that fall from 5 to 1 nats."""
    folder.mkdir(parents=True)
    events: list[dict[str, Any]] = [{"event": "start", "step": 0, "batch_tokens": 10, "vocab_size": 100}]
    for step in range(1, steps + 1):
        loss = 1 + 4 / step
        where = {"step": step, "tokens": 10 * step, "epoch": step / steps}
        events.append({"event": "train", **where, "loss_nats": loss, "lr": 0.1, "multipliers": [1.0],
                       "tokens_per_s": 5.0, "peak_frac": None})  # fmt: skip
        if step % 5 == 0:
            more = {"base": {"bits_per_byte": loss / 2}, "classifier": {"accuracy": 0.5}, "instruct": {}}[kind]
            events.append({"event": "eval", **where, "split": "val", "full": False, "nats_per_token": loss, **more})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    return folder


def test_runs_and_yardsticks_in_one_table_the_best_first() -> None:
    found = TextPrediction("dir/book.txt", {"bad": BAD, "good": GOOD}, {"uniform": 8.0, "gzip": 2.5}, "good")
    page = soup(text_page(found, versions=VERSIONS))
    assert page.h1 is not None
    assert page.h1.text == "How well book.txt is predicted"
    part = section(page, "Bits per byte")
    assert [row[0] for row in cells(part)] == ["run", "good", "gzip (yardstick)", "bad", "uniform (yardstick)"]
    assert cells(part)[1] == ["good", f"{GOOD.bits_per_byte:.4f}", "2.5000", "12.18", "400"]
    assert "the training text of good" in part.text
    assert len(part.find_all("img")) == 1
    assert "Training" not in [each.text for each in page.find_all("h2")]


def test_why_there_are_no_yardsticks_and_that_windows_overlap() -> None:
    score = TextScore.of(1000.0, n_tokens=400, n_bytes=1500, stride=64)
    found = TextPrediction("book.txt", {"a": score}, without="No yardsticks: the training text has changed since")
    words = soup(text_page(found, versions=VERSIONS)).text
    assert "No yardsticks: the training text has changed since" in words
    assert "only its last 64 tokens" in words


def heart(run: str, samples: list[CopiedText]) -> Memorisation:
    held = tuple(CopiedText("h" * len(each.text), 0.0, (), None) for each in samples)
    return Memorisation(run, "book.txt", 1000, 30, 12, tuple(samples), held, settings={"max_tokens": 9, "seed": 1})


def test_copies_are_underlined_in_their_samples() -> None:
    copied = CopiedText("one " + "x" * 40 + EVIL, 0.6, ((4, 44),), (4, 44), "Once", 7)
    clean = CopiedText("a short one here", 0.0, (), (2, 15), "", 8)
    page = soup(memorisation_page([heart("book-1", [clean, copied])], versions=VERSIONS))
    assert page.h1 is not None
    assert page.h1.text == "What book-1 knows by heart"
    assert [row[0] for row in cells(section(page, "Copies"))] == ["text", "written by book-1", "held-out text"]
    assert cells(section(page, "Copies"))[2][3:] == ["under 12", "under 12", "0.0 %"]
    examples = section(page, "Samples").find_all(class_="example")
    assert [example.h3.text for example in examples] == ["seed 7", "seed 8"]
    assert [u.text for u in page.find_all("u")] == ["x" * 40, "short one her"]
    assert examples[0].find_all(class_="said")[0].text == "Once"
    assert examples[0].find_all(class_="said")[1].text == copied.text
    assert len(examples[1].find_all(class_="said")) == 1, "no empty line where nothing was asked"
    assert page.find_all("script") == []


def test_several_runs_have_samples_and_held_out_text_of_their_own() -> None:
    one = CopiedText("x" * 40, 1.0, ((0, 40),), (0, 40), "", 7)
    page = soup(memorisation_page([heart("a", [one]), heart("b", [one] * 9)], versions=VERSIONS))
    names = [row[0] for row in cells(section(page, "Copies"))]
    assert names == ["text", "written by a", "held out, beside a", "written by b", "held out, beside b"]
    assert section(page, "Samples of b").p.text.startswith("8 of 9 samples")


def test_the_curves_of_runs_that_compare_share_a_chart(tmp_path: Path) -> None:
    kinds = {"base-1": "base", "base-2": "base", "spam-1": "classifier", "tasks-1": "instruct"}
    folders = {name: write_metrics(tmp_path / name, kind=kind) for name, kind in kinds.items()}
    found = training_curves({**folders, "gpt2": tmp_path / "imported"})
    assert [run.name for run in found.runs] == list(kinds)
    (part,) = curve_sections(found)
    assert part.words == ("gpt2 kept no record of its training here.",)
    assert [picture.words for picture in part.pictures] == [
        "The training of base-1, base-2: loss over the tokens read.",
        "The training of spam-1: loss over the tokens read.",
        "The training of spam-1: loss over the tokens read.",  # and its accuracy
        "The training of tasks-1: loss over the tokens read.",
    ]
    assert curve_sections(RunCurves()) == []
    scores = class_scores(["a", "b"], ["a", "b"], ["a", "b"])
    page = soup(label_page([Labelled("spam-1", scores)], data="x", versions=VERSIONS, curves=RunCurves(found.runs[3:])))
    assert len(section(page, "Training").find_all("img")) == 1


def test_losses_of_base_models_are_drawn_in_bits_per_byte(tmp_path: Path) -> None:
    folders = {name: write_metrics(tmp_path / name, kind="base") for name in ("a", "b")}
    runs = training_curves(folders).runs
    one = compared(runs[0], "bits per byte")
    np.testing.assert_allclose(one.val.y, runs[0].val_bits.y)
    assert one.train.y[-1] == pytest.approx(runs[0].train.y[-1] / 2, rel=0.3)
    (axes,) = losses_chart(runs, "bits per byte").axes
    assert axes.get_ylabel() == "bits per byte (lower is better)"
    assert [np.asarray(line.get_ydata())[-1] for line in axes.lines[1::2]] == [0.6, 0.6]
    assert "differ" not in axes.get_title(loc="left")


def test_bars_are_as_long_as_the_figures() -> None:
    (axes,) = bits_chart({"mine": 2.0}, {"gzip": 3.0, "uniform": 8.0}).axes
    assert [patch.get_width() for patch in axes.patches] == [2.0, 3.0, 8.0]  # pyright: ignore[reportAttributeAccessIssue]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mine", "gzip", "uniform"]


def test_every_text_is_in_the_spread_of_copies() -> None:
    figure = copies_chart([{"a": [0, 35, 36, 50], "held-out text": [20, 21]}, {"b": [0], "held-out text": [0]}])
    above, below = figure.axes
    for axes, edge in ((above, 50.0), (below, 10.0)):
        assert axes.get_xlim() == (0.0, edge)
        heights = [patch.get_height() for patch in axes.patches]  # pyright: ignore[reportAttributeAccessIssue]
        assert sum(heights) == pytest.approx(2.0), "all of the texts of both kinds"
