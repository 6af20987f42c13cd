"""The charts of synthetic runs of every kind: nothing clipped, nothing over another text, and the right words."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from vidro.core.errors import RunError, UsageError
from vidro.core.events import Event
from vidro.evals.charts import comparison_chart
from vidro.evals.curves import Curves, curves
from vidro.evals.plots import CHARTS, compare_runs, plain_style, plot_run, save_figure

V, BATCH, EPOCH, BYTES_PER_TOKEN = 4096, 4096, 300_000, 3.2


def start(**facts: Any) -> Event:
    return {
        "event": "start", "time_s": 0.0, "step": 0, "run": "synthetic", "family": "qwen3", "n_parameters": 1_914_624,
        "vocab_size": V, "context_length": 256, "batch_tokens": BATCH, "train_tokens": EPOCH,
        "unigram_nats_per_token": 6.21, "bytes_per_token": BYTES_PER_TOKEN, **facts,
    }  # fmt: skip


def train(
    step: int, loss: float, multipliers: list[float], *, speed: float = 21_000.0, peak: float | None = 0.6
) -> Event:
    return {
        "event": "train", "step": step, "tokens": step * BATCH, "epoch": step * BATCH / EPOCH, "loss_nats": loss,
        "lr": 0.003 * multipliers[-1], "multipliers": multipliers, "grad_norm": 0.7, "clipped_frac": 0.0,
        "tokens_per_s": speed, "peak_frac": peak, "memory_bytes": 8e8,
        "elapsed_s": step * BATCH / speed, "progress": 0.5, "eta_s": 1.0,
    }  # fmt: skip


def look(step: int, nats: float, *, full: bool = False) -> Event:
    return {
        "event": "eval", "step": step, "tokens": step * BATCH, "epoch": step * BATCH / EPOCH, "elapsed_s": step / 5,
        "split": "val", "full": full, "nats_per_token": nats, "nats_per_byte": nats / BYTES_PER_TOKEN,
        "bits_per_byte": nats / BYTES_PER_TOKEN / math.log(2), "perplexity": math.exp(nats), "n_tokens": 9000,
        "n_bytes": 28_800,
    }  # fmt: skip


def phase(step: int, name: str) -> Event:
    return {"event": "phase", "step": step, "name": name}


def schedule(share: float, *, warmup: float = 0.02, decay: float = 0.5) -> float:
    return min(1.0, share / warmup, (1 - share) / decay)


def run_of(
    steps: int,
    *,
    train_loss: Callable[[float], float],
    val_loss: Callable[[float], float],
    logs: int = 200,
    looks: int = 20,
    peak: float | None = 0.6,
) -> list[Event]:
    """Events as the loop writes them, for losses given over the share of the run."""
    rng = np.random.default_rng(0)
    events = [start(), phase(0, "warmup")]
    last = 0
    for step in range(1, steps + 1):
        share = step / steps
        if step == max(1, steps // 50):
            events.append(phase(step, "stable"))
        if step == steps // 2:
            events.append(phase(step, "decay"))
        if step == 1 or step % max(1, steps // logs) == 0:
            multipliers = [schedule((k + 0.5) / steps) for k in range(last, step)]
            loss, speed = train_loss(share) + rng.normal() * 0.06, 21_000 + 900 * rng.normal()
            used = None if peak is None else peak + 0.02 * rng.normal()
            events.append(train(step, loss, multipliers, speed=speed, peak=used))
            last = step
        if step % max(1, steps // looks) == 0:
            events.append(look(step, val_loss(share) + rng.normal() * 0.01))
    best = min((e for e in events if e["event"] == "eval"), key=lambda e: e["nats_per_token"])
    events.append({**look(best["step"], best["nats_per_token"] + 0.03), "full": True})
    events.append({"event": "end", "step": steps, "reason": "budget", "minutes": 3.1})
    return events


def falling(low: float) -> Callable[[float], float]:
    high = math.log(V) - low
    return lambda share: low + 0.7 * high * math.exp(-28 * share) + 1.6 * math.exp(-4 * share) - 0.15 * share


def turning(share: float) -> float:
    return 5.9 + 2.4 * math.exp(-30 * share) + 3.2 * max(0.0, share - 0.22)


def converging() -> list[Event]:
    return run_of(3000, train_loss=falling(3.1), val_loss=falling(3.3))


def overfitting() -> list[Event]:
    events = run_of(900, train_loss=lambda s: 0.3 + 7.9 * math.exp(-4.2 * s), val_loss=turning)
    events.insert(-2, {"event": "overfit", "step": 400, "best_step": 225, "message": "Overfitting: …"})
    return events


def three_events() -> list[Event]:
    return [start(), train(1, 8.31, [0.5], peak=None), look(1, 8.3)]


def one_step() -> list[Event]:
    return [start(), phase(0, "warmup"), train(1, 8.3175, [1.0]), look(1, 8.2), look(1, 8.21, full=True),
            {"event": "end", "step": 1, "reason": "budget", "minutes": 0.1}]  # fmt: skip


def landed() -> list[Event]:
    events = run_of(3000, train_loss=falling(3.1), val_loss=falling(3.3))
    kept = [e for e in events if e["event"] == "start" or (0 <= e["step"] <= 1200 and not e.get("full"))]
    last = 1200
    kept.append(phase(last, "landing"))
    kept.append(train(1260, 3.6, [1 - k / 60 for k in range(60)]))
    end = {"event": "end", "step": 1260, "reason": "landed", "minutes": 1.4}
    return [*kept, look(1260, 3.68), look(1260, 3.70, full=True), end]


def continued_small_vocabulary() -> list[Event]:
    events = run_of(400, train_loss=lambda s: 1.6 - 0.1 * s, val_loss=lambda s: 1.65 - 0.08 * s, peak=None)
    return [start(vocab_size=64, unigram_nats_per_token=3.95, n_parameters=124_439_808), *events[1:]]


RUNS: dict[str, Callable[[], list[Event]]] = {
    "converging": converging, "overfitting": overfitting, "three-events": three_events, "one-step": one_step,
    "landed": landed, "continued": continued_small_vocabulary,
}  # fmt: skip


def made(name: str) -> Curves:
    return curves(RUNS[name](), name=name)


def written_run(folder: Path, events: list[Event]) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return folder


def texts_of(figure: Figure) -> list[Text]:
    """Every text that is really drawn (ticks beyond the limits of an axis exist, but are not)."""
    drawn: list[Text] = []
    draw = Text.draw

    def remember(self: Text, renderer: Any) -> None:
        drawn.append(self)
        draw(self, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", remember)
        figure.canvas.draw()
    return [text for text in drawn if text.get_visible() and text.get_text().strip()]


def assert_clean(figure: Figure) -> None:
    """No text leaves the picture, none stands on another."""
    width, height = figure.get_size_inches() * figure.dpi
    shown = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    for text, box in shown:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, f"{text!r} is cut: {box}"
    for place, (text, box) in enumerate(shown):
        for other, other_box in shown[place + 1 :]:
            assert not box.overlaps(other_box), f"{text!r} stands on {other!r}"


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("run", RUNS)
def test_no_text_is_cut_or_covered(run: str, chart: str) -> None:
    with plain_style():
        assert_clean(CHARTS[chart](made(run)))


def words_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in texts_of(figure))


def test_the_loss_chart_says_where_overfitting_starts_and_only_then() -> None:
    with plain_style():
        over, fine = words_of(CHARTS["loss"](made("overfitting"))), words_of(CHARTS["loss"](made("converging")))
    best = made("overfitting").best_step
    assert f"overfitting starts here\nlowest validation: 5.910, step {best}" in over
    assert "gap: known by heart, not understood" in over
    assert "overfitting" not in fine
    assert "gap" not in fine
    assert "lowest validation: " in fine
    for words in (over, fine):
        assert "knows nothing: ln 4096 = 8.32" in words
        assert "knows only how frequent each token is: 6.21" in words
        assert "training (smoothed, 2% of the run)" in words


def test_levels_far_above_a_continued_run_are_told_in_words_only() -> None:
    with plain_style():
        figure = CHARTS["loss"](made("continued"))
    assert "↑ knows nothing: ln 64 = 4.16" in words_of(figure)
    assert figure.axes[0].get_ylim()[1] < 2


YARDSTICKS = {"uniform": 8.0, "unigram": 4.7, "gzip": 3.0, "xz": 2.9, "5-gram": 2.6, "bzip2": 2.3, "floor": 1.2}


def with_yardsticks(name: str, bits: dict[str, float] = YARDSTICKS) -> Curves:
    first, *others = RUNS[name]()
    return curves([{**first, "yardsticks_bits_per_byte": bits}, *others], name=name)


def test_yardsticks_are_level_lines_at_their_cost_in_nats_per_token() -> None:
    with plain_style():
        figure = CHARTS["loss"](with_yardsticks("converging"))
        assert_clean(figure)
    words = words_of(figure)
    level = [line.get_ydata() for line in figure.axes[0].lines if line.get_linestyle() == "-."]
    heights = {name: YARDSTICKS[name] * BYTES_PER_TOKEN * math.log(2) for name in ("gzip", "5-gram", "bzip2", "floor")}
    assert [list(y) for y in level] == [pytest.approx([height] * 2) for height in heights.values()]
    assert all(f"{name}: {height:.2f}" in words for name, height in heights.items())
    assert "xz" not in words
    assert "uniform" not in words
    low, high = figure.axes[0].get_ylim()
    assert all(low < height < high for height in heights.values())


def test_yardsticks_far_above_a_continued_run_do_not_flatten_it() -> None:
    with plain_style():
        figure = CHARTS["loss"](with_yardsticks("continued", {"gzip": 3.0, "floor": 0.6}))
        assert_clean(figure)
    assert "↑ gzip: 6.65" in words_of(figure)
    assert "\nfloor: 1.33" in words_of(figure)
    assert figure.axes[0].get_ylim()[1] < 2


def test_bits_per_byte_stand_beside_perplexity() -> None:
    with plain_style():
        figure = CHARTS["perplexity"](made("converging"))
    run = made("converging")
    assert f"{run.val_bits.y.min():.3f} bits per byte" in words_of(figure)
    right = next(axes for axes in figure.axes[0].child_axes if axes.get_ylabel() == "bits per byte")
    low, high = figure.axes[0].get_ylim()
    assert right.get_ylim() == pytest.approx([y / BYTES_PER_TOKEN / math.log(2) for y in (low, high)])


def test_epochs_stand_above_tokens() -> None:
    with plain_style():
        figure = CHARTS["loss"](made("converging"))
    figure.canvas.draw()
    above = next(axes for axes in figure.axes[0].child_axes if "epochs" in axes.get_xlabel())
    assert above.get_xlim()[1] == pytest.approx(figure.axes[0].get_xlim()[1] / EPOCH)


def test_speed_without_a_measured_peak_has_one_part() -> None:
    with plain_style():
        assert len(CHARTS["speed"](made("three-events")).axes) == 1
        assert len(CHARTS["speed"](made("converging")).axes) == 2


@pytest.mark.parametrize("name", ["a" * 90, "cost$5 and $6", "_hidden", "本"])
def test_any_name_of_a_run_can_be_shown(name: str) -> None:
    with plain_style():
        assert_clean(CHARTS["loss"](curves(three_events(), name=name)))
        compared = comparison_chart([curves(three_events(), name=name)])
        assert_clean(compared)
    assert ": 3.742" in words_of(compared)


def test_many_runs_can_be_compared() -> None:
    with plain_style():
        figure = comparison_chart([curves(RUNS[name](), name=f"{name}-{i}") for i in range(2) for name in RUNS])
        assert_clean(figure)
    names = [str(line.get_label()).split("-")[0] for line in figure.axes[0].lines]
    assert names[::2] == ["continued", "converging", "landed", "overfitting", "one", "three"]  # the best first


def test_runs_of_different_validation_texts_are_told_apart() -> None:
    one, same, other = (curves([start(val_bytes=n), *three_events()[1:]], name="r") for n in (5, 5, 6))
    with plain_style():
        assert "different validation texts" not in words_of(comparison_chart([one, same]))
        different = comparison_chart([one, other])
        assert_clean(different)
    assert "These runs have different validation texts" in words_of(different)


def test_files_are_written_in_both_kinds_and_are_the_same_again(tmp_path: Path) -> None:
    run = written_run(tmp_path / "verdict-1", one_step())
    before = dict(matplotlib.rcParams)
    files = plot_run(run)
    assert [path.name for path in files] == [f"{name}.{kind}" for name in CHARTS for kind in ("png", "svg")]
    assert {path.parent for path in files} == {run / "plots"}
    first = [path.read_bytes() for path in files]
    png = first[0]
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (1200, 750)
    assert [path.read_bytes() for path in plot_run(run)] == first
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_not_used() -> None:
    code = "import sys, vidro.evals.plots as p; assert 'matplotlib.pyplot' not in sys.modules and p.plot_run"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    run = written_run(tmp_path / "new", [start()])
    with pytest.raises(RunError, match=r"new: there is nothing to draw yet: the run has logged no step"):
        plot_run(run)
    with pytest.raises(UsageError, match="there are no runs to compare"):
        compare_runs([])


def test_compared_figures_can_be_saved(tmp_path: Path) -> None:
    runs = [written_run(tmp_path / name, RUNS[name]()) for name in ("one-step", "landed")]
    files = save_figure(compare_runs(runs), tmp_path / "compare")
    assert [path.name for path in files] == ["compare.png", "compare.svg"]
    assert all(path.stat().st_size > 5000 for path in files)
