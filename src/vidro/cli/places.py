"""Where the command line looks: the environment variables of Vidro are read here, and nowhere else.

``VIDRO_CACHE`` moves the cache (tokenized texts, corpora), which may be deleted at any time, and ``VIDRO_DATA`` moves
what is to stay (which lessons you have done) from the user's own folders to others.
"""

from __future__ import annotations

import os
from pathlib import Path

from vidro.api.places import default_cache_dir


def cache_dir() -> Path:
    """The cache folder."""
    chosen = os.environ.get("VIDRO_CACHE")
    return Path(chosen) if chosen else default_cache_dir()


def data_dir() -> Path:
    """The folder of what stays (``~/.local/share/vidro`` on Linux)."""
    import platformdirs

    chosen = os.environ.get("VIDRO_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("vidro", appauthor=False)
