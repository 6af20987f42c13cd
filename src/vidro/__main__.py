"""``python -m vidro`` is the command ``vidro``."""

from __future__ import annotations

import sys

from vidro.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
