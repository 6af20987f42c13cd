"""Printing: results on stdout (one JSON object with ``--json``), everything else on stderr.

Rich is imported by the functions that need it, so that a command that prints plain lines starts faster. Not here: the
live display of a training run (`progress`).
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(result: Any) -> None:
    """Exactly one JSON object on stdout, on one line; numbers JSON cannot say (infinity, NaN) become null."""
    print(json.dumps(plain(result), ensure_ascii=False, allow_nan=False), flush=True)


def plain(value: Any) -> Any:
    """`value` in JSON's own types: dataclasses become objects, paths strings, arrays lists.

    >>> plain({"path": Path("a"), "x": float("inf"), "n": (1, 2)})
    {'path': 'a', 'x': None, 'n': [1, 2]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    to_list: Any = getattr(value, "tolist", None)  # numpy arrays and numbers, torch tensors
    if to_list is not None:
        return plain(to_list())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def note(message: str) -> None:
    """One line of explanation on stderr."""
    print(message, file=sys.stderr, flush=True)


def stdout_console() -> Console:
    """Rich on stdout: colours only in a terminal, no guessing what to highlight."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def show(*renderables: Any) -> None:
    """Print tables and texts on stdout; into files and pipes without the blanks that fill a line."""
    console = stdout_console()
    if console.is_terminal:
        console.print(*renderables, sep="\n")
        return
    with console.capture() as captured:
        console.print(*renderables, sep="\n")
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="", flush=True)


def stderr_console() -> Console:
    """Rich on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table in the house style; the columns named in `right` are aligned to the right."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        number = name in right
        unbroken = number or grid.columns == []  # the first column is a name to be copied
        grid.add_column(name, justify="right" if number else "left", no_wrap=unbroken, overflow="fold")
    return grid


def facts(pairs: list[tuple[str, str]]) -> Table:
    """Name and value, one pair a line."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, value)
    return grid
