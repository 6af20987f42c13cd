"""A run gets the same numbers from Vidro's class and from lm-evaluation-harness's own class for Transformers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.evals.harness_tasks import write_tasks

import vidro
from vidro.config.load import resolve
from vidro.config.schema import PretrainOptions
from vidro.data.tinyworld import text
from vidro.train.pretrain import Surroundings, pretrain

pytest.importorskip("lm_eval")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")  # the harness's class for Transformers wants it

from vidro.evals.harness import VidroLM
from vidro.evals.task_files import find_tasks, offline
from vidro.evals.tasks import check, set_shots

FLAGS: dict[str, Any] = {
    "steps": 30, "vocab_size": 384, "context_length": 48, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_head": 16,
    "batch_tokens": 768, "evals": 1, "checkpoint_steps": 30, "threads": 1, "sample_tokens": 2,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"family": "gpt2", "tie_embeddings": True},
    "llama": {"family": "llama", "n_kv_heads": 1},
    "qwen3": {"family": "qwen3", "d_head": 24},
}


@pytest.fixture(scope="module", params=FAMILIES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> vidro.Run:
    """A tiny run that was really trained, one of each family."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "stories.txt"
    source.write_text(text(seed=4, n_bytes=20_000), encoding="utf-8")
    around = Surroundings(cache_dir=folder / "cache", started_s=time.monotonic(), plots=False)
    options = resolve(PretrainOptions, flags={**FLAGS, **FAMILIES[request.param]})
    return vidro.Run(pretrain(str(source), options, around=around, out=folder / "run").path, device="cpu")


def samples(lm: Any, files: list[Path], few_shot: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The harness's figures, and what the model answered to each request, task by task."""
    from lm_eval.evaluator import evaluate

    with offline():
        found = find_tasks([str(file) for file in files], say=print)
        for name, task in found.tasks.items():
            set_shots(name, task, 0 if name == "texts" else few_shot)
            check(name, task)
            task.set_fewshot_seed(seed=7)
        results: Any = evaluate(lm, found.to_harness(), bootstrap_iters=0)
    answers = {task: [row["resps"] for row in rows] for task, rows in results["samples"].items()}
    return results["results"], answers


@pytest.mark.parametrize("few_shot", [0, 1])
def test_the_same_numbers_as_the_harness_gets_from_transformers(
    run: vidro.Run, few_shot: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.models.huggingface import HFLM

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    files = list(write_tasks(tmp_path).values())
    lm = VidroLM(run.session, seed=1)
    ours, our_answers = samples(lm, files, few_shot)
    hf = HFLM(pretrained=str(run.path), device="cpu", dtype="float32", batch_size=4)
    theirs, their_answers = samples(hf, files, few_shot)
    assert hf.max_length == lm.max_length == 48
    for task in ("choose", "texts", "write"):
        for metric, value in theirs[task].items():
            if isinstance(value, float):
                assert ours[task][metric] == pytest.approx(value, rel=1e-5), (task, metric)
    for mine, other in zip(flat(our_answers["choose"]), flat(their_answers["choose"]), strict=True):
        assert mine[0] == pytest.approx(other[0], abs=1e-4)
        assert mine[1] == other[1]
    assert flat(our_answers["texts"]) == pytest.approx(flat(their_answers["texts"]), abs=1e-4)
    assert our_answers["write"] == their_answers["write"]
    assert len(set(flat(our_answers["write"]))) > 3, "texts that are all alike would prove little"
    assert 0 < theirs["choose"]["acc,none"] < 1
    assert lm.fit.n_cut > 0, "some contexts are too long for this model"
    assert lm.fit.n_slid == 0


def flat(answers: list[Any]) -> list[Any]:
    """The answers of all requests in a row: one level of lists for rows, requests and repeats each."""
    return [each for row in answers for request in row for each in request]
