from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidro.data.tinyworld import text

HARNESS = Path(__file__).with_name("kill_harness.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")
@pytest.mark.timeout(400)
def test_fifty_kills_change_no_bit(tmp_path: Path) -> None:
    source = tmp_path / "stories.txt"
    source.write_text(text(seed=1, n_bytes=20_000), encoding="utf-8")
    command = [sys.executable, str(HARNESS), str(source), str(tmp_path), "50", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= 50
    assert report["finished"] >= 2
    assert report["different"] == []
