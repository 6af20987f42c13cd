"""Tiny world's messages and instructions: labels, exact answers, and what is held out."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from vidro.data.tinyworld import KINDS, Instruction, instructions, messages, words
from vidro.data.tinyworld.instructions import inflected
from vidro.data.tinyworld.messages import TASKS


@pytest.mark.parametrize(("task", "n_labels"), [("spam", 2), ("topics", 5)])
def test_labels_come_about_equally_often_and_texts_are_clean(task: str, n_labels: int) -> None:
    rows = list(messages(seed=1, n=2000, task=task))
    found = Counter(row.label for row in rows)
    assert set(found) == set(TASKS[task])
    assert len(found) == n_labels
    assert min(found.values()) > 0.8 * 2000 / n_labels
    for _, text in rows:
        assert re.fullmatch(r"[A-Z][A-Za-z ,.:?!']+[.!?]", text), text
        assert not re.search(r"  |[{}]|\.\.|[?!]\.|\b[Aa] [aeiou]|\n", text), text


def test_messages_are_the_same_for_a_seed_and_others_for_another() -> None:
    assert list(messages(seed=2, n=20)) == list(messages(seed=2, n=20)) == list(messages(seed=2, n=30))[:20]
    assert list(messages(seed=2, n=20)) != list(messages(seed=3, n=20))
    with pytest.raises(KeyError):
        list(messages(seed=2, n=1, task="weather"))  # pyright: ignore[reportArgumentType]


def bag(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_no_word_gives_spam_away_and_most_words_together_do() -> None:
    rows = list(messages(seed=1, n=3000))
    in_spam = Counter(word for label, text in rows if label == "spam" for word in bag(text))
    in_ham = Counter(word for label, text in rows if label == "ham" for word in bag(text))
    n_spam = sum(label == "spam" for label, _ in rows)
    assert all(in_spam[word] < 0.4 * n_spam for word in in_spam if not in_ham[word])
    for word in ("prize", "free", "urgent", "today", "offer", "friends", "your"):
        assert min(in_spam[word], in_ham[word]) > 0, word


@pytest.mark.parametrize("task", ["spam", "topics"])
def test_held_out_messages_have_pairs_of_template_and_thing_that_are_never_seen(task: str) -> None:
    def core(text: str) -> str:
        text = re.sub(r"^(Hello|Dear friend|Good morning|In haste|Listen), ", "", text)
        text = re.sub(r"[.!?]? ?(Tell your friends|(Yours|Greetings from|With love),? .*)?[.!]?$", "", text)
        return text[0].lower() + text[1:]

    seen = {(row.label, core(row.text)) for row in messages(seed=1, n=4000, task=task)}
    unseen = {(row.label, core(row.text)) for row in messages(seed=1, n=1000, task=task, held_out=True)}
    assert {label for label, _ in unseen} == set(TASKS[task])
    assert not seen & unseen


def kind_rows(kind: str, *, n: int = 400, held_out: bool = False) -> list[Instruction]:
    return list(instructions(seed=4, n=n, kinds=[kind], held_out=held_out))


def test_kinds_come_about_equally_often_and_rows_are_clean() -> None:
    rows = list(instructions(seed=0, n=2400))
    found = Counter(row.kind for row in rows)
    assert list(KINDS) == ["units", "arithmetic", "inflection", "passive", "spelling", "sorting", "opposites", "story"]
    assert set(found) == set(KINDS)
    assert min(found.values()) > 200
    for row in rows:
        assert row.instruction
        assert row.output == row.output.strip()
        assert 1 <= len(row.output) < 80
        assert not re.search(r"  |[{}]|\b[Aa] [aeiou]|\n", row.instruction + row.input + row.output), row
        assert bool(row.input) == (row.kind in ("inflection", "passive", "sorting", "story"))


def test_instructions_depend_on_the_seed_and_unknown_kinds_are_named() -> None:
    assert list(instructions(seed=2, n=20)) == list(instructions(seed=2, n=30))[:20]
    assert list(instructions(seed=2, n=20)) != list(instructions(seed=3, n=20))
    with pytest.raises(ValueError, match="no such kind of instruction: poems; there are units, arithmetic"):
        list(instructions(seed=2, n=1, kinds=["units", "poems"]))


def test_units_are_converted_rightly() -> None:
    base = dict.fromkeys(("seconds", "days", "centimetres", "grams", "millilitres", "months", "pieces"), 1)
    base |= {"minutes": 60, "hours": 3600, "weeks": 7, "metres": 100, "kilometres": 100_000, "kilograms": 1000}
    base |= {"litres": 1000, "years": 12, "dozens": 12, "millimetres": 0.1, "cents": 1, "euros": 100, "tonnes": 10**6}
    base |= {"km": 1000, "meters": 1, "m": 100, "cm": 1, "kg": 1000, "g": 1}
    for row in kind_rows("units"):
        (n, of), (m, to) = re.findall(r"(\d+) (\w+)", row.instruction)[0], row.output.split()
        days = 24 * 3600 if {of, to} == {"days", "hours"} else 1
        sizes = base | {"days": days}
        if {of, to} == {"meters", "km"}:
            sizes = base | {"km": 1000, "meters": 1}
        assert int(n) * sizes[of] == pytest.approx(int(m) * sizes[to]), row


def test_sums_are_right_in_numbers_and_in_words() -> None:
    signs = {"more": "+", "away": "-", "fills": "*", "shares": "/"}
    kinds = Counter()
    for row in kind_rows("arithmetic"):
        a, b = re.findall(r"\d+", row.instruction)
        sign = next((signs[word] for word in signs if word in row.instruction), "")
        if not sign:
            sign = re.findall(r"\d ([-+*/]) \d", row.instruction)[0]
        kinds[sign] += 1
        assert eval(f"{a} {sign} {b}") == int(row.output), row
    assert min(kinds[sign] for sign in "+-*/") > 50


def test_words_are_inflected_spelled_and_opposed_by_the_tables() -> None:
    assert [inflected(word, "plural") for word in ("box", "pony", "donkey", "hat")] == [
        "boxes",
        "ponies",
        "donkeys",
        "hats",
    ]
    assert [inflected(word, "past") for word in ("carry", "love", "row", "cook")] == [
        "carried",
        "loved",
        "rowed",
        "cooked",
    ]
    for row in kind_rows("inflection"):
        form = "plural" if re.search("plural|one", row.instruction) else "past"
        odd = words.ODD_PLURALS if form == "plural" else words.ODD_PASTS
        assert row.output == odd.get(row.input, inflected(row.input, form)), row
    for row in kind_rows("spelling"):
        assert row.output.replace("-", "") in row.instruction or row.output[::-1] in row.instruction
    once = Counter(word for pair in words.OPPOSITES for word in pair)
    assert set(once.values()) == {1}
    assert all(len(pair) == 2 for pair in words.OPPOSITES)


def test_the_passive_has_the_same_actor_thing_and_number() -> None:
    for row in kind_rows("passive"):
        to_active = re.search("without|active", row.instruction) is not None
        active, passive = (row.output, row.input) if to_active else (row.input, row.output)
        said = re.fullmatch(r"([A-Z].*?) (\w+) the (.+)\.", active)
        turned = re.fullmatch(r"The (.+) (was|were) (\w+) by (.+)\.", passive)
        assert said, row
        assert turned, row
        assert (said[1].lower(), said[3]) == (turned[4].lower(), turned[1])
        assert (words.PARTICIPLES | words.MUSIC)[said[2]] == turned[3]
        assert (turned[2] == "were") == turned[1].endswith("s")


def test_what_is_sorted_is_in_order() -> None:
    for row in kind_rows("sorting"):
        given, answer = row.input.split(", "), row.output.split(", ")
        numbers = given[0].isdigit()
        assert answer == sorted(given, key=int if numbers else None)
        assert numbers == bool(re.search("number|Smallest", row.instruction))
        assert 3 <= len(set(given)) == len(given) <= 5


def test_the_answer_to_a_story_is_in_it() -> None:
    asked = set()
    for row in kind_rows("story"):
        asked.add(re.sub(r"\b(find|lose|found|brought|meet|did) .*", r"\1", row.instruction))
        assert row.output in row.input, row
        assert 2 <= len(re.findall(r"[.] |[.]$", row.input)) <= 4
    assert len(asked) >= 8


def combination(row: Instruction) -> object:
    """What a row is about, without its phrasing: as one that does not know how it was made would see it."""
    if row.kind == "units":
        of, to = re.findall(r"(\d+) (\w+)", row.instruction)[0], tuple(row.output.split())
        return frozenset([of, to])
    if row.kind == "arithmetic":
        return tuple(re.findall(r"\d+|[-+*/]", row.instruction)) if "What" in row.instruction else None
    if row.kind in ("inflection", "sorting"):
        return row.output
    if row.kind in ("opposites", "spelling"):
        return row.instruction  # what is new is the question: no rule leads from a word to its opposite or its letters
    if row.kind == "passive":
        return frozenset([row.input, row.output])
    found = re.match(r"(.+?) found (an? \w+ \w+) .* gave it to (.+?), and", row.input)
    return found.groups() if found else None


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_held_out_is_never_seen(kind: str) -> None:
    seen = {combination(row) for row in kind_rows(kind, n=1500)} - {None}
    unseen = {combination(row) for row in kind_rows(kind, n=300, held_out=True)} - {None}
    assert unseen
    assert not seen & unseen


def test_what_people_are_shown_is_never_trained_on() -> None:
    shown = (
        ("units", "Convert 45 km to meters.", "45000 meters"),
        ("passive", "The song was composed by the artist.", "The artist composed the song."),
    )
    for kind, question, answer in shown:
        seen, unseen = kind_rows(kind, n=20_000), kind_rows(kind, n=20_000, held_out=True)
        assert not any(question in (row.instruction, row.input) for row in seen)
        assert any(question in (row.instruction, row.input) and row.output == answer for row in unseen)
        known = " ".join(f"{row.instruction} {row.input} {row.output}" for row in seen).lower()
        assert set(re.findall(r"[a-z]+", question.lower())) <= set(re.findall(r"[a-z]+", known))
