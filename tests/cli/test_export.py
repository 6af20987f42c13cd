"""``vidro export`` as it is typed. What is written and compared: `tests/api`, `tests/reference`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vidro
from vidro.api.export import Check, ExportReport
from vidro.cli.export import show_report
from vidro.cli.main import main


def test_json_is_one_object(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "last", str(tmp_path / "out"), "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["path"] == str(tmp_path / "out")
    assert report["format"] == "hf"
    assert report["files"]["model.safetensors"] == (tmp_path / "out" / "model.safetensors").stat().st_size
    assert [check["what"].split(",")[0] for check in report["checks"]] == ["ids", "log-probabilities"]
    assert err == "Opening it again in another process, to compare.\n"


def test_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = [Check("ids, transformers 5.3", "equal for 34 difficult texts (900 tokens)")]
    show_report(ExportReport(Path("out"), "hf", {"config.json": 1234}, checks, ["A remark."]))
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "config.json  1,234 bytes",
        "",
        "ids, transformers 5.3: equal for 34 difficult texts (900 tokens)",
        "",
        "Written to out.",
        f"How to use it in Python: see {Path('out') / 'README.md'}",
    ]
    assert err == "A remark.\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["last"], "OUT is missing"),
        (["lost", "out"], "there is no run 'lost' here or in runs"),
        (["last", "out", "--format", "onnx"], "format: 'onnx' is not possible. Known: gguf, hf."),
        (["last", "out", "--quantize", "q8_0"], "quantize belongs to the format gguf"),
        (["last", "out", "--format", "gguf", "--push", "ana/tale"], "push belongs to the format hf"),
        (["last", "out", "--push", "tale"], "push: 'tale' is not a place on the hub, user/name"),
        (["last", "out", "--overwite"], "there is no flag --overwite. Did you mean --overwrite?"),
        (["last", "book.txt"], "book.txt: this is a file, not a folder. Choose another place."),
        (["last", "."], ".: there is something else in this folder, which an export never touches"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], expected: str, run: vidro.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name for path in Path().iterdir()}
    assert main(["export", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"vidro: error: {expected}")
    assert err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} == before
