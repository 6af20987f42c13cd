"""Stop strings never appear, nothing else is lost, and the longest possible beginning is held back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import UsageError
from vidro.infer.stops import StopStrings

LETTERS = st.text(alphabet="ab\n", max_size=30)


def cut(text: str, stops: list[str]) -> tuple[str, bool]:
    """The obvious twin: letter by letter until the text ends with a stop string."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@given(st.lists(LETTERS, max_size=12), st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3))
def test_any_cutting_gives_what_the_whole_text_gives(pieces, stops):
    watch = StopStrings(stops)
    shown = "".join(watch.push(piece) for piece in pieces) + watch.flush()
    assert (shown, watch.hit is not None) == cut("".join(pieces), stops)
    assert not any(stop in shown for stop in stops)


def test_a_stop_over_three_pieces_is_never_shown():
    watch = StopStrings(["END"])
    assert [watch.push(p) for p in ("so E", "N", "D and on")] == ["so ", "", ""]
    assert watch.hit == "END"
    assert watch.push("more") == "" == watch.flush()


def test_a_false_alarm_is_let_through():
    watch = StopStrings(["END"])
    assert watch.push("so EN") == "so "
    assert watch.push("ough") == "ENough"
    assert watch.push(" E") == " "
    assert watch.flush() == "E"


def test_the_longest_beginning_of_any_stop_is_held():
    watch = StopStrings(["aab", "b!"])
    assert watch.push("xaa") == "x"
    assert watch.push("a") == "a"
    assert watch.push("b") == ""
    assert watch.hit == "aab"


def test_an_empty_stop_is_refused():
    with pytest.raises(UsageError, match="stop: an empty text would stop at once"):
        StopStrings(["ok", ""])
