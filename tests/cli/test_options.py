"""Flags are the settings of the schema: same names, same defaults, one spelling, numbers as people write them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vidro
from vidro.api.settings import RunOptions
from vidro.cli.main import COMMANDS, load_app
from vidro.cli.options import FLAG_NAMES, flag_name, flags, read_number
from vidro.config.load import leaves
from vidro.config.schema import PretrainOptions, SamplingOptions, Settings
from vidro.core.errors import UsageError


@dataclass
class Token:
    """What Cyclopts hands to a converter."""

    value: str
    keyword: str | None = "--steps"


def arguments(name: str, tokens: Sequence[str] = ()) -> dict[str, Any]:
    """The flags of a command as the parser knows them: flag → argument."""
    app = load_app(name)
    found: dict[str, Any] = {}
    for argument in app.assemble_argument_collection():
        for flag in argument.names:
            if flag.startswith("--"):
                assert flag not in found, f"{flag} is there twice"
                found[flag] = argument
    return found


@pytest.mark.parametrize(
    ("command", "schemas"),
    [("pretrain", (RunOptions, PretrainOptions)), ("generate", (SamplingOptions,)), ("chat", (SamplingOptions,))],
)
def test_every_setting_is_a_flag_with_its_help(command: str, schemas: tuple[type[Settings], ...]) -> None:
    known = arguments(command)
    for schema in schemas:
        for name, (_, item) in leaves(schema).items():
            argument = known[flag_name(name)]
            assert argument.parameter.help == item.metadata["help"]
            assert argument.field_info.default is None, "a flag that is not said must not override a TOML file"


def test_a_flag_has_one_spelling() -> None:
    for name, argument in arguments("pretrain").items():
        others = {other for other in argument.names if other != name}
        allowed = {"--no-" + name.removeprefix("--"), name.replace("--no-", "--", 1)}
        assert others <= allowed, argument.names


def test_only_unsaid_yes_or_no_settings_have_a_no_flag() -> None:
    found = {flag for flag in arguments("pretrain") if flag.startswith("--no-")}
    assert found == {"--no-tie-embeddings"}


def test_python_has_the_same_names_and_defaults() -> None:
    shown = inspect.signature(vidro.pretrain).parameters
    for schema in (RunOptions, PretrainOptions):
        for name, (_, item) in leaves(schema).items():
            assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY
            assert shown[name].default == item.default
    settings = {flag_name(name) for schema in (RunOptions, PretrainOptions) for name in leaves(schema)}
    only_here = set(arguments("pretrain")) - settings
    assert only_here == {"--dry-run", "--json", "--debug", "--no-tie-embeddings"}
    assert set(shown) - {name for schema in (RunOptions, PretrainOptions) for name in leaves(schema)} == {
        "source", "progress", "runs_dir", "cache_dir",
    }  # fmt: skip


@pytest.mark.parametrize("method", [vidro.Run.generate, vidro.Run.stream])
def test_sampling_keywords_are_the_flags_of_generate(method: Any) -> None:
    shown = inspect.signature(method).parameters
    defaults = {name: item.default for name, (_, item) in leaves(SamplingOptions).items()}
    assert {name: p.default for name, p in shown.items() if name not in ("self", "prompt")} == defaults


def test_names_of_the_two_schemas_do_not_collide() -> None:
    assert not set(leaves(RunOptions)) & set(leaves(PretrainOptions))
    assert set(FLAG_NAMES) <= set(leaves(RunOptions))


TALKS = ("chat", "learn notebook", "learn stub")  # their answer is a talk or a file, not facts


def test_every_command_has_debug_and_json_where_it_answers() -> None:
    for name in COMMANDS:
        app = load_app(name)
        subcommands = [each for each in app if not each.startswith("-")]
        for sub in subcommands or [""]:
            each = app[sub] if sub else app
            known = {flag for argument in each.assemble_argument_collection() for flag in argument.names}
            assert "--debug" in known
            assert "--json" in known or f"{name} {sub}".strip() in TALKS


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_whole_numbers_are_read_exactly(number: int) -> None:
    for text in (str(number), f"{number:_}"):
        assert read_number(int | None, [Token(text)]) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_exactly(number: float) -> None:
    assert read_number(float | None, [Token(repr(number))]) == number


def test_numbers_as_people_write_them() -> None:
    assert read_number(int, [Token("1e6")]) == 1_000_000
    assert read_number(int, [Token("2.0")]) == 2
    assert read_number(float, [Token("10_000.5")]) == 10_000.5


@pytest.mark.parametrize("text", ["1.5", "ten", "", "1e400", "nan", "1__0", "0x10", "1,000"])
def test_a_whole_number_is_never_guessed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_number(int, [Token(text)])
    assert str(caught.value) == f"--steps: {text!r} is not a whole number. For example 10_000 or 1e4."


@given(st.text(max_size=12))
def test_no_text_breaks_the_number_reader(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(read_number(int, [Token(text)]), int)


def test_only_the_first_flags_and_the_choices_are_shown_as_set() -> None:
    by_name = {parameter.name: parameter for parameter in flags(PretrainOptions)}
    shows = {name: parameter.annotation.__metadata__[0].show_default for name, parameter in by_name.items()}
    assert shows["minutes"] is False
    assert shows["compile"] is False
    assert shows["seed"](None) == "1337"
    assert shows["checkpoint_every"](None) == "60"
