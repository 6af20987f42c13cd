"""``--quantize int8``: what is said, what is kept, the figures side by side, and that nothing else changes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import vidro
from vidro.cli.main import main
from vidro.core.errors import UsageError
from vidro.data.tinyworld import text
from vidro.model.quantized import Int8Linear

LINE = re.compile(
    r"int8: perplexity ([\d.,]+) → ([\d.,]+) \([+-]\d+\.\d %\) on 1,\d{3} tokens of the validation text of book\.txt; "
    r".+ → .+ in memory; [\d,]+ → [\d,]+ tokens/s"
)


@pytest.fixture
def own_cache(run: vidro.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without figures."""
    monkeypatch.setenv("VIDRO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_perplexity_before_and_after_is_said_and_kept(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "last", "One", "--greedy", "--max-tokens", "8", "--device", "cpu", "--quantize", "int8"]
    assert main(words) == 0
    first = capsys.readouterr()
    found = LINE.search(first.err)
    assert found is not None, first.err
    before, after = (float(each.replace(",", "")) for each in found.groups())
    assert abs(after / before - 1) < 0.01
    assert len(list((own_cache / "int8").glob("*.json"))) == 1
    assert main([*words, "--json"]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out)["text"] in first.out
    assert f"int8: perplexity {found[1]} → {found[2]} " in again.err
    assert "measured before" in again.err


def test_the_figure_is_the_one_of_evaluate(
    run: vidro.Run, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vidro.api.quantized import validation_texts

    (tmp_path / "val.txt").write_text("".join(validation_texts(run)[0]), encoding="utf-8")
    words = ["evaluate", "last", "--text", str(tmp_path / "val.txt"), "--quantize", "int8", "--json"]
    assert main(words) == 0
    before, after = json.loads(capsys.readouterr().out)["results"]
    assert (before["run"], after["run"]) == ("last", "last int8")
    assert before["perplexity"] == pytest.approx(run.evaluate(tmp_path / "val.txt").perplexity, rel=1e-6)
    assert 0 < abs(after["perplexity"] / before["perplexity"] - 1) < 0.01
    assert not (own_cache / "int8").exists(), "evaluate measures in full, and needs no sample"


def test_python_opens_it_too(run: vidro.Run, own_cache: Path) -> None:
    said: list[str] = []
    small = vidro.Run(run.path, quantize="int8", cache_dir=own_cache, say=said.append)
    assert isinstance(small.model.head, Int8Linear)
    assert len(said) == 1
    assert LINE.fullmatch(said[0])
    alone = small.generate("One windy morning", seed=7, max_tokens=20)
    assert small.generate_many(["One windy morning", "Once"], seed=7, max_tokens=20)[0].text == alone
    assert len(said) == 1
    loaded = vidro.load(run.path, quantize="int8", cache_dir=own_cache)
    assert (loaded.quantize, loaded.cache_dir) == ("int8", own_cache)


def test_where_the_text_is_gone_the_stories_take_its_place(run: vidro.Run, own_cache: Path, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "moved")
    record = json.loads((tmp_path / "moved" / "vidro.json").read_text())
    record["data"]["source"] = str(tmp_path / "gone.txt")
    (tmp_path / "moved" / "vidro.json").write_text(json.dumps(record))
    said: list[str] = []
    _ = vidro.Run(tmp_path / "moved", quantize="int8", cache_dir=own_cache, say=said.append).model
    assert "on 2,048 tokens of Vidro's stories (its own validation text is not at hand); " in said[0]


@pytest.fixture
def spam(desk: Path) -> dict[str, Any]:
    """A classifier after a few steps, and a table it may be asked."""
    rows = [f"{'ham' if n % 2 else 'spam'}\t{text(n, 60).split(chr(10))[0]}" for n in range(40)]
    (desk / "rows.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n", encoding="utf-8")
    how: dict[str, Any] = {"preset": "toy", "steps": 4, "threads": 1, "vocab_size": 512, "progress": False}
    vidro.pretrain("book.txt", cache_dir=desk / "cache", **how)
    assert main(["finetune", "classify", "last", "--data", "rows.tsv", "--epochs", "1", "--out", "spam"]) == 0
    return {"table": str(desk / "rows.tsv")}


def test_a_classifier_is_compared_by_its_labels(spam: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["predict", "spam", "A story", "--quantize", "int8", "--json"]) == 0
    told = capsys.readouterr()
    assert "vidro evaluate RUN --labels FILE --quantize int8" in told.err
    assert main(["predict", "spam", "A story", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)["probabilities"]
    assert json.loads(told.out)["probabilities"] == pytest.approx(plain, abs=0.02)
    assert main(["evaluate", "spam", "--labels", spam["table"], "--quantize", "int8", "--json"]) == 0
    both = json.loads(capsys.readouterr().out)["results"]
    assert [each["run"] for each in both] == ["spam", "spam int8"]
    assert [each["n"] for each in both] == [40, 40]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("generate last x --quantize int4", "quantize: 'int4' is not possible. Did you mean int8?"),
        ("chat last --quantize int8 --device cuda", "quantize: int8 runs on the CPU only, not on cuda"),
        (
            "evaluate last --text book.txt --quantize int8 --device mps",
            "quantize: int8 runs on the CPU only, not on mps",
        ),
        ("evaluate last --memorisation --quantize int8", "--quantize belongs to --text and --labels"),
    ],
)
def test_what_is_refused(run: vidro.Run, flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags.split()) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(UsageError, match="is not possible"):
        vidro.load(run.path, quantize="q8_0")
