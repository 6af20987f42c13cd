"""Models from files: whatever constructor they have, whatever is said, and what is said back when it does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.learn.checker import models

from vidro.core.errors import LessonError, ModelError, UsageError, VidroError
from vidro.learn.checker.building import AnySettings
from vidro.learn.checker.opening import check_file, opened, read_settings

HEAD = "import torch\nfrom torch import nn\nfrom types import SimpleNamespace\n"
TINY = """
class {name}(nn.Module):
    def __init__(self, {signature}):
        super().__init__()
        {read}
        self.embed, self.head = nn.Embedding(v, d), nn.Linear(d, v)
    def forward(self, ids):
        return self.head(self.embed(ids))
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the right models in one file."""
    shutil.copy(Path(models.__file__), tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(signature: str, read: str, extra: str = "", name: str = "GPT") -> None:
    Path("tiny.py").write_text(HEAD + extra + TINY.format(name=name, signature=signature, read=read), encoding="utf-8")


def sizes(*config: str, target: str = "tiny.py:GPT") -> tuple[int, int]:
    """Vocabulary and width of the model that is made."""
    with opened(target, read_settings(config), 0) as built:
        table = built.model.get_submodule("embed")
        return table.num_embeddings, table.embedding_dim  # pyright: ignore


FORMS = {
    "keywords": ("vocab_size, n_embd", "v, d = vocab_size, n_embd"),
    "a default that is large": ("vocab_size=50257, dim=768", "v, d = vocab_size, dim"),
    "a dict that nobody wrote": ("cfg", "v, d = cfg['vocab_size'], cfg['emb_dim']"),
    "an object that nobody wrote": ("config", "v, d = config.n_vocab, config.hidden_size"),
    "a dict, asked with get": ("cfg", "v, d = cfg['vocab_size'], cfg['emb_dim'] + cfg.get('extra', 0)"),
}


@pytest.mark.parametrize(("signature", "read"), FORMS.values(), ids=FORMS.keys())
def test_every_form_of_constructor(signature: str, read: str, desk: Path) -> None:
    write(signature, read)
    assert sizes() == (97, 32)
    assert sizes("d_model=12", "vocab_size=50") == (50, 12)


def test_a_dataclass_in_the_file(desk: Path) -> None:
    extra = (
        "from dataclasses import dataclass\n@dataclass\nclass ModelArgs:\n    n_embd: int = 768\n    vocab: int = 9\n"
    )
    write("args", "v, d = args.vocab, args.n_embd", extra)
    assert sizes() == (97, 32)
    assert sizes("vocab_size=40", "n_embd=8") == (40, 8)
    with pytest.raises(UsageError, match=r"no setting 'n_embed_'.*Did you mean n_embd"):
        sizes("n_embed_=8")


def test_a_dict_in_the_file_keeps_what_is_no_size(desk: Path) -> None:
    extra = "CONFIG = {'vocab_size': 50257, 'emb_dim': 768, 'n_layers': 12, 'style': 'old'}\n"
    write("cfg", "assert cfg['style'] == 'old'; v, d = cfg['vocab_size'], cfg['emb_dim']", extra)
    assert sizes() == (97, 32)
    assert sizes("hidden_size=20") == (97, 20)


def test_files_of_settings(desk: Path) -> None:
    write("cfg", "v, d = cfg['vocab_size'], cfg['emb_dim']")
    Path("a.json").write_text(json.dumps({"vocab_size": 60, "emb_dim": 24}), encoding="utf-8")
    Path("b.toml").write_text("emb_dim = 10\n", encoding="utf-8")
    assert sizes("a.json") == (60, 24)
    assert sizes("a.json", "b.toml") == (60, 10)
    assert sizes("a.json", "b.toml", "emb_dim=6") == (60, 6)


def test_functions_and_finished_models(desk: Path) -> None:
    with Path("mine.py").open("a", encoding="utf-8") as file:
        file.write("\ndef make(vocab_size=70):\n    return LlamaLM(vocab_size, 32, 1, 4, 2, 48)\nready = make()\n")
    assert sizes(target="mine.py:make") == (97, 32)
    assert check_file("mine.py:ready").sound
    with pytest.raises(UsageError, match="finished model, which takes no settings"):
        check_file("mine.py:ready", config=["n_layers=1"])


@pytest.mark.parametrize("name", ["BookGPT", "NanoGPT", "LlamaLM", "QwenLM"])
def test_all_manners_are_built_small_and_sound(name: str, desk: Path) -> None:
    report = check_file(f"mine.py:{name}", config=["n_layers=1"])
    assert report.sound, str(report)
    assert (report.vocab_size, report.context_length) == (97, 24)
    assert "97" in report.notes[0]


def test_a_reference_from_a_file(desk: Path) -> None:
    broken = Path("mine.py").read_text(encoding="utf-8").replace("keys.transpose(2, 3)", "(2 * keys).transpose(2, 3)")
    Path("broken.py").write_text(broken, encoding="utf-8")
    report = check_file("broken.py:BookGPT", reference="mine.py:BookGPT", config=["n_layers=1"])
    assert "differs-from-reference" in report.names


MISTAKES: dict[str, tuple[type[VidroError], str, tuple[str, ...]]] = {
    "no.py:GPT": (UsageError, "no.py: there is no such file", ()),
    "mine.ipynb": (UsageError, "does not name a class in a Python file.*save a notebook's cells", ()),
    "mine.py:BookGTP": (UsageError, "there is no BookGTP. Did you mean BookGPT", ()),
    "mine.py": (UsageError, "several models. Say which: mine.py:NAME; it has BookGPT, NanoGPT", ()),
    "mine.py:BOOK": (UsageError, "neither a class nor a function", ()),
    "mine.py:NANO": (UsageError, "neither a class nor a function", ()),
    "mine.py:LayerCache": (UsageError, "makes a LayerCache, not a torch.nn.Module", ()),
    "mine.py:BookGPT": (UsageError, "there is no setting 'colour'", ("colour=1",)),
    "mine.py:LlamaLM": (UsageError, "no setting 'n_layer_s'. Did you mean n_layers", ("n_layer_s=1",)),
    "mine.py:NanoGPT": (ModelError, "cannot be built", ("n_layer=two",)),
    "mine.py:QwenLM": (UsageError, "'layers' is no setting. Say KEY=VALUE", ("layers",)),
    "bad.py:GPT": (LessonError, "bad.py", ()),
    "wants.py:GPT": (ModelError, "wants 'colour'. Say it: --config colour=VALUE", ()),
    "asks.py:GPT": (ModelError, "cannot be built: KeyError: 'colour'.*--config colour=VALUE", ()),
}


@pytest.mark.parametrize("target", MISTAKES)
def test_mistakes_are_one_line(target: str, desk: Path) -> None:
    kind, message, config = MISTAKES[target]
    Path("bad.py").write_text("import torch\nGPT = 1 / 0\n", encoding="utf-8")
    write("colour", "v, d = 2, 2")
    shutil.move("tiny.py", "wants.py")
    write("cfg", "v, d = cfg['colour'], 2")
    shutil.move("tiny.py", "asks.py")
    with pytest.raises(kind, match=message) as caught:
        check_file(target, config=config)
    assert "\n" not in str(caught.value)


def test_a_made_up_dict_answers_to_every_name() -> None:
    cfg = AnySettings(emb_dim=8)
    assert (cfg["d_model"], cfg.n_embd, cfg.get("hidden_size"), cfg["drop_rate_shortcut"]) == (8, 8, 8, 0.1)
    assert cfg.get("colour") is None
    assert not hasattr(cfg, "colour")
    with pytest.raises(KeyError, match="colour"):
        cfg["colour"]
