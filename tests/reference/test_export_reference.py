"""What is exported opens in Transformers, 4.57 as well as 5, and is the same there: ids, templates, numbers, pieces.

Continuous integration runs this file twice, the second time with Transformers 4.57. Families and vocabularies are
compared in this process, by the very function that an export runs in another one.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.foreign.hf_models import save_tokenizer
from tests.random_runs import OWN_TEMPLATE, TALE, random_run

import vidro
from vidro.api.export import ExportOptions
from vidro.api.export_hf import export, what_to_compare, write
from vidro.checkpoint.foreign.directory import read_tokenizer
from vidro.checkpoint.run import write_record
from vidro.checkpoint.verify_hf import Answer, Differs, agreed, compare_with_transformers, reopen
from vidro.config.schema import RopeScaling
from vidro.core.errors import ExportError, ModelError
from vidro.core.files import read_json, write_json_atomic
from vidro.text.tokenizer import Tokenizer
from vidro.text.train import build_bytes, build_chars, build_words, train_bpe

transformers = pytest.importorskip("transformers")

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2 tied": {"family": "gpt2", "tie_embeddings": True, "dropout": 0.1},
    "gpt2 untied": {"family": "gpt2"},
    "llama tied": {"family": "llama", "tie_embeddings": True},
    "llama untied, other theta": {"family": "llama", "rope_theta": 500.0},
    "llama grouped": {"family": "llama", "n_kv_heads": 2},
    "llama odd heads": {"family": "llama", "n_heads": 9, "n_kv_heads": 3, "d_head": 10, "d_model": 54},
    "llama stretched": {"family": "llama", "rope_scaling": RopeScaling(factor=4.0, original_context_length=16)},
    "qwen3, odd width": {"family": "qwen3", "d_head": 20, "d_model": 50},
    "qwen3 grouped, tied": {"family": "qwen3", "n_kv_heads": 1, "tie_embeddings": True},
}
LABELS = ("ham", "maybe", "spam")


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """One of each kind. Llama 3's begins every text with a token of its own.

    GPT-2's is made of a home-made BPE's pieces: one special token, no token for padding.
    """
    extra = "What is the fox?\nHi Hello, you. Who are you? Good day. Be short."
    bpe = train_bpe([TALE], 384)
    spec = json.loads(bpe.to_json())
    spec["added_tokens"] = spec["added_tokens"][:1]
    spec["model"]["vocab"] = {name: n for name, n in spec["model"]["vocab"].items() if n <= bpe.eot_id}
    save_tokenizer(folder := tmp_path_factory.mktemp("llama3"), "llama")
    return {
        "llama3": read_tokenizer(folder)[0],
        "bpe": bpe,
        "bytes": build_bytes(),
        "chars": build_chars([TALE, extra]),
        "words": build_words([TALE, extra]),
        "one special token": Tokenizer.from_json(json.dumps(spec)),
    }


def compared(run: vidro.Run, folder: Path, **how: Any) -> tuple[dict[str, str], list[str]]:
    """Written and compared in this process: what was compared, and remarks."""
    folder.mkdir()
    model, notes = write(run, folder, how.get("piece_bytes", 10**9))
    sample, more = what_to_compare(run, model)
    return dict(compare_with_transformers(folder, sample, Answer())), notes + more


@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES)
def test_every_family(changes: dict[str, Any], vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    found, notes = compared(random_run(tmp_path / "run", vocabularies["bpe"], **changes), tmp_path / "out")
    assert found.keys() == {"ids", "log-probabilities"}
    assert notes == []


@pytest.mark.parametrize("kind", ["bpe", "bytes", "chars", "words", "one special token", "llama3"])
def test_every_vocabulary(kind: str, vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    found, notes = compared(random_run(tmp_path / "run", vocabularies[kind], family="gpt2"), tmp_path / "out")
    assert found.keys() == {"ids", "log-probabilities"}
    assert any("difficult texts" in note for note in notes) == (kind in ("chars", "words"))
    config, generation = (
        read_json(tmp_path / "out" / f"{name}.json", error=ExportError) for name in ("config", "generation_config")
    )
    assert config["eos_token_id"] == generation["eos_token_id"] == vocabularies[kind].eot_id
    assert config["pad_token_id"] == vocabularies[kind].pad_id != config["eos_token_id"]


def test_gpt2s_own_vocabulary(shared_data: Path, tmp_path: Path) -> None:
    from vidro.text.foreign import load_gpt2

    folder = shared_data / "tokenizers" / "gpt2"
    gpt2 = load_gpt2(folder / "encoder.json", folder / "vocab.bpe")
    run = random_run(tmp_path / "run", gpt2, family="gpt2", context_length=16, tie_embeddings=True)
    assert compared(run, tmp_path / "out")[0].keys() == {"ids", "log-probabilities"}


@pytest.mark.parametrize("style", ["chatml", "alpaca", "phi3", "phi3-chat", "llama3", "jinja"])
def test_every_style(style: str, vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    """phi3 spells <|user|>, which is a token of home-made vocabularies; others would read it as one, so it is none."""
    tokenizer = vocabularies["llama3" if style == "llama3" else "bpe"]
    if style == "jinja":
        (tmp_path / "own.jinja").write_text(OWN_TEMPLATE, encoding="utf-8")
        style = f"jinja:{tmp_path / 'own.jinja'}"
    run = random_run(tmp_path / "run", tokenizer, style=style, family="llama")
    found, notes = compared(run, tmp_path / "out")
    assert found.keys() == {"ids", "chat template", "log-probabilities"}
    assert found["chat template"] == "4 conversations written the same"
    assert any("are no tokens" in note for note in notes) == (style == "phi3")
    assert run.style is not None
    ends = read_json(tmp_path / "out" / "generation_config.json", error=ExportError)["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    assert ends[0] == tokenizer.special_ids[run.style.end_token]
    assert tokenizer.eot_id in ends
    assert tokenizer.pad_id not in ends


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("kind", ["bpe", "one special token", "words"])
def test_classifiers_in_a_padded_batch(
    family: str, kind: str, vocabularies: dict[str, Tokenizer], tmp_path: Path
) -> None:
    run = random_run(tmp_path / "run", vocabularies[kind], family=family, labels=LABELS)
    found, _ = compared(run, tmp_path / "out")
    assert found.keys() == {"ids", "class probabilities"}
    assert int(re.findall(r"over (\d+) texts", found["class probabilities"])[0]) > 1


@pytest.mark.parametrize("starts", [True, False])
def test_a_classifier_in_a_vocabulary_that_begins_texts(
    starts: bool, vocabularies: dict[str, Tokenizer], tmp_path: Path
) -> None:
    """One that was imported reads the beginning, as it was trained; one that was trained here never saw it."""
    run = random_run(tmp_path / "run", vocabularies["llama3"], family="llama", labels=LABELS)
    write_record(run.path, {**run.record, "reader": {**run.record["reader"], "starts": starts}})
    run = vidro.Run(run.path, device="cpu")
    assert compared(run, tmp_path / "out")[0].keys() == {"ids", "class probabilities"}
    read = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")("fox")["input_ids"]
    assert (read[0] == run.tokenizer.start_id) == starts
    classifier = run.classifier
    assert classifier.reader.row("fox").ids == tuple(read)


def test_in_pieces(vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", vocabularies["bpe"], family="qwen3", d_model=48)
    compared(run, tmp_path / "out", piece_bytes=60_000)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    index = read_json(tmp_path / "out" / "model.safetensors.index.json", error=ExportError)
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert set(index["weight_map"].values()) == set(files)
    assert all((tmp_path / "out" / file).stat().st_size < 80_000 for file in files)


def run_card(folder: Path) -> str:
    """Run the lines of Python that the model card shows; what they print."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    code = re.sub(r'^name = ".*"$', f"name = {str(folder)!r}", code, flags=re.MULTILINE)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.chdir(folder.parent):
        torch.manual_seed(0)
        exec(code, {})
    return out.getvalue()


