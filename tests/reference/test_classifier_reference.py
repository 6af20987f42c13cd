"""A classifier run is a sequence classifier of Transformers, alone and in a padded batch; and theirs is one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import vidro
from vidro.checkpoint.huggingface import read_model, write_model
from vidro.checkpoint.run import write_record
from vidro.config.schema import FAMILIES, ModelConfig
from vidro.data.tinyworld import text
from vidro.infer.classifier import ClassifierSession, Reader
from vidro.model.init import initialise
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import train_bpe

transformers = pytest.importorskip("transformers")

LABELS = ("ham", "maybe", "spam")
TEXTS = [
    "The fox ran over the hill and was not seen again.",
    "Rain.",
    "“Olá!”, said the hen; naïve, 日本, 🦊🏽…\t",
    "Once upon a time there lived a miller in a village by the sea, and his goat.",
]
CLOSE = {"rtol": 0.0, "atol": 1e-4}


def tokenizer_of_stories() -> Tokenizer:
    return train_bpe([text(seed=4, n_bytes=20_000)], 384)


def random_model(family: str, vocab_size: int) -> Transformer:
    """A classifier with opinions: every weight is random, also those that begin at zero or one."""
    config = ModelConfig(
        family=family, vocab_size=vocab_size, context_length=64, d_model=32, n_layers=2, n_heads=2,
        n_kv_heads=2 if family == "gpt2" else 1, d_head=16, d_ff=48, labels=LABELS,
    )  # fmt: skip
    model = Transformer(config)
    initialise(model, seed=3, scheme="pytorch")
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> vidro.Run:
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = tokenizer_of_stories()
    write_model(folder, random_model(request.param, tokenizer.vocab_size), tokenizer)
    record = {"kind": "classifier", "step": 0, "tokenizer": {"fingerprint": tokenizer.fingerprint}}
    write_record(folder, {**record, "reader": {"max_tokens": 64, "pad_to": None}})
    return vidro.Run(folder, device="cpu")


@pytest.fixture(scope="module")
def theirs(run: vidro.Run) -> Any:
    """The same directory opened by Transformers; every weight in it must be used, and none may be missing."""
    model, report = transformers.AutoModelForSequenceClassification.from_pretrained(run.path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.fixture(scope="module")
def their_tokenizer(run: vidro.Run) -> Any:
    return transformers.AutoTokenizer.from_pretrained(run.path)


def our_logits(run: vidro.Run, texts: list[str]) -> torch.Tensor:
    return run.classifier.logits(run.classifier.reader.rows(texts))


def test_the_same_logits_text_by_text(run: vidro.Run, theirs: Any, their_tokenizer: Any) -> None:
    with torch.no_grad():
        others = torch.cat([theirs(**their_tokenizer(each, return_tensors="pt")).logits for each in TEXTS])
    assert others.shape == (4, 3)
    assert others.std(dim=0).min() > 0.05, "logits that hardly differ would prove nothing"
    torch.testing.assert_close(our_logits(run, TEXTS), others, **CLOSE)


def test_the_same_logits_in_a_padded_batch(run: vidro.Run, theirs: Any, their_tokenizer: Any) -> None:
    batch = their_tokenizer(TEXTS, padding=True, return_tensors="pt")
    lengths = batch["attention_mask"].sum(1).tolist()
    assert len(set(lengths)) == 4
    assert batch["input_ids"][1, -1] == run.tokenizer.pad_id  # behind the text
    with torch.no_grad():
        others = theirs(**batch).logits
    torch.testing.assert_close(our_logits(run, TEXTS), others, **CLOSE)


def test_the_classes_have_their_names(run: vidro.Run, theirs: Any, their_tokenizer: Any) -> None:
    assert theirs.config.id2label == dict(enumerate(LABELS))
    assert theirs.config.label2id == {label: number for number, label in enumerate(LABELS)}
    assert theirs.config.num_labels == 3
    classify = transformers.pipeline("text-classification", model=theirs, tokenizer=their_tokenizer, device="cpu")
    found = [run.predict(each) for each in TEXTS]
    assert len({one.label for one in found}) > 1
    for one, other in zip(found, classify(TEXTS), strict=True):
        assert one.label == other["label"]
        assert one.probabilities[one.label] == pytest.approx(other["score"], abs=1e-4)


def test_and_back_as_transformers_saves_it(run: vidro.Run, theirs: Any, their_tokenizer: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    again = read_model(tmp_path)
    assert again.config == run.config
    session = ClassifierSession(again.eval(), Reader(run.tokenizer, 64))
    torch.testing.assert_close(session.logits(session.reader.rows(TEXTS)), our_logits(run, TEXTS), rtol=0, atol=1e-6)


def test_one_that_transformers_made_opens_here(run: vidro.Run, tmp_path: Path) -> None:
    """Made from their own class with their own names for classes, in half the precision's stead none of ours."""
    config = transformers.AutoConfig.from_pretrained(run.path)
    config.id2label = {0: "cold", 1: "warm"}
    config.label2id = {"cold": 0, "warm": 1}
    torch.manual_seed(1)
    made = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    made.save_pretrained(tmp_path)
    ours = read_model(tmp_path).eval()
    assert ours.config.labels == ("cold", "warm")
    session = ClassifierSession(ours, Reader(run.tokenizer, 64))
    rows = session.reader.rows(TEXTS)
    with torch.no_grad():
        others = torch.cat([made(torch.tensor([row.ids])).logits for row in rows])
    torch.testing.assert_close(session.logits(rows), others, **CLOSE)
