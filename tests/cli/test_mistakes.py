"""Wrong arguments: one line that says what to do, exit code 2, and nothing is written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from vidro.cli.main import main

ONE_BUDGET = "Say one of --minutes, --tokens, --steps and --epochs; for example --minutes 10."
SEE = "See vidro pretrain --help."

TABLE = {
    # finding the command
    "pretrian book.txt": "there is no command 'pretrian'. Did you mean pretrain?",
    "--steps 3 pretrain": "the command comes first, before --steps. See vidro --help.",
    "runs shwo": "there is no command 'vidro runs shwo'. Did you mean show?",
    "data lst": "there is no command 'vidro data lst'. Did you mean list?",
    # flags
    "pretrain book.txt --minuts 3": "there is no flag --minuts. Did you mean --minutes?",
    "pretrain book.txt --batch_tokens 3": "there is no flag --batch_tokens. Did you mean --batch-tokens?",
    "pretrain book.txt -m 3": f"there is no flag -m. {SEE}",
    "pretrain book.txt --steps": f"--steps needs a value. {SEE}",
    "pretrain book.txt --steps 3 --steps 4": "--steps is given twice. Say it once.",
    "pretrain book.txt other.txt --steps 3": (
        f"there is one argument too many: 'other.txt'. Put quotes around a text. {SEE}"
    ),
    "generate last '-5 degrees'": "a text that begins with a dash looks like a flag. Put -- before it.",
    "generate": "RUN is missing. See vidro generate --help.",
    "evaluate last": (
        "what is to be evaluated? Say one of --text FILE, --labels FILE, --instructions FILE, --tasks NAME "
        "and --memorisation."
    ),
    "evaluate --text book.txt": "RUN is missing. For example last; see vidro runs list.",
    "tokenizer train book.txt": "--out is missing. See vidro tokenizer train --help.",
    "tokenizer train --out x": "FILE is missing. See vidro tokenizer train --help.",
    # values
    "pretrain book.txt --steps 1.5": "--steps: '1.5' is not a whole number. For example 10_000 or 1e4.",
    "pretrain book.txt --minutes ten": "--minutes: 'ten' is not a number. For example 0.5 or 1e4.",
    "pretrain book.txt --steps 0": "steps: 0 is too small. It must be at least 1.",
    "pretrain book.txt --minutes -1": "minutes: -1.0 is too small. It must be greater than 0.",
    "pretrain book.txt --minutes inf": "minutes: inf is not a finite number",
    "pretrain book.txt --steps 3 --dropout 2": "dropout: 2.0 is too large. It must be at most 0.95.",
    "pretrain book.txt --steps 3 --family lama": "family: 'lama' is not possible. Did you mean llama?",
    "pretrain book.txt --steps 3 --optimizer muno": "optimizer: 'muno' is not possible. Did you mean muon?",
    "generate last Once --temperature -1": "temperature: -1.0 is too small. It must be at least 0.",
    "generate last Once --on-full slid": "on-full: 'slid' is not possible. Did you mean slide?",
    "pretrain book.txt --steps 3 --log tensorbord": "log: there is no logger 'tensorbord'. Did you mean tensorboard?",
    "tokenizer train book.txt --out x --kind bpee": "kind: 'bpee' is not possible. Did you mean bpe?",
    "tokenizer train book.txt --out x --kind bytes --vocab-size 512": (
        "vocab-size: bytes has no size to choose. Leave it out."
    ),
    "tokenizer train book.txt --out x --unk": "unk: bpe knows every text. Leave it out.",
    "data prepare book.txt --tokenizer bytes --out x --shard 3": (
        "--shard: '3' is not i/n. The first of four machines says 0/4."
    ),
    # wishes that contradict
    "pretrain book.txt --minutes 3 --steps 4": f"--minutes and --steps are both budgets. {ONE_BUDGET}",
    "pretrain --steps 3": "no text is named. For example vidro pretrain book.txt --minutes 10.",
    "pretrain book.txt --steps 3 --more 5": (
        "--more prolongs a finished run. Name it with --resume; for example --resume last."
    ),
    "pretrain book.txt --steps 3 --overwrite": "--overwrite replaces the run that --out names. Say --out too.",
    "pretrain book.txt --resume last": "book.txt: a resumed run knows its text. Leave the file out.",
    "pretrain --resume last --out x": ("--out does not go with --resume. A resumed run keeps its place and settings."),
    "pretrain --resume last --dry-run": "a resumed run has nothing left to plan. Look at it with vidro runs show.",
    "quickstart --steps 3 --minutes 1": f"--minutes and --steps are both budgets. {ONE_BUDGET}",
    "generate last A B --explain": "--explain explains one prompt. Give one.",
    **{
        f"generate last Once --explain {flag} {value}": (
            f"--explain shows one token, so {flag} would do nothing. Leave it out."
        )
        for flag, value in (
            ("--samples", "2"),
            ("--logprobs", ""),
            ("--max-tokens", "9"),
            ("--stop", "."),
            ("--on-full", "stop"),
        )
    },
    # things that are not there
    "pretrain nobook.txt --steps 3": None,
    "pretrain book.txt --steps 3 --config no.toml": "no.toml: there is no such file",
    "generate last Once": "runs: there are no runs yet. Make one: vidro quickstart.",
    "runs show book-7": "there is no run 'book-7' here or in runs. Make one: vidro quickstart.",
    "runs rm": "RUN is missing. For example last; see vidro runs list.",
    "pretrain book.txt --steps 3 --from last": "runs: there are no runs yet. Make one: vidro quickstart.",
    "data get tinyshakespear": "there is no corpus called 'tinyshakespear'. Did you mean tinyshakespeare?",
    "tokenizer show nothing": None,
    "generate last --prompts-file no.txt": "no.txt: there is no such file",
}


@pytest.mark.parametrize("command", TABLE)
def test_a_wrong_command_line(command: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(desk.rglob("*"))
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vidro: error: ")
    assert err.count("\n") == 1, "one line"
    if TABLE[command] is not None:
        assert err == f"vidro: error: {TABLE[command]}\n"
    assert sorted(desk.rglob("*")) == before, "something was written"


def test_no_budget_at_all(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "book.txt"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith(f" {ONE_BUDGET}\n")
    assert list(desk.iterdir()) == [desk / "book.txt"]


def test_an_unknown_key_in_a_toml_file(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "my.toml").write_text("[optim]\nlearning_rate = 0.1\n", encoding="utf-8")
    assert main(["pretrain", "book.txt", "--steps", "3", "--config", "my.toml"]) == 2
    assert capsys.readouterr().err.startswith("vidro: error: my.toml: unknown key optim.learning_rate. Known: ")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("lr = = 1", ". vidro pretrain FILE --minutes 1 --dry-run prints one that is right."),
        ("optim = 3", ": [optim] must be a table. Write [optim] on a line of its own, and its settings below."),
        ('[optim]\nlr = "0.1"', "lr: '0.1' is not a float. Numbers, true and false stand without quotes."),
    ],
)
def test_a_toml_file_that_is_not_right(toml: str, message: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "my.toml").write_text(toml, encoding="utf-8")
    assert main(["pretrain", "book.txt", "--steps", "3", "--config", "my.toml"]) == 2
    assert capsys.readouterr().err.endswith(f"{message}\n")


def test_prompts_that_are_not_utf_8(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "prompts.txt").write_bytes(b"caf\xe9\n")
    assert main(["generate", "last", "--prompts-file", "prompts.txt"]) == 2
    assert capsys.readouterr().err == "vidro: error: prompts.txt: this is not UTF-8 text. Save it as UTF-8.\n"


def test_an_empty_prompts_file(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "prompts.txt").write_text("\n\n", encoding="utf-8")
    assert main(["generate", "last", "--prompts-file", "prompts.txt"]) == 2
    assert capsys.readouterr().err == "vidro: error: prompts.txt: there is no prompt in this file. Write one a line.\n"


def test_a_missing_extra(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["pretrain", "book.txt", "--steps", "3", "--log", "wandb"]) == 2
    assert capsys.readouterr().err == "vidro: error: log: wandb is not installed. pip install 'vidro[wandb]'\n"


def test_a_tokenizer_is_not_replaced_by_accident(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tokenizer", "train", "book.txt", "--vocab-size", "512", "--out", "tok"]
    assert main(command) == 0
    before = (desk / "tok" / "tokenizer.json").read_bytes()
    capsys.readouterr()
    assert main(command) == 2
    expected = "tok: there is a tokenizer here already. Choose another --out, or --overwrite."
    assert capsys.readouterr().err == f"vidro: error: {expected}\n"
    assert (desk / "tok" / "tokenizer.json").read_bytes() == before
