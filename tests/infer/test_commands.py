"""Slash commands become actions; mistakes become one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import UsageError
from vidro.infer.commands import HELP, Change, Do, Say, Tell, help_text, parse_line


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("Once upon a time", Say("Once upon a time")),
        (" /not a command", Say(" /not a command")),
        ("", Say("")),
        ("//etc", Say("/etc")),
        ("/reset", Do("reset")),
        ("/RETRY ", Do("retry")),
        ("/undo", Do("undo")),
        ("/help", Do("help")),
        ("/quit", Do("quit")),
        ("/seed 7", Change("seed", 7)),
        ("/seed 1_000", Change("seed", 1000)),
        ("/temperature  0.5", Change("temperature", 0.5)),
        ("/temperature 0", Change("temperature", 0.0)),
        ("/top-k 40", Change("top_k", 40)),
        ("/top-k off", Change("top_k", None)),
        ("/system Be  short. ", Tell("system", "Be  short.")),
        ("/save my talk.json", Tell("save", "my talk.json")),
    ],
)
def test_a_line_becomes_its_action(line, action):
    assert parse_line(line) == action


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/sed 7", "/sed: there is no such command. Did you mean /seed?"),
        (
            "/",
            "/: there is no such command. "
            "Known: /help, /quit, /reset, /retry, /save, /seed, /system, /temperature, /top-k, /undo.",
        ),
        ("/system", "/system: a text is missing. For example /system Answer in one word."),
        ("/save", "/save: a file is missing. For example /save talk.json."),
        ("/seed", "/seed: a whole number is missing. For example /seed 7."),
        ("/seed 1.5", "/seed: '1.5' is not a whole number. For example /seed 7."),
        ("/temperature warm", "/temperature: 'warm' is not a number. For example /temperature 0.8."),
        ("/top-k many", "/top-k: 'many' is not a whole number. For example /top-k 40, or /top-k off."),
        ("/quit now", "/quit now: /quit takes no value"),
    ],
)
def test_a_mistake_becomes_one_line(line, message):
    with pytest.raises(UsageError) as caught:
        parse_line(line)
    assert str(caught.value) == message


@given(st.text())
def test_any_line_is_an_action_or_a_user_error(line):
    try:
        action = parse_line(line)
    except UsageError:
        assert line.startswith("/")
    else:
        assert isinstance(action, Say | Do | Change)


def test_every_command_is_in_the_help_and_understood():
    for command in HELP:
        assert command in help_text()
        parse_line(command.replace(" N", " 3").replace(" X", " 0.3"))
