"""The notebook of a lesson is valid, and has the cells that Jupytext would give it."""

from __future__ import annotations

import json
from typing import Any

import jupytext
import nbformat
import pytest

from vidro.learn.notebook import notebook
from vidro.learn.path import LESSONS, find
from vidro.learn.percent import parse


def same(cell: Any) -> tuple[str, str]:
    return cell["cell_type"], cell["source"].strip("\n")


@pytest.mark.parametrize("name", [name for name in LESSONS if find(name).file.is_file()])
def test_a_notebook_is_valid_and_equal_to_jupytexts(name: str) -> None:
    text = find(name).file.read_text(encoding="utf-8")
    ours = nbformat.reads(json.dumps(notebook(parse(text))), as_version=4)
    nbformat.validate(ours)
    assert [same(cell) for cell in ours["cells"]] == [
        same(cell) for cell in jupytext.reads(text, "py:percent")["cells"]
    ]
    assert len({cell["id"] for cell in ours["cells"]}) == len(ours["cells"])
