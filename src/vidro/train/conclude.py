"""The end of a pretraining run: the best model evaluated in full, the record written, the curves drawn.

Not here: the loop (`loop`), the evaluation protocol (`evals/perplexity`), the drawing (`evals/plots`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidro.checkpoint.huggingface import read_model
from vidro.data.shards import TokenShards
from vidro.evals.perplexity import TextScore, evaluate_tokens
from vidro.evals.plots import plot_run
from vidro.model.transformer import Transformer
from vidro.train.assemble import LEAST_WINDOWS, n_windows, val_subset
from vidro.train.loop import LoopState
from vidro.train.machine import memory_peak_bytes
from vidro.train.parent import measure, parents_text, sentence
from vidro.train.plan import CLOSING_S, CLOSING_SHARE
from vidro.train.planning import compared
from vidro.train.text_task import TextTask

if TYPE_CHECKING:
    from vidro.train.assemble import AssembledRun

NOT_IN_END = ("full", "val_n_bytes", "val_n_tokens", "before_bits_per_byte", "after_bits_per_byte")
LATE_SHARE, LATE_S = 0.05, 5.0  # a run may end so much off its minutes, whichever is more (design, section 4)
STATUS = {"budget": "finished", "patience": "finished", "landed": "landed"}


def conclude(run: AssembledRun, state: LoopState) -> dict[str, Any]:
    """Evaluate the run's best model on the whole validation text, write the record and the plots; the results."""
    assert state.reason is not None
    model = run.loop.model
    assert isinstance(model, Transformer)
    if state.watch.best_step != state.step:
        model = read_model(run.path, device=model.head.weight.device)
    score, full = final_score(run, state, model)
    fields = score.event_fields()
    tokens = state.watch.best_step * run.setup.plan.tokens_per_step
    epoch = round(tokens / run.setup.plan.epoch_tokens, 4)
    where = {"step": state.watch.best_step, "tokens": tokens, "epoch": epoch, "elapsed_s": round(state.elapsed_s, 3)}
    run.events.emit("eval", **where, split="val", full=full, **fields)
    results: dict[str, Any] = {f"val_{name}": value for name, value in fields.items()}
    results["full"] = full
    if run.facts.before is not None and run.facts.parent is not None:
        results |= continued(run, state, model)
    results |= used(run, state)
    results["forecast"] = run.facts.forecast
    results["memory_peak_bytes"] = memory_peak_bytes(model.head.weight.device)
    run.keeper.write(state, status=STATUS[state.reason], results=results)
    run.events.emit(
        "end", step=state.step, reason=state.reason, best_step=state.watch.best_step,
        message=closing(run, state, full, score.bits_per_byte),
        **{name: value for name, value in results.items() if name not in NOT_IN_END},
    )  # fmt: skip
    if run.around.plots:
        plot_run(run.path)
    return results


def final_score(run: AssembledRun, state: LoopState, model: Transformer) -> tuple[TextScore, bool]:
    """The score on the whole validation text, or on a part: for a landing, and where the minutes are too short."""
    setup = run.setup
    if state.reason == "landed":
        return val_subset(setup, run.facts.val_windows, model.head.weight.device).evaluate(model), False
    windows = windows_left(run, state)
    if windows is not None:
        return val_subset(setup, windows, model.head.weight.device).evaluate(model), False
    nats, n_tokens = evaluate_tokens(model, documents(setup.prepared.val), eot_id=setup.tokenizer.start_id)
    return TextScore.of(nats, n_tokens=n_tokens, n_bytes=setup.prepared.val_bytes), True


def windows_left(run: AssembledRun, state: LoopState) -> int | None:
    """How many validation windows the minutes still allow, by what the last look cost; None: all of them.

    A machine that became slower gets a smaller last evaluation, so that the run ends in time.
    """
    minutes, planned = run.setup.options.budget.minutes, run.facts.final_windows
    if minutes is None:
        return planned
    task = run.loop.task
    assert isinstance(task, TextTask)
    used_s = run.around.clock() - run.around.started_s + run.trained_before_s
    left_s = 60.0 * minutes - used_s - min(CLOSING_S, CLOSING_SHARE * 60.0 * minutes)
    left_s += max(LATE_SHARE * 60.0 * minutes, LATE_S) / 2  # half of what a run may be late
    affordable = max(LEAST_WINDOWS, int(left_s / max(state.look_s / task.val.n_windows, 1e-9)))
    total = n_windows(run.setup) if planned is None else planned
    return planned if affordable >= total else affordable


def documents(shards: TokenShards) -> Iterator[np.ndarray]:
    """The ids of each document, without the end mark."""
    start = 0
    for end in np.asarray(shards.document_ends).astype(np.int64).tolist():
        yield shards.tokens[start : end - 1]
        start = end


def continued(run: AssembledRun, state: LoopState, model: Transformer) -> dict[str, Any]:
    """Of a run that started from another: bits per byte on both texts, before and after, said and recorded."""
    before, parent = run.facts.before, run.facts.parent
    assert before is not None
    assert parent is not None
    tokenizer = run.setup.tokenizer
    texts, _ = parents_text(Path(parent), tokenizer, cache_dir=run.around.cache_dir)
    after = measure(model, run.setup.prepared, texts, tokenizer)
    run.events.emit("note", step=state.step, message=sentence(before, after))
    return {"before_bits_per_byte": before, "after_bits_per_byte": after}


def used(run: AssembledRun, state: LoopState) -> dict[str, Any]:
    """The budget in all four units. The minutes are those that the user waited, not only those of training."""
    around = run.around
    seconds = around.clock() - around.started_s + run.trained_before_s
    tokens = state.step * run.setup.plan.tokens_per_step
    return {
        "elapsed_s": round(state.elapsed_s, 3),
        "minutes": round(seconds / 60, 4),
        "tokens": tokens,
        "steps": state.step,
        "epochs": round(tokens / run.setup.plan.epoch_tokens, 4),
    }


def closing(run: AssembledRun, state: LoopState, full: bool, bits_per_byte: float) -> str:
    """Why training ended and which model is kept, in one or two sentences."""
    reasons = {
        "budget": "The budget is used up.",
        "patience": f"Stopped early: no better validation loss for {state.watch.looks_since_best} looks.",
        "landed": f"Landed as you asked; vidro pretrain --resume {run.path} goes on exactly from before the landing.",
    }
    words = [reasons[state.reason or "budget"]]
    most = run.facts.most_steps
    if state.reason == "budget" and most is not None and state.step >= most:
        words = ["Ended before the time was up: more passes over this text would only be learned by heart."]
    if state.watch.best_step != state.step:
        words.append(f"The result is the model of step {state.watch.best_step}, the best on the validation text.")
    if not full and state.reason != "landed":
        words.append("The validation text is too long for this budget; a fixed, even part of it was evaluated.")
    if run.facts.forecast is not None and state.reason != "landed":
        words.append(compared(run.facts.forecast, bits_per_byte))
    return " ".join(words)
