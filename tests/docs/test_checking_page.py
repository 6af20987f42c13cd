"""`docs/checking.md`: its example is found out as shown, and its table is the catalogue."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidro.cli.main import main
from vidro.learn.checker import FAULTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")


def without_numbers(text: str) -> str:
    """Numbers and line ends differ between machines and terminals; words do not."""
    return " ".join(re.sub(r"\d+(\.\d+)?(e-\d+)?", "N", text).split())


def test_the_example_is_found_out_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"^```python\n(import torch.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shown = re.search(r"^```\n(GPT: built.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert code is not None
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Path("my_gpt.py").write_text(code[1], encoding="utf-8")
    assert main(["check", "my_gpt.py:GPT"]) == 2
    assert without_numbers(capsys.readouterr().out) == without_numbers(shown[1])
    mended = code[1].replace("scores.masked_fill(", "scores.masked_fill_(")
    Path("my_gpt.py").write_text(mended, encoding="utf-8")
    assert main(["check", "my_gpt.py:GPT"]) == 0


def test_the_table_is_the_catalogue() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    assert rows == [(name, fault.title, fault.todo) for name, fault in FAULTS.items()]
