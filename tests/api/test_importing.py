"""Imported models are runs like any other: written, compared with their source, and used by every command after it.

The comparison runs in this process here, where Transformers is loaded once; `test_in_a_process_of_its_own` does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.foreign.hf_models import (
    CHATML_TEMPLATE,
    LLAMA_TEMPLATE,
    REWRITING_TEMPLATE,
    TEXT,
    change_json,
    save_hf,
)

import vidro
from vidro.api import import_check, importing
from vidro.checkpoint.foreign.model import ForeignModel
from vidro.checkpoint.foreign.source import Source
from vidro.checkpoint.huggingface import read_model
from vidro.checkpoint.run import verify_root
from vidro.config.schema import ModelConfig
from vidro.core.errors import CheckpointError, RunError, TokenizerError, UsageError
from vidro.core.files import sha256_file
from vidro.text.train import build_bytes

pytest.importorskip("transformers")

Import = Callable[..., vidro.Run]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory of each family; nobody may change them."""
    root = tmp_path_factory.mktemp("sources")
    for family in ("gpt2", "llama", "qwen3"):
        save_hf(root / family, family)
    (root / "llama" / "chat_template.jinja").write_text(LLAMA_TEMPLATE)
    change_json(root / "qwen3" / "tokenizer_config.json", chat_template=CHATML_TEMPLATE)
    save_hf(root / "spam", "gpt2", labels=3, id2label={0: "ham", 1: "spam", 2: "other"})
    return root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """`vidro.import_model` into tmp_path, comparing in this process."""

    def compare(run: Path, source: Source) -> tuple[Any, Any]:
        return import_check._compared(run, source)

    monkeypatch.setattr(import_check, "compare", compare)
    monkeypatch.chdir(tmp_path)
    return lambda source, **options: vidro.import_model(
        source, cache_dir=tmp_path / "cache", say=lambda line: None, **options
    )


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_a_directory_becomes_a_run(family: str, sources: Path, here: Import) -> None:
    run = here(sources / family)
    record, found = verify_root(run.path), run.record["imported"]
    assert (run.path.name, record["status"], record["step"]) == (f"{family}-1", "imported", 0)
    assert [each["what"].split(",")[0] for each in found["checks"]] == ["every tensor", "logits", "ids"]
    assert float(found["checks"][1]["result"].split()[2]) <= 1e-4
    assert found["files"]["model.safetensors"] == sha256_file(sources / family / "model.safetensors")
    assert record["tokenizer"]["fingerprint"] == run.tokenizer.fingerprint
    assert sorted(path.name for path in run.path.parent.iterdir()) == [f"{family}-1"]
    assert len(run.generate("Once upon", max_tokens=5, seed=1)) > 0
    assert run.evaluate(text_file(run.path.parent.parent)).bits_per_byte > 0


def text_file(folder: Path) -> Path:
    path = folder / "book.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_in_a_process_of_its_own(sources: Path, tmp_path: Path) -> None:
    run = vidro.import_model(sources / "gpt2", out=tmp_path / "mine", say=lambda line: None)
    assert run.path == tmp_path / "mine"
    assert len(run.record["imported"]["checks"]) == 3


