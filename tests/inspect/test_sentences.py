from __future__ import annotations

import pytest

from vidro.inspect.sentences import MOST_TOKENS, choose_sentences, make_sentence, sentence_start
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars

STORY = " ".join(f"On day {n} the fox took {n * 7} hens. {n} nights were calm!" for n in range(100, 170))


@pytest.fixture(scope="module")
def in_bytes() -> Tokenizer:
    return build_bytes()


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("and so on. The next one begins with a capital letter, of course.", "The next one"),
        ('he said "yes!" Then there was silence in the room for a long time.', "Then there was"),
        ("the end of it\n\nA new paragraph stands here, without any full stop", "A new paragraph"),
        ("完了。次の文はここから始まる" + "あ" * 40, "次の文"),
        ("half a word and then only words words words words words words words", "a word and then"),
        ("x" * 100, "x" * 100),
        ("  too short. Yes.", "too short"),
    ],
)
def test_a_sentence_begins_where_one_begins(text: str, begins: str) -> None:
    assert text[sentence_start(text, 0) :].startswith(begins)


def test_three_sentences_spread_over_the_text(in_bytes: Tokenizer) -> None:
    chosen = choose_sentences([STORY], in_bytes, context_length=256)
    places = [STORY.index(sentence.text) / len(STORY) for sentence in chosen]
    assert places == pytest.approx([1 / 6, 3 / 6, 5 / 6], abs=0.03)
    for sentence in chosen:
        assert len(sentence.ids) == len(sentence.tokens) == MOST_TOKENS
        assert sentence.ids[0] == in_bytes.eot_id
        assert sentence.tokens[0] == "<|endoftext|>"
        assert in_bytes.decode(list(sentence.ids[1:])) == sentence.text
        assert sentence.text[:3] == "On " or sentence.text[3:10] == " nights"


def test_the_same_text_gives_the_same_sentences(in_bytes: Tokenizer) -> None:
    one, two = (choose_sentences([STORY], in_bytes, context_length=64) for _ in range(2))
    assert one == two


def test_many_documents_and_tiny_ones(in_bytes: Tokenizer) -> None:
    names = [f"name{n}\n" for n in range(90)]
    assert [s.text for s in choose_sentences(names, in_bytes, context_length=64)] == ["name16", "name45", "name75"]


def test_equal_sentences_are_taken_once_and_no_text_gives_none(in_bytes: Tokenizer) -> None:
    assert len(choose_sentences(["once"], in_bytes, context_length=64)) == 1
    assert choose_sentences([], in_bytes, context_length=64) == []
    assert choose_sentences(["", ""], in_bytes, context_length=64) == []
    assert choose_sentences([" \n "], in_bytes, context_length=64) == []


def test_a_short_context_cuts_shorter(in_bytes: Tokenizer) -> None:
    sentence = make_sentence(STORY, in_bytes, context_length=8)
    assert sentence is not None
    assert sentence.text == STORY[:7]


def test_no_sentence_ends_inside_a_character(in_bytes: Tokenizer) -> None:
    sentence = make_sentence("é" * 40, in_bytes, context_length=256)
    assert sentence is not None
    assert sentence.text == "é" * 15  # 31 bytes would be 15 and a half
    assert len(sentence.ids) == 31


def test_a_tokenizer_that_loses_text_still_gives_sentences() -> None:
    letters = build_chars(["abc "], unk=True)
    sentence = make_sentence("abc xyz", letters, context_length=64)
    assert sentence is not None
    assert len(sentence.ids) == 8
