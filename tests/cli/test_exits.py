"""Each way to end: its exit code, and one line on stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vidro
from vidro.cli.exits import guarded
from vidro.core.errors import DataError, StorageError, UsageError
from vidro.train.stop import Stopped

SOURCE = Path(vidro.__file__).parents[1]


def raising(problem: BaseException) -> object:
    def work() -> int:
        raise problem

    return work


def ends(problem: BaseException, *arguments: str) -> int:
    return guarded(raising(problem), list(arguments))  # pyright: ignore[reportArgumentType]


def test_done() -> None:
    assert guarded(lambda: 0, []) == 0


@pytest.mark.parametrize("kind", [UsageError, DataError, StorageError])
def test_a_mistake_is_one_line_and_2(kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(kind("the file is empty", where="book.txt", hint="Choose another."), "pretrain") == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "vidro: error: book.txt: the file is empty. Choose another.\n")


def test_a_mistake_with_json_is_also_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(DataError("the file is empty", where="book.txt"), "pretrain", "--json") == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "error": {"kind": "DataError", "message": "book.txt: the file is empty", "where": "book.txt", "hint": None}
    }
    assert err.count("\n") == 1


def test_a_mistake_with_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(UsageError("no"), "--debug") == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("vidro: error: no\n")


def test_our_fault_is_one_line_with_the_place_of_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert ends(ZeroDivisionError("division by zero"), "generate", "last") == 1
    (report,) = tmp_path.iterdir()
    out, err = capsys.readouterr()
    assert out == ""
    line = f"internal error (our fault, not yours): ZeroDivisionError: division by zero. Please report it with {report}"
    assert err == f"vidro: {line}\n"
    text = report.read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "['generate', 'last']" in text
    assert vidro.__version__ in text


def test_our_fault_with_debug_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(KeyError("x"), "--debug", "--json") == 1
    out, err = capsys.readouterr()
    assert "Traceback" in err
    assert json.loads(out)["error"]["kind"] == "internal"


def test_no_memory_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(MemoryError("no room")) == 1
    assert "try a smaller --micro-batch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Stopped(signal.SIGINT), 130),
        (Stopped(signal.SIGTERM), 143),
        (SystemExit(143), 143),
        (SystemExit("text"), 1),
    ],
)
def test_stopped(problem: BaseException, code: int) -> None:
    assert ends(problem) == code


def child(code: str, **options: object) -> subprocess.Popen[str]:
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\nfrom vidro.cli.exits import guarded\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_a_closed_pipe_is_quiet() -> None:
    lines = "def work():\n    for i in range(100000): print('a line of text', i)\n    return 0\n"
    process = child(f"{lines}sys.exit(guarded(work, []))")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_sigterm_unwinds_and_gives_143() -> None:
    work = (
        "import time\ndef work():\n    try:\n        print('ready', flush=True)\n        time.sleep(60)\n"
        "    finally:\n        print('cleaned', flush=True)\n"
    )
    process = child(f"{work}sys.exit(guarded(work, []))")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.stdout.read() == "cleaned\n"
    assert process.wait() == 143


def test_what_a_pipe_cannot_say_is_written_in_utf_8() -> None:
    process = child(
        "sys.exit(guarded(lambda: print('ção → 🙂') or 0, []))",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        encoding="utf-8",
    )
    assert process.communicate()[0] == "ção → 🙂\n"
