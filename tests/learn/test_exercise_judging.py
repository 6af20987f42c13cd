"""Exercise judging: usual mistakes are named, other sensible forms pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.learn.grading import problem_of

PLAIN = """
import random
import re

def answer_of(ids, n_task, end_id):
    answer = []
    for number in ids[n_task:]:
        if number == end_id:
            break
        answer.append(number)
    return answer

def words(text):
    return [word.lower().rstrip(".,;:!?") for word in text.split()]

def word_f1(answer, expected):
    ours, theirs = words(answer), words(expected)
    n_all = len(ours) + len(theirs)
    left, n_common = list(theirs), 0
    for word in ours:
        if word in left:
            left.remove(word)
            n_common += 1
    return 2 * n_common / n_all if n_all else 1.0

def read_score(reply):
    found = re.fullmatch(r"\\s*(?:score:)?\\s*(\\d+)(?:/100)?\\.?\\s*", reply, re.I)
    if not found or int(found[1]) > 100:
        return None
    return int(found[1])

def outcome(ours_first, ours_second):
    if ours_first is None or ours_second is None:
        return None
    swapped = {"A": "B", "B": "A", "tie": "tie"}[ours_second]
    if ours_first != swapped:
        return "inconsistent"
    return {"A": "win", "B": "loss", "tie": "tie"}[ours_first]

def interval(values, seed, draws=2000):
    dice = random.Random(seed)
    n = len(values)
    means = sorted(sum(dice.choices(values, k=n)) / n for _ in range(draws))
    return sum(values) / n, means[int(0.025 * draws)], means[int(0.975 * draws)]
"""
TORCH = PLAIN.replace("import random", "import torch").replace(
    """    dice = random.Random(seed)
    n = len(values)
    means = sorted(sum(dice.choices(values, k=n)) / n for _ in range(draws))
    return sum(values) / n, means[int(0.025 * draws)], means[int(0.975 * draws)]
""",
    """    values, dice = torch.tensor(values), torch.Generator().manual_seed(seed)
    means = values[torch.randint(len(values), (draws, len(values)), generator=dice)].mean(dim=1)
    return values.mean(), means.quantile(0.025), means.quantile(0.975)
""",
)

MISTAKES = [
    ("ids[n_task:]", "ids", "the task is still there"),
    ("ids[n_task:]", "ids[n_task:-1]", "the last id of the answer is cut off"),
    ("    answer = []\n", "    del ids[:n_task]\n    n_task = 0\n    answer = []\n", "the list of ids was changed"),
    ("    return answer\n", "    return ids[:n_task]\n", "another piece is cut out"),
    ("            break\n", "            return answer + [number]\n", "the end token is no part"),
    ("            break\n", "            continue\n", "what was written after the end is left"),
    ("            break\n", "            pass\n", "nothing is cut off"),
    ("ids[n_task:]:", "ids[ids.index(end_id) + 1 if end_id in ids[:n_task] else n_task:]:", "an end token of the task"),
    ("2 * n_common / n_all", "n_common / len(ours)", "the share of the answer's words"),
    ("2 * n_common / n_all", "n_common / len(theirs)", "the share of the expected words"),
    ("            left.remove(word)\n", "", "every repeat found the same word"),
    ("words(answer), words(expected)", "set(words(answer)), set(words(expected))", "count words, not kinds of words"),
    (" if n_all else 1.0", " if n_common else 0.0", "word_f1 of '' and ''"),
    (" if n_all else 1.0", "", "ZeroDivisionError"),
    (".lower()", "", "word_f1 of 'The Dog, it barks.'"),
    ('.rstrip(".,;:!?")', "", "word_f1 of 'The Dog, it barks.'"),
    ('.rstrip(".,;:!?")', '.replace(".", "").rstrip(",;:!?")', "word_f1 of 'about 3.5'"),
    ("(?:score:)?", "", "read_score('Score: 85')"),
    ("    return int(found[1])", "    return found[1]", "gives a whole number or None (found '85')"),
    ("re.fullmatch(r", "re.search(r", "a number in a sentence may count anything (found 2, expected None)"),
    (" or int(found[1]) > 100", "", "read_score('101'): there is no such score"),
    ("(?:/100)?", "(?:/\\d+)?", "that is another scale"),
    ("        return None\n    return int", "        return 0\n    return int", "0 would be a verdict"),
    ("    if ours_first != swapped:", "    if ours_first != ours_second:", "the answers had changed places"),
    ("    if ours_first is None or ours_second is None:\n        return None\n",
     "    ours_first, ours_second = ours_first or 'tie', ours_second or 'tie'\n", "what cannot be read is no verdict"),
    ("dice.choices(values, k=n)", "dice.sample(values, k=n)", "draw with repetition"),
    ("sum(dice.choices(values, k=n)) / n", "dice.choice(values)", "the ends are those of single values"),
    ("k=n)) / n", "k=10)) / 10", "another share of the means than 95 %"),
    ("0.025 * draws", "0.05 * draws", "another share of the means than 95 %"),
    ("    return sum(values) / n, means", "    return means", "three numbers"),
    ("    dice = random.Random(seed)", "    dice = random", "the same seed gives another interval"),
    ("random.Random(seed)", "random.Random(7)", "is the seed used?"),
]  # fmt: skip


@pytest.mark.parametrize("source", [PLAIN, TORCH], ids=["plain Python", "torch"])
def test_sensible_forms_pass(source: str, tmp_path: Path) -> None:
    assert problem_of("judging", source, tmp_path) is None


@pytest.mark.parametrize(("right", "wrong", "named"), MISTAKES)
def test_mistakes_are_named(right: str, wrong: str, named: str, tmp_path: Path) -> None:
    assert PLAIN.count(right) == 1, "the right form is to be found"
    problem = problem_of("judging", PLAIN.replace(right, wrong), tmp_path)
    assert problem is not None
    assert named in problem
