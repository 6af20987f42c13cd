"""``vidro import`` as it is typed, and the commands after it on a run that was imported. Readers: `tests/checkpoint`.

Sources are saved here by Vidro itself, without its records: to an import that is a directory as any other.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoint.fake_hub import FakeHub, serving
from tests.checkpoint.foreign.hf_models import save_tokenizer
from tests.random_runs import OWN_TEMPLATE, random_run

import vidro
from vidro.api import export_gguf_sample, import_check
from vidro.checkpoint.foreign.directory import read_tokenizer
from vidro.checkpoint.run import RECORD
from vidro.cli.main import main

COMPARING = "Comparing with the source, in another process …"
LLAMA3 = "note: every text begins with <|begin_of_text|>, as this tokenizer asks for"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources: talker/ (Llama 3's way to converse), spam/ (a classifier), and files that are no models."""
    folder = tmp_path_factory.mktemp("import")
    save_tokenizer(folder / "tokenizer", "llama")
    tokenizer, _ = read_tokenizer(folder / "tokenizer")
    random_run(folder / "talker", tokenizer, style="llama3", family="llama", context_length=200)
    random_run(folder / "spam", tokenizer, family="qwen3", n_layers=1, labels=("ham", "spam"))
    for name in ("talker", "spam"):
        (folder / name / RECORD).unlink()
    (folder / "own.jinja").write_text(OWN_TEMPLATE, encoding="utf-8")
    (folder / "book.txt").write_text("Once upon a time there was a cat.", encoding="utf-8")
    (folder / "model.pth").write_bytes(b"\x80\x04cos\nsystem\n.")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_check, "compare", import_check._compared)
        assert main(["import", "talker", "--out", "mine", "--style", "jinja:own.jinja"]) == 0
        assert main(["import", "spam", "--pad-to", "20"]) == 0
        assert main(["import", "talker"]) == 0
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In that folder, which nobody may change; imports compare in this process, where Transformers is loaded once."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VIDRO_CACHE", str(folder / "cache"))
    monkeypatch.setattr(import_check, "compare", import_check._compared)
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """stdout and stderr of a command that goes well."""
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


# The command


def test_what_is_said(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "import", "talker", "--out", str(tmp_path / "new"))
    assert out == f"{tmp_path / 'new'}\n"
    lines = [line for line in err.splitlines() if line and "Loading weights" not in line]  # a bar of Transformers'
    assert lines[:3] == [
        COMPARING,
        "llama, 111k parameters, context 200 tokens, from a Hugging Face directory.",
        "  verified: every tensor, with the source read anew: 21 of 21 equal",
    ]
    notes = [f"  {LLAMA3}", "  note: conversations: the style llama3, which writes what its template writes"]
    assert [line for line in lines[3:] if "verified: " not in line and "Transformers" not in line] == notes
    assert any("Transformers" in line for line in lines[3:]), "compared with it, or said that it is not here"


