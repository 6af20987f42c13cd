"""What is exported to GGUF opens in llama.cpp and is the same there: ids, chat template, numbers, perplexity.

Each case is opened in a process of its own, as an export does it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoint.foreign.hf_models import save_tokenizer
from tests.random_runs import OWN_TEMPLATE, TALE, random_run

from vidro.api import export_gguf_sample
from vidro.api.export import ExportReport, export
from vidro.api.export_gguf import what_to_compare, write
from vidro.checkpoint.foreign.directory import read_tokenizer
from vidro.checkpoint.gguf.verify import reopen
from vidro.config.schema import RopeScaling
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, train_bpe

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2 tied": {"family": "gpt2", "tie_embeddings": True},
    "gpt2 untied": {"family": "gpt2"},
    "llama tied": {"family": "llama", "tie_embeddings": True},
    "llama grouped, other theta": {"family": "llama", "n_kv_heads": 2, "rope_theta": 500.0},
    "llama odd heads": {"family": "llama", "n_heads": 9, "n_kv_heads": 3, "d_head": 10, "d_model": 96},
    "llama stretched": {"family": "llama", "rope_scaling": RopeScaling(factor=4.0, original_context_length=16)},
    "qwen3 grouped, heads of their own width": {"family": "qwen3", "n_kv_heads": 2, "d_head": 32},
    "qwen3 tied": {"family": "qwen3", "tie_embeddings": True},
}


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """One of each kind; Llama 3's is a home-made BPE with the special tokens of Llama 3, read as an import reads it."""
    letters = "".join(map(chr, range(32, 127))) + "\n"
    save_tokenizer(folder := tmp_path_factory.mktemp("llama3"), "llama")
    llama3, _ = read_tokenizer(folder)
    bpe = train_bpe([TALE], 384)
    return {"bpe": bpe, "bytes": build_bytes(), "chars": build_chars([letters]), "llama3": llama3}


def quiet(message: str) -> None:
    assert message == "Opening it again in another process, to compare."


def results(report: ExportReport) -> dict[str, str]:
    assert all("llama.cpp" in check.what for check in report.checks)
    return {check.what.split(",")[0]: check.result for check in report.checks}


@pytest.fixture(autouse=True)
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of 64 tokens beside the long row: enough to tell a wrong model from a right one."""
    monkeypatch.setattr(export_gguf_sample, "N_TEXTS", 1)


@pytest.mark.parametrize(("family", "kind"), [*zip(FAMILIES, [None, "f16", "q8_0"] * 3, strict=False)])
def test_every_family(family: str, kind: str | None, vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", vocabularies["bpe"], **FAMILIES[family])
    found = results(export(run, tmp_path / "out", format="gguf", quantize=kind, say=quiet))
    assert found.keys() == {"ids", "perplexity"} | ({"log-probabilities"} if kind != "q8_0" else set())
    before, after = (float(number) for number in re.findall(r"([\d.]+) (?:before|after)", found["perplexity"]))
    assert before > 20, "a text that repeats itself would prove nothing"
    assert abs(after / before - 1) < 0.01


def test_four_bits_are_told_and_not_judged(vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", vocabularies["bpe"], **FAMILIES["llama odd heads"])
    report = export(run, tmp_path / "out", format="gguf", quantize="q4_0", say=quiet)
    assert results(report)["perplexity"].endswith("; not judged")
    why = "2 of 16 matrices stay 16-bit, since their rows cannot be cut into blocks of 32"
    assert report.notes == [f"{why} (blk.0.attn_output.weight has rows of 90)."]


@pytest.mark.parametrize("kind", ["bytes", "chars"])
def test_every_vocabulary(kind: str, vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", vocabularies[kind], family="gpt2" if kind == "chars" else "llama")
    report = export(run, tmp_path / "out", format="gguf", say=quiet)
    assert results(report).keys() == {"ids", "log-probabilities", "perplexity"}
    assert any("leaves out characters" in note for note in report.notes) == (kind == "chars")


@pytest.mark.parametrize(
    ("style", "kind"),
    [("chatml", "bytes"), ("llama3", "llama3"), ("alpaca", "bpe"), ("phi3", "bpe"), ("own", "bpe")],
)
def test_every_style(style: str, kind: str, vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    """phi3 spells <|user|>, a token of home-made vocabularies; llama.cpp would read one, so it is none."""
    tokenizer = vocabularies[kind]
    if style == "own":
        (tmp_path / "own.jinja").write_text(OWN_TEMPLATE, encoding="utf-8")
        style = f"jinja:{tmp_path / 'own.jinja'}"
    run = random_run(tmp_path / "run", tokenizer, style=style, family="qwen3", context_length=200)
    report = export(run, tmp_path / "out", format="gguf", say=quiet)
    assert results(report)["chat template"] == "3 conversations written the same"
    assert any("are no tokens" in note for note in report.notes) == (style == "phi3")
    told = (tmp_path / "out" / "Modelfile").read_text(encoding="utf-8")
    assert "<|begin_of_text|>" not in told, "llama.cpp and Ollama put it first themselves"
    assert ("TEMPLATE" in told) == (style != f"jinja:{tmp_path / 'own.jinja'}")


def test_gpt2s_own_vocabulary(shared_data: Path, tmp_path: Path) -> None:
    """With more embeddings than tokens, as nanoGPT has them."""
    from vidro.text.foreign import load_gpt2

    folder = shared_data / "tokenizers" / "gpt2"
    gpt2 = load_gpt2(folder / "encoder.json", folder / "vocab.bpe")
    changes = {"family": "gpt2", "context_length": 16, "vocab_size": 50_304, "tie_embeddings": True}
    run = random_run(tmp_path / "run", gpt2, style="alpaca", **changes)
    report = export(run, tmp_path / "out", format="gguf", quantize="f16", say=quiet)
    assert results(report).keys() == {"ids", "chat template", "log-probabilities", "perplexity"}


def test_llama_cpp_finds_what_is_wrong(vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    """The comparison must be able to fail: other weights, other ids, another template."""
    run = random_run(tmp_path / "run", vocabularies["bpe"], style="chatml", family="llama")
    write(run, tmp_path / "right.gguf", "f32")
    sample, _ = what_to_compare(run, "f32")
    theta = replace(sample, questions=[replace(asked, nats=asked.nats - 0.03) for asked in sample.questions])
    assert "log-probabilities differ by" in str(reopen(tmp_path / "right.gguf", theta).problem)
    ids = replace(sample, texts=[(text, [*ids, 1]) for text, ids in sample.texts])
    assert "the ids of" in str(reopen(tmp_path / "right.gguf", ids).problem)
    talk = replace(
        sample, conversations=[(said, ask, f"{written}.", None) for said, ask, written, _ in sample.conversations]
    )
    assert "the chat template writes" in str(reopen(tmp_path / "right.gguf", talk).problem)
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "right.gguf").read_bytes()[:-1000])
    assert reopen(tmp_path / "cut.gguf", sample).problem is not None
