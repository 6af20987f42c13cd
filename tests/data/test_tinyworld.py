"""Tiny world: the same stories everywhere, good English on the surface, and no story against the facts."""

from __future__ import annotations

import hashlib
import re

import pytest

from vidro.data.tinyworld import PLOTS, TROUBLES, Digits, stories, story, text
from vidro.data.tinyworld_facts import ANIMALS, BEST_MAKER, PEOPLE, PLACES, SMALL, with_article

EVERYBODY = {**PEOPLE, **ANIMALS}
GOLDEN = "131b833c98e8a2fc3075b6d539bfdd4e8553b376d0b9f4b866135d3615f3efb4"  # stories 0 to 49 of seed 0
NAME = "|".join(sorted(EVERYBODY, key=len, reverse=True))


@pytest.fixture(scope="module")
def sample() -> list[str]:
    """Two thousand stories."""
    return [story(7, index) for index in range(2000)]


def test_the_first_stories_are_these_for_ever() -> None:
    told = "\n\n\n".join(story(0, index) for index in range(50))
    assert hashlib.sha256(told.encode()).hexdigest() == GOLDEN


def test_a_story_depends_on_seed_and_index_only() -> None:
    assert story(3, 5) == story(3, 5)
    assert len({story(3, 5), story(3, 6), story(4, 5), story(5, 3)}) == 4
    assert list(stories(seed=3, n_bytes=20_000))[5] == story(3, 5)


@pytest.mark.parametrize("n_bytes", [0, 1, 5_000])
def test_stories_stop_after_the_asked_bytes(n_bytes: int) -> None:
    told = list(stories(seed=1, n_bytes=n_bytes))
    sizes = [len(one.encode()) for one in told]
    assert sum(sizes) >= n_bytes
    assert sum(sizes[:-1]) < n_bytes or not told


def test_text_is_the_stories_with_two_empty_lines_between() -> None:
    told = text(2, 4_000)
    assert told.rstrip("\n").split("\n\n\n") == list(stories(seed=2, n_bytes=4_000))
    assert told.endswith("\n")


def test_lengths_and_paragraphs(sample: list[str]) -> None:
    words = [len(one.split()) for one in sample]
    assert min(words) >= 60
    assert max(words) <= 175
    assert 100 <= sum(words) / len(words) <= 150
    assert {one.count("\n\n") for one in sample} == {3}


def test_every_plot_is_told_about_equally_often() -> None:
    plots = [Digits(0, index).pick(PLOTS) for index in range(4000)]
    for plot in PLOTS:
        assert 400 <= plots.count(plot) <= 600


def test_hardly_any_story_comes_twice() -> None:
    told = [story(0, index) for index in range(10_000)]
    assert len(told) - len(set(told)) <= 20  # 0.2 %


def test_the_number_is_never_used_up() -> None:
    for index in range(2000):
        digits = Digits(0, index)
        _, paragraphs = digits.pick(PLOTS)(digits)
        for slot in (slot for paragraph in paragraphs for slot in paragraph if not isinstance(slot, str)):
            digits.pick(slot)
        assert digits.rest.bit_length() > 128


def test_the_language_is_rich_enough(sample: list[str]) -> None:
    assert 800 <= len(set(re.findall(r"[a-z']+", " ".join(sample).lower()))) <= 2000


def test_the_surface_is_clean(sample: list[str]) -> None:
    for one in sample:
        assert one.isascii()
        assert one == one.strip()
        assert not re.search(r"  | \n|\n |[{}|]| [,.!?]|\.\.|,,|\n\n\n", one), one
        assert one.count('"') % 2 == 0, one


def test_sentences_begin_with_capital_letters_and_end_with_a_mark(sample: list[str]) -> None:
    for one in sample:
        for paragraph in one.split("\n\n"):
            assert re.match(r'"?[A-Z]', paragraph), paragraph
            assert re.search(r'[.!?]"?$', paragraph), paragraph
            assert not re.search(r"(?<!\w)[.!?] [a-z]", paragraph), paragraph
            small = re.findall(r'[.!?] "?[a-z]\w*', paragraph)
            assert not small, (small, paragraph)


def test_a_and_an(sample: list[str]) -> None:
    told = " ".join(sample)
    assert not re.search(r"\b[Aa] [aeiou]", told)
    assert not re.search(r"\b[Aa]n (?![aeiou]|hour)", told)
    assert with_article("old map") == "an old map"


def test_nobody_lives_anywhere_else(sample: list[str]) -> None:
    told = " ".join(sample)
    found = re.findall(rf"\b({NAME})(?: the \w+)?(?: was an? \w+)?,? (?:who )?lived (.+?)(?:,| and |\.|!|\")", told)
    openings = re.findall(rf"In Tansy Bay, ([^,.]+), lived an? \w+ called ({NAME})", told)
    found += [(name, home) for home, name in openings]
    found += re.findall(rf"called ({NAME})\. (?:He|She) lived ([^,.]+),", told)
    found += re.findall(rf"hear of ({NAME})\. (?:He|She) lived (.+?) and ", told)
    assert len(found) > 1500
    assert {name for name, _ in found} == set(PEOPLE)
    for name, home in found:
        assert home == PEOPLE[name].home


def test_everybody_owns_loves_and_fears_what_the_table_says(sample: list[str]) -> None:
    told = " ".join(sample)
    owned = re.findall(rf"\b({NAME})(?: the \w+)? lived [^.]+\. (?:He|She) owned (an? [^,]+),", told)
    owned += re.findall(rf"\b({NAME}) has (an? \w+ ?\w*),\"", told)
    owned += re.findall(rf"({NAME})'s (\w+ \w+) to protect", told)
    loved = re.findall(rf"\b({NAME}),? (?:who )?loved ([\w ]+?)(?: more than anything|\.|,)", told)
    first_paragraphs = [one.split("\n\n")[0] for one in sample]
    of_what = rf"^.*?\b({NAME})\b.*?(?:afraid of|feared, and that was) ([\w ]+)\."
    feared = [pair for paragraph in first_paragraphs for pair in re.findall(of_what, paragraph)]
    assert min(len(owned), len(loved), len(feared)) > 100
    for name, thing in owned:
        assert thing.removeprefix("a ").removeprefix("an ") == PEOPLE[name].own
    for name, what in loved:
        assert what == EVERYBODY[name].likes
    for name, what in feared:
        assert what == PEOPLE[name].fear


def test_everybody_is_called_he_or_she_by_the_table(sample: list[str]) -> None:
    for name, kind, pronoun in re.findall(rf"\b({NAME}) was an? (\w+) who lived .+?[.] (He|She)\b", " ".join(sample)):
        assert (PEOPLE[name].kind, PEOPLE[name].They) == (kind, pronoun)


def test_the_tables_fit_together() -> None:
    assert (len(PEOPLE), len(ANIMALS), len(PLACES)) == (16, 10, 16)
    assert {person.place for person in PEOPLE.values()} == set(PLACES.values())  # everybody has a place of their own
    assert {person.own for person in PEOPLE.values()} >= SMALL
    assert {row[0] for row in TROUBLES} == set(PEOPLE)
    for person in PEOPLE.values():
        maker = BEST_MAKER[person.likes]
        assert maker is not person
        assert BEST_MAKER[maker.likes] is not person  # a swap needs two others
    for row in TROUBLES:
        assert PEOPLE[row[0]].own in row[3] or row[0] == "Ada"
