"""Where the command line looks: the one environment variable of Vidro is read here.

``VIDRO_CACHE`` moves the cache (tokenized texts, corpora) from the user's cache folder to another one.
"""

from __future__ import annotations

import os
from pathlib import Path

from vidro.api.places import default_cache_dir


def cache_dir() -> Path:
    """The cache folder."""
    chosen = os.environ.get("VIDRO_CACHE")
    return Path(chosen) if chosen else default_cache_dir()
