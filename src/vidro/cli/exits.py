"""How a command ends: one line for each thing that can go wrong, and the exit code.

    0    done                            130  stopped by Ctrl-C
    2    the user's mistake (VidroError)  143  stopped by SIGTERM
    1    our fault: anything else; the traceback is put into a file, or printed with --debug

With ``--json`` an error is also the one object on stdout: ``{"error": {"kind", "message", "where", "hint"}}``; the
line on stderr stays the same. A reader that closes the pipe early (``| head``) ends the command quietly, with 0.
Not here: what a training run does with Ctrl-C (`train/stop` hears it, `train/loop` lands first).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vidro.core.errors import VidroError

DONE, OURS, TERMINATED = 0, 1, 143


def guarded(work: Callable[[], int], arguments: list[str]) -> int:
    """Run `work` and return the exit code, whatever happens. `arguments` tell --json and --debug."""
    prepare_streams()
    try:
        with terminable():
            code = work()
            sys.stdout.flush()
            return code
    except KeyboardInterrupt as stop:
        _say("stopped")  # a training run says by which signal (`train/stop`)
        return 128 + getattr(stop, "signum", signal.SIGINT)
    except BrokenPipeError:
        _drop_stdout()
        return DONE
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else OURS
    except VidroError as error:
        return report_mistake(error, arguments)
    except Exception as error:
        return report_fault(error, arguments)


def report_mistake(error: VidroError, arguments: list[str]) -> int:
    """The user's mistake as one line on stderr (and the traceback with --debug)."""
    if "--debug" in arguments:
        traceback.print_exception(error)
    _say(f"error: {error}")
    _answer(arguments, {"kind": type(error).__name__, "message": str(error), "where": error.where, "hint": error.hint})
    return error.exit_code


def report_fault(error: Exception, arguments: list[str]) -> int:
    """Anything else is our fault: say so in one line, and where the traceback lies."""
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    hint = None
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        hint = "There was not enough memory: try a smaller --micro-batch or a smaller model."
        line = f"error: {what}. {hint}"
    elif "--debug" in arguments:
        traceback.print_exception(error)
        line = f"internal error (our fault, not yours): {what}"
    else:
        line = f"internal error (our fault, not yours): {what}. Please report it with {write_traceback(arguments)}"
    _say(line)
    _answer(arguments, {"kind": "internal", "message": what, "where": None, "hint": hint})
    return OURS


def write_traceback(arguments: list[str]) -> str:
    """Put the traceback of the error being handled into a file of its own and return the file's name."""
    import vidro

    text = f"vidro {vidro.__version__}, Python {sys.version}, {sys.platform}\narguments: {arguments}\n\n"
    text += traceback.format_exc()
    try:
        handle, name = tempfile.mkstemp(prefix="vidro-traceback-", suffix=".txt")
        os.close(handle)
        Path(name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return "the traceback that --debug shows."
    return name


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack (temporary files are removed on the way) and end with exit code 143."""

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: the program around us handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def prepare_streams() -> None:
    """UTF-8 wherever the output goes into a file or pipe; what the terminal cannot show is escaped, never lost."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            encoding = None if stream.isatty() else "utf-8"
            reconfigure(encoding=encoding, errors="backslashreplace")


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"vidro: {line}\n")
        sys.stderr.flush()


def _answer(arguments: list[str], error: dict[str, Any]) -> None:
    if "--json" in arguments:
        with contextlib.suppress(OSError, ValueError):
            print(json.dumps({"error": error}, ensure_ascii=False), flush=True)


def _drop_stdout() -> None:
    """Point stdout at nothing, so that Python's own flush at exit does not complain about the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
