"""Where things lie when nobody says: runs in ``runs/`` here, tokenized texts and corpora in the user's cache."""

from __future__ import annotations

from pathlib import Path

RUNS_DIR = Path("runs")


def default_cache_dir() -> Path:
    """The user's cache folder for Vidro, as the operating system names it (``~/.cache/vidro`` on Linux)."""
    import platformdirs

    return platformdirs.user_cache_path("vidro", appauthor=False)
