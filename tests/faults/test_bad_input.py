"""Bad input through the real command line: one clear line, exit code 2, nothing written, nothing lost.

Each test takes one item of the list in the issue. Here: texts, numbers, prompts, names, budgets. Shards, checkpoints
and run directories: `test_bad_runs.py`. Wrong command lines in all variety: `tests/cli/test_mistakes.py`.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.commands import TRAIN, Refused, Works, contents

import vidro
from vidro.cli.main import main
from vidro.config.load import leaves
from vidro.config.schema import PretrainOptions, SamplingOptions, Settings
from vidro.data.tinyworld import text

# Texts

STORY = text(2, 3_000)
GOOD_LINE = json.dumps({"text": STORY}) + "\n"

LATIN = f"caf\xe9 {STORY}".encode("latin-1")
FAR = (STORY * 500).encode() + b"\xff"
RECORDS = "".join(json.dumps({"text": text(number, 900)}) + "\n" for number in range(20)).encode()

TEXTS: dict[str, tuple[str, bytes, str]] = {  # what → the file, its bytes, what the line says in this order
    "empty": ("x.txt", b"", "x.txt: the file is empty"),
    "blank": ("x.txt", b" \n\t\n", "x.txt: there is no text in it"),
    "binary": ("x.txt", b"\x89PNG\r\n\x1a\n\x00" + bytes(range(256)), "x.txt: this is a binary file … offset 8 … .txt"),
    "not UTF-8": ("x.txt", LATIN, "x.txt: … byte 0xE9 at byte offset 3 … --encoding latin-1"),
    "not UTF-8, far in": ("x.txt", FAR, f"x.txt: … byte 0xFF at byte offset {len(FAR) - 1:,} … --encoding"),
    "one line": ("x.txt", b"One short line.\n", "x.txt: the training part has … Give more text"),
    "ten characters": ("x.txt", b"Ten chars.", "x.txt: the training part has … smaller --context-length"),
    "JSONL, bad line": ("x.jsonl", f"{GOOD_LINE * 3}{{oops\n".encode(), "x.jsonl: line 4: this is not JSON … --skip"),
    "JSONL, no text": ("x.jsonl", b'{"txt": 1}\n', "line 1: there is no 'text' field (fields: txt) … --skip-bad"),
    "gzipped text cut short": (
        "x.txt.gz", gzip.compress(RECORDS)[:-99], "x.txt.gz: the compressed file is cut short … Fetch or pack it again"
    ),
    "gzipped JSONL cut short": (
        "x.jsonl.gz", gzip.compress(RECORDS)[:-99], "x.jsonl.gz: the … cut short: … lines could be read … --skip-bad"
    ),
    "not gzip at all": ("x.txt.gz", b"plain text " * 30, "x.txt.gz: "),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_cannot_be_used(name: str, desk: Path, refused: Refused) -> None:
    file, data, expected = TEXTS[name]
    (desk / file).write_bytes(data)
    line = refused("pretrain", file, *TRAIN)
    assert re.search(".*".join(re.escape(part) for part in expected.split(" … ")), line), line


@pytest.mark.parametrize(
    "command",
    [
        "data show x.txt",
        "data prepare x.txt --tokenizer bytes --out t",
        "tokenizer train x.txt --out t",
        "evaluate s --text x.txt",
    ],
)
def test_every_command_that_reads_text_refuses_it_alike(command: str, desk: Path, refused: Refused) -> None:
    (desk / "x.txt").write_bytes(TEXTS["not UTF-8"][1])
    assert "0xE9 at byte offset 3" in refused(*command.split())
    (desk / "x.txt").unlink()
    assert refused(*command.split()).startswith("x.txt: there is no such file")


def test_a_missing_text_names_the_nearest(desk: Path, refused: Refused) -> None:
    assert refused("pretrain", "bok.txt", *TRAIN) == "bok.txt: there is no such file or folder. Did you mean book.txt?"
    (desk / "nothing").mkdir()
    assert refused("pretrain", "nothing", *TRAIN).startswith("nothing: there is no text in this folder")
    assert refused("pretrain", "*.text", *TRAIN).startswith("*.text: no file matches this pattern")
    assert refused("pretrain", "book.txt", "--val", "no.txt", *TRAIN).startswith("no.txt: there is no such file")


def test_with_its_encoding_the_same_text_can_be_used(desk: Path, works: Works) -> None:
    (desk / "x.txt").write_bytes(TEXTS["not UTF-8"][1])
    works("pretrain", "x.txt", *TRAIN, "--encoding", "latin-1", "--dry-run")


def test_an_encoding_that_does_not_exist(desk: Path, refused: Refused) -> None:
    line = refused("pretrain", "book.txt", *TRAIN, "--encoding", "latin-7x")
    assert line == "encoding: there is no text encoding called 'latin-7x'. Try utf-8, latin-1 or cp1252."


def test_a_text_shorter_than_a_window(desk: Path, refused: Refused) -> None:
    line = refused("pretrain", "book.txt", "--steps", "3", "--vocab-size", "320", "--context-length", "16000")
    assert line.startswith("book.txt: the training part has ")
    assert line.endswith("fewer than one window of 16000 + 1. Give more text, or a smaller --context-length.")


def test_bad_records_can_be_skipped_and_are_counted(desk: Path, works: Works) -> None:
    good = [json.dumps({"text": text(n, 1_500)}) for n in range(12)]
    (desk / "x.jsonl").write_text("\n".join([*good[:2], "{oops", *good[2:]]), encoding="utf-8")
    err = works("pretrain", "x.jsonl", *TRAIN, "--skip-bad", "--dry-run")
    assert "Skipped as bad: x.jsonl line 3: this is not JSON" in err
    (desk / "x.jsonl").write_text("\n".join([*good, "{oops", '{"txt": 1}', "[]"]), encoding="utf-8")
    err = works("pretrain", "x.jsonl", *TRAIN, "--skip-bad", "--dry-run")
    assert "3" in err.split("Skipped as bad")[1]


def test_nothing_but_bad_records(desk: Path, refused: Refused) -> None:
    (desk / "x.jsonl").write_text('{"txt": 1}\n', encoding="utf-8")
    line = refused("pretrain", "x.jsonl", *TRAIN, "--skip-bad")
    assert line.startswith("x.jsonl: there is no text in it. Skipped as bad: x.jsonl line 1")


# Numbers, prompts, flags


def out_of_range(schema: type[Settings]) -> list[tuple[str, str]]:
    """Each number of the schema with zero (where that is not allowed) and a negative value."""
    cases = []
    for name, (_, item) in leaves(schema).items():
        rule = item.metadata
        if "ge" in rule or "gt" in rule:
            cases += [(name, "-1")]
        if "gt" in rule or rule.get("ge", 0) > 0:
            cases += [(name, "0")]
    return cases


@pytest.mark.parametrize(("name", "number"), out_of_range(PretrainOptions))
def test_zero_and_negative_numbers(name: str, number: str, refused: Refused) -> None:
    flag = name.replace("_", "-")
    budget = [] if name in ("minutes", "tokens", "steps", "epochs") else ["--steps", "3"]
    line = refused("pretrain", "book.txt", *budget, f"--{flag}", number)
    assert line.startswith(f"{flag}: {number}")
    assert "is too small. It must be" in line


@pytest.mark.parametrize(("name", "number"), out_of_range(SamplingOptions))
def test_zero_and_negative_numbers_of_sampling(name: str, number: str, refused: Refused) -> None:
    flag = name.replace("_", "-")
    assert refused("generate", "s", "Once", f"--{flag}", number).startswith(f"{flag}: {number}")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("generate s Once --samples 0", "samples: 0 is too small"),
        ("generate s Once --threads 0", "threads: 0 is too small"),
        ("evaluate s --text book.txt --stride 0", "stride: 0 is not possible. It must be between 1 and 16."),
        ("evaluate s --text book.txt --stride 17", "stride: 17 is not possible. It must be between 1 and 16."),
        ("pretrain --resume s --more 0", "more: 0.0 is too small. It must be greater than 0."),
        (
            "tokenizer train book.txt --out t --vocab-size 0",
            "a vocabulary of 0 tokens is not possible. Choose a multiple",
        ),
        ("data prepare book.txt --tokenizer bytes --out t --processes 0", "processes: 0 is not possible"),
    ],
)
def test_other_numbers_out_of_range(command: str, expected: str, refused: Refused) -> None:
    assert refused(*command.split()).startswith(expected)


LONG = "once upon a time " * 20


@pytest.mark.parametrize("flags", [["--explain"], ["--samples", "2"], ["--json"], ["--on-full", "stop", "--logprobs"]])
def test_a_prompt_longer_than_the_context(flags: list[str], desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(desk)
    assert main(["generate", "s", LONG, *flags]) == 2
    out, err = capsys.readouterr()
    assert out == "" or json.loads(out)["error"]["kind"] == "UsageError"
    line = err.removeprefix("vidro: error: ").removesuffix("\n")
    assert line.startswith("prompt: it is ")
    assert line.endswith("tokens long, and the model sees 16 at once. Shorten it to at most 16 tokens.")
    assert contents(desk) == before


def test_a_prompt_longer_than_the_context_written_live(refused: Refused) -> None:
    assert "the model sees 16 at once" in refused("generate", "s", LONG)


def test_a_sample_prompt_longer_than_the_context(refused: Refused) -> None:
    assert "the model sees 16 at once" in refused("pretrain", "book.txt", *TRAIN, "--sample-prompts", LONG)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pretran book.txt", "there is no command 'pretran'. Did you mean pretrain?"),
        ("runs lst", "there is no command 'vidro runs lst'. Did you mean list?"),
        ("pretrain book.txt --step 3", "there is no flag --step. Did you mean --steps?"),
        ("generate s Once --temprature 1", "there is no flag --temprature. Did you mean --temperature?"),
        ("pretrain book.txt --config my.toml", "my.toml: unknown key optim.warm_up. Did you mean warmup?"),
    ],
)
def test_unknown_words_and_budgets(command: str, expected: str, desk: Path, refused: Refused) -> None:
    (desk / "my.toml").write_text("[budget]\nsteps = 3\n[optim]\nwarm_up = 0.1\n", encoding="utf-8")
    assert refused(*command.split()).startswith(expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--device", "cuda:99"], "device: there is no "),
        (["--device", "gpu"], "device: "),
        (["--device", "cpu", "--precision", "fp16"], "precision: fp16 needs a GPU. Choose fp32 (or bf16)."),
    ],
)
def test_a_machine_that_is_not_here(flags: list[str], expected: str, refused: Refused) -> None:
    assert refused("pretrain", "book.txt", *TRAIN, *flags).startswith(expected)
    assert refused("pretrain", "book.txt", *TRAIN, *flags, "--dry-run").startswith(expected)


@pytest.mark.parametrize("budgets", [[], ["--steps", "--minutes"], ["--tokens", "--epochs"]])
def test_exactly_one_budget(budgets: list[str], refused: Refused) -> None:
    line = refused("pretrain", "book.txt", *(word for flag in budgets for word in (flag, "3")))
    what, hint = line.split("Say one of ")
    assert all(flag in what for flag in budgets)
    assert all(flag in hint for flag in ("--minutes", "--tokens", "--steps", "--epochs"))


def test_an_unknown_keyword_in_python(desk: Path) -> None:
    with pytest.raises(vidro.VidroError, match=r"there is no setting 'step'\. Did you mean steps\?"):
        vidro.pretrain("book.txt", step=3)


# The same as a process of its own


@pytest.mark.parametrize("command", ["pretrain empty.txt --steps 3", "generate nobody Once"])
def test_as_a_process(command: str, desk: Path, environment: dict[str, str]) -> None:
    (desk / "empty.txt").touch()
    before = contents(desk)
    arguments = [sys.executable, "-m", "vidro", *command.split()]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("vidro: error: ")
    assert contents(desk) == before
