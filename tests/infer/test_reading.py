"""The opening line, the suggested prompts and the marking of words the model never met."""

from __future__ import annotations

import pytest

from vidro.infer.reading import (
    count_words,
    human_bytes,
    introduction,
    opening_line,
    suggest_prompts,
    texts_read,
    unknown_words,
    unknown_words_line,
)


def test_the_opening_line_names_every_text_in_order():
    assert opening_line([("tinyshakespeare", 1_115_394)]) == (
        "This model has read 1.1 MB of tinyshakespeare and nothing else."
    )
    assert opening_line([("english-novels", 68_700_000), ("the-verdict", 20_479)]) == (
        "This model has read 69 MB of english-novels, then 20 kB of the-verdict, and nothing else."
    )
    assert opening_line([]) == "What this model has read is not recorded."


def test_the_introduction_says_what_it_has_read_and_offers_beginnings():
    parent = {"data": {"name": "novels", "train_bytes": 61_000_000}}
    child = {"data": {"name": "verdict", "train_bytes": 18_431}}
    assert texts_read(parent, {}, child) == [("novels", 61_000_000), ("verdict", 18_431)]
    assert introduction(texts_read(child), ["ROMEO:\n", "Once upon a time"]).split("\n") == [
        "This model has read 18 kB of verdict and nothing else.",
        "It does not answer; it continues what you write. An empty line lets it write on.",
        "Beginnings that suit it:",
        "  ROMEO:",
        "  Once upon a time",
    ]
    assert "suit" not in introduction([], [])


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (9_949, "9.9 kB"), (9_951, "10 kB"),
     (999_499, "999 kB"), (999_600, "1.0 MB"), (3 * 10**12, "3.0 TB"), (5 * 10**15, "5000 TB")],
)  # fmt: skip
def test_sizes_as_people_say_them(n_bytes, said):
    assert human_bytes(n_bytes) == said


def test_frequent_openings_come_first_and_first_words_differ():
    tale = "Once upon a time there was a fox.\n\n"
    text = tale * 3 + "The sun went down over the sea.\n\nThe rain fell all the night.\n\nA bird sang in the tree.\n\n"
    assert suggest_prompts(text) == ["Once upon a time", "The sun went down", "A bird sang in"]


def test_speakers_of_a_play_are_offered_with_their_line_end():
    play = "".join(f"{who}:\nSpeak, speak, I pray you.\n\n" for who in ("ROMEO", "JULIET", "ROMEO", "NURSE"))
    assert suggest_prompts(play)[0] == "ROMEO:\n"


def test_headings_rules_and_markup_are_no_prompts():
    paragraphs = ["CHAPTER I THE BEGINNING OF ALL", "* * * * * * *", "<p class=x> a b c d e f", "12 34 56 78 90", ""]
    assert suggest_prompts("\n\n".join(paragraphs)) == []


def test_tiny_shakespeare_suggests_speakers(shared_data):
    text = (shared_data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    prompts = suggest_prompts(text)
    assert len(prompts) == 3
    assert all(prompt.endswith(":\n") and prompt in text for prompt in prompts)
    assert unknown_words("What is a computer, Romeo?", count_words([text])) == [("computer", 0)]


def test_unknown_words_are_marked_with_their_count():
    known = count_words(["The King’s horse. the king's men; THE moon"])
    assert known["the"] == 3
    assert known["king's"] == 2
    assert unknown_words("The KING'S computer saw the moon", known) == [("computer", 0), ("saw", 0)]
    assert unknown_words("The moon, the moon!", known, at_most=1) == [("moon", 1)]
    assert unknown_words("", known) == []


def test_the_line_of_unknown_words():
    assert unknown_words_line([]) is None
    assert unknown_words_line([("computer", 0)]) == (
        "In its training text: computer 0 times. What it says about this is a guess."
    )
