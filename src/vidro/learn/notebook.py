"""A lesson as a Jupyter notebook: its cells in the JSON of nbformat 4.5, without outputs.

The format is a dozen keys, so no library is needed to write it; `tests/learn/test_notebook.py` has nbformat check the
result. The notebook needs nothing but an installed Vidro: figures show themselves. Not here: the cells (`percent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidro.learn.percent import Cell


def notebook(cells: Sequence[Cell]) -> dict[str, Any]:
    """The notebook of these cells, as what its file says in JSON.

    >>> made = notebook([Cell("markdown", "# Sums", 2), Cell("code", "a = 1\\na + 1", 5)])
    >>> made["cells"][1]["source"]
    ['a = 1\\n', 'a + 1']
    """
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [_cell(cell, number) for number, cell in enumerate(cells, start=1)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(cell: Cell, number: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "cell_type": cell.kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": cell.source.splitlines(keepends=True),
    }
    return made if cell.kind == "markdown" else {**made, "execution_count": None, "outputs": []}
