"""The second half of the quickstart: the model learns two tasks, each scored beside something simpler.

Not here: the first half, up to a model that writes (`quickstart`), fine-tuning itself (`train/finetune`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidro.api.run import Run
from vidro.cli.terminal import note

SHOWN = (
    ("Convert 45 km to meters.", ""),
    ("Rewrite it without the passive.", "The song was composed by the artist."),
)
"""Asked in the end; neither was among what it learned from."""

ASKED_BEFORE = 96  # a dozen of each kind

Heading = Callable[[str, str], None]


def classifier(base: Run, out: Path | None, budget: dict[str, Any], *, threads: int | None, heading: Heading) -> Run:
    """Stage seven: the model tells spam from messages, beside a bag of words."""
    heading("A classifier", "The same model with two outputs instead of a vocabulary: is a message spam?")
    # One reading of these short messages is enough, and leaves the minutes to the assistant.
    run = tuned("classify", base, out, "tinyworld-spam", {**(budget or {"epochs": 1}), "threads": threads, "evals": 4})
    scores, words = run.record["results"]["test"], run.record["results"]["bag_of_words"]
    note(
        f"  {scores['accuracy']:.1%} of {scores['n']} messages of unseen combinations are right "
        f"(a bag of words: {words['accuracy']:.1%})."
    )
    return run


def assistant(base: Run, out: Path | None, budget: dict[str, Any], *, threads: int | None, heading: Heading) -> Run:
    """Stage eight: the model learns to answer; what it answers to questions that it never saw, kind by kind."""
    heading("An assistant", "It learns to answer from questions with answers; then it is asked new ones:")
    looks = {"threads": threads, "evals": 4, "val_share": 0.01, "answer_tokens": 40}
    # So many rows are a second pretraining, at rates between its own and the gentle ones of a small table; and of the
    # styles with turns this one takes the fewest tokens (docs/diary.md).
    rates = {"lr": 0.003, "embedding_lr": 0.014, "muon_lr": 0.014, "decay": 0.8}
    settings = {**budget, **looks, **rates, "batch_rows": 64, "style": "phi3-chat"}
    run = tuned("instruct", base, out, "tinyworld-instructions", settings)
    answers, before = run.record["results"]["answers"], scores_before(base, style=run.answerer.style.name)
    note(f"  {'exactly right':<14}{'before':>7}{'now':>8}")
    for kind, marks in answers["kinds"].items():
        known = before["kinds"][kind]["exact"]["mean"]
        note(f"  {kind:<14}{known:>7.0%}{marks['exact']['mean']:>8.1%} of {marks['n']}")
    macro, known = answers["macro"]["exact"], before["macro"]["exact"]["mean"]
    note(f"  {'all kinds':<14}{known:>7.0%}{macro['mean']:>8.1%} ({macro['low']:.1%} to {macro['high']:.1%})")
    return run


def scores_before(base: Run, *, style: str) -> dict[str, Any]:
    """What the model says to some of the same questions while it knows nothing but stories."""
    from vidro.cli.places import cache_dir
    from vidro.core.files import write_text_atomic
    from vidro.data.made import asked

    path = cache_dir() / "quickstart" / "questions.jsonl"
    write_text_atomic(path, "".join(asked(held_out=True)))
    return base.evaluate_instructions(path, rows=ASKED_BEFORE, answer_tokens=24, style=style).scores.to_json()


def tuned(kind: str, base: Run, out: Path | None, data: str, settings: dict[str, Any]) -> Run:
    """Fine-tune with the display that every training has."""
    from vidro.api.finetune import tune, tune_request
    from vidro.cli.places import cache_dir
    from vidro.cli.progress import show_progress

    said = {name: value for name, value in {**settings, "data": data, "out": out}.items() if value is not None}
    with show_progress() as progress:
        result = tune(
            tune_request(kind, str(base.path), said), cache_dir=cache_dir(), sinks=(progress,),
            on_landing=progress.landing,
        )  # fmt: skip
    return Run(result.path)


def ask(run: Run) -> list[dict[str, str]]:
    """Two questions that anybody can check, and what the model before would have said."""
    from vidro.api.words import visible

    found = []
    for question, text in SHOWN:
        answer = run.answer(question, input=text, greedy=True, max_tokens=40)
        found.append({"question": f"{question} {text}".strip(), "answer": answer})
        note(f"  {found[-1]['question']}\n    {visible(answer)}")
    return found