@pytest.mark.parametrize("kind", ["base", "instruct", "classifier"])
def test_a_whole_export_and_the_lines_of_its_card(
    kind: str, vocabularies: dict[str, Tokenizer], tmp_path: Path
) -> None:
    """Compared in another process; then used as its card says. A prompt reaches no model with token_type_ids."""
    how: dict[str, Any] = {"instruct": {"style": "chatml"}, "classifier": {"labels": LABELS}}.get(kind, {})
    family = {"base": "gpt2", "instruct": "llama", "classifier": "qwen3"}[kind]
    run = random_run(tmp_path / "run", vocabularies["bpe"], family=family, **how)
    said: list[str] = []
    report = export(run, tmp_path / "out", ExportOptions(), said.append)
    assert all(f"transformers {transformers.__version__}" in check.what for check in report.checks)
    assert len(report.checks) == {"base": 2, "instruct": 3, "classifier": 2}[kind]
    assert report.files == {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    printed = run_card(tmp_path / "out")
    assert "label" in printed if kind == "classifier" else printed.strip()
    batch = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")(["a", "a b c"], padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}


# What would be found, and what is refused


def test_a_width_that_their_llama_refuses(vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", vocabularies["bpe"], family="llama", d_model=50)
    with pytest.raises(ModelError, match="a width of 50 is not a multiple of 4 heads"):
        run.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def alter(folder: Path, name: str, **changes: Any) -> None:
    values = read_json(folder / name, error=ExportError)
    write_json_atomic(folder / name, {**values, **changes})


def test_what_differs_is_named(vocabularies: dict[str, Tokenizer], tmp_path: Path) -> None:
    """The comparison can fail: another theta, another tokenizer, another template, a head of its own."""
    run = random_run(tmp_path / "run", vocabularies["bpe"], style="chatml", family="llama", tie_embeddings=True)
    folder = tmp_path / "out"
    folder.mkdir()
    model, _ = write(run, folder, 10**9)
    sample, _ = what_to_compare(run, model)

    def problem() -> str:
        with pytest.raises(Differs) as found:
            dict(compare_with_transformers(folder, sample, Answer()))
        return str(found.value)

    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    alter(folder, "config.json", rope_theta=500.0, rope_parameters={"rope_theta": 500.0, "rope_type": "default"})
    assert re.fullmatch(r"the log-probabilities differ by \S+ of the largest \(0.0001 is allowed\)", problem())
    (folder / "config.json").write_bytes(whole["config.json"])
    (folder / "chat_template.jinja").write_bytes(whole["chat_template.jinja"].replace(b"user", b"User"))
    assert problem().startswith("the chat template writes ")
    (folder / "chat_template.jinja").write_bytes(whole["chat_template.jinja"])
    build_bytes().save(folder)
    assert problem().startswith("the ids of 'Once upon a time the fox said")
    (folder / "tokenizer.json").write_bytes(whole["tokenizer.json"])
    alter(folder, "config.json", tie_word_embeddings=False)
    assert problem() == "missing keys among the weights: lm_head.weight"
    with pytest.raises(ExportError, match=r"^transformers \S+ does not agree: missing keys among the weights: lm_head"):
        agreed(reopen(folder, sample))
