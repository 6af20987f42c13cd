"""The benchmark scripts start, their flags are flags of `vidro`, and their arithmetic is right. Nothing is timed."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark as its own folder's scripts import each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name in SCRIPTS:
            del sys.modules[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_docstrings_are_right_and_name_the_script(name: str, script: Any) -> None:
    module = script(name)
    assert doctest.testmod(module).failed == 0
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    if 'if __name__ == "__main__":' in source:
        assert f"benchmarks/{name}.py" in (ast.get_docstring(ast.parse(source)) or ""), "says how to run it"


def test_the_page_lists_each_script_with_its_question_and_its_command() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    runnable = {name for name in SCRIPTS if "__main__" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")}
    assert set(re.findall(r"^\| `(\w+)\.py` \|", page, re.MULTILINE)) == runnable
    assert set(re.findall(r"^python benchmarks/(\w+)\.py", page, re.MULTILINE)) == runnable


def test_gpt2s_shape_is_measured_beside_the_others(script: Any) -> None:
    module = script("step_overhead")
    assert list(module.chosen_shapes(large=True)) == [*module.SHAPES, "gpt2, 124M, AdamW"]
    assert module.chosen_shapes(large=False) == module.SHAPES


def test_the_verdict_cannot_do_without_gpt2s_files(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["verdict.py", "--text", "the-verdict.txt"])
    with pytest.raises(SystemExit):
        script("verdict").arguments()
    assert "the following arguments are required: --gpt2" in capsys.readouterr().err


def test_interleave_lets_everybody_begin_once(script: Any) -> None:
    order: list[str] = []
    contestants = {name: (lambda name=name: order.append(name) or 1.0) for name in "abc"}
    script("common").interleave(contestants, rounds=3)
    assert "".join(order) == "abcbcacab"


def test_a_failing_command_stops_the_benchmark(script: Any) -> None:
    command = [sys.executable, "-c", "import sys; print('half'); sys.exit('it broke')"]
    with pytest.raises(SystemExit, match=r"ended with 1:\nhalf\nit broke"):
        script("common").run(command, threads=1)


def test_the_machine_line_is_one_line(script: Any) -> None:
    line = script("common").machine_line(2)
    assert "\n" not in line
    assert "2 threads used" in line


def test_the_verdicts_flags_are_flags(script: Any) -> None:
    verdict = script("verdict")
    app = importlib.import_module("vidro.cli.pretrain").app
    for shape in (verdict.FULL, verdict.SCALED):
        for variant in verdict.variants(shape):
            words = ["the-verdict.txt", *variant.flags.split(), "--epochs", "10"]
            app.parse_args(words, exit_on_error=False, print_error=False)


def verdict_events(val: list[float], *, overfit: bool, train_falls: bool = True) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"event": "start", "n_parameters": 1000}]
    for number, nats in enumerate(val):
        step = 5 * (number + 1)
        events.append({"event": "train", "step": step, "loss_nats": 10.0 - number * train_falls})
        events.append({"event": "eval", "step": step, "full": False, "nats_per_token": nats, "bits_per_byte": nats / 4})
    if overfit:
        events.append({"event": "overfit", "message": "Overfitting: it turned."})
    events.append({"event": "eval", "step": 10, "full": True, "nats_per_token": 1.0, "bits_per_byte": 0.1})
    return events


def test_the_verdict_on_a_curve_that_turned(script: Any) -> None:
    verdict = script("verdict")
    curve = verdict.read_curve("book", verdict_events([8.0, 6.0, 6.4, 6.5], overfit=True))
    small = verdict.read_curve("smaller model", verdict_events([8.0, 6.0, 5.0], overfit=False))
    assert curve.turned
    assert not small.turned
    stuck = verdict_events([8.0, 6.0, 6.4, 6.5], overfit=False, train_falls=False)
    assert not verdict.read_curve("stuck", stuck).turned
    assert (curve.best_step, curve.last_step) == (10, 20)
    text = "\n".join(verdict.lines([curve, small]))
    assert "Validation turned: best 6.000 at step 10, 6.500 at the end." in text
    assert "| step 50, the best | – | 6.123 |" in text
    assert 'Vidro said: "Overfitting: it turned."' in text
    assert "| book | 1,000 | 1.625 | 1.500 | 10 | +7.7 % |" in text
    assert "| smaller model | 1,000 | 1.250 | 1.250 | 15 | +23.1 % |" in text


def test_nanogpt_gets_its_own_format(script: Any, tmp_path: Path) -> None:
    import pickle

    folder = script("nanogpt_shakespeare").prepare("abcab" * 20, tmp_path / "data")
    meta = pickle.loads((folder / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == 3
    assert (folder / "train.bin").read_bytes()[:10] == b"\0\0\1\0\2\0\0\0\1\0"
    assert len((folder / "val.bin").read_bytes()) == 2 * 10
    assert (folder / "train.txt").read_text() + (folder / "val.txt").read_text() == "abcab" * 20


def test_the_comparison_with_nanogpt_in_words(script: Any) -> None:
    import argparse

    module = script("nanogpt_shakespeare")
    results = [
        module.Result("nanoGPT", 0, 1.0, 100.0, 1.9),
        module.Result("vidro", 0, 1.0, 99.0, 1.6),
        module.Result("vidro", 0, 0.25, 25.0, 1.8),
        module.Result("vidro", 0, 0.1, 10.0, 2.0),
    ]
    text = "\n".join(module.summary(results, argparse.Namespace(iterations=2000)))
    assert "As good as nanoGPT within 0.25 t." in text
    assert "| vidro | 0.25 t | 25.0 | 1.8000 | 0.947 |" in text
