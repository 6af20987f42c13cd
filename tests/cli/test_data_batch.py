"""``vidro data show FILE --as instruct``: which tokens are read, learned and padding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidro.cli.main import main

ROWS = [
    {"instruction": "Say hello.", "output": "Hello!"},
    {"instruction": "Name a colour that is not red.", "output": "Blue is one."},
]


@pytest.fixture
def shown(trained: Path, tmp_path: Path) -> list[str]:
    """The command on two rows, for a base run that has no style."""
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(ROWS), encoding="utf-8")
    return ["data", "show", str(file), "--as", "instruct", "--run", str(trained / "runs" / "book-1"), "--style", "phi3"]


def test_a_batch_is_told_token_by_token(shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shown) == 0
    out, err = capsys.readouterr()
    assert "<|user|>\nSay hello.\n<|assistant|>:\n«Hello!<|endoftext|>»" in out
    assert "padding" in out
    assert "Style phi3; 2 of 2 rows fit" in err


def test_counts_are_those_of_the_loss(shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shown, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    learned = sum(target != -100 for row in found["targets"] for target in row)
    assert main(shown) == 0
    assert f"The loss is divided by {learned}:" in capsys.readouterr().out
    assert len({len(row) for row in found["ids"] + found["targets"]}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: [word for word in words if word != "--as" and word != "instruct"], "belong to --as instruct"),
        (lambda words: words[:5], "--as instruct wants --run RUN"),
        (lambda words: [*words[:-1], "poem"], "there is no prompt style 'poem'"),
    ],
)
def test_mistakes(shown: list[str], change: object, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(change)
    assert main(change(shown)) == 2
    assert message in capsys.readouterr().err
