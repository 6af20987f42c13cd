"""``Run.export``: what is written, what is refused, what an existing folder is worth. Numbers: `tests/reference`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import vidro
from vidro.api.export import ExportReport
from vidro.checkpoint.export_place import MARK, exported_directory
from vidro.checkpoint.huggingface import read_model
from vidro.checkpoint.run import read_record, write_record
from vidro.core.errors import ExportError, ModelError, UsageError, VidroError
from vidro.text.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "run-v1"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """The golden run, exported once; nobody may change it."""
    said: list[str] = []
    run = vidro.Run(GOLDEN, device="cpu", say=said.append)
    report = run.export(tmp_path_factory.mktemp("exported") / "deep" / "out")
    assert said == ["Opening it again in another process, to compare."]
    return report


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_written(exported: ExportReport) -> None:
    names = {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", MARK,
    }  # fmt: skip
    assert exported.files.keys() == names == files_of(exported.path).keys()
    assert [path.name for path in exported.path.parent.iterdir()] == ["out"], "something was left beside it"
    mark = json.loads((exported.path / MARK).read_text(encoding="utf-8"))
    assert (mark["format"], mark["run"], mark["step"]) == ("hf", "run-v1", 300)
    assert set(mark["files"]) == names - {MARK}
    assert len(mark["checks"]) == len(exported.checks) == 2


def test_it_is_the_runs_model(exported: ExportReport) -> None:
    run = vidro.Run(GOLDEN, device="cpu")
    again = read_model(exported.path).eval()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(again(ids), run.model(ids))
    assert Tokenizer.load(exported.path).fingerprint == run.tokenizer.fingerprint


def test_without_transformers_vidro_opens_it_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder first on the other process's path hides the library: a module that cannot be found by its name."""
    (tmp_path / "hide").mkdir()
    hide = (
        "import importlib.util as u, sys\nreal = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'transformers' else real(name, *rest)\n"
    )
    (tmp_path / "hide" / "sitecustomize.py").write_text(hide, encoding="utf-8")
    source = str(Path(vidro.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hide'}:{source}")
    report = vidro.Run(GOLDEN, device="cpu").export(tmp_path / "out")
    assert [check.what for check in report.checks] == ["ids, Vidro itself", "log-probabilities, Vidro itself"]
    assert report.notes == ["Not checked with Transformers, which is not installed here: pip install 'vidro[hf]'"]


# What lies at the place already


@pytest.mark.parametrize(
    ("names", "overwrite", "expected"),
    [
        (["notes.txt"], False, "there is something else in this folder, which an export never touches"),
        (["notes.txt"], True, "there is something else in this folder, which an export never touches"),
        (["vidro.json", "model.safetensors"], True, "there is something else in this folder"),
        ([MARK, "config.json"], False, "there is an earlier export here"),
        ([MARK, "config.json", "mine.txt"], True, "mine.txt was not written by the export, and would be lost"),
    ],
)
def test_what_is_there_stays(names: list[str], overwrite: bool, expected: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text(json.dumps({"files": ["config.json"]}), encoding="utf-8")
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match=expected):
        vidro.Run(GOLDEN, device="cpu").export(tmp_path, overwrite=overwrite)
    assert files_of(tmp_path) == before


def test_a_run_is_never_replaced(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match="which an export never touches"):
        vidro.Run(tmp_path / "run", device="cpu").export(tmp_path / "run", overwrite=True)
    assert files_of(tmp_path) == before


def test_a_mark_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / MARK).write_text("{", encoding="utf-8")
    with pytest.raises(ExportError, match="this is not valid JSON"):
        vidro.Run(GOLDEN, device="cpu").export(tmp_path, overwrite=True)


def test_an_earlier_export_is_replaced_in_one_step(exported: ExportReport, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(exported.path, out)
    (out / "README.md").write_text("altered", encoding="utf-8")
    with pytest.raises(RuntimeError), exported_directory(out, overwrite=True) as beside:
        (beside / "new").touch()
        raise RuntimeError
    assert (out / "README.md").read_text(encoding="utf-8") == "altered"
    with exported_directory(out, overwrite=True) as beside:
        (beside / "new").touch()
    assert files_of(tmp_path) == {"out/new": b""}


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with exported_directory(tmp_path / "out", overwrite=False) as beside:
        (beside / "new").touch()
    assert files_of(tmp_path) == {"out/new": b""}


# What is refused


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"quantize": "q8_0"}, "quantize belongs to the format gguf. Leave it out, or say the format gguf."),
        ({"format": "gguf", "push": "ana/tale"}, "push belongs to the format hf. Leave it out, or say the format hf."),
        ({"push": "tale"}, "push: 'tale' is not a place on the hub, user/name. For example --push ana/book-model."),
        ({"format": "onnx"}, "format: 'onnx' is not possible. Known: gguf, hf."),
        ({"owerwrite": True}, "there is no setting 'owerwrite'. Did you mean overwrite?"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as found:
        vidro.Run(GOLDEN, device="cpu").export(tmp_path / "out", **options)
    assert str(found.value).startswith(expected)
    assert list(tmp_path.iterdir()) == []


def test_the_books_classifier_is_refused_with_the_reason(tmp_path: Path) -> None:
    """It reads the last place of a padded row, padding included, which Transformers does not."""
    shutil.copytree(GOLDEN, tmp_path / "run")
    record = read_record(tmp_path / "run")
    write_record(tmp_path / "run", {**record, "kind": "classifier", "reader": {"max_tokens": 30, "pad_to": 30}})
    with pytest.raises(ModelError, match=r"padded to one length .finetune --book, import --pad-to., which"):
        vidro.Run(tmp_path / "run", device="cpu").export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_difference_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that change between their writing and the comparison, as on a failing disk."""
    from vidro.api import export_hf

    def write_wrongly(run: Any, folder: Path, piece_bytes: int) -> Any:
        result = real(run, folder, piece_bytes)
        weights = bytearray((folder / "model.safetensors").read_bytes())
        weights[-2000:] = b"\0" * 2000
        (folder / "model.safetensors").write_bytes(weights)
        return result

    real = export_hf.write
    monkeypatch.setattr(export_hf, "write", write_wrongly)
    with pytest.raises(VidroError, match=r"does not agree: the log-probabilities differ by .*Nothing was written"):
        vidro.Run(GOLDEN, device="cpu").export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
