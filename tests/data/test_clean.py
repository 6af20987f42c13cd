"""What is taken from a text, and that it is counted."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.data import clean
from vidro.data.clean import clean_text, strip_gutenberg
from vidro.data.report import ReadReport

HEADER = "The Project Gutenberg eBook of A\n\nTitle: A\n\n"
START = "*** START OF THE PROJECT GUTENBERG EBOOK A ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK A ***"
LICENCE = "\n\nUpdated editions will replace the previous one.\nSTART: FULL LICENSE\n"


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(clean).failed == 0


def test_header_and_footer_go_and_the_book_stays():
    text, note = strip_gutenberg(f"{HEADER}{START}\n\n\nChapter I\n\nOnce.\n\n\n{END}{LICENCE}")
    assert text == "Chapter I\n\nOnce.\n"
    assert note is not None
    assert note.startswith("Project Gutenberg header and footer removed (")


@pytest.mark.parametrize(
    "start",
    [
        "*** START OF THIS PROJECT GUTENBERG EBOOK A ***",
        "***START OF THE PROJECT GUTENBERG EBOOK A***",
        "*** START OF THE PROJECT GUTENBERG EBOOK A VERY LONG TITLE\nTHAT GOES ON ***",
        "*** START OF THE PROJECT GUTENBERG ETEXT A ***",
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    ],
)
def test_old_and_new_headers_are_known(start):
    assert strip_gutenberg(f"{HEADER}{start}\n\nOnce upon a time.\n")[0] == "Once upon a time.\n"


@pytest.mark.parametrize(
    "end",
    [
        "End of the Project Gutenberg EBook of A, by B\n\n*** END OF THIS PROJECT GUTENBERG EBOOK A ***",
        "End of Project Gutenberg's A, by B",
        "***END OF THE PROJECT GUTENBERG EBOOK A***",
    ],
)
def test_old_and_new_footers_are_known(end):
    text = strip_gutenberg(f"{START}\nOnce upon a time.\n\n{end}\n{LICENCE}")[0]
    assert text == "Once upon a time.\n"


def test_the_transcribers_credit_goes_with_the_header_only():
    book = "Produced by Jane Doe and the Online\nTeam\n\n\nChapter I\n\nProduced by hand, the cup was fine.\n"
    assert strip_gutenberg(f"{START}\n\n{book}{END}")[0] == "Chapter I\n\nProduced by hand, the cup was fine.\n"


def test_several_books_in_one_text_are_each_unwrapped():
    one = f"{HEADER}{START}\nOne.\n{END}{LICENCE}"
    two = f"{HEADER}{START}\nTwo.\n{END}{LICENCE}"
    assert strip_gutenberg(one + two)[0] == "One.\n\n\nTwo.\n"


def test_a_text_that_only_mentions_gutenberg_is_left_alone():
    text = "I found it on Project Gutenberg, where books are free.\n"
    assert strip_gutenberg(text) == (text, None)


def test_all_changes_are_counted_and_said():
    report = ReadReport()
    assert clean_text("\ufeffone\r\ntwo\rthree\n", report) == "one\ntwo\nthree\n"
    assert report.notes == [
        "Byte-order mark removed (1 text).",
        "Windows line ends (CR LF) made LF (1 line).",
        "Old Macintosh line ends (CR) made LF (1 line).",
    ]


@given(st.text())
def test_nothing_but_line_ends_and_marks_changes(text):
    report = ReadReport()
    cleaned = clean_text(text, report)
    assert "\r" not in cleaned
    assert cleaned == text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert clean_text(cleaned.removeprefix("\ufeff"), ReadReport()) == cleaned.removeprefix("\ufeff")
