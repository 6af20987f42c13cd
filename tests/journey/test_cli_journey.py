"""From a text to a model that talks, through real processes, the way a person would go; and stopping on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import vidro
from vidro.data.tinyworld import text

SOURCE = Path(vidro.__file__).parents[1]
SMALL = ["--preset", "toy", "--threads", "1", "--evals", "2", "--device", "cpu"]


class Desk:
    """A folder with texts, and ``python -m vidro`` run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "VIDRO_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        (folder / "book.txt").write_text(text(1, 60_000), encoding="utf-8")
        (folder / "new.txt").write_text(text(2, 30_000), encoding="utf-8")

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "vidro", *words], cwd=self.folder, env=self.environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def vidro(self, *words: str, typed: str = "", code: int = 0) -> tuple[str, str]:
        """stdout and stderr of a command that ends with `code`."""
        process = self.start(*words)
        out, err = process.communicate(typed, timeout=240)
        assert process.returncode == code, f"{words}: {process.returncode}\n{err}"
        return out, err

    def json(self, *words: str) -> Any:
        out, _ = self.vidro(*words, "--json")
        assert out.count("\n") == 1
        return json.loads(out)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("journey"))


@pytest.fixture(scope="module")
def run(desk: Desk) -> str:
    """The name of a run that was trained from the command line; its path is the last line it printed."""
    flags = ["--steps", "8", "--checkpoint-steps", "4", "--vocab-size", "512", *SMALL]
    out, err = desk.vidro("pretrain", "book.txt", *flags)
    assert out == f"{Path('runs') / 'book-1'}\n"
    assert "Now: vidro chat" in err
    return "book-1"


def test_1_a_look_at_the_text(desk: Desk) -> None:
    out, _ = desk.vidro("data", "show", "book.txt")
    assert "duplicates" in out
    assert "tokens" in out
    assert desk.json("data", "show", "book.txt")["n_documents"] == 1
    out, _ = desk.vidro("data", "show", "-", typed="A text that comes through a pipe.\n" * 20)
    assert out.startswith("standard input: 680 bytes of text in 1 document")
    assert any(corpus["name"] == "tinyshakespeare" for corpus in desk.json("data", "list")["corpora"])


def test_2_a_tokenizer(desk: Desk) -> None:
    out, _ = desk.vidro("tokenizer", "train", "book.txt", "--vocab-size", "512", "--out", "tok")
    assert out.splitlines()[-1] == "tok"
    out, err = desk.vidro("tokenizer", "show", "tok", "--text", "One windy morning\n🙂")
    assert out.splitlines()[0].replace("|", "") == r"One windy morning\n\xf0\x9f\x99\x82"
    assert "\ufffd" not in out
    assert "tokens for 22 bytes" in err


def test_3_token_shards(desk: Desk) -> None:
    assert desk.json("data", "prepare", "book.txt", "--tokenizer", "tok", "--out", "tokens")["n_made"] == 1
    assert desk.json("data", "prepare", "book.txt", "--tokenizer", "tok", "--out", "tokens")["n_kept"] == 1


def test_4_a_plan_and_nothing_else(desk: Desk) -> None:
    import tomllib

    out, _ = desk.vidro("pretrain", "book.txt", "--steps", "8", "--dry-run", *SMALL)
    settings = tomllib.loads(out)
    assert settings["budget"] == {"steps": 8}
    assert settings["model"]["d_model"] == 64
    assert "parameters" in out
    size = desk.json("pretrain", "book.txt", "--steps", "8", "--dry-run", *SMALL)["size"]
    assert f"{size['n_parameters']:,} parameters" in out
    assert not (desk.folder / "runs").exists()


def test_5_the_run(desk: Desk, run: str) -> None:
    listed = desk.json("runs", "list")["runs"]
    assert [(each["run"], each["status"], each["steps"]) for each in listed] == [(run, "finished", 8)]
    assert "book.txt" in desk.vidro("runs", "show", "last")[0]