def test_a_text_begins_as_the_model_was_trained(sources: Path, here: Import) -> None:
    llama = here(sources / "llama")
    special = llama.tokenizer.special_ids
    assert llama.tokenizer.encode("Hi")[0] not in special.values()
    assert llama.session.encode("Hi")[0] == special["<|begin_of_text|>"]
    assert llama.tokenizer.eot_id == special["<|end_of_text|>"], "texts do not end as answers do"
    settings = json.loads((llama.path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (settings["bos_token"], settings["eos_token"]) == ("<|begin_of_text|>", "<|end_of_text|>")
    again = vidro.load(llama.path)
    assert again.tokenizer.start_id == special["<|begin_of_text|>"] != again.tokenizer.eot_id
    gpt2 = here(sources / "gpt2")
    assert gpt2.tokenizer.start_id == gpt2.tokenizer.eot_id


@pytest.mark.parametrize(
    ("family", "template", "style"),
    [("llama", None, "llama3"), ("qwen3", None, "chatml"), ("qwen3", REWRITING_TEMPLATE, "template")],
)
def test_it_converses_as_its_template_says(
    family: str, template: str | None, style: str, sources: Path, here: Import, tmp_path: Path
) -> None:
    from vidro.text.conversation import Message
    from vidro.text.jinja_style import render_prompt

    source = sources / family
    if template is not None:
        source = save_hf(tmp_path / "other", family)
        (source / "chat_template.jinja").write_text(template)
    run = here(source)
    assert (run.record["kind"], run.record["prompt_style"]) == ("instruct", style)
    ends = json.loads((run.path / "generation_config.json").read_text())["eos_token_id"]
    assert run.style is not None
    assert run.tokenizer.special_ids[run.style.end_token] in (ends if isinstance(ends, list) else [ends])
    assert run.answer("Hello", max_tokens=4, seed=1) is not None
    said = [Message("user", "Hello"), Message("assistant", "Yes"), Message("user", "Why?")]
    own = (run.path / "chat_template.jinja").read_text()
    written = run.tokenizer.decode(run.answerer.prompt_ids(said), skip_special=False)
    assert written == render_prompt(own, said, run.tokenizer)


def test_a_template_that_cannot_be_used_is_said(here: Import, tmp_path: Path) -> None:
    source = save_hf(tmp_path / "odd", "qwen3")
    (source / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    run = here(source)
    assert run.record["kind"] == "base"
    (note,) = [each for each in run.record["imported"]["notes"] if "chat template cannot be used" in each]
    assert "--style" in note
    assert here(source, style="chatml").record["prompt_style"] == "chatml"
    with pytest.raises(TokenizerError, match=r"needs the token <\|begin_of_text\|>"):
        here(source, style="llama3")


def test_a_classifier(sources: Path, here: Import) -> None:
    run = here(sources / "spam")
    assert run.record["kind"] == "classifier"
    assert set(run.predict("cheap watches").probabilities) == {"ham", "spam", "other"}
    with pytest.raises(UsageError, match="does not converse"):
        here(sources / "spam", style="chatml")


def test_how_a_classifier_reads_its_texts() -> None:
    """One of the book is told of the book's way; one of Transformers is not, since it reads the last token."""
    config = ModelConfig(
        family="gpt2", vocab_size=320, context_length=32, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2, d_head=8,
        d_ff=24, labels=("ham", "spam"),
    )  # fmt: skip
    book = ForeignModel("a pickled model of the book", config, {}, build_bytes())
    record, (note,) = importing._reader(book, None)
    assert record == {"reader": {"max_tokens": 32, "pad_to": None, "starts": False}}
    assert note == "a text is read at its last token; the book reads the last place, padding included (--pad-to)"
    padded, (told,) = importing._reader(book, 12)
    assert padded == {"reader": {"max_tokens": 12, "pad_to": 12, "starts": False}}
    assert told.startswith("every text is padded to 12 tokens and read at the last place")
    assert importing._reader(replace(book, form="a Hugging Face directory"), None) == (record, [])
    with pytest.raises(UsageError, match="pad-to: the model sees 32 tokens only"):
        importing._reader(book, 33)


def test_precision_is_kept(here: Import, tmp_path: Path) -> None:
    source = save_hf(tmp_path / "half", "qwen3", dtype=torch.bfloat16)
    run = here(source)
    assert (run.path / "model.safetensors").stat().st_size < 1.1 * (source / "model.safetensors").stat().st_size
    assert json.loads((run.path / "config.json").read_text())["dtype"] == "bfloat16"
    assert read_model(run.path).head.weight.dtype == torch.float32
    assert any("bfloat16" in note for note in run.record["imported"]["notes"])


def test_what_others_do_with_it(sources: Path, here: Import, tmp_path: Path) -> None:
    run, book = here(sources / "qwen3"), text_file(tmp_path)
    rows = [{"instruction": f"Say {number}", "output": f"It is {number}."} for number in range(40)]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    table = "".join(f"{'spam' if number % 2 else 'ham'},message {number} of many\n" for number in range(60))
    (tmp_path / "rows.csv").write_text("label,text\n" + table, encoding="utf-8")
    common: dict[str, Any] = {"threads": 1, "cache_dir": tmp_path / "cache", "progress": False, "steps": 2}
    on = vidro.pretrain(book, from_run=run.path, batch_tokens=64, **common)
    taught = vidro.finetune("instruct", run.path, data=tmp_path / "rows.json", batch_rows=4, test_rows=2, **common)
    sorted_ = vidro.finetune("classify", run.path, data=tmp_path / "rows.csv", batch_rows=4, **common)
    assert taught.record["prompt_style"] == "chatml"
    assert [each.record["parent"] is not None for each in (on, taught, sorted_)] == [True] * 3
    assert on.ancestry()[0].path.name == "qwen3-1"


def test_a_run_that_is_there_is_kept(sources: Path, here: Import, tmp_path: Path) -> None:
    run = here(sources / "gpt2", out="mine")
    before = sha256_file(run.path / "vidro.json")
    with pytest.raises(RunError, match="exists already"):
        here(sources / "qwen3", out="mine")
    with pytest.raises(CheckpointError, match="no such file or directory"):
        here("./nowhere", out="mine", overwrite=True)
    assert sha256_file(run.path / "vidro.json") == before
    assert here(sources / "qwen3", out="mine", overwrite=True).config.family == "qwen3"
    with pytest.raises(UsageError, match="--overwrite replaces the run that --out names"):
        here(sources / "qwen3", overwrite=True)


def test_what_does_not_compare_leaves_nothing(
    sources: Path, here: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = importing._record

    def spoilt(*arguments: Any) -> dict[str, Any]:
        (folder,) = (tmp_path / "runs").glob(".import-*.part")
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-400] ^= 0x40
        (folder / "model.safetensors").write_bytes(data)
        return honest(*arguments)

    monkeypatch.setattr(importing, "_record", spoilt)
    with pytest.raises(CheckpointError, match=r"the tensor blocks\.1\.\S+ is not what it is in the source"):
        here(sources / "gpt2")
    assert list((tmp_path / "runs").iterdir()) == []


def test_options_without_use_are_errors(sources: Path, here: Import) -> None:
    for options, message in (
        ({"from_pickle": True}, "there is nothing pickled here"),
        ({"n_heads": 2}, "with --from-pickle only"),
        ({"base": "x"}, "only an adapter has a base"),
        ({"styl": "chatml"}, "Did you mean style"),
    ):
        with pytest.raises(UsageError, match=message):
            here(sources / "gpt2", **options)


def test_without_transformers_every_tensor_is_compared(
    sources: Path, here: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_check, "find_spec", lambda name: None)
    found = here(sources / "llama").record["imported"]
    assert found["checks"] == [{"what": "every tensor, with the source read anew", "result": "21 of 21 equal"}]
    assert any("Transformers is not installed" in note for note in found["notes"])
