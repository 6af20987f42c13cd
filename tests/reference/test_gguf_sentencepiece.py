"""SentencePiece's vocabularies in GGUF: llama.cpp cuts every text into the same tokens; Llama 2's and real weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.random_runs import TALE, random_run

import vidro
from vidro.api import export_gguf_sample
from vidro.api.export import export
from vidro.checkpoint.foreign import gguf_file
from vidro.checkpoint.foreign.llama2c import read_tokenizer as read_llama2c
from vidro.checkpoint.gguf.read import open_gguf
from vidro.checkpoint.gguf.tokenizer_in import read_tokenizer
from vidro.checkpoint.huggingface import read_model
from vidro.text.sentencepiece import SPACE, scored_bpe
from vidro.text.tokenizer import Tokenizer

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

SPECIAL = {"<unk>": 0, "<s>": 1, "</s>": 2}
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def pieces(text: str, *, space_first: bool = True, end: str = "</s>", n_joined: int = 300) -> Tokenizer:
    """A vocabulary of the most frequent pieces of a text, the best score for the most frequent."""
    text = text.replace(" ", SPACE)
    found = Counter(text[at : at + size] for size in range(2, 7) for at in range(len(text) - size))
    joined = [piece for piece, _ in found.most_common(n_joined) if "\n" not in piece]
    tokens = [*SPECIAL, *BYTES, *joined, *sorted({*text, SPACE} - {"\n"})]
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(tokens) - 259)]
    spec = scored_bpe(tokens, scores, special=SPECIAL, unk="<unk>", start="<s>", space_first=space_first)
    return Tokenizer(spec, eot=end)


@pytest.fixture(autouse=True)
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_gguf_sample, "N_TEXTS", 1)


def exported(run: vidro.Run, out: Path, **options: str) -> dict[str, str]:
    """What llama.cpp found, by what was compared."""
    report = export(run, out, format="gguf", say=lambda message: None, **options)
    assert all("llama.cpp" in check.what for check in report.checks)
    return {check.what.split(",")[0]: check.result for check in report.checks}


@pytest.mark.parametrize(("space_first", "end"), [(True, "</s>"), (False, "<s>")])
def test_pieces_with_scores(space_first: bool, end: str, tmp_path: Path) -> None:
    """The same ids, also with more embeddings than tokens; and the file's vocabulary is read back as it was."""
    tokenizer = pieces(TALE + " ação óbvia", space_first=space_first, end=end)
    more: dict[str, Any] = {"family": "llama", "n_kv_heads": 2, "vocab_size": tokenizer.vocab_size + 5}
    run = random_run(tmp_path / "run", tokenizer, style="alpaca" if space_first else None, **more)
    found = exported(run, tmp_path / "out")
    assert found.keys() >= {"ids", "log-probabilities", "perplexity"}
    again = gguf_file.read(tmp_path / "out" / "run.gguf").tokenizer
    assert again is not None
    assert again.fingerprint == tokenizer.fingerprint
    assert (again.start_id, again.eot_id) == (tokenizer.start_id, tokenizer.eot_id)


def test_llama_2s_vocabulary(shared_data: Path, tmp_path: Path) -> None:
    """Read from llama.cpp's own file: the ids of its test texts, and the same in a file that we write."""
    folder = shared_data / "tokenizers" / "llama-spm"
    tokenizer = read_tokenizer(open_gguf(folder / "ggml-vocab-llama-spm.gguf").values)
    with (folder / "ggml-vocab-llama-spm.gguf.inp").open(encoding="utf-8", newline="") as stream:
        texts = stream.read().split("\n__ggml_vocab_test__\n")
    lines = (folder / "ggml-vocab-llama-spm.gguf.out").read_text(encoding="utf-8").split("\n")
    for text, line in zip(texts, lines, strict=False):
        assert tokenizer.encode(text) == [int(number) for number in line.split()], text
    sizes: dict[str, Any] = {
        "context_length": 16,
        "d_model": 32,
        "n_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
        "d_ff": 32,
    }
    run = random_run(tmp_path / "run", tokenizer, family="llama", **sizes)
    assert exported(run, tmp_path / "out", quantize="f16")["ids"].startswith("equal")


def test_stories260k_in_llama_cpp(shared_data: Path, tmp_path: Path) -> None:
    """Real weights, from llama2.c's file to a GGUF file, and from there the same run again."""
    folder = shared_data / "weights" / "stories260K"
    if not (folder / "stories260K.bin").is_file():
        pytest.skip("the weights of stories260K are not on this machine")
    run = vidro.import_model(folder / "stories260K.bin", out=tmp_path / "run", say=lambda message: None)
    found = exported(run, tmp_path / "out")
    assert float(found["log-probabilities"].split()[2]) < 1e-3
    again = gguf_file.read(tmp_path / "out" / "run.gguf")
    assert again.tokenizer is not None
    assert again.tokenizer.fingerprint == run.tokenizer.fingerprint == read_llama2c(folder / "tok512.bin").fingerprint
    for name, tensor in read_model(run.opened.model_dir).state_dict().items():
        assert torch.equal(again.state[name], tensor), name