def test_6_writing(desk: Desk, run: str) -> None:
    found = desk.json("generate", run, "One windy morning", "--seed", "1", "--max-tokens", "12", "--threads", "1")
    out, err = desk.vidro("generate", "last", "One windy morning", "--seed", "1", "--max-tokens", "12")
    assert out == f"One windy morning{found['text']}\n"
    assert "tokens/s" in err
    assert "Softmax" in desk.vidro("generate", run, "One", "--explain")[0]


def test_7_talking(desk: Desk, run: str) -> None:
    out, err = desk.vidro("chat", run, "--max-tokens", "8", typed="One windy computer\n\n")
    assert out.strip()
    assert "This model has read" in err
    assert "computer 0 times" in err


def test_8_measuring(desk: Desk, run: str) -> None:
    found = desk.json("evaluate", run, f"{run}@4", "--text", "new.txt")["results"]
    assert all(0 < each["bits_per_byte"] < 20 for each in found)
    assert found[0]["n_bytes"] == (desk.folder / "new.txt").stat().st_size


def test_9_going_on(desk: Desk, run: str) -> None:
    _, err = desk.vidro("pretrain", "--resume", run, code=2)
    where = Path("runs") / run
    assert (
        err == f"vidro: error: {where}: this run is finished. Prolong it with --more, or start a new run with --from.\n"
    )
    more = desk.json("pretrain", "--resume", run, "--more", "4")
    assert more["steps"] == 12
    child = desk.json("pretrain", "new.txt", "--from", run, "--steps", "2", "--threads", "1", "--evals", "1")
    assert child["run"] == str(Path("runs") / "new-1")
    _, err = desk.vidro("chat", "new-1", "--max-tokens", "2", typed="A\n")
    assert "of book.txt, then" in err
    different = desk.json("runs", "compare", run, "new-1")["different_settings"]
    assert different["steps"] == [12, 2]


def test_a_taken_place_is_kept(desk: Desk, run: str) -> None:
    place = str(Path("runs") / run)
    before = (desk.folder / place / "model.safetensors").read_bytes()
    _, err = desk.vidro("pretrain", "new.txt", "--steps", "2", "--out", place, *SMALL, code=2)
    assert "this run directory exists already" in err
    assert (desk.folder / place / "model.safetensors").read_bytes() == before


def test_removing(desk: Desk, run: str) -> None:
    desk.vidro("pretrain", "new.txt", "--steps", "1", "--out", "elsewhere", *SMALL)
    desk.vidro("runs", "rm", "elsewhere", "--yes")
    assert not (desk.folder / "elsewhere").exists()


def wait_for_a_step(desk: Desk, name: str, process: subprocess.Popen[str]) -> None:
    """Until the run has done its first steps."""
    metrics = desk.folder / "runs" / name / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() or '"train"' not in metrics.read_text(encoding="utf-8"):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGINT, 130, "land-1"), (signal.SIGTERM, 143, "land-2")])
def test_the_first_signal_lands(desk: Desk, number: signal.Signals, code: int, name: str) -> None:
    flags = ["--steps", "100_000", "--vocab-size", "512", "--out", f"runs/{name}"]
    process = desk.start("pretrain", "book.txt", *flags, *SMALL)
    try:
        wait_for_a_step(desk, name, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert out == f"{Path('runs') / name}\n"
    assert "Ctrl-C again stops at once." in err
    assert "Landed as you asked" in err
    assert desk.json("runs", "show", name)["status"] == "landed"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_second_signal_stops_at_once(desk: Desk) -> None:
    flags = ["--steps", "100_000", "--vocab-size", "512", "--out", "runs/stop-1"]
    process = desk.start("pretrain", "book.txt", *flags, *SMALL)
    try:
        wait_for_a_step(desk, "stop-1", process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    assert err.endswith("vidro: stopped\n")
    assert "Traceback" not in err
    assert desk.json("runs", "show", "stop-1")["status"] == "stopped"
