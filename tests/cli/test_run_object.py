"""A run in Python's hands: what it is, what it writes, and that the command line says the same."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import vidro
from vidro.cli.main import main
from vidro.core.errors import DataError, RunError, UsageError
from vidro.data.tinyworld import text


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The JSON object that a command prints; everything else went to stderr."""
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


# What it is


def test_what_it_is(run: vidro.Run) -> None:
    assert run.path == Path("runs/book-1")
    assert repr(run) == f"Run({str(run.path)!r})"
    assert run.record["status"] == "finished"
    assert run.record["data"]["name"] == "book.txt"
    assert run.settings.budget.steps == 6
    assert run.config.d_model == 64
    assert run.config.vocab_size == run.tokenizer.vocab_size == 512
    events = run.events()
    assert events[0]["event"] == "start"
    assert events[-1]["event"] == "end"
    assert {sample["event"] for sample in run.samples()} == {"sample"}
    assert run.ancestry() == [run]


def test_pretrain_returns_the_same_run_that_load_finds(run: vidro.Run) -> None:
    assert vidro.load("book-1").path == vidro.load(run.path).path == run.path
    with pytest.raises(RunError, match="there is no run 'book-2' here or in runs"):
        vidro.load("book-2")


def test_a_checkpoint_by_its_step(run: vidro.Run) -> None:
    early = vidro.load("book-1@3", device="cpu")
    assert early.opened.step == 3
    assert early.generate("One", greedy=True, max_tokens=5) != "" or early.opened.model_dir.name == "step-3"
    with pytest.raises(RunError, match="there is no checkpoint at step 4"):
        _ = vidro.load("book-1@4").opened


# Writing


def test_the_stream_is_the_text(run: vidro.Run) -> None:
    whole = run.generate("One windy morning", seed=7, max_tokens=30)
    assert whole
    assert "".join(run.stream("One windy morning", seed=7, max_tokens=30)) == whole
    (one,) = run.generate_many(["One windy morning"], seed=7, max_tokens=30)
    assert one.text == whole
    assert one.seed == 7
    assert run.generate("One windy morning", seed=8, max_tokens=30) != whole


