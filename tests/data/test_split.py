"""The split: what is kept back, the same for ever, and never a copy on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.data.documents import Document
from vidro.data.split import SplitSurvey, document_hash, hash_rule, split_documents, split_notes


def test_one_text_is_cut_at_nine_tenths_of_its_characters():
    text = "á" * 95 + "b" * 10
    split = split_documents([Document(text, "x")])
    assert (split.train, split.val, split.notes) == ([text[:94]], [text[94:]], [])


@given(st.text(min_size=2))
def test_both_sides_of_a_cut_put_together_are_the_text(text):
    split = split_documents([text])
    assert split.train[0] + split.val[0] == text
    assert split.train[0]
    assert split.val[0]


def test_tiny_shakespeare_is_split_where_everybody_splits_it(shared_data):
    text = (shared_data / "text" / "tinyshakespeare.txt").read_text()
    split = split_documents([text])
    assert (len(split.train[0]), len(split.val[0])) == (1_003_854, 111_540)


def test_documents_go_by_their_own_hash():
    texts = [f"document {n}" for n in range(3000)]
    split = split_documents(texts)
    assert 250 < len(split.val) < 350
    assert sorted(split.train + split.val) == sorted(texts)
    others = split_documents([f"other {n}" for n in range(500)] + texts[::-1])
    assert set(split.val) <= set(others.val)
    assert set(split.train) <= set(others.train)


def test_the_hash_is_the_same_for_ever():
    assert document_hash("Olá") == 0x5251C3C68010BCA3


@given(st.lists(st.text(min_size=1), min_size=2, max_size=12))
def test_both_sides_have_something_and_copies_stay_together(texts):
    if len(set(texts)) == 1:
        with pytest.raises(DataError, match=f"all {len(texts)} documents are the same text"):
            split_documents(texts)
        return
    split = split_documents(texts)
    assert split.train
    assert split.val
    assert not set(split.train) & set(split.val)
    assert sorted(split.train + split.val) == sorted(texts)


def test_validation_texts_of_their_own():
    split = split_documents(["a", "b"], val_documents=[Document("c", "x")])
    assert (split.train, split.val) == (["a", "b"], ["c"])


def test_what_cannot_be_divided():
    with pytest.raises(DataError, match=r"one character cannot be divided .* Give a text for validation: --val FILE"):
        split_documents(["x"])
    with pytest.raises(DataError, match="there is no text to divide"):
        split_documents([])


def test_an_unusual_share_is_said():
    split = split_documents(["a" * 1000, "b" * 10])
    assert split.notes[0].startswith("Validation is ")
    assert "only 2 of unequal size; --val FILE chooses it by hand." in split.notes[0]
    assert split_notes(hash_rule(), 100, 900, 100) == []


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_the_survey_knows_how_much_is_set_apart(texts):
    survey = SplitSurvey()
    for text in texts:
        survey.add(text)
    if len(texts) == 1 and len(texts[0]) < 2:
        return
    rule = survey.rule()
    val = [piece for text in texts for side, piece in rule.divide(text) if side == "val"]
    assert survey.val_bytes(rule) in (None, sum(len(piece.encode()) for piece in val))
    assert survey.n_bytes == sum(len(text.encode()) for text in texts)
