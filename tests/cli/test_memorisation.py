"""What a run knows by heart: from Python, on the screen, as JSON, as a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import vidro
from vidro.cli.main import main
from vidro.cli.memorisation import on_memorisation, underlined
from vidro.cli.reports import write_text_page
from vidro.core.errors import DataError, UsageError
from vidro.data.tinyworld import text
from vidro.evals.copying import CopiedText

FEW: dict[str, Any] = {"samples": 3, "max_tokens": 40}


@pytest.fixture
def parrot(run: vidro.Run, monkeypatch: pytest.MonkeyPatch) -> vidro.Run:
    """The run, which now says a sentence of its training text whatever it is asked."""
    from dataclasses import replace

    book = Path("book.txt").read_text(encoding="utf-8")
    generate = run.session.generate

    def recite(*arguments: Any, **named: Any) -> list[Any]:
        drawn = generate(*arguments, **named)  # real seeds and prompts
        return [replace(one, text="@" + book[100:180] + "@") for one in drawn]

    monkeypatch.setattr(run.session, "generate", recite)
    return run


def test_samples_beside_held_out_text_of_their_lengths(run: vidro.Run) -> None:
    found = run.memorisation(**FEW)
    assert (found.run, found.text) == (run.reference, "book.txt")
    assert [one.seed for one in found.samples] == [1337, 1338, 1339]
    written = run.generate_many([""], samples=3, max_tokens=40, seed=1337)
    assert [one.text for one in found.samples] == [one.text for one in written]
    assert [len(one.text) for one in found.held_out] == [len(one.text) for one in found.samples]
    book = Path("book.txt").read_text(encoding="utf-8")
    assert all(one.text in book for one in found.held_out)
    assert found.text_bytes == run.record["data"]["train_bytes"]
    assert found.settings == {**FEW, "min_chars": 30, "temperature": 0.8, "seed": 1337}
    assert run.memorisation(**FEW) == found
    assert run.memorisation(**FEW, seed=8).samples != found.samples


def test_what_is_recited_is_found(parrot: vidro.Run) -> None:
    found = parrot.memorisation(samples=2, max_tokens=2)
    assert found.wrote.copied_frac == 80 / 82
    assert found.wrote.longest_chars == found.wrote.median_longest_chars == 80
    assert found.samples[0].spans == ((1, 81),)


def test_a_text_of_ones_own_takes_the_place_of_the_run_s(parrot: vidro.Run, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("0123456789 " * 400, encoding="utf-8")
    found = parrot.memorisation(other, samples=2, max_tokens=2)
    assert found.text == "other.txt"
    assert found.wrote.copied_frac == 0.0
    assert found.unseen.copied_frac == 1.0, "its last tenth repeats the rest"


def test_prompts_are_no_part_of_what_is_searched(run: vidro.Run) -> None:
    opening = Path("book.txt").read_text(encoding="utf-8")[:60]
    found = run.memorisation(prompts=[opening, "Ada"], max_tokens=5)
    assert [one.prompt for one in found.samples] == [opening, "Ada"]
    assert not any(opening in one.text for one in found.samples)
    assert len(run.memorisation(prompts=["Ada"], samples=2, max_tokens=5).samples) == 2
    assert len(run.memorisation(prompts=["Ada"], temperature=0, max_tokens=5).samples) == 1


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"temperature": 0}, "samples: at temperature 0 all samples are the same. Ask for one."),
        ({"min_chars": 5}, "min-chars: 5 is too small. It must be at least 20."),
        ({"sample": 2}, "there is no setting 'sample'. Did you mean samples?"),
    ],
)
def test_wrong_wishes(run: vidro.Run, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run.memorisation(**keywords)
    assert str(caught.value) == message


def test_a_text_that_is_gone_is_said(run: vidro.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "book.txt"
    changed.write_text(text(2, 20_000), encoding="utf-8")
    record = {**run.record, "data": {**run.record["data"], "source": str(changed)}}
    monkeypatch.setattr(vidro.Run, "record", record)
    with pytest.raises(DataError, match=r"has changed since\. Put the old text back in its place\. Or name another\."):
        run.memorisation(**FEW)
    record.pop("data")
    with pytest.raises(DataError, match=r"its record names no text\. Name the training text\."):
        run.memorisation(**FEW)


def test_the_text_of_the_parents_is_searched_too(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained / "runs/book-1", tmp_path / "runs/book-1")
    shutil.copy(trained / "book.txt", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.txt").write_text(text(2, 20_000), encoding="utf-8")
    child = vidro.pretrain("more.txt", from_run="book-1", steps=1, evals=1, progress=False, cache_dir=tmp_path / "c")
    found = child.memorisation(**FEW, cache_dir=tmp_path / "c")
    assert found.text == "book.txt, more.txt"
    assert found.text_bytes == sum(each.record["data"]["train_bytes"] for each in child.ancestry())


def test_the_table_and_the_samples(parrot: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_memorisation([parrot], None, {"samples": 2, "max_tokens": 2}) == 0
    out, err = capsys.readouterr()
    assert "book-1 writes" in err
    assert "Searched in book.txt, 28 kB of training text:" in out
    lines = {line.split("  ")[0]: line.split()[-5:] for line in out.split("\n")}
    assert lines["written by book-1"] == ["2", "164", "80", "80", "97.6%"]
    assert lines["held-out text"][:2] == ["2", "164"]
    assert out.count("⟦") == out.count("⟧") == 3, "two samples and the line that explains the brackets"
    book = Path("book.txt").read_text(encoding="utf-8")
    assert f"@⟦{book[100:180]}⟧@" in out


def test_the_page_and_the_json(parrot: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts, page = tmp_path / "prompts.txt", tmp_path / "heart.html"
    prompts.write_text("Ada\nTomas\n", encoding="utf-8")
    assert (
        on_memorisation([parrot], None, {"max_tokens": 2}, prompts_file=prompts, seed=4, report=str(page), json=True)
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert [each["prompt"] for each in found["texts"]] == ["Ada", "Tomas"]
    assert found["settings"]["seed"] == 4
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    book = Path("book.txt").read_text(encoding="utf-8")
    assert [u.text for u in soup.find_all("u")] == [book[100:180]] * 2
    assert len(soup.find_all("img")) == 2, "the spread of the copies, and how the run was trained"
    assert on_memorisation([parrot, parrot], None, {"samples": 1, "max_tokens": 2}, json=True) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 2


def test_the_page_of_a_text(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"book-1": run.evaluate("book.txt")}
    write_text_page(scores, run.yardsticks("book.txt"), [run], "book.txt", tmp_path / "text.html")
    assert "text.html" in capsys.readouterr().err
    page = (tmp_path / "text.html").read_text(encoding="utf-8")
    for words in (f"{scores['book-1'].bits_per_byte:.4f}", "gzip (yardstick)", "the training text of book-1"):
        assert words in page
    write_text_page(scores, None, [run], "book.txt", tmp_path / "text.html")
    assert "there are no yardsticks" in (tmp_path / "text.html").read_text(encoding="utf-8")


def test_copies_are_underlined_and_the_longest_is_bold() -> None:
    shown = underlined(CopiedText("a\x1bb the cat sat", 0.5, ((4, 14),), (8, 14)))
    assert shown.plain == "a␛b the cat sat"
    assert [(span.start, span.end, str(span.style)) for span in shown.spans] == [(4, 14, "underline"), (8, 14, "bold")]


def test_the_command_shows_copies_beside_held_out_text(
    run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "copies.html"
    words = ["evaluate", str(run.path), "--memorisation", "--samples", "2", "--max-tokens", "60", "--report", str(page)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "held-out text" in out
    assert "<html" in page.read_text(encoding="utf-8")
    assert main([*words[:-2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"]
    assert main(["evaluate", str(run.path), "--text", "book.txt", "--samples", "2"]) == 2
    assert "--samples belongs to --memorisation" in capsys.readouterr().err
