"""`docs/errors.md` shows and quotes messages that the program prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidro.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def test_the_message_on_the_page_is_what_the_program_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    offset = re.search(r"byte offset ([\d,]+)", PAGE)
    assert shown is not None
    assert offset is not None
    monkeypatch.chdir(tmp_path)
    before = b"A tale of old. " * 200
    Path("book.txt").write_bytes(before[: int(offset[1].replace(",", ""))] + "über".encode("latin-1"))
    assert main(["data", "show", "book.txt"]) == 2
    assert capsys.readouterr().err == shown[1]
    assert main(["data", "show", "book.txt", "--encoding", "latin-1"]) == 0


def test_quoted_messages_are_in_the_source() -> None:
    quoted = re.findall(r'^\*\*"(.+?)"\.\*\*', PAGE, re.MULTILINE)
    assert len(quoted) >= 2
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert [words for words in quoted if words.replace("UTF-8", "{name.upper()}") not in source] == []