def test_json_is_one_object(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "import", "spam", "--out", str(tmp_path / "new"), "--json", "--pad-to", "1e1")
    found = json.loads(out)
    assert found["run"] == str(tmp_path / "new")
    assert (found["kind"], found["prompt_style"], found["source"]) == ("classifier", None, "spam")
    assert found["form"] == "a Hugging Face directory"
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= found["files"].keys()
    assert found["checks"][0] == {"what": "every tensor, with the source read anew", "result": "14 of 14 equal"}
    assert found["notes"][:2] == [
        LLAMA3.removeprefix("note: "),
        "every text is padded to 10 tokens and read at the last place, as in the book",
    ]
    assert "verified" not in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "SOURCE is missing. See vidro import --help."),
        (["talker", "spam"], "there is one argument too many: 'spam'."),
        (["talker", "--tokeniser", "x"], "there is no flag --tokeniser. Did you mean --tokenizer?"),
        (["nowhere/"], "nowhere/: there is no such file or directory. Name a directory, a file, or a model on the hub"),
        (["book.txt"], "book.txt: this is no model in a form that is known. Known: a Hugging Face directory, GGUF,"),
        (["."], ".: there is no config.json in this directory. Name the file: model.pth."),
        (["model.pth"], "model.pth: this is a pickle, which may run code when it is opened. --from-pickle opens it"),
        (["talker", "--style", "chatm"], "there is no prompt style 'chatm'. Did you mean chatml?"),
        (["spam", "--style", "chatml"], "style: a classifier does not converse. Leave it out."),
        (["talker", "--tokenizer", "nowhere"], "nowhere: there is no such tokenizer."),
        (["talker", "--from-pickle"], "from-pickle: there is nothing pickled here. Leave it out."),
        (["talker", "--n-heads", "2"], "n-heads: the number of heads is asked for with --from-pickle only."),
        (["talker", "--base", "spam"], "base: only an adapter has a base. Leave it out."),
        (["talker", "--pad-to", "4"], "pad-to: only a classifier reads texts of one length. Leave it out."),
        (["spam", "--pad-to", "97"], "pad-to: the model sees 96 tokens only. Say at most that many."),
        (["spam", "--pad-to", "0"], "pad-to: 0 is too small. It must be at least 1."),
        (["talker", "--overwrite"], "--overwrite replaces the run that --out names. Say --out too."),
        (
            ["talker", "--out", "mine"],
            "mine: this run directory exists already. Replace it with --overwrite, or",
        ),
        (["talker", "--out", "tokenizer", "--overwrite"], "tokenizer: --overwrite removes runs only, and this is not"),
        (["talker", "--out", "book.txt", "--overwrite"], "book.txt: this is a file, not a folder. Choose another"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(words: list[str], expected: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(["import", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.replace(f"{here}/", "").startswith(f"vidro: error: {expected}")
    assert err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


# The commands after it


def test_runs_list_show_and_compare(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed, _ = said(capsys, "runs", "list")
    rows = {line.split()[0]: line.split()[1:] for line in listed.splitlines()[2:]}
    assert rows["talker-1"] == ["imported", "talker", "111k", "0", "–", "–"]
    assert set(rows) == {"spam-1", "talker-1"}
    shown, _ = said(capsys, "runs", "show", "talker-1")
    facts = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in shown.splitlines()}
    assert facts["Imported"] == "talker, a Hugging Face directory"
    assert facts["Model"] == "llama, 110,912 parameters"
    found = json.loads(said(capsys, "runs", "show", "spam-1", "--json")[0])
    assert (found["kind"], found["settings"]) == ("classifier", None), "nobody knows what it was trained with"
    assert found["record"]["reader"] == {"max_tokens": 20, "pad_to": 20, "starts": True}
    both = json.loads(said(capsys, "runs", "compare", "talker-1", "spam-1", "--json")[0])
    assert [run["status"] for run in both["runs"]] == ["imported", "imported"]
    assert both["different_settings"] == {}


def test_it_writes_and_converses(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["talker-1", "--max-tokens", "6", "--seed", "1", "--device", "cpu"]
    written = json.loads(said(capsys, "generate", "talker-1", "Once", *words[1:], "--json")[0])
    run = vidro.load("talker-1", device="cpu")
    assert written["text"] == run.generate("Once", max_tokens=6, seed=1) != ""
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
    answered, err = said(capsys, "chat", *words)
    assert answered.strip() == run.answer("Hello", max_tokens=6, seed=1)
    opening = "What this model has read is not recorded. It was imported from talker (style llama3)."
    assert opening in err.splitlines()


def test_a_classifier_predicts_as_the_book_reads(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    found = json.loads(said(capsys, "predict", "spam-1", "Win a prize", "--json", "--device", "cpu")[0])
    run = vidro.load("spam-1", device="cpu")
    ids = [run.tokenizer.start_id, *run.tokenizer.encode("Win a prize")]
    padded = torch.tensor([ids + [run.tokenizer.padding_id] * (20 - len(ids))])
    with torch.no_grad():
        share = run.model(padded)[0, -1].softmax(-1).tolist()
        unpadded = run.model(torch.tensor([ids]))[0, -1].softmax(-1).tolist()
    assert found["probabilities"] == pytest.approx(dict(zip(("ham", "spam"), share, strict=True)), abs=1e-5)
    assert abs(share[0] - unpadded[0]) > 1e-3, "the same without padding: nothing would be shown"
    assert main(["export", "spam-1", "out"]) == 2
    line = "runs/spam-1: this classifier reads texts padded to one length (finetune --book, import --pad-to), which"
    assert line in capsys.readouterr().err


@pytest.mark.slow
def test_export_with_a_template_of_its_own(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The template that --style named at the import is the one that others read."""
    report = json.loads(said(capsys, "export", "mine", str(tmp_path / "out"), "--json")[0])
    checks = {check["what"].split(",")[0]: check["result"] for check in report["checks"]}
    assert checks["chat template"] == "4 conversations written the same"
    assert checks.keys() == {"ids", "chat template", "log-probabilities"}
    written = (tmp_path / "out" / "chat_template.jinja").read_text(encoding="utf-8")
    assert written == OWN_TEMPLATE
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "imported" in card


@pytest.mark.slow
def test_export_to_gguf(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    monkeypatch.setattr(export_gguf_sample, "N_TEXTS", 1)
    words = ["export", "talker-1", str(tmp_path / "out"), "--format", "gguf", "--quantize", "q8_0"]
    out, err = said(capsys, *words)
    assert re.match(r"Modelfile +\d+ bytes\ntalker-1\.gguf +\d+,\d+ bytes\nvidro-export\.json", out)
    assert re.search(r"^chat template, llama\.cpp .*: 3 conversations written the same$", out, re.MULTILINE)
    assert out.endswith(f"Written to {tmp_path / 'out'}.\n")
    assert err.splitlines()[0] == "Opening it again in another process, to compare."


# From the hub


def vidro_process(hub: FakeHub, place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, since the hub's client reads its settings when it is imported."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    own |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(place / "home"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_of_us"}
    own |= {"PYTHONPATH": str(Path(vidro.__file__).parents[1]), "NO_PROXY": "127.0.0.1", **environment}
    command = [sys.executable, "-m", "vidro", *words]
    return subprocess.run(command, cwd=place, env=own, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_onto_the_hub_and_back(here: Path, tmp_path: Path) -> None:
    """What one machine exports and uploads another fetches and imports: the same model. And a name that is not."""
    with serving() as hub:
        up = vidro_process(hub, tmp_path, "export", str(here / "runs" / "talker-1"), "out", "--push", "ana/tale")
        assert up.returncode == 0, up.stderr
        assert f"Uploaded: {hub.url}/ana/tale/commit/1234" in up.stderr.splitlines()
        down = vidro_process(hub, tmp_path, "import", "ana/tale")
        assert (down.returncode, down.stdout) == (0, "runs/tale-1\n"), down.stderr
    assert re.match(r"ana/tale at c0ffee00: 6 files, 0\.\d MB$", down.stderr.splitlines()[0])
    assert "  verified: every tensor, with the source read anew: 21 of 21 equal" in down.stderr.splitlines()
    ours, theirs = vidro.load(here / "runs" / "talker-1"), vidro.load(tmp_path / "runs" / "tale-1")
    found = theirs.record["imported"]
    assert (found["source"], found["hub"], found["revision"]) == ("ana/tale", "ana/tale", "c0ffee" + "0" * 34)
    assert theirs.record["prompt_style"] == "llama3"
    question: dict[str, Any] = {"max_tokens": 12, "seed": 3}
    assert theirs.answer("Hello", **question) == ours.answer("Hello", **question)
    gone = vidro_process(hub, tmp_path, "import", "ana/nobody", HF_HUB_OFFLINE="1")
    assert gone.returncode == 2
    assert gone.stderr.startswith("vidro: error: ana/nobody: offline, and it is not in the cache of the hub.")
    assert gone.stderr.count("\n") == 1
