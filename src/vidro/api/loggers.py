"""TensorBoard and W&B beside a run (``--log``): opened when the run's folder is known, closed when it ends.

Not here: what they are told (`core/loggers`).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from vidro.core.errors import UsageError, did_you_mean
from vidro.core.loggers import LOGGERS, open_logger


def check_loggers(names: tuple[str, ...]) -> None:
    """Raise UsageError for a logger nobody knows or that is not installed, before anything is begun."""
    for name in names:
        if name not in LOGGERS:
            raise UsageError(f"there is no logger {name!r}", where="log", hint=did_you_mean(name, LOGGERS))
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"{name} is not installed", where="log", hint=f"pip install 'vidro[{name}]'")


class Loggers:
    """A sink that opens the named loggers at the first event of the loop and hands every event on.

    `path` is the run's folder where it is known beforehand; a new run's name comes with its first event.
    """

    def __init__(self, names: tuple[str, ...], *, path: Path | None, runs_dir: Path) -> None:
        self._names, self._path, self._runs_dir = names, path, runs_dir
        self._open: list[Any] | None = None

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, *problem: object) -> None:
        for logger in self._open or ():
            logger.close()

    def __call__(self, event: dict[str, Any]) -> None:
        if self._open is None and event["event"] in ("start", "resumed"):
            path = self._path if self._path is not None else self._runs_dir / event["run"]
            self._open = [open_logger(name, path) for name in self._names]
        for logger in self._open or ():
            logger(event)
