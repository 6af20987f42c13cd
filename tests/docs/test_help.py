"""Every help page: it appears, fits the terminal, names each flag with a sentence, and its examples are real."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from vidro.cli.apps import HELP_WIDTH
from vidro.cli.main import COMMANDS, load_app, main
from vidro.core.errors import UsageError

Page = tuple[str, ...]


def pages() -> list[Page]:
    """The words that lead to each help page: ("runs",), ("runs", "list") …"""
    found: list[Page] = []
    for name in COMMANDS:
        app = load_app(name)
        found += [(name,), *((name, sub) for sub in app if not sub.startswith("-"))]
    return found


def app_of(page: Page) -> Any:
    app = load_app(page[0])
    return app if len(page) == 1 else app[page[1]]


def shown(page: Page, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main([*page, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.parametrize("page", pages(), ids=" ".join)
@pytest.mark.parametrize("width", [80, 120])
def test_a_page_fits_and_names_every_flag(
    page: Page, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(page, width, monkeypatch, capsys)
    assert max(map(len, out.splitlines())) <= min(width, HELP_WIDTH)
    assert out.startswith(f"Usage: vidro {' '.join(page)}")
    app = app_of(page)
    for argument in () if app.default_command is None else app.assemble_argument_collection():
        flags = [name for name in argument.names if name.startswith("--")]
        assert all(re.search(rf"{flag}\b", out) for flag in flags), argument.names
        if flags:
            assert argument.parameter.help.endswith((".", ".)")), argument.parameter.help
            assert argument.parameter.help[0].isupper() or flags[0] in LOWER_CASE, argument.parameter.help


LOWER_CASE = (  # these sentences begin with a value to type
    "--tokenizer", "--optimizer", "--schedule", "--decay", "--device", "--precision", "--kind",
    "--balance", "--format", "--quantize",
)  # fmt: skip


@pytest.mark.parametrize("page", pages(), ids=" ".join)
def test_a_page_speaks_to_beginners(
    page: Page, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(page, 100, monkeypatch, capsys)
    for word in ("None", "INT", "FLOAT", "BOOL", "STR", "Parameters", "kwargs", "self"):
        assert not re.search(rf"\b{word}\b", out), word


def examples() -> list[str]:
    """The example lines of all help pages."""
    found = []
    for name in COMMANDS:
        help = load_app(name).help
        found += re.findall(r"^  (vidro .*?)(?:   .*)?$", help, flags=re.MULTILINE)
    return found


@pytest.mark.parametrize("example", examples())
def test_an_example_is_understood(example: str) -> None:
    """Parsed by the real command line, without running it."""
    _, name, *words = shlex.split(example)
    app = load_app(name)
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert command is not None
    assert bound.arguments or name in ("quickstart", "info") or words == ["list"]


def test_every_command_has_an_example() -> None:
    assert {shlex.split(example)[1] for example in examples()} == set(COMMANDS)


def test_an_example_with_a_mistake_would_be_found() -> None:
    with pytest.raises(UsageError):
        from vidro.cli.apps import run_app

        run_app(load_app("pretrain"), ["book.txt", "--minuts", "3"])
