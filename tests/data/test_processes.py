"""Calls in other processes: in order, bounded, with errors that come home and no orphans."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from vidro.core.errors import DataError, TokenizerError
from vidro.data.processes import in_order, process_pool

SCRIPT = """
import os, time
from vidro.data.processes import in_order, process_pool

if __name__ == "__main__":
    with process_pool(2) as pool:
        calls = ((os.getpid, ()) if n < 8 else (time.sleep, (600,)) for n in range(20))
        for number, pid in enumerate(in_order(pool, calls, ahead=4)):
            print(pid, flush=True)
"""


def square(n: int) -> int:
    if n == 13:
        raise TokenizerError("thirteen", where="here", hint="Try twelve.")
    return n * n


def test_results_come_in_order_and_few_are_under_way():
    taken = []

    def calls():
        for n in range(12):
            taken.append(n)
            yield square, (n,)

    with process_pool(2) as pool:
        results = in_order(pool, calls(), ahead=3)
        assert next(results) == 0
        assert len(taken) <= 3
        assert list(results) == [n * n for n in range(1, 12)]
        with pytest.raises(TokenizerError) as caught:
            list(in_order(pool, [(square, (n,)) for n in (12, 13, 14)], ahead=2))
    assert str(caught.value) == "here: thirteen. Try twelve."


def test_a_process_that_dies_is_one_line():
    line = r"another process that was helping has ended\. Perhaps memory ran out"
    with pytest.raises(DataError, match=line), process_pool(1) as pool:
        list(in_order(pool, [(os._exit, (3,))], ahead=1))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_no_process_is_left_when_the_first_is_killed(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, tmp_path / "script.py"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout is not None
    others = {int(first.stdout.readline()) for _ in range(4)}
    assert all(alive(pid) for pid in others)
    first.kill()
    first.wait()
    first.stdout.close()
    for _ in range(200):
        if not any(alive(pid) for pid in others):
            return
        time.sleep(0.05)
    pytest.fail(f"still there: {others}")
