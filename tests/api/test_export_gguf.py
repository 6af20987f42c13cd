"""A run as a folder for llama.cpp and Ollama: what lies there, what is refused, and that nothing wrong is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.random_runs import random_run

import vidro
from vidro.api import export_gguf_sample
from vidro.api.export_gguf import plain_name, what_to_compare, write
from vidro.checkpoint.gguf.verify import Answer, Differs, compare_tensors
from vidro.core.errors import ExportError, ModelError, TokenizerError, UsageError
from vidro.core.files import read_json
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_words

pytest.importorskip("gguf")


@pytest.fixture(autouse=True)
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_gguf_sample, "N_TEXTS", 1)


def make_run(folder: Path, *, tokenizer: Tokenizer | None = None, **changes: Any) -> vidro.Run:
    small = {"context_length": 64, "d_model": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "d_ff": 32, "step": 7}
    return random_run(folder, build_bytes() if tokenizer is None else tokenizer, **{**small, **changes})


def test_an_export_and_another_over_it(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    run, out = make_run(tmp_path / "My run", style="chatml"), tmp_path / "out"
    said: list[str] = []
    run.say = said.append
    report = run.export(out, format="gguf", quantize="f16")
    assert sorted(report.files) == ["Modelfile", "My-run.gguf", "vidro-export.json"]
    assert {name: (out / name).stat().st_size for name in report.files} == report.files
    assert [check.what.split(", llama.cpp")[0] for check in report.checks] == [
        "ids", "chat template", "log-probabilities", "perplexity",
    ]  # fmt: skip
    assert said == ["Opening it again in another process, to compare."]
    assert "FROM ./My-run.gguf\n" in (out / "Modelfile").read_text()
    assert 'PARAMETER stop "<|im_end|>"\nPARAMETER num_ctx 64\n' in (out / "Modelfile").read_text()
    mark = read_json(out / "vidro-export.json", error=ExportError)
    assert (mark["format"], mark["quantize"], mark["step"]) == ("gguf", "f16", 7)
    with pytest.raises(UsageError, match=r"there is an earlier export here\. Replace it with --overwrite"):
        run.export(out, format="gguf")
    larger = run.export(out, format="gguf", overwrite=True)
    assert larger.files["My-run.gguf"] > report.files["My-run.gguf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["My run", "out"]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"labels": ("ham", "spam")}, ModelError, "cannot express a classifier"),
        ({"tokenizer": build_words(["a b c"])}, TokenizerError, "cannot express words"),
    ],
    ids=["classifier", "words"],
)
def test_what_cannot_be_expressed_leaves_nothing(
    changes: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", **changes)
    with pytest.raises(kind, match=message):
        run.export(tmp_path / "out", format="gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_difference_leaves_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is written from other weights than the run's: each half of the rotary pairs in the other's place."""
    pytest.importorskip("xllamacpp")
    run, out = make_run(tmp_path / "run", family="llama"), tmp_path / "out"
    run.export(out, format="gguf")
    before = (out / "run.gguf").read_bytes()
    monkeypatch.setattr("vidro.checkpoint.names.in_pairs", lambda rows, d_head: rows)
    with pytest.raises(ExportError, match="does not agree: the log-probabilities differ by"):
        run.export(out, format="gguf", overwrite=True)
    assert (out / "run.gguf").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0"])
def test_without_llama_cpp_tensors_are_compared(kind: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    write(run, tmp_path / "a.gguf", kind)
    sample, _ = what_to_compare(run, kind)
    ((what, result),) = compare_tensors(tmp_path / "a.gguf", sample, Answer())
    assert what == "tensors"
    assert result.startswith("14 read back")
    data = bytearray((tmp_path / "a.gguf").read_bytes())
    data[-40] ^= 0x7F
    data[-39] ^= 0x7F
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(Differs, match="differs by"):
        list(compare_tensors(tmp_path / "a.gguf", sample, Answer()))


def test_what_was_not_checked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer([("tensors", "14 read back")], None, "gguf 0")
    monkeypatch.setattr("vidro.checkpoint.gguf.verify.reopen", lambda file, sample: answer)
    report = make_run(tmp_path / "run").export(tmp_path / "out", format="gguf")
    assert report.notes[-1].startswith(
        "Not checked: ids, chat template and numbers in llama.cpp, which is not installed"
    )


def test_names() -> None:
    assert [plain_name(name) for name in ("a.txt-1", "São João", "…")] == ["a.txt-1", "S-o-Jo-o", "model"]
