"""Prompts, replies and their sums; the file of replies through faults; published figures come out."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.core.errors import DataError
from vidro.evals.answers import AnswerRow
from vidro.evals.judge import (
    PAIR_REMINDER,
    SCORE_REMINDER,
    Outcome,
    judge_pairs,
    judge_rows,
    pair_outcome,
    pair_prompts,
    pair_summary,
    parse_choice,
    parse_score,
    read_replies,
    score_prompt,
    score_summary,
)

ROWS = [
    AnswerRow("Convert 45 km to meters.", "", "45000 m", "45000 m"),
    AnswerRow("Make it passive.", "The artist composed the song.", "The song was composed by the artist.", "The song."),
    AnswerRow("Name a colour.", "", "red", ""),
    AnswerRow("Spell it backwards: Ação", "", "oãçA", "oãçA"),
]


class Judge:
    """Scores by rule, remembers what it was asked; `goes_after`: how many questions it answers."""

    def __init__(self, *, goes_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.goes_after = goes_after

    def __call__(self, prompt: str) -> str:
        if self.goes_after == len(self.asked):
            raise DataError("the judge cannot be reached", where="http://there", hint="Start it.")
        self.asked.append(prompt)
        answer = prompt.split("### Model's answer\n")[1].split("\n\n### Score")[0]
        expected = prompt.split("### Expected answer\n")[1].split("\n\n###")[0]
        return "100" if answer == expected else "0" if "nothing" in answer else "40"


def test_the_prompt_holds_all_and_says_when_nothing_was_written() -> None:
    whole = score_prompt(ROWS[1])
    for text in (ROWS[1].instruction, ROWS[1].input, ROWS[1].expected, ROWS[1].answer, "from 0 to 100"):
        assert text in whole
    assert whole.endswith("Reply with the integer only.")
    assert "### Input" not in score_prompt(ROWS[0])
    assert "### Model's answer\n(nothing was written)\n" in score_prompt(ROWS[2])


@pytest.mark.parametrize("text", ["85", " 85\n", "85.", "85/100", "85 / 100", "Score: 85", "score = 85/100.", "**85**"])
def test_scores_that_are_read(text: str) -> None:
    assert parse_score(text) == 85


@pytest.mark.parametrize(
    "text",
    [
        "", "eighty", "85.5", "85%", "85 points", "101", "-5", "085", "85/10", "85/1000", "8 5", "1000", "٨٥",
        "I would give 85", "85 because it is right", "Score: 85\nReason: good", "Score:", "0-100", "85, 90", "NaN",
    ],
)  # fmt: skip
def test_replies_that_are_no_score(text: str) -> None:
    assert parse_score(text) is None


@given(st.integers(-300, 300))
def test_every_whole_number_in_the_range_and_no_other(number: int) -> None:
    assert parse_score(str(number)) == (number if 0 <= number <= 100 else None)


@given(st.text(max_size=20))
def test_any_text_is_a_score_or_none(text: str) -> None:
    score = parse_score(text)
    assert score is None or (0 <= score <= 100 and str(score) in text)
    assert parse_choice(text) in ("A", "B", "tie", None)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A", "A"), ("b", "B"), ("**B**", "B"), ("Tie.", "tie"), ("[[A]]", "A"), ("Answer B", "B"),
        ("answer: tie", "tie"),
        ("", None), ("A or B", None), ("A is better", None), ("C", None), ("AB", None), ("Both", None), ("ties", None),
    ],
)  # fmt: skip
def test_choices(text: str, choice: str | None) -> None:
    assert parse_choice(text) == choice


def test_every_row_is_scored_and_written_down(tmp_path: Path) -> None:
    judge, told, out = Judge(), [], tmp_path / "new" / "scores.jsonl"
    scores = judge_rows(ROWS, judge, out, judge="rule", seed=0, on_progress=lambda done, n: told.append((done, n)))
    assert scores.scores == (100, 40, 0, 100)
    assert scores.mean is not None
    assert scores.mean.mean == pytest.approx(60)
    assert scores.mean.low < 60 < scores.mean.high
    assert (scores.n, scores.n_unparsable, scores.n_resumed) == (4, 0, 0)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[1] == {
        "question": 1,
        "judge": "rule",
        "prompt_sha256": hashlib.sha256(judge.asked[1].encode()).hexdigest(),
        "prompt": judge.asked[1],
        "replies": ["40"],
        "verdict": 40,
    }
    assert json.loads(json.dumps(scores.to_json()))["scores"] == [100, 40, 0, 100]
    assert scores.lines()[0].startswith("judge                 60.00 of 100   95 %: ")
    assert scores.lines()[1] == "judged                4 rows; for 0 of them the judge's reply could not be read"


def test_a_judge_that_goes_away_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    with pytest.raises(DataError) as caught:
        judge_rows(ROWS, Judge(goes_after=2), out, judge="rule", seed=0)
    assert str(caught.value) == (
        "http://there: the judge cannot be reached. Start it. "
        f"2 of 4 replies are kept in {out}; the next call goes on there."
    )
    again = Judge()
    scores = judge_rows(ROWS, again, out, judge="rule", seed=0)
    assert again.asked == [score_prompt(row) for row in ROWS[2:]]
    assert scores.n_resumed == 2
    assert scores.lines()[-1].strip() == "2 replies were there from an earlier call"
    assert scores.scores == judge_rows(ROWS, Judge(), tmp_path / "other", judge="rule", seed=0).scores


def test_only_what_changed_is_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    judge_rows(ROWS, Judge(), out, judge="rule", seed=0)
    silent = Judge(goes_after=0)
    assert judge_rows(ROWS, silent, out, judge="rule", seed=0).n_resumed == 4
    changed = [*ROWS[:3], AnswerRow("Spell it backwards: Ação", "", "oãçA", "Ação")]
    judge = Judge()
    scores = judge_rows(changed, judge, out, judge="rule", seed=0)
    assert judge.asked == [score_prompt(changed[3])]
    assert (scores.n_resumed, scores.scores) == (3, (100, 40, 0, 40))
    assert judge_rows(ROWS, silent, out, judge="rule", seed=0).scores == (
        100,
        40,
        0,
        100,
    )  # the old ones are still there
    other = Judge()
    assert judge_rows(ROWS, other, out, judge="another judge", seed=0).n_resumed == 0
    assert len(other.asked) == 4


def test_a_line_that_a_kill_tore_is_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    judge_rows(ROWS, Judge(), out, judge="rule", seed=0)
    whole = out.read_bytes()
    start = len(whole.rstrip(b"\n").rsplit(b"\n", 1)[0]) + 1
    for cut in [*range(start, start + 20), *range(start + 20, len(whole), 97), len(whole) - 1]:
        out.write_bytes(whole[:cut])
        judge = Judge()
        assert judge_rows(ROWS, judge, out, judge="rule", seed=0).n_resumed == 3
        assert judge.asked == [score_prompt(ROWS[3])]
        assert out.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'[{"instruction": "a"}]', 1),  # a file of another kind, without a line end
        (b'{"instruction": "a"}\n', 1),
        (b"prose\n", 1),
        (b"\xff\xfe\n", 1),
        (b'{"question": 0, "judge": "j", "prompt_sha256": "", "prompt": "", "replies": [], "verdict": 1}\n', 1),
        (b'{"question": 0, "judge": "j", "prompt_sha256": "", "prompt": "", "replies": [1], "verdict": 1}\n', 1),
        (b'{"question": 0, "judge": "j", "prompt_sha256": "", "prompt": "", "replies": ["1"], "verdict": 1}\n\n', 2),
        (b'{"question": 0, "judge": [], "prompt_sha256": "", "prompt": "", "replies": ["1"], "verdict": 1}\n', 1),
        (b'{"question": [0], "judge": "j", "prompt_sha256": "", "prompt": "", "replies": ["1"], "verdict": 1}\n', 1),
    ],
)
def test_another_file_is_refused_and_left_as_it_was(tmp_path: Path, content: bytes, line: int) -> None:
    out = tmp_path / "data.json"
    out.write_bytes(content)
    with pytest.raises(DataError) as caught:
        judge_rows(ROWS, Judge(), out, judge="rule", seed=0)
    assert str(caught.value).startswith(f"{out}: line {line} is not a judge's reply. Choose another file")
    assert out.read_bytes() == content


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this is a folder, not a file for a judge's replies"):
        judge_rows(ROWS, Judge(), tmp_path, judge="rule", seed=0)
    with pytest.raises(DataError, match="there are no answers to judge"):
        judge_rows([], Judge(), tmp_path / "a", judge="rule", seed=0)
    with pytest.raises(DataError, match="4 answers cannot be compared with 1"):
        judge_pairs(ROWS, ["x"], Judge(), tmp_path / "a", judge="rule", seed=0)
    half = AnswerRow("a", "", "b", "\ud83d")
    with pytest.raises(DataError, match="question 1 to the judge holds half a surrogate pair"):
        judge_rows([half], Judge(), tmp_path / "a", judge="rule", seed=0)
    assert read_replies(tmp_path / "a") == {}


def test_prose_is_asked_once_more_and_then_counted(tmp_path: Path) -> None:
    asked: list[str] = []

    def wordy(prompt: str) -> str:
        asked.append(prompt)
        if "colour" in prompt:
            return "I cannot score that."
        return "70" if prompt.endswith(SCORE_REMINDER) else "It is quite good: 70"

    out = tmp_path / "scores.jsonl"
    scores = judge_rows(ROWS, wordy, out, judge="wordy", seed=0)
    assert scores.scores == (70, 70, None, 70)
    assert scores.n_unparsable == 1
    assert scores.mean is not None
    assert scores.mean.mean == 70
    assert len(asked) == 8
    kept = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert kept[2]["replies"] == ["I cannot score that.", "I cannot score that."]
    assert kept[2]["verdict"] is None
    assert kept[0]["replies"] == ["It is quite good: 70", "70"]
    assert judge_rows(ROWS, wordy, out, judge="wordy", seed=0).n_unparsable == 1
    assert len(asked) == 8  # a judge at temperature 0 would say the same again
    useless = judge_rows(ROWS, lambda prompt: "Well.", tmp_path / "b", judge="useless", seed=0)
    assert (useless.mean, useless.n_unparsable) == (None, 4)
    assert useless.lines()[0] == "judge                 no score could be read"


def by_order(prompt: str) -> str:
    """Prefers the longer answer; for the passive it takes the one it reads first, for the colour it says tie."""
    if "passive" in prompt:
        return "A"
    if "colour" in prompt:
        return "tie"
    if "Convert" in prompt:
        return "Both are fine." if not prompt.endswith(PAIR_REMINDER) else "Both!"
    a, b = prompt.split("### Answer A\n")[1].split("\n\n### Better answer")[0].split("\n\n### Answer B\n")
    return "A" if len(a) > len(b) else "B"


def test_pairs_are_judged_in_both_orders(tmp_path: Path) -> None:
    rows = [*ROWS, AnswerRow("Spell it", "", "b-i-r-d", "bird")]
    others = ["45 m", "Composed by.", "blue", "o", "b-i-r-d"]
    scores = judge_pairs(rows, others, by_order, tmp_path / "pairs.jsonl", judge="rule", seed=0)
    assert scores.outcomes == (None, "inconsistent", "tie", "win", "loss")
    counts = scores.wins, scores.losses, scores.ties, scores.inconsistent, scores.n_unparsable, scores.n
    assert counts == (1, 1, 1, 1, 1, 5)
    assert scores.win_rate is not None
    assert scores.win_rate.mean == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert scores.win_rate.low < 0.5 < scores.win_rate.high
    again = judge_pairs(rows, others, Judge(goes_after=0), tmp_path / "pairs.jsonl", judge="rule", seed=0)
    assert again.n_resumed == 10
    assert again.outcomes == scores.outcomes
    assert scores.lines()[0].startswith("win rate              50.0%   95 %: ")
    assert scores.lines()[1].strip() == "1 won, 1 lost, 1 tied, 1 hung on the order"
    assert json.loads(json.dumps(scores.to_json()))["wins"] == 1
    assert pair_summary([None], seed=0).lines()[0].endswith("no choice could be read")


def test_both_orders_hold_both_answers() -> None:
    one, two = pair_prompts(ROWS[1], "Another.")
    assert one.index("The song.\n") < one.index("Another.")
    assert two.index("Another.") < two.index("The song.\n")
    assert sorted(one) == sorted(two)


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ("A", "B", "win"), ("B", "A", "loss"), ("tie", "tie", "tie"), (None, "A", None), ("B", None, None),
        ("A", "A", "inconsistent"), ("B", "B", "inconsistent"), ("A", "tie", "inconsistent"),
        ("tie", "A", "inconsistent"),
    ],
)  # fmt: skip
def test_outcomes(first: str | None, second: str | None, outcome: Outcome | None) -> None:
    assert pair_outcome(first, second) == outcome


@pytest.mark.parametrize(
    ("name", "mean", "n"),
    [
        ("gpt4-model-1", 74.09, 100),
        ("gpt4-model-2", 56.57, 100),
        ("llama3-8b-model-1", 77.05, 100),
        ("llama3-8b-model-2", 67.37, 99),  # one reply of 100 could not be read
    ],
)
def test_the_books_scores_have_their_published_means(shared_data: Path, name: str, mean: float, n: int) -> None:
    path = shared_data / "instruct" / "judge" / "scores" / f"{name}-response.json"
    given = json.loads(path.read_text(encoding="utf-8"))
    scores = score_summary([*given, *[None] * (100 - len(given))], seed=0)
    assert scores.mean is not None
    assert round(scores.mean.mean, 2) == mean
    assert (scores.n, scores.n_unparsable) == (100, 100 - n)
    assert scores.mean.low < mean < scores.mean.high


@pytest.mark.parametrize(
    ("name", "win_rate"), [("alpaca-7b", 26.46), ("text_davinci_001", 15.17), ("vicuna-13b", 70.43)]
)
def test_alpaca_eval_has_its_published_win_rates(shared_data: Path, name: str, win_rate: float) -> None:
    folder = shared_data / "instruct" / "judge" / "alpaca_eval"
    with gzip.open(folder / name / "annotations.json.gz", "rt", encoding="utf-8") as stream:
        verdicts = [item["preference"] for item in json.load(stream)]
    with (folder / "alpaca_eval_gpt4_leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        published = [float(line["win_rate"]) for line in csv.DictReader(stream) if f"/{name}/" in line["samples"]]
    outcomes: dict[float, Outcome] = {0: "tie", 1: "loss", 2: "win"}
    scores = pair_summary([None if v is None else outcomes[v] for v in verdicts], seed=0)
    assert scores.win_rate is not None
    assert [scores.win_rate.mean * 100] == pytest.approx(published)
    assert round(scores.win_rate.mean * 100, 2) == win_rate
    assert (scores.n, scores.n_unparsable) == (805, 1 if name == "text_davinci_001" else 0)
    half_width = (scores.win_rate.high - scores.win_rate.low) / 2
    points = [{"win": 1.0, "loss": 0.0, "tie": 0.5}[outcome] for outcome in scores.outcomes if outcome is not None]
    assert half_width == pytest.approx(1.96 * statistics.stdev(points) / len(points) ** 0.5, rel=0.08)
