"""``vidro evaluate --tasks``: lm-evaluation-harness in this process, offline, and every mistake in one line."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.evals.harness_tasks import write_task, write_tasks

import vidro
from vidro.api.evaluate import TaskOptions
from vidro.cli.main import main
from vidro.core.errors import UsageError

pytest.importorskip("lm_eval")

BARE = {"output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "{{c}}", "doc_to_target": "a"}
ROWS = [{"q": f"What is {n}?", "c": ["one", "two"], "a": n % 2} for n in range(4)]


@pytest.fixture
def tasks(run: vidro.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three tasks, and a cache for the rows that `datasets` reads."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tasks"
    folder.mkdir()
    write_tasks(folder)
    return folder


def say(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["evaluate", *map(str, words)]) == code
    return capsys.readouterr()


def test_a_table_and_the_same_figures_as_json(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ",".join(str(tasks / f"{name}.yaml") for name in ("choose", "texts", "write"))
    out, err = say(capsys, "last", "--tasks", names)
    lines = out.splitlines()
    assert lines[:3] == ["choose: 16 rows", "texts: 8 rows", "write: 8 rows"]
    assert "seed 1337" in lines[3]
    assert [line.split()[:2] for line in lines[7:]] == [
        ["choose", "acc"], ["choose", "acc_norm"], ["texts", "word_perplexity"], ["texts", "byte_perplexity"],
        ["texts", "bits_per_byte"], ["write", "exact_match"],
    ]  # fmt: skip
    assert "texts written, book-1: 8 of 8" in err
    assert "lm-eval:" not in err
    found = json.loads(say(capsys, "last", "--tasks", names, "--json")[0])
    assert [(each["task"], each["n"], each["n_all"]) for each in found["tasks"]] == [
        ("choose", 16, 16), ("texts", 8, 8), ("write", 8, 8),
    ]  # fmt: skip
    bits = next(each for each in found["measures"] if each["metric"] == "bits_per_byte")
    assert f"{bits['value']:.4f}" in lines[11]
    assert (bits["higher_is_better"], bits["stderr"], bits["filter"]) == (False, None, "none")
    assert found["n_requests"] > 32
    assert (found["seed"], found["limit"]) == (1337, None)


def test_bits_per_byte_are_those_of_evaluate_text(tasks: Path, run: vidro.Run) -> None:
    """As long as each text fits into the context; in longer ones the harness's last window looks further back."""
    rows = [json.loads(line)["text"][:80] for line in (tasks / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert max(len(run.tokenizer.encode(text)) for text in rows) < run.config.context_length
    (tasks / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows), encoding="utf-8")
    found = run.evaluate_tasks(tasks / "texts.yaml").value("texts", "bits_per_byte")
    assert found == pytest.approx(run.evaluate(tasks / "texts.jsonl").bits_per_byte, rel=1e-5)


def test_a_folder_fewer_rows_and_examples(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tasks / "texts.yaml").unlink()
    out, _ = say(capsys, "last", "book-1@3", "--tasks", tasks, "--limit", "3", "--few-shot", "2")
    assert out.splitlines()[0] == "choose: the first 3 of 16 rows, solved examples before each: 2"
    assert out.splitlines()[4].split() == ["task", "metric", "better", "last", "book-1@3"]
    found = json.loads(say(capsys, "last", "book-1@3", "--tasks", tasks, "--limit", "3", "--json")[0])
    assert [each["run"] for each in found["results"]] == ["last", "book-1@3"]


def test_the_seed_draws_the_examples_and_leaves_the_worlds_dice_alone(tasks: Path, run: vidro.Run) -> None:
    before = np.random.get_state(), torch.get_rng_state()  # those of `random` are drawn from by the type checker too
    asked = {"tasks": tasks / "choose.yaml", "few_shot": 1}
    first, again, other = (run.evaluate_tasks(**asked, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.fit.n_cut_tokens != other.fit.n_cut_tokens, "other examples have other lengths"
    np.testing.assert_array_equal(np.random.get_state()[1], before[0][1])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_group_has_a_mean_of_its_own(tasks: Path, run: vidro.Run) -> None:
    write_task(tasks, "numbers", ROWS, BARE)
    means = [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}]
    group = {"group": "both", "task": ["choose", "numbers"], "aggregate_metric_list": means}
    (tasks / "both.yaml").write_text(yaml.safe_dump(group), encoding="utf-8")
    found = run.evaluate_tasks(tasks / "both.yaml")
    choose, numbers, both = (found.value(name, "acc") for name in ("choose", "numbers", "both"))
    assert choose is not None
    assert numbers is not None
    assert both == pytest.approx((16 * choose + 4 * numbers) / 20)
    whole = run.evaluate_tasks(tasks)
    assert [each.task for each in whole.rows] == ["choose", "numbers", "texts", "write"], "each task is asked once"


def test_a_group_whose_rows_are_elsewhere(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken(tasks, "far", dataset_path="allenai/ai2_arc", dataset_name="ARC-Easy", dataset_kwargs={})
    (tasks / "both.yaml").write_text("group: both\ntask: [choose, far]\n", encoding="utf-8")
    _, err = say(capsys, "last", "--tasks", tasks / "both.yaml", code=2)
    assert "Fetch it once, in Python: datasets.load_dataset('allenai/ai2_arc', …)." in err


def test_python_has_the_names_and_defaults_of_the_flags(run: vidro.Run) -> None:
    names = list(inspect.signature(vidro.Run.evaluate_tasks).parameters)
    assert names == ["self", "tasks", *TaskOptions.__dataclass_fields__]
    with pytest.raises(UsageError, match="there is no setting 'limt'"):
        run.evaluate_tasks("x.yaml", limt=3)
    with pytest.raises(UsageError, match="no task is named"):
        run.evaluate_tasks([])


def broken(folder: Path, name: str, **changes: Any) -> str:
    write_task(folder, name, ROWS, {**BARE, **changes})
    return str(folder / f"{name}.yaml")


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a template names no column": ({"doc_to_text": "{{qestion}}"}, "'qestion' is undefined"),
    "no such split": ({"test_split": "validation"}, "this task cannot be put together"),
    "no data file": ({"dataset_kwargs": {"data_files": {"test": "nowhere.jsonl"}}}, "there is no data file 'nowhere"),
    "data on the Hub": (
        {"dataset_path": "allenai/ai2_arc", "dataset_name": "ARC-Easy", "dataset_kwargs": {}},
        "the data of this task is not on this machine. Vidro downloads nothing unasked. Fetch it once, in Python: "
        "datasets.load_dataset('allenai/ai2_arc', 'ARC-Easy').",
    ),
    "data on a server": (
        {"dataset_kwargs": {"data_files": {"test": "https://example.org/rows.jsonl"}}},
        "the data file 'https://example.org/rows.jsonl' is not on this machine. Download it",
    ),
    "no metric of that name": ({"metric_list": [{"metric": "wisdom"}]}, "this task cannot be put together"),
    "an unsafe task": ({"unsafe_code": True}, "this task runs programs that the model writes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_task_is_one_line(name: str, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, words = MISTAKES[name]
    _, err = say(capsys, "last", "--tasks", broken(tasks, "mine", **changes), code=2)
    assert words in err.splitlines()[-1]
    assert "mine" in err.splitlines()[-1]
    assert name != "no metric of that name" or "wisdom" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "nowhere/mine.yaml"], "nowhere/mine.yaml: there is no such task file"),
        (["--tasks", "choose.yaml,,x"], "tasks: 'choose.yaml,,x' names no task"),
        (["--tasks", "choose.yaml,choose.yaml"], "the task 'choose' comes twice. Name it once."),
        (["--tasks", "choose.jsonl"], "choose.jsonl: this task file cannot be read"),
        (["--tasks", "empty"], "empty: there is no task in this folder"),
        (["--tasks", "texts.yaml", "--few-shot", "1"], "texts: whole texts are read without examples"),
        (["--tasks", "choose.yaml", "--few-shot", "16"], "choose: this task does not have that many solved examples"),
        (["--tasks", "choose.yaml", "--limit", "0"], "limit: 0 is too small"),
        (
            ["--tasks", "choose.yaml", "--report", "r.html"],
            "--report belongs to --text, --labels, --instructions and --memorisation",
        ),
        (["--tasks", "choose.yaml", "--text", "book.txt"], "what is to be evaluated?"),
        (["--text", "book.txt", "--limit", "3"], "--limit belongs to --tasks. Leave it out."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    words: list[str], message: str, tasks: Path, trained: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tasks / "empty").mkdir()
    monkeypatch.chdir(tasks)
    _, err = say(capsys, trained / "runs/book-1", *words, code=2)
    assert message in err.splitlines()[-1]


def test_examples_never_show_the_answer_that_is_asked_for(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken(tasks, "mine")
    _, err = say(capsys, "last", "--tasks", path, "--few-shot", "1", code=2)
    assert "mine: the examples would come from the rows that are asked. Name others: fewshot_split: train." in err
    broken(tasks, "mine", fewshot_split="test", num_fewshot=0)
    _, err = say(capsys, "last", "--tasks", path, "--few-shot", "1", code=2)
    assert "mine: this task is asked without examples" in err
    broken(tasks, "mine", fewshot_split="test")
    assert say(capsys, "last", "--tasks", path, "--few-shot", "1")[0].startswith("mine: 4 rows, solved examples")


def test_two_files_with_one_name(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tasks / "copy.yaml").write_text((tasks / "choose.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    _, err = say(capsys, "last", "--tasks", tasks, code=2)
    assert "two files call their task 'choose'. Give each its own name." in err


def test_without_the_harness_there_is_a_line_that_says_how_to_get_it(trained: Path) -> None:
    hide = "import sys; sys.modules['lm_eval'] = None; from vidro.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["evaluate", "last", "--tasks", "arc_easy"]
    found = subprocess.run([sys.executable, "-c", hide, *words], cwd=trained, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.splitlines() == [
        "vidro: error: lm-evaluation-harness is not installed. pip install 'vidro[harness]'"
    ]
