"""``vidro evaluate --instructions``: a tiny run that answers and its base, asked the same, with a real HTTP judge."""

from __future__ import annotations

import contextlib
import http.server
import inspect
import json
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import vidro
from vidro.api.evaluate import AnswerOptions, evaluate_instructions
from vidro.cli.main import main
from vidro.core.errors import UsageError, VidroError
from vidro.data.instructions import read_instructions
from vidro.data.tinyworld import instructions, messages
from vidro.evals.answer_yardsticks import REPEATED, SIMILAR, repeated_questions, similar_answers
from vidro.evals.answering import read_kept
from vidro.evals.judge import score_prompt
from vidro.train.instruct import read_rows

QUICK = ("--answer-tokens", "4", "--device", "cpu")
KEPT = Path("runs/asked-1/evaluations/new")


@dataclass
class Judge:
    """An Ollama that says what it is told to, and what it was asked."""

    url: str = ""
    reply: Callable[[str], str] = lambda prompt: "80"
    key: str | None = None
    prompts: list[str] = field(default_factory=list)
    gone_after: int | None = None


class Handler(http.server.BaseHTTPRequestHandler):
    judge: Judge

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state = self.judge
        if state.gone_after is not None and len(state.prompts) >= state.gone_after:
            return  # hangs up
        if state.key is not None and self.headers["Authorization"] != f"Bearer {state.key}":
            self.send({"error": "unauthorized"}, 401)
            return
        state.prompts.append(body["messages"][-1]["content"])
        message = {"role": "assistant", "content": state.reply(state.prompts[-1])}
        self.send({"model": body["model"], "message": message, "done": True, "prompt_eval_count": 7}, 200)

    def send(self, content: dict[str, Any], status: int) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def judge() -> Iterator[Judge]:
    state = Judge()
    handler = type("Bound", (Handler,), {"judge": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        state.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        listening.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def taught(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with book-1, asked-1 made from it, and new.json with six questions; nobody may change it."""
    folder = tmp_path_factory.mktemp("taught")
    shutil.copytree(trained / "runs/book-1", folder / "runs/book-1")
    rows = [row._asdict() for row in instructions(seed=2, n=60, held_out=False)]
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    new = [row._asdict() for row in instructions(seed=5, n=6, held_out=False)]
    (folder / "new.json").write_text(json.dumps(new), encoding="utf-8")
    settings = {"steps": 4, "batch_rows": 4, "evals": 1, "threads": 1, "answer_tokens": 4, "test_rows": 2}
    with contextlib.chdir(folder):
        vidro.finetune("instruct", "book-1", data="asked.jsonl", progress=False, cache_dir=folder / "cache", **settings)
    return folder


@pytest.fixture
def place(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in."""
    folder = tmp_path / "place"
    shutil.copytree(taught, folder)
    monkeypatch.chdir(folder)
    return folder


def say(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    found = main(["evaluate", *words, "--instructions", "new.json", *QUICK])
    out, err = capsys.readouterr()
    assert found == code, err
    return out, err


def plain(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    out, _ = say(capsys, *words, "--json")
    assert out.count("\n") == 1
    return json.loads(out)


def test_one_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = say(capsys, "asked-1")
    assert out.startswith("asked-1 on new.json (chatml):\n6 answers\nexact match")
    first = json.loads((place / "new.json").read_text(encoding="utf-8"))[0]
    assert " ".join(first["instruction"].split()[:2]) in out
    assert f"All answers of asked-1: {KEPT / 'responses.jsonl'}" in err
    assert "answers of asked-1: 6 of 6" in err
    lines = [json.loads(line) for line in (KEPT / "responses.jsonl").read_text(encoding="utf-8").splitlines()]
    record = json.loads(Path("runs/asked-1/vidro.json").read_text(encoding="utf-8"))
    assert {line["model"] for line in lines} == {record["files"]["model.safetensors"]}
    assert [line["row"] for line in lines] == [1, 2, 3, 4, 5, 6]
    again, _ = say(capsys, "asked-1")
    assert again.startswith("asked-1 on new.json (chatml, 6 of them answered before):\n6 answers")


def test_python_gives_what_the_command_gives(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plain(capsys, "asked-1", "--rows", "3")
    run = vidro.load("asked-1", device="cpu")
    same = run.evaluate_instructions("new.json", rows=3, answer_tokens=4)
    assert same.n_resumed == 3
    assert found == {
        "instructions": "new.json", "form": "alpaca", "n_rows": 6, **same.to_json(), "n_resumed": 0,
        "settings": {"rows": 3, "answer_tokens": 4, "seed": 1337, "greedy": True},
    }  # fmt: skip
    assert run.answer(same.answers[0].instruction, input=same.answers[0].input, greedy=True, max_tokens=4) == (
        same.answers[0].answer
    )
    with pytest.raises(UsageError, match="there is no setting 'answer_tokns'"):
        run.evaluate_instructions("new.json", answer_tokns=4)


def test_a_base_run_stands_beside_its_child(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = say(capsys, "asked-1", "book-1", code=2)
    assert "book-1: this run was not taught to answer. Say how to ask it: --style chatml." in err
    out, err = say(capsys, "asked-1", "book-1", "--style", "alpaca")
    assert "asked-1 is asked in the style that it was taught with, chatml." in err
    table = re.split(r"^run +exact match", out, flags=re.MULTILINE)[1].splitlines()
    assert [line.split("  ")[0] for line in table[2:6]] == ["asked-1", "book-1", "the question", "most similar"]
    assert "row  question" in out
    found = plain(capsys, "asked-1", "book-1", "--style", "alpaca")
    assert "1 of 6 questions do not fit into the 128 tokens of runs/book-1: not asked of any run." in err
    assert [(each["run"], each["style"], each["n"], each["n_resumed"]) for each in found["results"]] == [
        ("asked-1", "chatml", 5, 5), ("book-1", "alpaca", 5, 5),
    ]  # fmt: skip
    assert [each["n_unanswerable"] for each in found["results"]] == [0, 1]
    assert len(read_kept(Path("runs/book-1/evaluations/new/responses.jsonl"))) == 5


def test_what_needs_no_model_and_the_loss_stand_beside_the_scores(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = plain(capsys, "asked-1", "book-1", "--style", "chatml")
    taught, base = found["results"]
    assert [each["name"] for each in taught["yardsticks"]] == [REPEATED, SIMILAR]
    assert [each["name"] for each in base["yardsticks"]] == [REPEATED], "nobody taught it answers"
    assert taught["yardsticks"][0] == base["yardsticks"][0]
    record = json.loads(Path("runs/asked-1/vidro.json").read_text(encoding="utf-8"))
    rows = read_instructions("new.json").rows
    options = vidro.load("asked-1", device="cpu").settings
    learned = read_rows(options.rows, seed=options.train.seed)[1].train
    assert len(learned) == record["data"]["n_train"]
    assert taught["yardsticks"][0] == repeated_questions(rows, seed=1337).to_json()
    assert taught["yardsticks"][1] == similar_answers(rows, learned, seed=1337).to_json()
    for each in (taught, base):
        assert (each["loss"]["n_rows"], each["loss"]["n_left_out"], each["loss"]["n_too_long"]) == (6, 0, 0)
    out, _ = say(capsys, "asked-1", "--report", "r.html")
    (line,) = [line for line in out.splitlines() if line.startswith("asked-1  ")]
    assert line.split()[-1] == f"{taught['loss']['nats_per_token']:.3f}"
    (line,) = [line for line in out.splitlines() if line.startswith("the question  ")]
    assert line.split()[4] == f"{taught['yardsticks'][0]['f1']['mean']:.1%}"
    assert f'"the question": {REPEATED}; for "most similar": {SIMILAR}.' in out
    scores = BeautifulSoup(Path("r.html").read_text(encoding="utf-8"), "html.parser").table
    assert [row.find(["td", "th"]).text for row in scores.tbody.find_all("tr")] == ["asked-1", REPEATED, SIMILAR]
    assert f"{taught['loss']['nats_per_token']:.3f}" in scores.text


def test_rows_that_are_gone_cost_one_yardstick_and_it_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Path("runs/asked-1/vidro.json")
    plain_record = json.loads(record.read_text(encoding="utf-8"))
    plain_record["data"]["source"] = str(place / "moved.jsonl")
    record.write_text(json.dumps(plain_record), encoding="utf-8")
    out, err = say(capsys, "asked-1")
    assert "No similar questions beside runs/asked-1: " in err
    assert "moved.jsonl: the rows that it learned from are gone or have changed." in err
    assert "most similar" not in out
    assert "the question  " in out


def test_an_answer_without_room_is_counted_and_not_in_the_loss(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(Path("new.json").read_text(encoding="utf-8"))
    rows[2]["output"] = "word " * 2000
    Path("new.json").write_text(json.dumps(rows), encoding="utf-8")
    out, err = say(capsys, "asked-1", "--report", "r.html")
    assert "6 answers" in out
    words = "1 of 6 expected answers do not fit into the context of"
    assert f"{words} runs/asked-1: not in the loss." in err
    assert f"{words} asked-1: not in the loss." in Path("r.html").read_text(encoding="utf-8")
    loss = plain(capsys, "asked-1")["loss"]
    assert (loss["n_rows"], loss["n_too_long"], loss["n_left_out"]) == (5, 1, 1)


def test_an_earlier_checkpoint_is_another_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = next(path.name.removeprefix("step-") for path in Path("runs/book-1/checkpoints").iterdir())
    say(capsys, f"book-1@{step}", "--style", "alpaca", "--rows", "2")
    found = read_kept(Path("runs/book-1/evaluations/new/responses.jsonl"))
    say(capsys, "book-1", "--style", "alpaca", "--rows", "2")
    both = read_kept(Path("runs/book-1/evaluations/new/responses.jsonl"))
    weights = {key[0] for key in both}
    assert (len(found), len(weights) * 2) == (2, len(both))


def test_questions_without_room_are_counted_and_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(Path("new.json").read_text(encoding="utf-8"))
    rows[2]["input"] = "word " * 2000
    Path("new.json").write_text(json.dumps(rows), encoding="utf-8")
    out, err = say(capsys, "asked-1", "--report", "r.html")
    assert "1 of 6 questions do not fit into the 128 tokens of runs/asked-1: not asked." in err
    assert "5 answers" in out
    assert "1 of 6 questions do not fit into the context of asked-1." in Path("r.html").read_text(encoding="utf-8")
    assert plain(capsys, "asked-1")["n_unanswerable"] == 1


def test_a_judge_scores_and_goes_on_where_it_stopped(
    place: Path, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    replies = iter(["80", "no idea", "still none", "20"])
    judge.reply = lambda prompt: next(replies)
    judge.gone_after = 4
    _, err = say(capsys, "asked-1", "--judge", f"ollama:llama3@{judge.url}", code=2)
    assert "the connection to the judge was cut" in err
    assert "3 of 6 replies are kept in" in err
    assert len(read_kept(KEPT / "responses.jsonl")) == 6
    judge.gone_after, judge.reply = None, lambda prompt: "50"
    out, _ = say(capsys, "asked-1", "--judge", f"ollama:llama3@{judge.url}", "--report", "r.html")
    assert len(judge.prompts) == 4 + 3
    assert "judge                 50.00 of 100   95 %:" in out
    assert "6 rows; for 1 of them the judge's reply could not be read" in out
    assert "3 replies were there from an earlier call" in out
    assert out.count("  | Score the answer that a model gave") == 1, "the prompt is shown once"
    kept = [json.loads(line) for line in (KEPT / "judge.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["verdict"] for line in kept] == [80, None, 20, 50, 50, 50]
    page = BeautifulSoup(Path("r.html").read_text(encoding="utf-8"), "html.parser")
    answers = vidro.load("asked-1", device="cpu").evaluate_instructions("new.json", answer_tokens=4).answers
    assert page.pre.text == score_prompt(answers[0]) == kept[0]["prompt"] == judge.prompts[0]


def test_two_runs_are_judged_in_pairs_with_the_order_swapped(
    place: Path, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    judge.reply = lambda prompt: "A" if "### Answer B" in prompt else "70"
    words = ("asked-1", "book-1", "--style", "chatml", "--judge", f"ollama:llama3@{judge.url}")
    found = plain(capsys, *words)
    assert found["judge"] == f"ollama:llama3@{judge.url}"
    assert [each["judged"]["scores"] for each in found["results"]] == [[70] * 6, [70] * 6]
    assert (found["pairs"]["inconsistent"], found["pairs"]["n"]) == (6, 6)
    assert found["pairs"]["win_rate"]["mean"] == 0.5
    n_asked = len(judge.prompts)
    assert n_asked == 6 + 6 + 12
    out, _ = say(capsys, *words, "--report", "r.html")
    assert len(judge.prompts) == n_asked, "everything was there"
    assert "asked-1 against book-1, in both orders:" in out
    assert "0 won, 0 lost, 0 tied, 6 hung on the order" in out
    assert "hung on the order" in Path("r.html").read_text(encoding="utf-8")


def test_a_judge_that_is_not_running_loses_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        out, err = say(capsys, "asked-1", "--judge", f"ollama:llama3@{url}", code=2)
    assert "6 answers" in out
    assert err.splitlines()[-1].startswith(f"vidro: error: {url}: the judge cannot be reached")
    assert "ollama serve" in err
    assert len(read_kept(KEPT / "responses.jsonl")) == 6


def test_the_key_comes_from_a_file_and_is_kept_nowhere(
    place: Path, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    judge.key = "sk-secret-123"
    Path("key.txt").write_text("sk-secret-123\n", encoding="utf-8")
    words = ("asked-1", "--rows", "2", "--judge", f"ollama:llama3@{judge.url}", "--report", "r.html")
    assert "the judge asks for a key" in say(capsys, *words, code=2)[1]
    out, err = say(capsys, *words, "--judge-key-file", "key.txt")
    assert len(judge.prompts) == 2
    files = [path for path in [Path("r.html"), *KEPT.iterdir()] if path.is_file()]
    assert len(files) == 3
    assert not any("sk-secret" in path.read_text(encoding="utf-8") for path in files)
    assert "sk-secret" not in out + err


def test_answers_go_where_out_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plain(capsys, "asked-1", "--out", "kept")
    assert found["responses"] == str(Path("kept") / "responses.jsonl")
    both = plain(capsys, "asked-1", "book-1", "--style", "chatml", "--out", "kept")
    assert [each["responses"] for each in both["results"]] == [
        str(Path("kept") / name / "responses.jsonl") for name in ("asked-1", "book-1")
    ]
    assert not Path("runs/asked-1/evaluations").exists()


MISTAKES: dict[tuple[str, ...], str] = {
    ("asked-1", "--style", "chatml"): "each of these runs has the style that it was taught with. Leave --style out.",
    ("book-1", "--style", "chatm"): "there is no prompt style 'chatm'. Did you mean chatml?",
    ("asked-1", "--stride", "3"): "--stride belongs to --text. Leave it out.",
    ("asked-1", "--encoding", "latin-1"): "--encoding belongs to --text and --labels. Leave it out.",
    ("asked-1", "--label-column", "x"): "--label-column belongs to --labels. Leave it out.",
    ("asked-1", "--text", "new.json"): "what is to be evaluated? Say one of --text FILE",
    ("asked-1", "--rows", "0"): "rows: 0 is too small. It must be at least 1.",
    ("asked-1", "--judge", "olama:llama3"): "there is no judge of the kind 'olama'. Did you mean ollama?",
    ("asked-1", "--judge-key-file", "asked.jsonl"): "there is a key, but no judge.",
    ("asked-1", "--judge", "ollama:a", "--judge-key-file", "none.txt"): "none.txt: there is no such file.",
    ("asked-1", "--report", "r.txt"): "r.txt: a report ends in .html",
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line_and_asks_nothing(
    words: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = say(capsys, *words, code=2)
    assert MISTAKES[words] in err.splitlines()[-1]
    assert not (KEPT / "responses.jsonl").exists()


def test_a_flag_of_answers_does_not_go_with_a_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "asked-1", "--text", "new.json", "--seed", "0"]) == 2
    assert "--seed belongs to --instructions, --tasks and --memorisation. Leave it out." in capsys.readouterr().err


def test_python_compares_runs_and_has_the_names_of_the_flags(place: Path) -> None:
    runs = [vidro.load(name, device="cpu") for name in ("asked-1", "book-1")]
    said: list[str] = []
    for run in runs:
        run.say = said.append
    found = evaluate_instructions(runs, "new.json", style="chatml", answer_tokens=4, rows=2)
    assert [len(run.answers) for run in found.runs] == [2, 2]
    assert said == []
    names = list(AnswerOptions.__dataclass_fields__)
    assert list(inspect.signature(vidro.Run.evaluate_instructions).parameters) == ["self", "data", *names]
    with pytest.raises(VidroError, match="0 is too small"):
        runs[0].evaluate_instructions("new.json", answer_tokens=0)


def test_the_classes_of_a_classifier_have_a_report_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{label}\t{text}\n" for label, text in messages(seed=2, n=60, task="topics", held_out=False))
    Path("mail.tsv").write_text(rows, encoding="utf-8")
    settings = {"steps": 2, "batch_rows": 4, "evals": 1, "threads": 1}
    run = vidro.finetune("classify", "book-1", data="mail.tsv", progress=False, cache_dir="cache", **settings)
    assert main(["evaluate", run.path.name, "--labels", "mail.tsv", "--report", "r.html", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    page = BeautifulSoup(Path("r.html").read_text(encoding="utf-8"), "html.parser")
    assert f"{found['n_right']} of 60 rows right" in page.text
    assert [row.td.text for row in page.table.tbody.find_all("tr")][:-1] == [each["name"] for each in found["classes"]]
    assert err.endswith("Report: r.html\n")
    assert main(["evaluate", "book-1", "--tasks", "mine.yaml", "--report", "r.html"]) == 2
    assert (
        "--report belongs to --text, --labels, --instructions and --memorisation. Leave it out."
        in capsys.readouterr().err
    )
