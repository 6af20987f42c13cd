"""``vidro predict``: a text, the lines of a file or of stdin, the column of a table; and what each token did."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import vidro
from vidro.checkpoint.huggingface import write_model
from vidro.checkpoint.run import write_record
from vidro.cli.main import main
from vidro.config.schema import ModelConfig
from vidro.model.transformer import Transformer
from vidro.text.train import build_bytes

LABELS = ("ham", "maybe", "spam")
TEXTS = ["Win a prize now!", "see you  at home", "x", "olá", "a longer message, of some more words than that"]


def write_run(path: Path, labels: tuple[str, ...], **record: Any) -> None:
    """A run whose model has not learned: random weights, so that texts still differ."""
    tokenizer = build_bytes()
    config = ModelConfig(
        family="llama", vocab_size=tokenizer.vocab_size, context_length=64, d_model=16, n_layers=1, n_heads=2,
        n_kv_heads=1, d_head=8, d_ff=16, labels=labels,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    path.mkdir(parents=True)
    write_model(path, model, tokenizer)
    write_record(path, {"step": 0, "tokenizer": {"fingerprint": tokenizer.fingerprint}, **record})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier, runs/sorter-1, that reads 24 tokens, and a language model, runs/book-1."""
    folder = tmp_path_factory.mktemp("predict")
    write_run(folder / "runs/book-1", (), kind="base")
    write_run(folder / "runs/sorter-1", LABELS, kind="classifier", reader={"max_tokens": 24, "pad_to": None})
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    records = [{"id": number, "body": text} for number, text in enumerate(TEXTS)]
    (folder / "mail.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return folder


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> vidro.Run:
    """The classifier, opened from its folder."""
    monkeypatch.chdir(folder)
    return vidro.load("sorter-1", device="cpu")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """stdout and stderr of a command that goes well."""
    code = main(["predict", *words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def expected(run: vidro.Run, texts: list[str]) -> list[dict[str, float]]:
    return [pytest.approx(run.predict(text).probabilities, abs=1e-5) for text in texts]


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes, *, terminal: bool = False) -> None:
    """Put `data` on stdin."""
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="ascii")
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stream)


