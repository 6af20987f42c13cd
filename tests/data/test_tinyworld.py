"""Tiny world: the same stories everywhere, good English on the surface, and no story against the facts."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import pytest

from vidro.data.tinyworld import stories, story, text, told
from vidro.data.tinyworld.facts import ANIMALS, BEST_MAKER, PEOPLE, PLACES, SMALL, with_article
from vidro.data.tinyworld.telling import CANDIDATES, PLOTS, RULES, TABLES, Digits, Teller

EVERYBODY = {**PEOPLE, **ANIMALS}
GOLDEN = "15d18bf3b2c0c36629e104e43b26acba3e379f4db683aaf9dc66313e553139b5"  # stories 0 to 49 of seed 0
NAME = "|".join(sorted(EVERYBODY, key=len, reverse=True))


@pytest.fixture(scope="module")
def sample() -> list[str]:
    """Two thousand stories."""
    return [story(7, index) for index in range(2000)]


def test_the_first_stories_are_these_for_ever() -> None:
    told = "\n\n\n".join(story(0, index) for index in range(50))
    assert hashlib.sha256(told.encode()).hexdigest() == GOLDEN


def test_a_story_depends_on_seed_and_index_only() -> None:
    assert story(3, 5) == story(3, 5) == told(3, 5).text
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
    assert min(words) >= 90
    assert max(words) <= 185
    assert 110 <= sum(words) / len(words) <= 155
    assert {one.count("\n\n") for one in sample} == {3}


def test_every_plot_is_told_about_equally_often() -> None:
    assert len(PLOTS) == 12
    plots = Counter(Digits(0, index).pick(list(PLOTS)) for index in range(4000))
    assert min(plots[name] for name in PLOTS) >= 260
    assert max(plots.values()) <= 410


def test_hardly_any_story_comes_twice() -> None:
    told = [story(0, index) for index in range(5_000)]
    assert len(told) - len(set(told)) <= 5  # 0.1 %


def test_the_number_is_never_used_up() -> None:
    for index in range(2000):
        digits = Digits(0, index)
        Teller(digits).tell()
        assert digits.ways.bit_length() < 128  # of 256: what is left of the number is still random


def test_the_language_is_rich_enough(sample: list[str]) -> None:
    assert 1000 <= len(set(re.findall(r"[a-z']+", " ".join(sample).lower()))) <= 2500


def test_the_surface_is_clean(sample: list[str]) -> None:
    for one in sample:
        assert one.isascii()
        assert one == one.strip()
        assert not re.search(r"  | \n|\n |[{}|/]| [,.!?]|\.\.|,,|\n\n\n", one), one
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


def test_whatever_is_said_of_animals_and_friends_is_in_the_tables(sample: list[str]) -> None:
    told = "\n\n\n".join(sample)
    kept = re.findall(rf"\b({NAME}), ({NAME})'s (\w+)[,.]", told)
    friends = re.findall(rf"\b({NAME})[^.]*?, a good friend called ({NAME})", told)
    homes = re.findall(rf"\b({NAME}) the \w+ had come all the way from (the [\w ]+?) to see it", told)
    stalls = re.findall(rf"({NAME})[^\n]*? Every Saturday s?he sold ([\w ]+) on the market", told)
    assert min(map(len, (kept, friends, homes, stalls))) > 10
    for animal, keeper, kind in kept:
        assert (ANIMALS[animal].keeper, ANIMALS[animal].kind) == (PEOPLE[keeper], kind)
    for name, friend in friends:
        assert PEOPLE[name].friend is PEOPLE[friend]
    for name, home in homes:
        assert str(ANIMALS[name].place) == home
    for name, good in stalls:
        assert BEST_MAKER[good] is PEOPLE[name]


def test_nobody_plays_two_roles() -> None:
    for index in range(1000):
        teller = Teller(Digits(8, index))
        teller.tell()
        played = [str(one) for one in teller.cast.values() if str(one) in EVERYBODY]
        assert len(set(played)) == len(played), story(8, index)


def test_nobody_who_is_named_in_a_row_comes_by_as_somebody_else() -> None:
    for index in range(1000):
        teller = Teller(Digits(9, index))
        teller.tell()
        row, passer_by = teller.cast.get("t"), teller.cast.get("z")
        if row and passer_by:
            assert passer_by.name not in row.names, story(9, index)


def test_the_grammar_names_only_what_there_is() -> None:
    for roles, paragraphs in PLOTS.values():
        assert set(roles.values()) <= set(CANDIDATES)
        options = [option for steps in paragraphs for step in steps for option in step]
        options += [option for name in RULES for option in RULES[name]]
        for name in re.findall(r"{(\w+)", " ".join(options)):
            assert name in RULES or name in roles


def test_the_tables_fit_together() -> None:
    assert (len(PEOPLE), len(ANIMALS), len(PLACES)) == (16, 10, 16)
    assert {person.place for person in PEOPLE.values()} == set(PLACES.values())  # everybody has a place of their own
    assert len({animal.keeper for animal in ANIMALS.values()}) == len(ANIMALS)
    assert {person.own for person in PEOPLE.values()} >= SMALL
    assert [row.who for row in TABLES["wishes"]] == list(PEOPLE)
    assert {row.fear for row in TABLES["fears"]} == {person.fear for person in PEOPLE.values()}
    assert {person.likes for person in PEOPLE.values()} == set(BEST_MAKER)  # each good thing has somebody who loves it
    for person in PEOPLE.values():
        assert person.friend.friend is person
        assert BEST_MAKER[person.likes] not in (person, person.friend)
    for row in TABLES["troubles"]:
        assert PEOPLE[row.who].own in row.fix
