from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest

from vidro.core.errors import TokenizerError
from vidro.text.sentencepiece import is_scored, scored_bpe, scores_of
from vidro.text.tokenizer import Tokenizer

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = {"<unk>": 0, "<s>": 1, "</s>": 2}
LETTERS = "▁abcé"
JOINED = ["▁a", "ab", "abc", "▁ab", "▁▁", "▁▁▁", "▁▁▁▁", "aa", "aaa", "bc", "éé", "▁abc", "ca", "bb"]


def vocabulary(joined: list[str] | None = None) -> tuple[list[str], list[float]]:
    joined = JOINED if joined is None else joined
    tokens = [*SPECIAL, *BYTES, *joined, *LETTERS]
    return tokens, [0.0] * 259 + [-float(rank) for rank in range(len(tokens) - 259)]


def made(joined: list[str] | None = None, *, space_first: bool = True) -> Tokenizer:
    spec = scored_bpe(*vocabulary(joined), special=SPECIAL, unk="<unk>", start="<s>", space_first=space_first)
    return Tokenizer(spec, eot="</s>")


def by_the_book(tokens: list[str], scores: list[float], text: str) -> list[int]:
    """The readable twin: join the neighbours whose union has the best score, the leftmost of equals first."""
    id_of = {token: number for number, token in enumerate(tokens)}
    plain = set(tokens[259:])
    pieces: list[str] = []
    for letter in ("▁" + text.replace(" ", "▁")) if text else "":
        pieces += [letter] if letter in plain else [BYTES[byte] for byte in letter.encode()]
    while True:
        unions = [(scores[id_of[a + b]], -n) for n, (a, b) in enumerate(pairwise(pieces)) if a + b in plain]
        if not unions:
            return [id_of[piece] for piece in pieces]
        n = -max(unions)[1]
        pieces[n : n + 2] = [pieces[n] + pieces[n + 1]]


@pytest.mark.parametrize("seed", range(20))
def test_merges_in_the_order_of_scores_are_the_same_as_scores(seed: int) -> None:
    dice = random.Random(seed)
    joined = dice.sample(JOINED, k=dice.randint(3, len(JOINED)))
    tokenizer, (tokens, scores) = made(joined), vocabulary(joined)
    for _ in range(100):
        text = "".join(dice.choices("  aaabbcé\n☃", k=dice.randint(0, 40)))
        assert tokenizer.encode(text) == by_the_book(tokens, scores, text)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_what_begins_a_text_is_no_part_of_it() -> None:
    tokenizer = made()
    assert (tokenizer.start_id, tokenizer.eot_id) == (1, 2)
    assert tokenizer.encode("") == []
    assert tokenizer.encode("<s>")[0] != 1
    assert tokenizer.decode(made(space_first=False).encode("abc")) == "abc"
    assert len(made(space_first=False).encode("abc")) == 1
    assert not tokenizer.lossless  # ▁ itself comes back as a space


RUNS = [size * "▁" for size in (2, 4, 8, 5, 16, 6, 12, 13, 10, 14, 3, 9, 7, 11, 15)]
"""Those of Llama 2, in the order of their ids."""


def test_runs_of_spaces_may_share_the_lowest_score() -> None:
    """As in Llama 2: the same pieces as by scores, where the leftmost of equals comes first."""
    tokens = [*SPECIAL, *BYTES, *RUNS, *LETTERS, "▁a", "aa"]
    scores = [0.0] * 259 + [-1e9] * len(RUNS) + [-9.0] * len(LETTERS) + [-1.0, -2.0]
    tokenizer = Tokenizer(scored_bpe(tokens, scores, special=SPECIAL, unk="<unk>"), eot="</s>")
    for n in range(70):
        for text in (n * " ", f"a{n * ' '}aa b", f"{n * ' '}\n"):
            assert tokenizer.encode(text) == by_the_book(tokens, scores, text)
    other = [*tokens[:259], *sorted(RUNS), *tokens[259 + len(RUNS) :]]
    assert "have the same score" in refusal(other, scores)  # by length: 20 spaces would be 8 and 12, not 16 and 4
    assert "have the same score" in refusal([*tokens, "▁▁a"], [*scores, -3.0])
    assert "have the same score" in refusal([*tokens, "ab"], [*scores, -2e9])


@pytest.mark.parametrize("space_first", [True, False])
def test_scores_come_back_from_merges(space_first: bool) -> None:
    """Other numbers, the same order, so the same merges."""
    spec = json.loads(made(space_first=space_first).to_json())
    tokens, _ = vocabulary()
    found = scores_of(spec)
    assert is_scored(spec)
    assert found.space_first == space_first
    again = scored_bpe(tokens, found.scores, special=SPECIAL, unk="<unk>", start="<s>", space_first=space_first)
    assert Tokenizer(again).fingerprint == Tokenizer(spec).fingerprint
    pairs = [merge.split(" ") for merge in spec["model"]["merges"]]  # as newer files write merges
    assert scores_of({**spec, "model": {**spec["model"], "merges": pairs}}) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"merges": []}, "do not follow from one score"),
        ({"ignore_merges": True}, "does not cut texts"),
        ({"vocab": {"<unk>": 0, "a": 1}}, "lacks some of the 256"),
        ({"unk_token": None}, "does not cut texts"),
    ],
)
def test_what_no_scores_lead_to(change: dict[str, Any], message: str) -> None:
    spec = json.loads(made().to_json())
    with pytest.raises(TokenizerError, match=message):
        scores_of({**spec, "model": {**spec["model"], **change}})


def test_merges_in_another_order_and_texts_that_are_changed() -> None:
    spec = json.loads(made().to_json())
    merges = spec["model"]["merges"]
    late = [*(merge for merge in merges if merge != "a bc"), "a bc"]  # "ab c" stays where it was
    with pytest.raises(TokenizerError, match="do not follow from one score"):
        scores_of({**spec, "model": {**spec["model"], "merges": late}})
    with pytest.raises(TokenizerError, match="changes texts"):
        scores_of({**spec, "normalizer": {"type": "NFC"}})
    named = {**spec["model"]["vocab"], "<": 300, "s>": 301}
    with pytest.raises(TokenizerError, match="'<s>' is two tokens joined"):
        scores_of({**spec, "model": {**spec["model"], "vocab": named}})


def refusal(tokens: list[str], scores: list[float]) -> str:
    with pytest.raises(TokenizerError) as caught:
        scored_bpe(tokens, scores, special=SPECIAL, unk="<unk>")
    return str(caught.value)


def test_what_would_not_be_exact_is_refused() -> None:
    tokens, scores = vocabulary()
    assert "in the vocabulary twice" in refusal([*tokens, "ab"], [*scores, -99.0])
    assert "lacks some of the 256 byte tokens" in refusal([*tokens[:10], *tokens[11:]], scores[1:])
    assert "have the same score" in refusal(tokens, [0.0] * len(tokens))
    assert "is part of the token" in refusal([*tokens, "xa"], [*scores, -99.0])
    assert "of 300 characters" in refusal([*tokens, "a" * 300], [*scores, -99.0])
    assert "have the same score" in refusal(tokens, [*scores[:-9], float("nan"), *scores[-8:]])
