"""The first help page, finding a command, and what importing costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import vidro
from vidro.cli.main import COMMANDS, help_page, load_app, main

SOURCE = Path(vidro.__file__).parents[1]


def imported(code: str) -> set[str]:
    """The modules that are loaded after `code` ran in a fresh interpreter."""
    program = f"import sys; sys.argv = ['vidro']; sys.path.insert(0, {str(SOURCE)!r})\n{code}\n"
    program += "print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_import_vidro_loads_nothing_heavy() -> None:
    loaded = imported("import vidro")
    assert {name for name in loaded if name.startswith("vidro")} == {"vidro", "vidro.core", "vidro.core.version"}
    assert not {"torch", "numpy", "cyclopts", "rich", "matplotlib"} & loaded


def test_help_loads_neither_torch_nor_a_command() -> None:
    loaded = imported("from vidro.cli.main import main; main(['--help'])")
    assert not {"torch", "numpy", "cyclopts", "rich"} & loaded
    assert not {f"vidro.cli.{entry.module or name}" for name, entry in COMMANDS.items()} & loaded


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_that_command_and_no_torch(name: str) -> None:
    loaded = imported(f"from vidro.cli.main import main; main([{name!r}, '--help'])")
    assert "torch" not in loaded
    others = {f"vidro.cli.{entry.module or other}" for other, entry in COMMANDS.items() if other != name}
    assert not others & loaded


@pytest.mark.parametrize("width", [40, 80, 120])
def test_help_page_names_every_command_within_the_width(width: int) -> None:
    lines = help_page(width, colour=False).splitlines()
    for name, entry in COMMANDS.items():
        assert any(line.startswith(f"  {name} ") for line in lines), name
        assert entry.help.endswith(".")
    if width >= 80:
        assert max(map(len, lines)) <= min(width, 100)


def test_colours_only_change_the_looks() -> None:
    import re

    plain = re.sub("\x1b\\[[0-9;]*m", "", help_page(80, colour=True))
    assert plain == help_page(80, colour=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_has_an_app(name: str) -> None:
    assert load_app(name).name == (f"vidro {name}",)


def test_every_command_module_is_in_the_table() -> None:
    folder = Path(importlib.import_module("vidro.cli").__path__[0])
    with_app = {path.stem for path in folder.glob("*.py") if "\napp = make_app(" in path.read_text(encoding="utf-8")}
    assert with_app == {entry.module or name for name, entry in COMMANDS.items()}


def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "vidro quickstart" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vidro {vidro.__version__}\n"


def test_public_names_are_found_and_others_are_not() -> None:
    for name in vidro.__all__:
        assert getattr(vidro, name) is not None
    assert set(dir(vidro)) == set(vidro.__all__)
    with pytest.raises(AttributeError, match="no attribute 'pretran'"):
        _ = vidro.pretran  # pyright: ignore
