from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from vidro.core import loggers
from vidro.core.errors import UsageError
from vidro.core.events import Event
from vidro.core.loggers import TensorBoardSink, WandbSink, open_logger, scalars

EVENTS: list[Event] = [
    {"event": "start", "step": 0, "family": "qwen3", "budget": {"minutes": 1}},
    {"event": "train", "step": 1, "loss_nats": 8.25, "lr": 0.5, "epoch": 0.1, "grad_norm": None, "peak_frac": None,
     "multipliers": [1.0]},
    {"event": "eval", "step": 1, "full": False, "nats_per_token": 8.0, "bits_per_byte": 3.5, "perplexity": 2980.0},
    {"event": "sample", "step": 1, "prompt": "Once", "text": " upon <b>\nline", "copied_frac": 0.5,
     "longest_copy_chars": 60},
    {"event": "train", "step": 9, "loss_nats": 7.0, "lr": 0.5, "epoch": 0.9, "grad_norm": 1.5, "peak_frac": 0.25},
    {"event": "resumed", "step": 1},
    {"event": "train", "step": 2, "loss_nats": 7.5, "lr": 0.5, "epoch": 0.2, "grad_norm": 1.0, "peak_frac": 0.25},
    {"event": "eval", "step": 1, "full": True, "nats_per_token": 7.75, "bits_per_byte": 3.25, "perplexity": None},
    {"event": "end", "step": 2, "reason": "budget", "message": "The budget is used up."},
]  # fmt: skip


def test_numbers_get_their_names_and_nothing_is_made_of_none() -> None:
    assert scalars(EVENTS[1]) == {"train/loss": 8.25, "train/lr": 0.5, "train/epoch": 0.1}
    assert scalars(EVENTS[2]) == {"val/loss": 8.0, "val/bits_per_byte": 3.5, "val/perplexity": 2980.0}
    assert scalars(EVENTS[7]) == {"final/loss": 7.75, "final/bits_per_byte": 3.25}
    assert scalars(EVENTS[3]) == {"samples/copied_frac": 0.5, "samples/longest_copy_chars": 60}
    assert scalars(EVENTS[8]) == {}


@pytest.mark.parametrize(("name", "title"), [("tensorboard", "TensorBoard"), ("wandb", "Weights & Biases")])
def test_a_missing_extra_is_one_line(name: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [known for known in sys.modules if known.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError) as caught:
        open_logger(name, tmp_path)
    assert str(caught.value) == f"{title} is not installed. pip install 'vidro[{name}]'"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_logger_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no logger 'tensorbord'\. Did you mean tensorboard\?"):
        open_logger("tensorbord", tmp_path)


def test_neither_is_imported_before_it_is_asked_for() -> None:
    assert not hasattr(loggers, "wandb")
    assert "torch" not in (loggers.__doc__ or "")


def test_tensorboard_shows_the_curves_the_samples_and_the_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    sink = TensorBoardSink(tmp_path, wall_clock=lambda: 1.0)
    for event in EVENTS:
        sink(event)
    sink.close()
    seen = EventAccumulator(str(tmp_path))
    seen.Reload()

    def points(name: str) -> list[tuple[int, float]]:
        return [(point.step, point.tensor_proto.float_val[0]) for point in seen.Tensors(name)]

    assert points("train/loss") == [(1, 8.25), (2, 7.5)]  # step 9 was dropped by the resume
    assert points("val/loss") == [(1, 8.0)]
    assert points("final/loss") == [(1, 7.75)]
    text = seen.Tensors("samples/Once")[0].tensor_proto.string_val[0].decode()
    assert text == "    Once upon <b>\n    line\n"
    assert "qwen3" in seen.Tensors("run")[0].tensor_proto.string_val[0].decode()
    assert seen.Tensors("messages/end")[0].tensor_proto.string_val[0] == b"The budget is used up."


class FakeRun:
    """Keeps what a W&B run is told."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, str | None]] = []
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.finished = False

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics.append((name, step_metric))

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self) -> None:
        self.finished = True


def test_wandb_is_offline_and_counts_our_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = FakeRun(), {}

    def init(**settings: Any) -> FakeRun:
        asked.update(settings)
        return run

    fake = types.SimpleNamespace(init=init, Settings=dict, Html=lambda text, inject: ("html", text))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    sink = open_logger("wandb", tmp_path / "verdict-1")
    for event in EVENTS:
        sink(event)
    sink.close()
    assert (asked["mode"], asked["name"], asked["dir"]) == ("offline", "verdict-1", str(tmp_path / "verdict-1"))
    assert run.metrics == [("step", None), ("*", "step")]
    assert run.config["family"] == "qwen3"
    assert run.logged[0] == {"train/loss": 8.25, "train/lr": 0.5, "train/epoch": 0.1, "step": 1}
    assert run.logged[2]["samples/Once"] == ("html", "<pre>Once upon &lt;b&gt;\nline</pre>")
    assert run.logged[-1] == {"final/loss": 7.75, "final/bits_per_byte": 3.25, "step": 1}
    assert run.summary == {"messages/end": "The budget is used up."}
    assert run.finished


def test_wandb_goes_online_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []

    def init(**settings: Any) -> FakeRun:
        modes.append(settings["mode"])
        return FakeRun()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Settings=dict))
    WandbSink(tmp_path, name="a")
    WandbSink(tmp_path, name="a", online=True)
    assert modes == ["offline", "online"]


def test_real_wandb_writes_an_offline_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    sink = WandbSink(tmp_path, name="a")
    for event in EVENTS:
        sink(event)
    sink.close()
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