def test_one_text(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = run.predict(TEXTS[0])
    out, err = said(capsys, "sorter-1", TEXTS[0])
    first, others = out.splitlines()
    assert first == f"{found.label}  {found.probabilities[found.label]:.1%}"
    rest = sorted((share for label, share in found.probabilities.items() if label != found.label), reverse=True)
    assert [word for word in others.split() if "%" in word] == [f"{share:.1%}" for share in rest]
    assert err == ""
    (plain,) = objects(said(capsys, "sorter-1", TEXTS[0], "--json")[0])
    assert plain == {"label": found.label, "probabilities": found.probabilities}
    assert set(plain["probabilities"]) == set(LABELS)


def test_a_text_too_long_is_cut_and_said(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    long = TEXTS[-1]
    _, err = said(capsys, "sorter-1", long)
    assert err == "1 text was longer than the model reads; the rest was not looked at.\n"
    (plain,) = objects(said(capsys, "sorter-1", long, "--json")[0])
    assert plain["n_cut"] == len(long) - 24
    assert plain["probabilities"] == run.predict(long[:24]).probabilities
    _, err = said(capsys, "sorter-1", "--file", "texts.txt")
    assert err.startswith("1 text was longer")


def test_what_each_token_did(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    weights = run.classifier.explain("Win it")
    out, _ = said(capsys, "sorter-1", "Win it", "--explain")
    lines = out.splitlines()
    assert lines[2] == "Win it"
    token, weight = max(weights, key=lambda item: abs(item[1]))
    label = run.predict("Win it").label
    assert lines[3].startswith(f"Left out, the log-odds of {label} fall by: {token!r} {weight:+.2f}, ")
    (plain,) = objects(said(capsys, "sorter-1", "Win it", "--explain", "--json")[0])
    assert [(each["text"], each["weight"]) for each in plain["tokens"]] == [(t, round(w, 4)) for t, w in weights]


def test_the_lines_of_a_file(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "sorter-1", "--file", "texts.txt")
    rows = [line.split("\t") for line in out.splitlines()]
    found = [run.predict(text) for text in TEXTS]
    assert [row[0] for row in rows] == [each.label for each in found]
    assert [float(row[1]) for row in rows] == pytest.approx(
        [each.probabilities[each.label] for each in found], abs=1e-4
    )
    assert [row[2] for row in rows] == [" ".join(text.split()) for text in TEXTS]
    assert len({row[0] for row in rows}) > 1
    plain = objects(said(capsys, "sorter-1", "--file", "texts.txt", "--json")[0])
    assert [each["probabilities"] for each in plain] == expected(run, TEXTS)
    packed = tmp_path / "texts.txt.gz"
    packed.write_bytes(gzip.compress("\r\n".join(TEXTS).encode("cp1252")))
    again = objects(said(capsys, "sorter-1", "--file", str(packed), "--encoding", "cp1252", "--json")[0])
    assert again == plain


def test_the_column_of_a_table(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "sorter-1", "--file", "mail.jsonl", "--column", "body", "--json")
    assert [each["probabilities"] for each in objects(out)] == expected(run, TEXTS)
    table = tmp_path / "mail.csv"
    table.write_text('id,body\n1,"two\nlines"\n2,"a, b"\n', encoding="utf-8")
    out, err = said(capsys, "sorter-1", "--file", str(table), "--column", "body")
    assert [line.split("\t")[2] for line in out.splitlines()] == ["two lines", "a, b"]
    assert err == "Line 1 was read as the header.\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_lines_from_stdin(
    terminal: bool, run: vidro.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, "\n".join(TEXTS).encode(), terminal=terminal)
    plain = objects(said(capsys, "sorter-1", "-", "--json")[0])
    assert [each["probabilities"] for each in plain] == expected(run, TEXTS)


def test_in_a_terminal_each_line_is_answered_before_the_next(
    run: vidro.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b"one\ntwo\n\nthree\n", terminal=True)
    assert main(["predict", "sorter-1", "-"]) == 2
    out, err = capsys.readouterr()
    assert [line.split("\t")[2] for line in out.splitlines()] == ["one", "two"]
    assert err == "vidro: error: stdin: there is no text in line 3. Take empty lines out.\n"


WHAT = "what is to be classified? Give a text, or --file FILE; not both."
MISTAKES = {
    ("sorter-1",): WHAT,
    ("sorter-1", "a text", "--file", "texts.txt"): WHAT,
    ("sorter-1", "a text", "--column", "body"): "--column belongs to --file. Leave it out.",
    ("sorter-1", "-", "--column", "body"): "--column belongs to --file. Leave it out.",
    ("sorter-1", "a text", "--encoding", "cp1252"): "--encoding belongs to --file. Leave it out.",
    ("sorter-1", "--file", "texts.txt", "--explain"): "--explain is for one text. Give the text itself.",
    ("sorter-1", "-", "--explain"): "--explain is for one text. Give the text itself.",
    ("sorter-1", ""): "there is no text to classify",
    ("sorter-1", " "): "there is no text to classify",
    ("sorter-1", "a text", "--threads", "0"): "threads: 0 is too small. It must be at least 1.",
    ("sorter-1", "--file", "no.txt"): "no.txt: there is no such file or folder",
    ("sorter-1", "--file", "mail.jsonl"): (
        "mail.jsonl: this is a table. Say which column holds the texts: --column NAME."
    ),
    ("sorter-1", "--file", "mail.jsonl", "--column", "bodi"): (
        "mail.jsonl: there is no column 'bodi' (columns: id, body). Did you mean body?"
    ),
    ("sorter", "a text"): "there is no run 'sorter' here or in runs. Did you mean sorter-1?",
    **{
        ("book-1", *words): (
            "this run is a language model, not a classifier. "
            "Make a classifier of it: vidro finetune classify RUN --data FILE."
        )
        for words in [("a text",), ("a text", "--explain"), ("--file", "texts.txt")]
    },
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_mistakes(words: tuple[str, ...], run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"vidro: error: {MISTAKES[words]}\n"


def test_an_empty_line_and_an_empty_file(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some.txt"
    for content, fault in (("a\n\nb\n", "in line 2. Take empty lines out."), ("", "in it. Write one text a line.")):
        path.write_text(content, encoding="utf-8")
        assert main(["predict", "sorter-1", "--file", str(path)]) == 2
        assert capsys.readouterr().err == f"vidro: error: {path}: there is no text {fault}\n"
