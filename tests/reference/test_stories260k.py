"""Real weights: llama2.c's stories260K, read from its own file, against what its author published and Transformers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import vidro
from vidro.checkpoint.foreign import llama2c
from vidro.checkpoint.foreign.model import ForeignModel
from vidro.checkpoint.huggingface import model_of, write_model
from vidro.config.schema import SamplingOptions
from vidro.evals.perplexity import score_text
from vidro.infer.session import Session
from vidro.model.loss import IGNORE, lm_loss
from vidro.model.transformer import Transformer

EXAMPLES = {
    "Once upon a time": [403, 407, 261, 378],
    "Hello, world! Olá ☃": [346, 306, 414, 432, 263, 304, 341, 443, 319, 421, 198, 164, 410, 229, 155, 134],
}


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    found = shared_data / "weights" / "stories260K"
    if not (found / "stories260K.bin").is_file():
        pytest.skip("the weights of stories260K are not on this machine")
    return found


@pytest.fixture(scope="module")
def found(folder: Path) -> ForeignModel:
    return llama2c.read(folder / "stories260K.bin", folder / "tok512.bin")


@pytest.fixture(scope="module")
def model(found: ForeignModel) -> Transformer:
    return model_of(found.config, found.state).eval()


def tokenizer_of(found: ForeignModel) -> Any:
    assert found.tokenizer is not None
    return found.tokenizer


def test_the_ids_are_those_of_llama2c(found: ForeignModel) -> None:
    tokenizer = tokenizer_of(found)
    for text, ids in EXAMPLES.items():
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == text
    assert tokenizer.start_id == tokenizer.eot_id == 1


def test_the_greedy_text_is_the_published_one(found: ForeignModel, model: Transformer, folder: Path) -> None:
    """From <s>, token by token; the file of the sample ends with a line end that is not the model's."""
    expected = (folder / "greedy-sample.txt").read_text(encoding="utf-8").removesuffix("\n")
    session, text = Session(model, tokenizer_of(found)), ""
    for piece in session.stream("", SamplingOptions(greedy=True, max_tokens=256)):
        text += piece.text
        if not expected.startswith(text) or text == expected:
            break
    assert text == expected


def test_a_prompt_is_continued_at_its_own_end(found: ForeignModel, model: Transformer) -> None:
    (text,) = Session(model, tokenizer_of(found)).generate(["Once upon"], SamplingOptions(greedy=True, max_tokens=4))
    assert text.text == " a time, there"


def stories(shared_data: Path, start: int, end: int) -> list[str]:
    file = shared_data / "text" / "tinystories-train-head-2mib.txt.gz"
    text = gzip.decompress(file.read_bytes()).decode("utf-8", errors="ignore")
    return [story.strip() for story in text.split("<|endoftext|>")[start:end]]


@pytest.mark.parametrize(("start", "n_tokens", "nats"), [(1000, 13_110, 1.2114), (2000, 15_758, 1.5850)])
def test_the_losses_are_the_measured_ones(
    start: int, n_tokens: int, nats: float, found: ForeignModel, model: Transformer, shared_data: Path
) -> None:
    inputs, targets = torch.zeros(40, 511, dtype=torch.long), torch.full((40, 511), IGNORE)
    for row, story in enumerate(stories(shared_data, start, start + 40)):
        ids = torch.tensor([1, *tokenizer_of(found).encode(story)][:512])
        inputs[row, : len(ids) - 1], targets[row, : len(ids) - 1] = ids[:-1], ids[1:]
    with torch.no_grad():
        sum_nats, counted = lm_loss(model, inputs, targets)
    assert int(counted) == n_tokens
    assert float(sum_nats) / n_tokens == pytest.approx(nats, abs=5e-5)


def test_evaluation_follows_the_common_protocol(found: ForeignModel, model: Transformer, shared_data: Path) -> None:
    (story,) = stories(shared_data, 1000, 1001)
    score = score_text(model, tokenizer_of(found), [story])
    assert score.n_bytes == len(story.encode())
    assert 0.5 < score.nats_per_token < 2.5


def test_logits_equal_those_of_transformers(found: ForeignModel, model: Transformer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    write_model(tmp_path, model, found.tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(512, (2, 256), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine, yours = model(ids), theirs(ids).logits
    assert (mine - yours).abs().max() <= 1e-4 * yours.abs().max()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text, expected in EXAMPLES.items():
        assert tokenizer(text)["input_ids"] == [1, *expected]


def test_they_become_a_classifier_and_answer(folder: Path, shared_data: Path, tmp_path: Path) -> None:
    """By the same commands as a model made here, with a small budget; docs/import.md has what a larger one gives."""
    run = vidro.import_model(folder / "stories260K.bin", out=tmp_path / "stories", say=lambda message: None)
    lines = (shared_data / "classification" / "SMSSpamCollection.tsv").read_text(encoding="utf-8").split("\n")
    (tmp_path / "messages.tsv").write_text("label\ttext\n" + "\n".join(lines[:500]), encoding="utf-8")
    small: dict[str, Any] = {"progress": False, "seed": 1, "evals": 2, "threads": 1}
    spam = vidro.finetune(
        "classify", run, data=str(tmp_path / "messages.tsv"), steps=20, out=str(tmp_path / "spam"), **small
    )
    results = spam.record["results"]
    assert results["test"]["accuracy"] > results["majority"]["accuracy"]
    assert "class probabilities" in " ".join(check.what for check in spam.export(tmp_path / "spam-hf").checks)
    rows = [{"instruction": f"Say {word}.", "output": word} for word in ("cat", "dog", "sun", "Lily", "box", "red")] * 6
    (tmp_path / "asked.json").write_text(json.dumps(rows), encoding="utf-8")
    taught = vidro.finetune(
        "instruct", run, data=str(tmp_path / "asked.json"), steps=3, out=str(tmp_path / "taught"), **small
    )
    assert taught.style is not None
    assert (taught.style.name, taught.style.end_token) == ("alpaca", "<s>")
    checks = {check.what.split(",")[0]: check.result for check in taught.export(tmp_path / "taught-hf").checks}
    assert {"ids", "log-probabilities", "chat template"} <= checks.keys()
