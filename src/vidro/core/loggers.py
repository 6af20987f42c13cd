"""The event stream for people who keep their curves elsewhere: TensorBoard and Weights & Biases.

Both are extras, imported only when one is asked for. Both get the same names: ``train/…`` and ``val/…`` for what a run
measures, ``final/…`` for the evaluation at its end, ``samples/…`` for what it wrote. Nothing goes over the network
unless `online` is asked for. Not here: the stream and ``metrics.jsonl`` (`events`).
"""

from __future__ import annotations

import html
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidro.core.errors import UsageError, did_you_mean
from vidro.core.events import Event

TRAIN_NAMES = {
    "loss_nats": "train/loss",
    "epoch": "train/epoch",
    "lr": "train/lr",
    "grad_norm": "train/grad_norm",
    "clipped_frac": "train/clipped_frac",
    "tokens_per_s": "train/tokens_per_s",
    "peak_frac": "train/peak_frac",
    "memory_bytes": "train/memory_bytes",
}
EVAL_NAMES = {"nats_per_token": "loss", "bits_per_byte": "bits_per_byte", "perplexity": "perplexity"}
SAMPLE_NAMES = {"copied_frac": "copied_frac", "longest_copy_chars": "longest_copy_chars"}
MESSAGES = ("note", "overfit", "passed", "end")
FLUSH_S = 10


def scalars(event: Event) -> dict[str, float]:
    """The numbers of an event under the names that loggers show; those that are None are left out.

    >>> scalars({"event": "eval", "full": False, "nats_per_token": 2.5, "bits_per_byte": 1.1, "perplexity": None})
    {'val/loss': 2.5, 'val/bits_per_byte': 1.1}
    """
    names: dict[str, str] = {}
    if event["event"] == "train":
        names = TRAIN_NAMES
    elif event["event"] == "eval":
        group = "final" if event["full"] else "val"
        names = {field: f"{group}/{name}" for field, name in EVAL_NAMES.items()}
    elif event["event"] == "sample":
        names = {field: f"samples/{name}" for field, name in SAMPLE_NAMES.items()}
    return {name: event[field] for field, name in names.items() if event.get(field) is not None}


class TensorBoardSink:
    """Writes event files into `directory`; look at them with ``tensorboard --logdir``.

    A `resumed` event makes TensorBoard drop what was logged past its step, as all readers do. Raises UsageError when
    TensorBoard is not installed.
    """

    def __init__(self, directory: Path, *, wall_clock: Callable[[], float] = time.time) -> None:
        writer = _extra("tensorboard.summary.writer.event_file_writer", "tensorboard", "TensorBoard")
        self._protos = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._scalar = importlib.import_module("tensorboard.plugins.scalar.summary_v2").scalar_pb
        self._text = importlib.import_module("tensorboard.plugins.text.summary_v2").text_pb
        self._wall_clock = wall_clock
        self._writer = writer.EventFileWriter(str(directory), flush_secs=FLUSH_S)

    def __call__(self, event: Event) -> None:
        step = event.get("step", 0)
        for name, value in scalars(event).items():
            self._add(step, summary=self._scalar(name, value))
        if event["event"] == "start":
            settings = {key: value for key, value in event.items() if key != "event"}
            self._add(step, summary=self._text("run", _code(json.dumps(settings, indent=2, ensure_ascii=False))))
        elif event["event"] == "sample":
            self._add(step, summary=self._text(_sample_name(event), _code(event["prompt"] + event["text"])))
        elif event["event"] in MESSAGES:
            self._add(step, summary=self._text(f"messages/{event['event']}", event["message"]))
        if event["event"] in ("start", "resumed"):  # the second such mark drops what came before from its step on
            mark = self._protos.SessionLog(status=self._protos.SessionLog.START)
            self._add(step + 1 if event["event"] == "resumed" else 0, session_log=mark)

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._protos.Event(step=step, wall_time=self._wall_clock(), **content))


class WandbSink:
    """Logs to a Weights & Biases run kept in `directory`; ``wandb sync`` uploads it later, `online` at once.

    A resumed training is a new W&B run in the same group. Raises UsageError when W&B is not installed.
    """

    def __init__(self, directory: Path, *, name: str, project: str = "vidro", online: bool = False) -> None:
        self._wandb = _extra("wandb", "wandb", "Weights & Biases")
        directory.mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            project=project, name=name, group=name, dir=str(directory), mode="online" if online else "offline",
            settings=self._wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )  # fmt: skip
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")  # W&B's own count may not go back, ours may

    def __call__(self, event: Event) -> None:
        values: dict[str, Any] = dict(scalars(event))
        if event["event"] == "start":
            self._run.config.update({key: value for key, value in event.items() if key != "event"})
        elif event["event"] == "sample":
            text = html.escape(event["prompt"] + event["text"])
            values[_sample_name(event)] = self._wandb.Html(f"<pre>{text}</pre>", inject=False)
        elif event["event"] in MESSAGES:
            self._run.summary[f"messages/{event['event']}"] = event["message"]
        if values:
            self._run.log({**values, "step": event.get("step", 0)})

    def close(self) -> None:
        """Finish the W&B run."""
        self._run.finish()


LOGGERS = ("tensorboard", "wandb")


def open_logger(name: str, run_dir: Path) -> TensorBoardSink | WandbSink:
    """The named logger, writing below `run_dir`. Raises UsageError for an unknown name or a missing extra."""
    if name == "tensorboard":
        return TensorBoardSink(run_dir / "tensorboard")
    if name == "wandb":
        return WandbSink(run_dir, name=run_dir.resolve().name)
    raise UsageError(f"there is no logger {name!r}", hint=did_you_mean(name, LOGGERS))


def _extra(module: str, extra: str, title: str) -> Any:
    """The module of an optional part, or one line that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        missing = (problem.name or module).split(".")[0]
        what = f"{title} is not installed" if missing == extra else f"{title} cannot be loaded ({problem})"
        raise UsageError(what, hint=f"pip install 'vidro[{extra}]'") from None


def _sample_name(event: Event) -> str:
    """One name a prompt, so that a prompt's samples stand together over the steps."""
    return f"samples/{event['prompt'][:40].strip() or 'from nothing'}"


def _code(text: str) -> str:
    """Markdown that shows the text as it is: every line indented by four."""
    return "".join(f"    {line}\n" for line in text.split("\n"))
