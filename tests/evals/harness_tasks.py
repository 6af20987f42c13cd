"""Three small tasks in lm-evaluation-harness's format, written into a folder: choices, whole texts, written answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from vidro.data.tinyworld import text

ANIMALS = ["fox", "hen", "old grey wolf", "cat", "mouse of the mill"]


def write_tasks(folder: Path, *, new_tokens: int = 6) -> dict[str, Path]:
    """The task files by name; their rows lie beside them."""
    stories = [text(seed=seed, n_bytes=400) for seed in range(8)]
    choices = [
        {
            "question": f"{story[: 60 * (number % 4 + 1)].strip()} the{' ' * (number % 2)}",
            "choices": ANIMALS[: 3 + number % 3],
            "answer": number % 3,
        }
        for number, story in enumerate(stories * 2)
    ]
    written = [{"question": story[:40], "answer": story[40:45]} for story in stories]
    bodies: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "choose": (
            choices,
            {
                "output_type": "multiple_choice",
                "fewshot_split": "test",
                "doc_to_text": "{{question}}",
                "doc_to_choice": "{{choices}}",
                "doc_to_target": "answer",
                "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
            },
        ),
        "texts": (
            [{"text": story[: 30 + 100 * (number % 5)]} for number, story in enumerate(stories)],
            {
                "output_type": "loglikelihood_rolling",
                "doc_to_text": "",
                "doc_to_target": "{{text}}",
                "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
            },
        ),
        "write": (
            written,
            {
                "output_type": "generate_until",
                "fewshot_split": "test",
                "doc_to_text": "{{question}}",
                "doc_to_target": "{{answer}}",
                "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": new_tokens, "do_sample": False},
                "metric_list": [{"metric": "exact_match"}],
            },
        ),
    }
    return {name: write_task(folder, name, rows, body) for name, (rows, body) in bodies.items()}


def write_task(folder: Path, name: str, rows: list[dict[str, Any]], body: dict[str, Any]) -> Path:
    """One task file and its rows."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, "test_split": "test"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **data, **body}), encoding="utf-8")
    return folder / f"{name}.yaml"
