"""Shared by all rooms: shapes are checked, where the optional real data lies, the same property tests every time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from tests.shape_checks import check_packages

check_packages()  # before any of them is imported

# The same examples every time, and no stopwatch: machines that run this are shared.
settings.register_profile("vidro", deadline=None, derandomize=True)
settings.load_profile("vidro")


def find_shared_data() -> Path | None:
    """The folder of real data files beside the checkout, if this machine has it."""
    for parent in Path(__file__).resolve().parents:
        candidate = parent / "shared" / "data"
        if (candidate / "README.md").is_file():
            return candidate
    return None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data files; tests that need them skip where they are absent."""
    found = find_shared_data()
    if found is None:
        pytest.skip("the real data files are not on this machine")
    return found
