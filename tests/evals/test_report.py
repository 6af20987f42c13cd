"""A report is one page by itself: nothing is loaded, nothing that was written can break it, all numbers are there."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import UsageError
from vidro.evals.accuracy import class_scores
from vidro.evals.answers import AnswerRow, score_answers
from vidro.evals.instructions import Comparison, RunAnswers
from vidro.evals.judge import pair_summary, score_prompt, score_summary
from vidro.evals.report import Example, Page, Said, Section, Table, render, write_report
from vidro.evals.report_pages import Labelled, instruction_page, label_page

EVIL = '<script>alert("x")</script> & <img src="http://example.org/x.png"> {{ 7 * 7 }} {% raw %}'
VERSIONS = {"vidro": "0.0", "torch": "2.0"}


def answered(name: str, answers: list[str], *, judged: list[int | None] | None = None) -> RunAnswers:
    kinds = ["sum", "sum", "echo"]
    rows = [
        AnswerRow(f"task {i}", "input" if i else EVIL, "the answer", answer, kind, stopped=True)
        for i, (answer, kind) in enumerate(zip(answers, kinds, strict=True))
    ]
    score = None if judged is None else score_summary(judged, seed=1)
    return RunAnswers(
        name, "chatml", Path("runs") / name / "evaluations", tuple(rows), score_answers(rows, seed=1),
        facts={"model": "tiny"}, judged=score,
    )  # fmt: skip


def compared(*runs: RunAnswers, judge: str | None = None) -> Comparison:
    return Comparison("tasks.json", "alpaca", 5, (1, 3, 5), runs, {"answer_tokens": 9, "seed": 1}, judge=judge)


TUNED = answered("tasks-1", ["the answer", "The answer.", "no"], judged=[100, None, 40])
BASE = answered("book-1", ["", EVIL, "\x00\x1b[2J"], judged=[0, 10, 20])


def soup(page: Page) -> BeautifulSoup:
    return BeautifulSoup(render(page), "html.parser")


def section(page: BeautifulSoup, title: str) -> BeautifulSoup:
    (found,) = [each for each in page.find_all("section") if each.h2.text.startswith(title)]
    return found


def cells(part: BeautifulSoup, number: int = 0) -> list[list[str]]:
    rows = part.find_all("table")[number].find_all("tr")
    return [[cell.text for cell in row.find_all(["th", "td"])] for row in rows]


def test_the_page_says_what_was_measured() -> None:
    page = soup(instruction_page(compared(replace(TUNED, judged=None)), versions=VERSIONS))
    assert page.h1.text == "Answers to tasks.json"
    assert page.find(class_="lead").text == "3 of 5 rows of tasks.json, asked of tasks-1."
    head, line = cells(section(page, "Scores"))
    figures = dict(zip(head, line, strict=True))
    assert figures["exact match"].startswith("33.3 %\n0.0 to ")
    assert figures["normalised"].startswith("66.7 %\n")
    assert figures["stopped by itself"] == "100.0 %"
    assert [row[0:2] for row in cells(section(page, "By kind"))[1:]] == [
        ["echo", "1"],
        ["sum", "2"],
        ["mean of kinds", ""],
    ]
    settings = section(page, "Settings").text
    for words in ("answer tokens", "chatml", "tiny", "torch", "2.0"):
        assert words in settings
    assert "judge" not in page.text.lower()


def test_two_runs_stand_side_by_side_with_the_judge_between_them() -> None:
    asked = replace(
        compared(TUNED, BASE, judge="ollama:llama3@http://127.0.0.1:11434"),
        pairs=pair_summary(["win", "win", None], seed=1),
    )
    page = soup(instruction_page(asked, versions=VERSIONS))
    assert [row[0] for row in cells(section(page, "Scores"))] == ["run", "tasks-1", "book-1"]
    examples = section(page, "Examples").find_all(class_="example")
    assert [example.h3.text for example in examples] == ["row 1, sum", "row 3, sum", "row 5, echo"]
    assert [h4.text for h4 in examples[0].find_all("h4")] == ["expected", "tasks-1", "book-1"]
    marks = [small.text for example in examples for small in example.find_all("small")]
    assert marks[0] == "exact · judge 100"
    assert marks[2] == "right but for case and punctuation · word F1 1.00 · judge unreadable"
    judge = section(page, "Judge: ollama:llama3")
    assert judge.pre.text == score_prompt(TUNED.answers[0]), "the prompt is there, letter by letter"
    assert cells(judge)[1] == ["tasks-1", cells(judge)[1][1], "3", "1"]
    assert cells(judge)[1][1].startswith("70.0\n")
    assert cells(judge, 1)[1] == ["win rate 100.0 %, 95 %: 100.0 to 100.0", "2", "0", "0", "0", "1"]


def test_what_was_written_cannot_break_the_page() -> None:
    html = render(instruction_page(compared(BASE), versions=VERSIONS))
    page = BeautifulSoup(html, "html.parser")
    assert page.find_all("script") == []
    assert EVIL in section(page, "Examples").text
    assert "␀␛[2J" in section(page, "Examples").text
    assert "\x00" not in html
    assert "\x1b" not in html


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_text_comes_out_of_the_page_as_it_went_in(text: str) -> None:
    example = Example(text, text, (Said(text, text, text),))
    page = soup(Page(text, text, (Section(text, (text,), (Table((text,), ((text,),)),), examples=(example,)),)))
    places = [page.h1, page.h2, page.td, page.th, page.find(class_="said"), page.h4, page.small]
    assert [place.text for place in places] == [text] * len(places)


def test_nothing_is_loaded_from_elsewhere() -> None:
    scores = class_scores(["a", "b", "b"], ["a", "b", "a"], ["a", "b"])
    for made in (
        instruction_page(compared(TUNED, BASE, judge="x"), versions=VERSIONS),
        label_page([Labelled("spam-1", scores)], data="mail.tsv", versions=VERSIONS),
    ):
        page = soup(made)
        assert [tag for name in ("link", "script", "iframe", "object") for tag in page.find_all(name)] == []
        assert "url(" not in page.style.text
        assert "@import" not in page.style.text
        (picture,) = page.find_all("img")
        assert picture["alt"]
        kind, _, data = picture["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        drawing = ElementTree.fromstring(base64.b64decode(data))
        assert drawing.tag.endswith("}svg")
        assert len(list(drawing.iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_the_same_scores_give_the_same_bytes() -> None:
    pages = [render(instruction_page(compared(TUNED, BASE), versions=VERSIONS)) for _ in range(2)]
    assert pages[0] == pages[1]


def test_the_classes_of_two_classifiers() -> None:
    good = class_scores(["ham", "ham", "spam"], ["ham", "ham", "spam"], ["ham", "spam"])
    bad = class_scores(["ham", "ham", "spam"], ["ham", "spam", "ham"], ["ham", "spam"])
    found = [Labelled("spam-1", good), Labelled("spam-2", bad)]
    page = soup(label_page(found, data="mail.tsv", versions=VERSIONS))
    assert page.find(class_="lead").text == "3 labelled texts of mail.tsv, classified by spam-1, spam-2."
    assert "2 of 3 rows right" not in section(page, "spam-1").text
    assert "1 of 3 rows right" in section(page, "spam-2").text
    assert cells(section(page, "spam-2"))[1] == ["ham", "0.500", "0.500", "0.500", "2"]
    assert cells(section(page, "spam-2"))[-1] == ["mean of classes", "0.250", "0.250", "0.250", "3"]


def test_too_many_classes_for_a_picture_become_a_table() -> None:
    names = [f"class {number}" for number in range(101)]
    page = soup(label_page([Labelled("run-1", class_scores(names, names, names))], data="x", versions=VERSIONS))
    assert page.find_all("img") == []
    assert len(cells(section(page, "run-1"), 1)) == 102


def test_a_report_is_an_html_file(tmp_path: Path) -> None:
    page = Page("title", "lead", ())
    assert write_report(page, tmp_path / "new" / "r.html").read_text(encoding="utf-8") == render(page)
    with pytest.raises(UsageError, match=r"a report ends in \.html"):
        write_report(page, tmp_path / "r.pdf")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match="this is a folder"):
        write_report(page, tmp_path / "folder.html")
