"""Calls in other processes: results in order, memory flat, one-line errors that survive the way back.

Fresh processes (`spawn`), because that is safe beside torch's threads and the same on every system; a script that
asks for several therefore needs Python's usual ``if __name__ == "__main__":``. Not here: what is computed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vidro.core.errors import DataError, VidroError

Call = tuple[Callable[..., Any], tuple[Any, ...]]


@contextmanager
def process_pool(processes: int) -> Iterator[Executor]:
    """A pool that ends with the block: quietly when the block succeeds or fails, at once when it is interrupted.

    Its processes leave Ctrl-C to this one and end when this one is gone, however it went.
    """
    others = multiprocessing.active_children()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)
    try:
        yield pool
    except BrokenProcessPool:
        hint = "Perhaps memory ran out (use fewer processes), or a script lacks its if __name__ == '__main__'."
        raise DataError("another process that was helping has ended", hint=hint) from None
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(pool: Executor, calls: Iterable[Call], *, ahead: int) -> Iterator[Any]:
    """Results in the order of the calls, with never more than `ahead` calls under way.

    A user's mistake in another process is raised here as the same error.
    """
    waiting: deque[Future[Any]] = deque()
    for function, arguments in calls:
        waiting.append(pool.submit(_caught, function, arguments))
        if len(waiting) >= ahead:
            yield _result(waiting.popleft())
    while waiting:
        yield _result(waiting.popleft())


@dataclass(frozen=True)
class _Failure:
    """A user's mistake on its way home."""

    kind: type[VidroError]
    what: str
    where: str | None
    hint: str | None


def _caught(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except VidroError as problem:
        return _Failure(type(problem), problem.what, problem.where, problem.hint)


def _result(future: Future[Any]) -> Any:
    value = future.result()
    if isinstance(value, _Failure):
        raise value.kind(value.what, where=value.where, hint=value.hint)
    return value


def _begin() -> None:
    """The first thing in each process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the process that made the pool is gone, then go too: nobody would ever fetch the results."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
