"""Every family with every vocabulary as every kind of number: a few of them always, all with ``VIDRO_GGUF_ALL=1``.

The full product takes some minutes. What is compared, and how close it has to be, is the export's own business.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.random_runs import TALE, random_run

from vidro.api import export_gguf_sample
from vidro.api.export import export
from vidro.text.foreign import load_gpt2
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, train_bpe

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"family": "gpt2", "tie_embeddings": True},
    "llama tied": {"family": "llama", "tie_embeddings": True},
    "llama untied": {"family": "llama"},
    "llama grouped": {"family": "llama", "n_kv_heads": 2, "rope_theta": 500.0},
    "llama odd heads": {"family": "llama", "n_heads": 9, "n_kv_heads": 3, "d_head": 10, "d_model": 96},
    "qwen3": {"family": "qwen3", "n_kv_heads": 2, "d_head": 32},
}
VOCABULARIES = ("bpe", "bytes", "gpt2")
KINDS = ("f16", "q8_0", "q4_0")
COMPARED = {"f16": {"ids", "log-probabilities", "perplexity"}, "q8_0": {"ids", "perplexity"}}
FEW = [("gpt2", "bytes", "q4_0"), ("llama grouped", "bytes", "q8_0"), ("qwen3", "gpt2", "f16")]
"""Pairs that `test_gguf_reference` has not."""
CASES = [*product(FAMILIES, VOCABULARIES, KINDS)] if os.environ.get("VIDRO_GGUF_ALL") else FEW


@pytest.fixture(scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Callable[[str], Tokenizer]:
    """A vocabulary by its name, made once."""
    made: dict[str, Tokenizer] = {}

    def get(name: str) -> Tokenizer:
        if name not in made and name == "gpt2":
            folder = request.getfixturevalue("shared_data") / "tokenizers" / "gpt2"
            made[name] = load_gpt2(folder / "encoder.json", folder / "vocab.bpe")
        elif name not in made:
            made[name] = build_bytes() if name == "bytes" else train_bpe([TALE], 384)
        return made[name]

    return get


@pytest.mark.parametrize(("family", "vocabulary", "kind"), CASES)
def test_it_is_the_same_in_llama_cpp(
    family: str,
    vocabulary: str,
    kind: str,
    tokenizer: Callable[[str], Tokenizer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_gguf_sample, "N_TEXTS", 1)
    run = random_run(tmp_path / "run", tokenizer(vocabulary), **FAMILIES[family])
    report = export(run, tmp_path / "out", format="gguf", quantize=kind, say=lambda message: None)
    assert all("llama.cpp" in check.what for check in report.checks)
    assert {check.what.split(",")[0] for check in report.checks} == COMPARED.get(kind, {"ids", "perplexity"})
    assert any("stay 16-bit" in note for note in report.notes) == (family == "llama odd heads" and kind != "f16")
