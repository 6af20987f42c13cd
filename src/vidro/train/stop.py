"""Ctrl-C and SIGTERM: the first lands the run, the second stops at once.

Not here: what landing means (`loop`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Stopped(KeyboardInterrupt):
    """The second signal: leave now. `signum` tells the exit code (128 + signum)."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum


class StopSignal:
    """A context manager that counts SIGINT and SIGTERM; outside the main thread it only carries `request`."""

    def __init__(self, on_first: Callable[[], None] | None = None) -> None:
        self.signum: int | None = None
        self._on_first = on_first
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether the run should land."""
        return self.signum is not None

    def request(self, signum: int = signal.SIGINT) -> None:
        """Ask once to land; ask again to stop at once (raises Stopped)."""
        if self.signum is not None:
            raise Stopped(signum)
        self.signum = signum
        if self._on_first is not None:
            self._on_first()

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.request(signum)
