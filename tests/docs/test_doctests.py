"""The examples in the docstrings of the package are right: every module whose source has any runs them."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


def test_there_are_examples_in_every_room_that_had_some() -> None:
    rooms = {name.split(".")[1] for name in MODULES}
    assert rooms >= {"core", "text", "data", "model", "infer", "evals", "inspect", "train", "api", "cli"}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0, capsys.readouterr().out
    assert tried > 0, "the source has >>> where doctest does not look"
