"""Progress as plain lines: for notebooks, log files and pipes. One line for each look at the validation text.

Not here: the live display in a terminal (`vidro.cli.progress`).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

from vidro.api.words import human_bytes, human_count, human_time, visible

Event = dict[str, Any]


class LineProgress:
    """An event sink that prints what matters, each as one line through `say` (default: stderr).

    A sink that cannot print (a closed pipe) falls silent: it must not end the training.
    """

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._say = say if say is not None else lambda line: print(line, file=sys.stderr, flush=True)
        self._train: Event = {}

    def __call__(self, event: Event) -> None:
        if event["event"] == "train":
            self._train = event
        line = describe(event, self._train)
        if line is not None:
            with contextlib.suppress(OSError, ValueError):
                self._say(line)


def describe(event: Event, train: Event) -> str | None:
    """One event as a line, or None for those a reader need not see; `train` is the last training event."""
    kind = event["event"]
    if kind == "start":
        return describe_start(event)
    if kind == "plan":
        return describe_plan(event)
    if kind == "eval":
        return describe_eval(event, train)
    if kind == "sample":
        return f"    sample {describe_sample(event)}"
    if kind in ("note", "overfit", "passed"):
        return event["message"]
    if kind == "resumed":
        return f"going on from step {event['step']}"
    return None


def describe_start(event: Event) -> str:
    """What is about to be trained, on what."""
    if "n_learning" in event:
        return describe_tuning(event)
    parts = [
        f"{human_count(event['n_parameters'])} parameters ({event['family']})",
        f"{event['vocab_size']:,} tokens in the vocabulary",
        f"{event['context_length']} tokens of context",
        f"{human_count(event['train_tokens'])} tokens to learn from",
        f"{human_count(event['val_tokens'])} to check with",
    ]
    return ", ".join(parts)


def describe_tuning(event: Event) -> str:
    """What is about to be fine-tuned: for which classes or in which style, how much of the model, on how many rows."""
    labels = event.get("labels")
    if labels is None:
        what, unit = f"to answer in the style {event['style']}", "rows"
    else:
        more = ", …" if len(labels) > 6 else ""
        what, unit = f"{len(labels)} classes ({', '.join(labels[:6])}{more})", "texts"
    learning = f"{human_count(event['n_learning'])} of {human_count(event['n_parameters'])} parameters learn"
    n_train, n_val, n_test = (f"{event[name]:,}" for name in ("n_train", "n_val", "n_test"))
    return f"{what}, {learning}, {n_train} {unit} to learn from, {n_val} to check with, {n_test} to score with"


def describe_plan(event: Event) -> str:
    """What was chosen for this text, time and machine, a line each, and what to expect."""
    lines = [f"  {what + ':':12}{chosen} ({why})" for what, chosen, why in event["choices"]]
    return "\n".join(["The plan:", *lines, *([event["message"]] if event["message"] else [])])


def describe_eval(event: Event, train: Event) -> str:
    """Where the run stands: step, share, both losses, speed, time left."""
    split = "whole validation text" if event["full"] else f"step {event['step']}"
    parts = [split]
    if train and not event["full"]:
        parts.append(f"{train['progress']:.0%}")
    parts.append(f"val {describe_look(event)}")
    if train and not event["full"]:
        parts.append(f"train {train['loss_nats']:.3f}")
        parts.append(speed(train))
        if train.get("eta_s") is not None:
            parts.append(f"{human_time(train['eta_s'])} left")
    return "  ".join(parts)


def describe_look(event: Event) -> str:
    """The figures of a look: of a classifier how many texts it gets right, else what a token and a byte cost.

    >>> describe_look({"nats_per_token": 0.2, "accuracy": 0.9512})
    '0.200 nats/text, 95.1 % right'
    """
    if "accuracy" in event:
        return f"{event['nats_per_token']:.3f} nats/text, {100 * event['accuracy']:.1f} % right"
    if "reward_accuracy" in event:
        return f"{event['nats_per_token']:.3f} nats/pair, {100 * event['reward_accuracy']:.1f} % of pairs right"
    bits = f" ({event['bits_per_byte']:.3f} bits/byte)" if "bits_per_byte" in event else ""
    return f"{event['nats_per_token']:.3f} nats/token{bits}"


def speed(train: Event) -> str:
    """Tokens per second, and the share of the measured matrix-multiplication peak where it is known."""
    text = f"{human_count(train['tokens_per_s'])} tokens/s"
    peak = train.get("peak_frac")
    return text if peak is None else f"{text} ({peak:.0%} of peak)"


def memory(train: Event) -> str:
    """Memory in use, or a dash."""
    used = train.get("memory_bytes")
    return "–" if used is None else human_bytes(used)


def describe_sample(event: Event) -> str:
    """A sample on one line, with the share of it that is copied from the training text."""
    text = visible(" ".join((event["prompt"] + event["text"]).split()))
    copied = event.get("copied_frac")
    return text if not copied else f"{text}  [{copied:.0%} copied]"
