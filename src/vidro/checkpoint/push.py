"""An exported folder onto the Hugging Face hub, by the hub's own client. The one place that sends anything anywhere.

Not here: writing the folder (`vidro.api.export_hf`), fetching from the hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidro.core.errors import StorageError, UsageError

PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_AGAIN = "The export is whole on this disk; push it again with --overwrite --push."


def check_push(place: str) -> None:
    """Raise UsageError for what is no place on the hub, or where nobody is logged in: before anything is computed."""
    if not PLACE.fullmatch(place) or "--" in place or ".." in place:
        hint = "For example --push ana/book-model."
        raise UsageError(f"{place!r} is not a place on the hub, user/name", where="push", hint=hint)
    from huggingface_hub import get_token

    if get_token() is None:
        hint = "Run: hf auth login (or set HF_TOKEN to a token that may write)."
        raise UsageError("nobody is logged in to the Hugging Face hub here", where="push", hint=hint)


def push(folder: Path, place: str, say: Callable[[str], None]) -> str:
    """Make the repository where there is none, upload every file of `folder` in one commit; the commit's address.

    Raises StorageError in one line: refused, not found, no network.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="vidro")
    say(f"Uploading to {place} on the Hugging Face hub.")
    try:
        api.create_repo(place, repo_type="model", exist_ok=True)
        done = api.upload_folder(
            repo_id=place, repo_type="model", folder_path=folder, commit_message="Exported by Vidro"
        )
    except Exception as problem:
        line = in_our_words(problem, place)
        if line is None:
            raise
        raise line from None
    return str(done)


def in_our_words(problem: BaseException, place: str) -> StorageError | None:
    """What the hub, the network or the client's settings are to blame for; None for our own mistakes.

    The client wraps what happens to a large file into an error of its own, so the causes are looked at too.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, OfflineModeIsEnabled):
            what = "the hub's client is set to stay offline"
            return StorageError(what, where=place, hint="Unset HF_HUB_OFFLINE.")
        if isinstance(cause, HfHubHTTPError):
            return refused(cause, place)
        if is_of_network(cause):
            return StorageError(f"the hub cannot be reached ({first_line(cause)})", where=place, hint=_AGAIN)
        cause = cause.__cause__
    return None


def is_of_network(problem: BaseException) -> bool:
    """Whether the connection is at fault; the client's own library for it changed from version to version."""
    library = type(problem).__module__.partition(".")[0]
    return isinstance(problem, OSError) or library.startswith(("httpx", "httpcore", "requests"))


def refused(problem: Any, place: str) -> StorageError:
    """The hub's answer in our words."""
    status = getattr(problem.response, "status_code", 0)
    reasons = {
        401: ("the hub does not know this token", "Log in again: hf auth login."),
        403: ("this token may not write there", "Use a token with the right to write, or another --push user/name."),
        404: ("the hub has no such user or place, or hides it from this token", "Look at the name of --push."),
    }
    if status in reasons:
        return StorageError(reasons[status][0], where=place, hint=reasons[status][1])
    said = getattr(problem, "server_message", None) or first_line(problem)
    return StorageError(f"the hub refused with {status} ({said})", where=place, hint=_AGAIN)


def first_line(problem: BaseException) -> str:
    """What a library said, as far as one line goes."""
    lines = str(problem).strip().splitlines()
    return lines[0][:160] if lines else type(problem).__name__
