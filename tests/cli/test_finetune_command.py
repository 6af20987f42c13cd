"""``vidro finetune`` from end to end, and what other commands do with its runs; every mistake is one line."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vidro
from vidro.checkpoint.run import verify_root
from vidro.cli.main import main
from vidro.config.schema import SamplingOptions
from vidro.core.errors import UsageError
from vidro.data.instructions import read_instructions
from vidro.data.tinyworld import instructions, messages
from vidro.text.conversation import Message

QUICK = ["--steps", "4", "--evals", "2", "--threads", "1"]
SHORT = ["--answer-tokens", "3", "--test-rows", "4"]
TOPICS = ["animals", "food", "market", "sea", "weather"]


@pytest.fixture(scope="module")
def place(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, runs/book-1 (a base), runs/messages-1 (a classifier) and runs/asked-1 (it answers)."""
    folder = tmp_path_factory.mktemp("finetune")
    shutil.copytree(trained / "runs", folder / "runs")
    shutil.copy(trained / "book.txt", folder)
    rows = {text: label for label, text in messages(seed=2, n=120, task="topics", held_out=False)}
    lines = [f"{label}\t{text}\n" for text, label in rows.items()]
    (folder / "messages.tsv").write_text("".join(lines), encoding="utf-8")
    asked = [json.dumps(row._asdict()) for row in instructions(seed=2, n=60, held_out=False)]
    (folder / "asked.jsonl").write_text("\n".join(asked), encoding="utf-8")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDRO_CACHE", str(folder / "cache"))
        assert main(["finetune", "classify", "book-1", "--data", "messages.tsv", *QUICK]) == 0
        assert main(["finetune", "instruct", "book-1", "--data", "asked.jsonl", *QUICK, *SHORT]) == 0
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, to be in; runs that a test makes are taken away again."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("VIDRO_CACHE", str(place / "cache"))
    before = set((place / "runs").iterdir())
    yield place
    for path in set((place / "runs").iterdir()) - before:
        shutil.rmtree(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """stdout and stderr of a command that goes well."""
    code = main(list(words))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def test_classify(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, "finetune", "classify", "book-1", "--data", "messages.tsv", *QUICK)
    assert out == "runs/messages-2\n"
    record = verify_root(here / "runs" / "messages-2")
    assert (record["kind"], record["labels"]) == ("classifier", TOPICS)
    test = record["results"]["test"]
    assert f"{test['n_right']:,} of {test['n']:,} rows right" in err
    assert "a bag of words" in err
    assert "nats/text" in err
    assert 'vidro predict runs/messages-2 "a text"' in err
    assert (here / "runs" / "messages-2" / "plots" / "confusion.png").is_file()


def test_instruct(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, "finetune", "instruct", "book-1", "--data", "asked.jsonl", *QUICK, *SHORT)
    assert out == "runs/asked-2\n"
    record = verify_root(here / "runs" / "asked-2")
    assert (record["kind"], record["prompt_style"]) == ("instruct", "chatml")
    assert "4 answers" in err
    bars = [f"{bar['name']} {bar['f1']['mean']:.1%}" for bar in record["results"]["yardsticks"]]
    assert f"Word F1 without a model: {', '.join(bars)}." in err
    assert "vidro chat runs/asked-2" in err
    assert len((here / "runs" / "asked-2" / "responses.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(("kind", "data"), [("classify", "messages.tsv"), ("instruct", "asked.jsonl")])
def test_json_is_one_object(kind: str, data: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = SHORT if kind == "instruct" else []
    words = ["finetune", kind, "book-1", "--data", data, *QUICK, *own, "--out", "runs/mine", "--json"]
    out, err = run(capsys, *words)
    assert out.count("\n") == 1
    plain = json.loads(out)
    assert (plain["run"], plain["reason"], plain["steps"]) == ("runs/mine", "budget", 4)
    results = verify_root(here / "runs" / "mine")["results"]
    assert {name: plain[name] for name in results} == results
    assert ("test" if kind == "classify" else "answers") in plain
    assert err
    assert main(words) == 2
    assert "this run directory exists already" in capsys.readouterr().err
    again = json.loads(run(capsys, *words, "--overwrite")[0])
    rest = ("elapsed_s", "minutes", "memory_peak_bytes")
    assert {k: v for k, v in again.items() if k not in rest} == {k: v for k, v in plain.items() if k not in rest}


def test_a_stopped_run_goes_on(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from vidro.train import finetune as training

    def gone(*arguments: Any, **keywords: Any) -> None:
        raise KeyboardInterrupt

    words = ["finetune", "classify", "book-1", "--data", "messages.tsv", *QUICK, "--checkpoint-steps", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(training, "conclude", gone)
        assert main([*words, "--out", "runs/stopped"]) == 130
    capsys.readouterr()
    whole = run(capsys, *words, "--out", "runs/whole")[0].strip()
    out, err = run(capsys, "finetune", "classify", "--resume", "stopped")
    assert out == "runs/stopped\n"
    assert "going on from step 4" in err
    first, second = ((Path(name) / "model.safetensors").read_bytes() for name in (whole, "runs/stopped"))
    assert first == second


def test_a_corpus_with_its_own_test_rows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = [*QUICK, "--json", "--out", "runs/spam"]
    plain = json.loads(run(capsys, "finetune", "classify", "book-1", "--data", "tinyworld-spam", *own)[0])
    assert plain["test"]["n"] == 250
    assert verify_root(here / "runs" / "spam")["labels"] == ["ham", "spam"]


def test_settings_of_a_file_and_flags_that_win(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["finetune", "classify", "book-1", "--config", "runs/messages-1/run.toml", "--out", "runs/again", "--json"]
    plain = json.loads(run(capsys, *words, "--steps", "2")[0])
    assert plain["steps"] == 2
    again = json.loads(run(capsys, *words, "--overwrite", "--epochs", "0.2")[0])
    n_train = verify_root(here / "runs" / "again")["data"]["n_train"]
    assert again["steps"] == math.ceil(0.2 * math.ceil(n_train / 16))  # the other budget has replaced the file's


def test_what_predict_and_evaluate_do_with_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "predict", "messages-1", "The ferry is late.")
    assert out.split()[0] in TOPICS
    found = json.loads(run(capsys, "evaluate", "messages-1", "--labels", "messages.tsv", "--json")[0])
    lines = [line.split("\t") for line in (here / "messages.tsv").read_text(encoding="utf-8").splitlines()]
    classifier = vidro.load("messages-1", device="cpu")
    found_labels = [one.label for one in classifier.predict_many(text for _, text in lines)]
    right = [one == label for one, (label, _) in zip(found_labels, lines, strict=True)]
    assert found["labels"] == "messages.tsv"
    assert (found["n"], found["n_right"]) == (len(lines), sum(right))
    assert found["run"] == "messages-1"
    out, err = run(capsys, "evaluate", "messages-1", "messages-1@4", "--labels", "messages.tsv")
    assert out.count("true ↓ predicted →") == 2
    assert f"{sum(right)} of {len(lines)} rows right" in out
    assert err.count("Text: column '2', label: column '1' (guessed).") == 1


def test_labels_that_the_classifier_does_not_know(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "music.tsv").write_text("sea\tThe ferry is late.\nmusic\tTwo songs.\n", encoding="utf-8")
    assert main(["evaluate", "messages-1", "--labels", "music.tsv"]) == 2
    assert "line 2: the label 'music' is not known. Known: animals, food, market" in capsys.readouterr().err
    (here / "few.tsv").write_text("sea\tThe ferry is late.\nsea\tThe seal sings.\n", encoding="utf-8")
    found = json.loads(run(capsys, "evaluate", "messages-1", "--labels", "few.tsv", "--json")[0])
    assert found["n"] == 2  # some classes may be absent


def talk(monkeypatch: pytest.MonkeyPatch, typed: str, *words: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert main(["chat", *words, "--max-tokens", "8", "--seed", "1"]) == 0


def test_chat_in_the_style_that_it_was_taught(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = tmp_path / "talk.json"
    talk(monkeypatch, f"/system Be short.\nWhy?\n\n/save {kept}\n/quit\n", "asked-1")
    out, err = capsys.readouterr()
    (row,) = read_instructions(kept).rows
    assert [message.text for message in row.messages[:2]] == ["Be short.", "Why?"]
    assert out == f"{row.messages[2].text}\n"
    answerer = vidro.load("asked-1", device="cpu").answerer
    (again,) = answerer.answers([row.prompt], SamplingOptions(max_tokens=8, seed=1))
    assert again.text == row.messages[2].text
    assert "book.txt" in err  # what it has read, and those before it
    assert "asked.jsonl" in err
    assert "Beginnings that suit it" not in err  # it does not continue texts
    assert "there is nothing to answer" in err
    assert f"Written to {kept}." in err


def test_system_on_the_command_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, "Why?\n", "asked-1", "--system", "Be short.")
    run_there = vidro.load("asked-1", device="cpu")
    talk_so_far = [Message("system", "Be short."), Message("user", "Why?")]
    (answer,) = run_there.answerer.answers([talk_so_far], SamplingOptions(max_tokens=8, seed=1))
    assert capsys.readouterr().out == f"{answer.text}\n"


def test_two_runs_get_the_same_words(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, "Why?\n/seed 7\nOnce\n/retry\n", "asked-1", "--compare", "book-1")
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line in ("asked-1:", "book-1:")]
    assert lines == ["asked-1:", "book-1:"] * 3
    talk(monkeypatch, "Why?\n/seed 7\nOnce\n/retry\n", "asked-1")
    alone = capsys.readouterr().out
    talk(monkeypatch, "Why?\n/seed 7\nOnce\n/retry\n", "book-1")
    other = capsys.readouterr().out
    assert sorted(out) == sorted(alone + other)
    base = vidro.load("book-1", device="cpu").generate("Why?", seed=1, max_tokens=8)
    assert f"\n{base}\n" in out


def test_runs_shows_where_they_come_from(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "runs", "show", "messages-1")
    assert "book-1" in out
    assert "messages.tsv" in out
    listed = json.loads(run(capsys, "runs", "list", "--json")[0])
    assert {"book-1", "messages-1", "asked-1"} <= {Path(each["run"]).name for each in listed["runs"]}


def test_the_python_call_makes_the_same_run(here: Path) -> None:
    made = vidro.finetune(
        "classify", "book-1", data="messages.tsv", steps=4, evals=2, threads=1, out="runs/python", progress=False
    )
    first, second = ((path / "model.safetensors").read_bytes() for path in (made.path, here / "runs" / "messages-1"))
    assert first == second
    with pytest.raises(UsageError, match="there is no setting 'dat'"):
        vidro.finetune("classify", "book-1", dat="messages.tsv")
    with pytest.raises(UsageError, match=r"there is no fine-tuning called 'clasify'\. Did you mean classify\?"):
        vidro.finetune("clasify", "book-1", data="messages.tsv")


GONE = "A resumed run keeps its place and settings."
LANGUAGE = "Start from the language model that it was made from."
NO_CLASSES = (
    "this run is a language model, not a classifier. "
    "Make a classifier of it: vidro finetune classify RUN --data FILE."
)  # fmt: skip
WRITES_NOT = "this run is a classifier; it writes no text. Ask it for a class: vidro predict RUN TEXT."
DATA = "--data messages.tsv"
MISTAKES = {
    # settings that another one would ignore
    f"finetune classify book-1 {DATA} --micro-batch 99": ("micro-batch: 99 rows are more than the 16 of a whole step"),
    f"finetune classify book-1 {DATA} --optimizer adamw --muon-lr 0.01": (
        "muon-lr: it means nothing beside --optimizer adamw. Leave one of the two out."
    ),
    f"finetune classify book-1 {DATA} --test messages.tsv --test-share 0.3": (
        "test-share: it means nothing beside --test. Leave one of the two out."
    ),
    "finetune instruct book-1 --data asked.jsonl --pack --batch-rows 1": (
        "pack: it means nothing beside --batch-rows 1. There is nothing to pack one row with: leave one of the two out."
    ),
    f"finetune classify book-1 {DATA} --pack": "there is no flag --pack. Did you mean --patience?",
    "finetune prefer asked-1 --data pairs.json --pack": "there is no flag --pack. Did you mean --patience?",
    # which run, which rows
    "finetune classify book-1": "no labelled texts are named. For example --data messages.tsv.",
    "finetune instruct book-1": "no instructions are named. For example --data instructions.json.",
    f"finetune classify {DATA}": "RUN is missing. For example vidro finetune classify last --data FILE.",
    f"finetune classify bok-1 {DATA}": "there is no run 'bok-1' here or in runs. Did you mean book-1?",
    "finetune classify book-1 --data no.tsv": "no.tsv: there is no such file or folder",
    "finetune instruct book-1 --data no.jsonl": "no.jsonl: there is no such file or folder",
    "finetune classify book-1 --data tinyworld": "tinyworld: this corpus has no labels. See vidro data list.",
    "finetune classify book-1 --data tinyworld-instructions": (
        "tinyworld-instructions: this corpus has no labels. See vidro data list."
    ),
    "finetune instruct book-1 --data tinyworld-spam": (
        "tinyworld-spam: this corpus has no instructions. See vidro data list."
    ),
    f"finetune classify book-1 {DATA} --text-column body": (
        "messages.tsv: there is no column 'body' (columns: 1, 2). Name one of these."
    ),
    f"finetune classify book-1 {DATA} --text-column 2 --label-column 2": (
        "the text and the label cannot both be column '2'. Name the columns: --text-column NAME --label-column NAME."
    ),
    # settings
    f"finetune classify book-1 {DATA} --steps 3 --epochs 3": "--steps and --epochs are both budgets. Say one of them.",
    f"finetune classify book-1 {DATA} --trainable last-blocks=99": (
        "trainable: the model has 4 blocks only. Say all for all of it."
    ),
    f"finetune classify book-1 {DATA} --trainable tail": (
        "trainable: 'tail' is not possible. Possible: all, head, last-blocks=N, lora."
    ),
    f"finetune classify book-1 {DATA} --lora-rank 4": (
        "lora-rank: it means nothing beside --trainable all. Say --trainable lora too."
    ),
    f"finetune classify book-1 {DATA} --balance undersampled": (
        "balance: 'undersampled' is not possible. Did you mean undersample?"
    ),
    f"finetune classify book-1 {DATA} --max-tokens 999": (
        "max-tokens: the model sees 128 tokens only. Leave it out to use all of it."
    ),
    f"finetune classify book-1 {DATA} --minutes 0.01": (
        "minutes: 0.01 minutes are too short. Reading and scoring take longer."
    ),
    f"finetune classify book-1 {DATA} --overwrite": "--overwrite replaces the run that --out names. Say --out too.",
    f"finetune classify book-1 {DATA} --log tensorbord": (
        "log: there is no logger 'tensorbord'. Did you mean tensorboard?"
    ),
    "finetune instruct book-1 --data asked.jsonl --style alpacca": (
        "there is no prompt style 'alpacca'. Did you mean alpaca?"
    ),
    "finetune clasify book-1": "there is no command 'vidro finetune clasify'. Did you mean classify?",
    # going on
    "finetune classify --resume messages-1 --epochs 3": f"--epochs does not go with --resume. {GONE}",
    "finetune classify --resume messages-1 --out runs/x": f"--out does not go with --resume. {GONE}",
    f"finetune classify --resume messages-1 {DATA}": f"--data does not go with --resume. {GONE}",
    "finetune classify book-1 --resume messages-1": (
        "book-1: a resumed run knows what it started from. Leave RUN out."
    ),
    "finetune classify --resume messages-1": "runs/messages-1: this run is finished. Start a new run.",
    "finetune classify --resume asked-1": (
        "runs/asked-1: this run is of another kind (instruct). Go on with vidro finetune instruct --resume."
    ),
    "finetune classify --resume book-1": (
        "runs/book-1: this run is of another kind (base). Go on with vidro pretrain --resume."
    ),
    "pretrain --resume messages-1": (
        "runs/messages-1: this run was fine-tuned (classifier). Use vidro finetune classify."
    ),
    # a classifier is asked for what only a language model can, and the other way round
    f"finetune classify messages-1 {DATA}": f"runs/messages-1: this run is a classifier already. {LANGUAGE}",
    "finetune instruct messages-1 --data asked.jsonl": (
        f"runs/messages-1: this run is a classifier; it cannot answer. {LANGUAGE}"
    ),
    "generate messages-1 Once": WRITES_NOT,
    "chat messages-1": WRITES_NOT,
    "chat book-1 --compare messages-1": WRITES_NOT,
    "chat book-1 --system Short.": "runs/book-1: this run was not taught to answer. Leave --system out.",
    "predict book-1 Once": NO_CLASSES,
    "predict asked-1 Once": NO_CLASSES,
    "evaluate book-1 --labels messages.tsv": NO_CLASSES,
    "evaluate messages-1 --text book.txt": (
        "runs/messages-1: this run is a classifier; it predicts no text. "
        "Say labelled texts: vidro evaluate RUN --labels FILE."
    ),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_one_line_and_nothing_is_written(
    line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set((here / "runs").iterdir())
    assert main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"vidro: error: {MISTAKES[line]}\n"
    assert set((here / "runs").iterdir()) == before