def test_samples_have_seeds_in_a_row(run: vidro.Run) -> None:
    found = run.generate_many(["A", "B"], samples=2, seed=5, max_tokens=4)
    assert [(each.prompt, each.seed) for each in found] == [("A", 5), ("A", 6), ("B", 5), ("B", 6)]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"samples": 0}, "samples: 0 is too small. It must be at least 1."),
        ({"samples": 2, "greedy": True}, "samples: greedy samples are all the same. Ask for one, or drop greedy."),
        ({"max_tokns": 3}, "there is no setting 'max_tokns'. Did you mean max_tokens?"),
    ],
)
def test_wrong_wishes(run: vidro.Run, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run.generate_many(["A"], **keywords)
    assert str(caught.value) == message


def test_remarks_go_where_the_caller_wants(run: vidro.Run) -> None:
    said: list[str] = []
    run.say = said.append
    run.generate("One", seed=1, max_tokens=140)  # the context is 128
    assert len(said) <= 1
    assert all("context of 128 tokens is full" in message for message in said)


def test_generate_on_the_command_line_is_the_same(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    whole = run.generate("One windy morning", seed=7, max_tokens=20)
    found = out_of(capsys, "generate", "last", "One windy morning", "--seed", "7", "--max-tokens", "20", "--logprobs")
    assert found["text"] == whole
    assert found["tokens_per_s"] > 0
    assert len(found["ids"]) == len(found["tokens"]) == len(found["logprobs_nats"]) <= 20
    assert run.tokenizer.decode(found["ids"]) == whole
    assert main(["generate", "last", "One windy morning", "--seed", "7", "--max-tokens", "20"]) == 0
    out, err = capsys.readouterr()
    assert out == f"One windy morning{whole}\n"
    assert "--seed 7 writes it again" in err


def test_several_prompts_and_samples(run: vidro.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Ada\n\nTomas\n", encoding="utf-8")
    words = [
        "generate",
        "last",
        "Ivo",
        "--prompts-file",
        str(prompts),
        "--samples",
        "2",
        "--max-tokens",
        "4",
        "--seed",
        "1",
    ]
    found = out_of(capsys, *words)["generations"]
    assert [each["prompt"] for each in found] == ["Ivo", "Ivo", "Ada", "Ada", "Tomas", "Tomas"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "── 6 of 6, --seed 2 ──" in out
    for each in found:
        assert each["prompt"] + each["text"] in out


def test_log_probabilities_as_a_table(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "last", "One", "--greedy", "--max-tokens", "3", "--logprobs"]) == 0
    out, err = capsys.readouterr()
    assert "probability" in out
    assert "%" in out
    assert "--seed" not in err, "greedy draws nothing"


def test_explain(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "last", "One windy", "--explain", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    for step in ("Text → tokens", "Softmax"):
        assert step in out
    assert out_of(capsys, "generate", "last", "One windy", "--explain", "--seed", "1")["prompt"] == "One windy"
    assert main(["generate", "last", "A", "B", "--explain"]) == 2
    assert capsys.readouterr().err == "vidro: error: --explain explains one prompt. Give one.\n"


def test_curves_are_drawn(run: vidro.Run) -> None:
    assert {"loss.png", "loss.svg", "perplexity.png"} <= {path.name for path in run.plot()}


# The text behind it


def test_the_words_it_knows(run: vidro.Run, trained: Path) -> None:
    cache = trained / "cache"
    words = run.known_words(cache_dir=cache)
    assert words["tansy"] > 10
    assert "computer" not in words
    assert run.known_words(cache_dir=cache) == words
    assert "".join(run.training_texts(cache_dir=cache)) in (trained / "book.txt").read_text(encoding="utf-8")


def test_the_words_of_its_parents_count_too(run: vidro.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {Path("runs/book-1"): {"tansy": 2, "bay": 1}, Path("a"): {"sea": 1, "tansy": 3}}
    records = {Path("runs/book-1"): {"parent": "a"}, Path("a"): {"parent": None}}
    monkeypatch.setattr(vidro.Run, "record", property(lambda self: records[self.path]))
    monkeypatch.setattr("vidro.api.texts.own_words", lambda run, cache: words[run.path])
    assert [each.path for each in run.ancestry()] == [Path("a"), Path("runs/book-1")]
    assert run.known_words() == {"tansy": 5, "bay": 1, "sea": 1}


def test_a_circle_of_parents_ends(run: vidro.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidro.Run, "record", {"parent": "runs/book-1"})
    assert len(run.ancestry()) == 100


def test_a_text_that_has_changed_is_not_taken_for_the_old_one(
    run: vidro.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "book.txt"
    changed.write_text(text(2, 20_000), encoding="utf-8")
    record = {**run.record, "data": {**run.record["data"], "source": str(changed)}}
    monkeypatch.setattr(vidro.Run, "record", record)
    with pytest.raises(DataError, match=r"the training text has changed since\. Put the old text back"):
        run.training_texts(cache_dir=tmp_path / "cache")


# Talking


def talk(monkeypatch: pytest.MonkeyPatch, typed: str, *flags: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert main(["chat", "last", "--max-tokens", "8", "--seed", "1", *flags]) == 0


def test_chat_line_by_line(run: vidro.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    talk(monkeypatch, "One windy morning\n/foo\nthe computer\n/quit\nnever read\n")
    out, err = capsys.readouterr()
    assert "This model has read 28 kB of book.txt and nothing else." in err
    assert "Beginnings that suit it:" in err
    assert "/foo: there is no such command." in err
    assert "In its training text: computer 0 times." in err
    first = run.generate("One windy morning", seed=1, max_tokens=8)
    assert out.startswith(f"{first}\n")
    assert "never read" not in err


def test_chat_ends_with_its_input(
    run: vidro.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, "")
    assert capsys.readouterr().out == ""


def test_chat_without_the_training_text(
    run: vidro.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(self: vidro.Run, **where: object) -> None:
        raise DataError("there is no such file", where="book.txt")

    monkeypatch.setattr(vidro.Run, "training_texts", gone)
    talk(monkeypatch, "the computer\n")
    err = capsys.readouterr().err
    assert "Unknown words are not marked: book.txt: there is no such file" in err
    assert "0 times" not in err


@pytest.mark.parametrize("lost", ["the run", "its text"])
def test_chat_without_the_parent(
    lost: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = tmp_path / "desk"
    shutil.copytree(trained, desk)
    shutil.copytree(desk / "runs/book-1", desk / "runs/child-1")
    monkeypatch.chdir(desk)
    monkeypatch.setenv("VIDRO_CACHE", str(desk / "cache"))
    alter(desk / "runs/child-1/vidro.json", parent="runs/book-1")
    if lost == "the run":
        assert main(["runs", "rm", "book-1", "--yes"]) == 0
        said = f"{Path('runs/book-1')}: the run is not there any more"
    else:
        (desk / "other.txt").write_text(text(2, 20_000), encoding="utf-8")
        data = vidro.load("book-1").record["data"]
        alter(desk / "runs/book-1/vidro.json", data={**data, "source": "other.txt", "sha256": "0" * 64})
        said = "other.txt: the training text has changed since"
    monkeypatch.setattr(sys, "stdin", io.StringIO("the computer\n"))
    assert main(["chat", "child-1", "--max-tokens", "8", "--seed", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.strip()
    assert f"Unknown words are not marked: {said}" in err
    assert "Beginnings that suit it:" in err, "its own text is still here"
    assert "0 times" not in err


def alter(record: Path, **fields: Any) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


# Keeping house


def test_runs_list_and_show(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    (listed,) = out_of(capsys, "runs", "list")["runs"]
    assert (listed["run"], listed["status"], listed["steps"]) == ("book-1", "finished", 6)
    shown = out_of(capsys, "runs", "show", "last")
    assert shown["record"] == json.loads(json.dumps(run.record))
    assert shown["settings"]["budget"] == {"steps": 6}
    assert main(["runs", "list"]) == 0
    assert "book-1  finished  book.txt" in capsys.readouterr().out
    assert main(["runs", "show", "book-1"]) == 0
    out = capsys.readouterr().out
    for part in ("book.txt (31 kB, 1 document)", "bpe, 512 tokens", "6 steps", "Checkpoints", "What it wrote"):
        assert part in out


def test_runs_compare_shows_only_what_differs(run: vidro.Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = out_of(capsys, "runs", "compare", "book-1", "book-1")
    assert found["different_settings"] == {}
    from dataclasses import replace

    from vidro.cli.runs import differences

    other = replace(run.settings, optim=replace(run.settings.optim, lr=0.5))
    assert differences([run.settings, other]) == {"lr": [run.settings.optim.lr, 0.5]}


def test_a_run_that_was_cut_short_is_called_stopped(tmp_path: Path) -> None:
    from vidro.checkpoint.run import lock_run
    from vidro.cli.runs import status

    (tmp_path / "run.toml").touch()
    assert status(tmp_path, {}) == "stopped"
    with lock_run(tmp_path):
        assert status(tmp_path, {"status": "training"}) == "training"
    assert status(tmp_path, {"status": "training"}) == "stopped"
    assert status(tmp_path, {"status": "landed"}) == "landed"


def test_a_damaged_record_does_not_hide_the_other_runs(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, record in (("a-1", "{"), ("b-1", None)):
        (desk / "runs" / name).mkdir(parents=True)
        (desk / "runs" / name / "run.toml").touch()
        if record is not None:
            (desk / "runs" / name / "vidro.json").write_text(record, encoding="utf-8")
    assert main(["runs", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    found = {run["run"]: run["status"] for run in json.loads(out)["runs"]}
    assert found == {"a-1": "damaged", "b-1": "stopped"}
    assert "a-1" in err
    assert "not valid JSON" in err


def test_rm_asks(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a-1", "b-1"):
        (desk / "runs" / name).mkdir(parents=True)
        (desk / "runs" / name / "run.toml").touch()
    assert main(["runs", "rm", "a-1"]) == 2
    assert "needs a yes. Say --yes." in capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, left in (("n\n", 2), ("\n", 2), ("y\n", 1)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main(["runs", "rm", "a-1"]) == 0
        assert len(list((desk / "runs").iterdir())) == left
    assert main(["runs", "rm", "b-1@3", "--yes"]) == 2
    assert out_of(capsys, "runs", "rm", "b-1", "--yes")["removed"] == ["runs/b-1"]
    assert not list((desk / "runs").iterdir())


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    found = out_of(capsys, "info", "--no-measure")
    assert found["vidro"] == vidro.__version__
    assert found["peak_flops_per_s"] is None
    assert found["threads"] >= 1
    assert main(["info", "--no-measure"]) == 0
    out = capsys.readouterr().out
    for name in ("Processor", "Threads", "Memory", "Measured peak", "Cache", "Not installed"):
        assert name in out
