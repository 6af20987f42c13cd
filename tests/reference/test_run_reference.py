"""A run directory, as `pretrain` leaves it, is a model directory of Transformers: same ids, logits and continuation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

import vidro
from vidro.checkpoint.run import RunRef, load_model, open_run
from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.data.tinyworld import text
from vidro.train.pretrain import Surroundings, pretrain

transformers = pytest.importorskip("transformers")

FLAGS: dict[str, Any] = {
    "steps": 60, "vocab_size": 384, "context_length": 48, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_head": 16,
    "batch_tokens": 768, "evals": 2, "checkpoint_steps": 30, "threads": 1, "sample_tokens": 2, "keep": 3,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"family": "gpt2", "tie_embeddings": True, "dropout": 0.1},
    "llama": {"family": "llama", "n_kv_heads": 1},
    "qwen3": {"family": "qwen3", "d_head": 24, "tie_embeddings": True},
}
PLAIN = [
    "Once upon a time the fox said: “Olá!”\n\n  It took 12 hens; naïve, 日本, 🦊🏽…\t",
    "",
    " ",
    "\r\n a<b> don't I'LL 3.14159",
    "e\u0301 and \u00e9 are not the same",
]
WITH_NAMES = ["<|endoftext|>", "a <|endoftext|> b<|pad|>", "<|unk|>\n<|user|>"]
CLOSE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module", params=FAMILIES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> vidro.Run:
    """A tiny run that was really trained, one of each family."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "stories.txt"
    source.write_text(text(seed=4, n_bytes=20_000), encoding="utf-8")
    around = Surroundings(cache_dir=folder / "cache", started_s=time.monotonic(), plots=False)
    options = resolve(PretrainOptions, flags={**FLAGS, **FAMILIES[request.param]})
    return vidro.Run(pretrain(str(source), options, around=around, out=folder / "run").path, device="cpu")


@pytest.fixture(scope="module")
def theirs(run: vidro.Run) -> Any:
    """The same directory opened by Transformers; every weight in it must be used, and none may be missing."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(run.path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.fixture(scope="module")
def their_tokenizer(run: vidro.Run) -> Any:
    return transformers.AutoTokenizer.from_pretrained(run.path)


def test_it_is_the_family_asked_for(run: vidro.Run, theirs: Any) -> None:
    assert theirs.config.model_type == run.config.family == run.settings.model.family
    assert theirs.config.architectures
    assert sum(parameter.numel() for parameter in theirs.parameters()) == run.record["model"]["n_parameters"]


def test_the_same_logits(run: vidro.Run, theirs: Any) -> None:
    ids = torch.tensor([run.tokenizer.encode(text(seed=8, n_bytes=600))[: run.config.context_length]])
    with torch.no_grad():
        ours, others = run.model(ids), theirs(ids).logits
    assert ids.shape == (1, 48)
    assert others.std() > 0.1, "logits that hardly differ would prove nothing"
    torch.testing.assert_close(ours, others, **CLOSE)


@pytest.mark.parametrize("sentence", PLAIN)
def test_the_same_ids(run: vidro.Run, their_tokenizer: Any, sentence: str) -> None:
    ids = run.tokenizer.encode(sentence)
    assert their_tokenizer(sentence)["input_ids"] == ids
    assert their_tokenizer.decode(ids) == run.tokenizer.decode(ids) == sentence


@pytest.mark.parametrize("sentence", WITH_NAMES)
def test_names_of_special_tokens_in_a_text_are_text(run: vidro.Run, their_tokenizer: Any, sentence: str) -> None:
    ids = run.tokenizer.encode(sentence)
    assert their_tokenizer(sentence, split_special_tokens=True)["input_ids"] == ids
    assert not set(ids) & set(run.tokenizer.special_ids.values())


def test_the_same_special_tokens(run: vidro.Run, theirs: Any, their_tokenizer: Any) -> None:
    assert len(their_tokenizer) == run.tokenizer.vocab_size == theirs.config.vocab_size
    assert their_tokenizer.eos_token_id == run.tokenizer.eot_id == theirs.generation_config.eos_token_id
    assert their_tokenizer.pad_token_id == run.tokenizer.pad_id != run.tokenizer.eot_id
    for name, number in run.tokenizer.special_ids.items():
        assert their_tokenizer.convert_tokens_to_ids(name) == number


@pytest.mark.parametrize("prompt", ["The fox", "Once upon a time", ""])
def test_the_same_greedy_continuation(run: vidro.Run, theirs: Any, their_tokenizer: Any, prompt: str) -> None:
    """Vidro puts the end mark of "the text before" in front of a prompt; given the same ids, Transformers agrees."""
    ids = torch.tensor([[their_tokenizer.eos_token_id, *their_tokenizer(prompt)["input_ids"]]])
    n_new = run.config.context_length - ids.shape[1]
    ours = run.generate(prompt, greedy=True, repetition_penalty=1.3, max_tokens=n_new)
    whole = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=n_new, do_sample=False, repetition_penalty=1.3
    )
    assert their_tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True) == ours
    assert len(set(ours)) > 5, "a continuation of one letter would prove little"


@pytest.mark.parametrize("step", [30, 60])
def test_a_checkpoint_opens_as_a_model_too(run: vidro.Run, step: int) -> None:
    folder = run.path / "checkpoints" / f"step-{step}"
    model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.arange(40)[None] + 7
    ours = load_model(open_run(RunRef(Path(run.path), str(step))))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), model.eval()(ids).logits, **CLOSE)
