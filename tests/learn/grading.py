"""What tests of exercises share: what an exercise has to say about a solution."""

from __future__ import annotations

from pathlib import Path

from vidro.learn.exercise import grade, load_exercise


def problem_of(name: str, source: str, folder: Path) -> str | None:
    """What the exercise has to say about this solution; None if all steps hold."""
    file = folder / "mine.py"
    file.write_text(source, encoding="utf-8")
    return next((outcome.problem for outcome in grade(load_exercise(name), file) if outcome.state == "wrong"), None)
