"""A run drawn from its events: plain lines, the live display, the summary."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vidro.api.progress import LineProgress
from vidro.cli.progress import LANDING, LiveProgress, PlainProgress, sample_text, show_progress, sparkline

START = {
    "event": "start", "step": 0, "run": "book-1", "family": "qwen3", "n_parameters": 1_843_200, "vocab_size": 1024,
    "context_length": 256, "train_tokens": 412_000, "val_tokens": 45_000,
}  # fmt: skip
TRAIN = {
    "event": "train", "step": 50, "tokens": 204_800, "epoch": 0.5, "loss_nats": 5.25, "tokens_per_s": 12_345.0,
    "peak_frac": 0.38, "memory_bytes": 1_200_000_000, "progress": 0.25, "eta_s": 125.0, "elapsed_s": 40.0,
}  # fmt: skip
EVAL = {
    "event": "eval", "step": 50, "full": False, "nats_per_token": 5.5, "bits_per_byte": 2.25, "perplexity": 244.7,
}  # fmt: skip
SAMPLE = {
    "event": "sample", "step": 50, "prompt": "Once", "text": " upon\n a time", "copied_frac": 0.5,
    "longest_copy_chars": 60,
}  # fmt: skip
END = {
    "event": "end", "step": 200, "reason": "budget", "steps": 200, "tokens": 819_200, "epochs": 2.0, "minutes": 1.5,
    "best_step": 190, "val_nats_per_token": 3.5, "val_bits_per_byte": 2.0, "val_perplexity": 33.1,
    "message": "The budget is used up.",
}  # fmt: skip
OVERFIT = {"event": "overfit", "step": 60, "message": "Overfitting: lowest at step 50."}
NOTES = [{"event": "note", "message": "Two lines removed."}]
SILENT = [
    {"event": "checkpoint", "step": 50}, {"event": "best", "step": 50}, {"event": "phase", "step": 0, "name": "stable"},
]  # fmt: skip


def test_plain_lines_say_what_matters() -> None:
    lines: list[str] = []
    sink = LineProgress(lines.append)
    for event in [START, *SILENT, TRAIN, EVAL, SAMPLE, OVERFIT, *NOTES, {"event": "resumed", "step": 50}]:
        sink(event)
    assert lines == [
        "1.84M parameters (qwen3), 1,024 tokens in the vocabulary, 256 tokens of context, "
        "412k tokens to learn from, 45.0k to check with",
        "step 50  25%  val 5.500 nats/token (2.250 bits/byte)  train 5.250  12.3k tokens/s (38% of peak)  "
        "2 min 05 s left",
        "    sample Once upon a time  [50% copied]",
        "Overfitting: lowest at step 50.",
        "Two lines removed.",
        "going on from step 50",
    ]


def test_one_line_for_each_look_even_without_a_training_event() -> None:
    lines: list[str] = []
    LineProgress(lines.append)({**EVAL, "full": True})
    assert lines == ["whole validation text  val 5.500 nats/token (2.250 bits/byte)"]


def test_unknown_peak_memory_and_time_are_left_out() -> None:
    lines: list[str] = []
    sink = LineProgress(lines.append)
    sink({**TRAIN, "peak_frac": None, "eta_s": None})
    sink(EVAL)
    assert lines[0].endswith("train 5.250  12.3k tokens/s")


def test_a_sink_that_cannot_print_falls_silent() -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError

    LineProgress(broken)(START)


def test_the_summary_names_figures_picture_and_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    progress(END)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "loss.png").touch()
    capsys.readouterr()
    progress.summary(tmp_path)
    err = capsys.readouterr().err
    assert "The budget is used up.\n200 steps, 819k tokens, 2 epochs, 1 min 30 s.\n" in err
    assert "3.500 nats per token, 2.000 bits per byte, perplexity 33.1 (the model of step 190)." in err
    assert f"Its curve: {tmp_path / 'plots' / 'loss.png'}\nNow: vidro chat {tmp_path}\n" in err


def test_the_summary_tells_yardsticks_from_the_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    progress({**START, "yardsticks_bits_per_byte": {"uniform": 8.0, "gzip": 2.5, "floor": 0.75}})
    progress(END)
    progress.summary(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert "Without a model: uniform 8.000, gzip 2.500 bits per byte." in lines
    assert "No model can be below 0.750 bits per byte: so much of this text is chance." in lines


def test_an_infinite_perplexity_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    progress({**END, "val_perplexity": None})
    progress.summary(tmp_path)
    assert "perplexity infinite" in capsys.readouterr().err


def live() -> tuple[LiveProgress, io.StringIO]:
    screen = io.StringIO()
    return LiveProgress(Console(file=screen, force_terminal=True, width=100, color_system=None)), screen


def drawn(display: LiveProgress) -> str:
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        console.print(display._draw())
    return captured.get()


def test_the_live_display_shows_the_state_of_the_run() -> None:
    display, screen = live()
    with display:
        display({"event": "note", "message": "Cutting the text into tokens."})
        assert "Cutting the text into tokens" in drawn(display)
        for event in [
            START,
            {"event": "phase", "step": 0, "name": "stable"},
            TRAIN,
            EVAL,
            {**EVAL, "nats_per_token": 4.5},
        ]:
            display(event)
        picture = drawn(display)
    assert "stable" in picture
    assert "25%" in picture
    assert "2 min 05 s left" in picture or "2 min 04 s left" in picture
    assert "5.250 nats/token in training; validation: 4.500 nats/token (2.250 bits/byte)  █▁" in picture
    assert "12.3k tokens/s (38% of peak), 1.2 GB of memory" in picture
    assert "step 50, 205k tokens, 0.50 epochs" in picture
    assert max(map(len, picture.splitlines())) <= 100
    assert "book-1: 1.84M parameters" in screen.getvalue()


def test_the_live_display_of_a_classifier_says_how_many_are_right() -> None:
    display, _ = live()
    with display:
        for event in (START, TRAIN, {**EVAL, "nats_per_token": 0.5, "accuracy": 0.875}):
            display(event)
        picture = drawn(display)
    assert "5.250 nats/text in training; validation: 0.500 nats/text, 87.5 % right" in picture


def test_the_live_display_lets_samples_and_remarks_scroll_by() -> None:
    display, screen = live()
    with display:
        for event in [START, SAMPLE, OVERFIT, *NOTES, {"event": "resumed", "step": 50}]:
            display(event)
    shown = screen.getvalue()
    for text in ("step 50  Once upon", "[50% copied]", "Overfitting: lowest", "Two lines removed."):
        assert text in shown
    assert "Going on from step 50." in shown


def test_the_live_display_says_that_it_lands() -> None:
    display, _ = live()
    with display:
        display(START)
        display(TRAIN)
        assert LANDING not in drawn(display)
        display.landing()
        assert LANDING in drawn(display)
        assert drawn(display).startswith("landing")


def test_the_spinner_stays_until_there_is_a_step_also_after_a_resume() -> None:
    display, _ = live()
    with display:
        display({"event": "resumed", "step": 50})
        display({"event": "note", "message": "About the text."})
        assert "About the text" not in drawn(display)
        display(TRAIN)
        assert "step 50" in drawn(display)


def test_copied_parts_are_underlined() -> None:
    text = sample_text({**SAMPLE, "text": " upon a time", "copied_spans": [[1, 5]]})
    underlined = [text.plain[span.start : span.end] for span in text.spans if "underline" in str(span.style)]
    assert underlined == ["upon"]


def test_markup_in_a_text_is_shown_as_it_is() -> None:
    display, screen = live()
    with display:
        display({**SAMPLE, "prompt": "[bold]", "text": "[/bold] [red]x"})
        display({"event": "overfit", "message": "[red]file[/red]"})
    assert "[bold][/bold] [red]x" in screen.getvalue()
    assert "[red]file[/red]" in screen.getvalue()


def test_control_characters_of_a_model_do_not_reach_the_terminal() -> None:
    lines: list[str] = []
    LineProgress(lines.append)({**SAMPLE, "text": "\x1b[2J\x07"})
    assert lines == ["    sample Once␛[2J␇  [50% copied]"]
    assert sample_text({**SAMPLE, "text": "\x1b[2J\x85"}).plain == "step 50  Once␛[2J␦  [50% copied]"


def test_outside_a_terminal_the_display_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with show_progress() as progress:
        assert isinstance(progress, PlainProgress)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with show_progress() as progress:
        assert isinstance(progress, LiveProgress)
    monkeypatch.setenv("TERM", "dumb")
    with show_progress() as progress:
        assert isinstance(progress, PlainProgress)


@pytest.mark.parametrize(("values", "curve"), [([], ""), ([2.0], "▁"), ([1.0, 2.0, 3.0], "▁▅█")])
def test_sparkline(values: list[float], curve: Any) -> None:
    assert sparkline(values) == curve
