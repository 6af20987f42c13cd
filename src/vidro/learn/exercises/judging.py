"""Exercise for judging: cut the answer out, mark it, read a judge's reply, weigh both orders, and draw an interval."""

from __future__ import annotations

from collections.abc import Sequence

from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._compare import as_tensor
from vidro.learn.exercises._numbers import same_number

STUB = '''\
"""Exercise judging: how good is an answer? Check it with: vidro learn check judging FILE"""


def answer_of(ids, n_task, end_id):
    """The answer, a list: ids begins with n_task ids of the task, and the answer ends before an end_id (or nowhere)."""
    raise NotImplementedError


def word_f1(answer, expected):
    """Twice the number of words in common, divided by the number of words in both texts. Two empty texts: 1.0.

    Words are split at white space. Case does not count, nor do . , ; : ! ? behind a word. A word that stands in one
    text twice and in the other once is one word in common.
    """
    raise NotImplementedError


def read_score(reply):
    """The score as an int, if the judge's reply is a whole number from 0 to 100 and nothing else; None for all others.

    White space around it, "Score:" before it, "/100" and a full stop behind it are allowed.
    """
    raise NotImplementedError


def outcome(ours_first, ours_second):
    """The judge was asked twice, and said "A", "B" or "tie", or something that nobody can read (None).

    ours_first is what it said when our answer stood as A, ours_second when it stood as B.
    "win", "loss" or "tie" where both say so; "inconsistent" where they do not agree; None where one is None.
    """
    raise NotImplementedError


def interval(values, seed, draws=2000):
    """Three numbers: the mean of the values; below and above which 2.5 % of the means lie, if as many values as there
    are are drawn from them, with repetition, draws times. seed decides what is drawn.
    """
    raise NotImplementedError
'''

END = 0
EVEN = [i / 63 for i in range(64)]
F1 = ("word_f1", "token_f1", "f1")


def cut(solution: Solution, ids: Sequence[int], n_task: int) -> list[int]:
    """The reader's answer."""
    given = list(ids)
    found = solution.get("answer_of", "extract")(given, n_task, END)
    if given != list(ids):
        raise Wrong("the list of ids was changed", hint="Make a new one: list(ids).")
    if found is None:
        raise Wrong("answer_of gives a list of ids", found="None", hint="Is there a return?")
    return [int(number) for number in as_tensor(list(found))]


def the_task_is_cut_off(solution: Solution) -> None:
    """An answer that was stopped, without end."""
    found = cut(solution, [5, 6, 7, 8], 2)
    if found == [5, 6, 7, 8]:
        raise Wrong("the task is still there")
    if found == [7]:
        raise Wrong("there is no end token, and the last id of the answer is cut off", found=found, expected=[7, 8])
    if found != [7, 8]:
        raise Wrong("another piece is cut out", found=found, expected=[7, 8])


def the_end_is_cut_off(solution: Solution) -> None:
    """What comes after it as well; an end token in the task means nothing."""
    found = cut(solution, [5, 6, 7, 8, END, 9, END], 2)
    mistakes = {
        (7, 8, END): "the end token is no part of the answer",
        (7, 8, END, 9): "the answer ends at the first end token, not at the last",
        (7, 8, 9): "end tokens are taken out, and what was written after the end is left",
        (7, 8, END, 9, END): "nothing is cut off at the end token",
    }
    if found != [7, 8]:
        raise Wrong(mistakes.get(tuple(found), "another piece is cut out"), found=found, expected=[7, 8])
    found = cut(solution, [5, END, 7, 8, END], 3)
    if found != [8]:
        raise Wrong("an end token of the task was taken for the answer's", found=found, expected=[8])
    if cut(solution, [5, 6, END], 2):
        raise Wrong("an answer may be empty: here the end token follows the task at once")


def words_are_counted(solution: Solution) -> None:
    """Precision and recall in one; repeats; nothing."""
    f1 = solution.get(*F1)
    same_number(f1("it is a big cat", "a big dog"), 0.5, {
        "the share of the answer's words": 0.4, "the share of the expected words": 2 / 3,
        "the number of common words, not yet divided": 2.0,
    }, what="word_f1 of 'it is a big cat' and 'a big dog'")  # fmt: skip
    same_number(f1("no no no no", "no"), 0.4, {
        "a word that is said four times was counted once: count words, not kinds of words": 1.0,
        "every repeat found the same word of the other text": 8 / 5,
    }, what="word_f1 of 'no no no no' and 'no'")  # fmt: skip
    same_number(f1("dog bites man", "man bites dog"), 1.0, what="word_f1 of 'dog bites man' and 'man bites dog'")
    for answer, expected, right in (("", "", 1.0), ("", "yes", 0.0), ("yes", "", 0.0), ("up", "down", 0.0)):
        same_number(f1(answer, expected), right, what=f"word_f1 of {answer!r} and {expected!r}")


def case_and_signs_do_not_count(solution: Solution) -> None:
    """As long as they stand behind words."""
    for answer, expected, right in (
        ("The Dog, it barks.", "the dog it barks", 1.0),
        ("about 3.5", "about 35", 0.5),
        ("what?", "WHAT!", 1.0),
    ):
        same_number(solution.get(*F1)(answer, expected), right, what=f"word_f1 of {answer!r} and {expected!r}")


def score(solution: Solution, reply: str) -> int | None:
    """The reader's score."""
    found = solution.get("read_score", "parse_score")(reply)
    if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
        raise Wrong(f"read_score({reply!r}) gives a whole number or None", found=repr(found))
    return found


def numbers_are_read(solution: Solution) -> None:
    """Plain and in the allowed forms."""
    for reply, right in (("85", 85), ("0", 0), ("100", 100), (" 7\n", 7), ("Score: 85", 85), ("score: 40/100", 40),
                         ("90.", 90)):  # fmt: skip
        if (found := score(solution, reply)) != right:
            raise Wrong(f"read_score({reply!r}) is another", found=repr(found), expected=right)


def nothing_else_is_read(solution: Solution) -> None:
    """Sentences, fractions, numbers out of range: named by what a lax reading makes of them."""
    for reply, why in (
        ("2 of 7 words are wrong, so 70", "a number in a sentence may count anything"),
        ("I would say 85", "a sentence is not a number"),
        ("85 or 90", "there are two numbers"),
        ("85.5", "that is no whole number"),
        ("101", "there is no such score"),
        ("1000", "there is no such score"),
        ("-5", "there is no such score"),
        ("Score: 8/10", "that is another scale"),
        ("excellent", "there is no number"),
        ("", "there is nothing"),
    ):
        found = score(solution, reply)
        if found == 0:
            raise Wrong(f"read_score({reply!r}): what cannot be read is None. 0 would be a verdict on the answer")
        if found is not None:
            raise Wrong(f"read_score({reply!r}): {why}", found=found, expected="None")


def both_orders_are_weighed(solution: Solution) -> None:
    """All sixteen pairs of replies."""
    judge = solution.get("outcome", "pair_outcome")
    agreed = {("A", "B"): "win", ("B", "A"): "loss", ("tie", "tie"): "tie"}
    for first in ("A", "B", "tie", None):
        for second in ("A", "B", "tie", None):
            right = agreed.get((first, second), "inconsistent") if first and second else None
            found = judge(first, second)
            if found == right:
                continue
            what = f"outcome({first!r}, {second!r})"
            if first == second and first in ("A", "B"):
                what += f": it said {first} both times, and the answers had changed places"
            if right is None:
                what += ": what cannot be read is no verdict"
            raise Wrong(what, found=repr(found), expected=repr(right))


def bounds(solution: Solution, values: Sequence[float], seed: int = 1) -> tuple[float, float, float]:
    """The reader's mean and ends."""
    found = solution.get("interval", "bootstrap")(list(values), seed)
    numbers = as_tensor(list(found) if isinstance(found, tuple | list) else found).flatten().tolist()
    if len(numbers) != 3:
        raise Wrong("interval gives three numbers: mean, lower end, upper end", found=len(numbers))
    return numbers[0], numbers[1], numbers[2]


def the_interval_is_that_of_means(solution: Solution) -> None:
    """Against 1.96 standard errors, which 64 even values come near to."""
    drawn = [bounds(solution, EVEN, seed) for seed in range(4)]  # one alone may be off by chance
    mean, low, high = (sum(numbers) / 4 for numbers in zip(*drawn, strict=True))
    same_number(mean, 0.5, what="the mean")
    if not low <= mean <= high:
        raise Wrong("the mean lies between the two ends", found=[round(x, 2) for x in (low, mean, high)])
    error = (sum((value - mean) ** 2 for value in EVEN) / 64 / 64) ** 0.5
    half = (high - low) / 2 / error  # 1.96, and by chance a little more or less
    if half < 0.1:
        raise Wrong("all means are the same: draw with repetition, else every draw holds all values")
    if half > 10:
        raise Wrong("the ends are those of single values: take the mean of each draw", found=round(high - low, 2))
    if not 1.86 < half < 2.06:
        raise Wrong("between the ends lie another share of the means than 95 %, or fewer or more values are drawn than "
                    "there are", found=round(high - low, 3), expected=f"about {3.92 * error:.3f}")  # fmt: skip
    if abs(low + high - 2 * mean) > 0.2 * error:
        raise Wrong("the two ends are not alike: 2.5 % lie below, 2.5 % above", found=[round(low, 3), round(high, 3)])


def the_seed_decides(solution: Solution) -> None:
    """The same twice; values all alike leave no doubt."""
    if bounds(solution, EVEN) != bounds(solution, EVEN):
        raise Wrong("the same seed gives another interval: does something else decide what is drawn?")
    if len({bounds(solution, EVEN, seed) for seed in range(3)}) == 1:
        raise Wrong("every seed gives the same interval: is the seed used?")
    if bounds(solution, [1.0, 1.0, 1.0]) != (1.0, 1.0, 1.0):
        raise Wrong("three times 1: the interval is a point", found=bounds(solution, [1.0, 1.0, 1.0]))


EXERCISE = Exercise(
    "judging",
    STUB,
    (
        Step("the task is cut off", the_task_is_cut_off),
        Step("the answer ends before its end token", the_end_is_cut_off),
        Step("words in common are counted, as often as both have them", words_are_counted),
        Step("case and signs behind words do not count", case_and_signs_do_not_count),
        Step("a score is read", numbers_are_read),
        Step("nothing else is read", nothing_else_is_read),
        Step("both orders make an outcome", both_orders_are_weighed),
        Step("the interval is that of means", the_interval_is_that_of_means),
        Step("the seed decides what is drawn", the_seed_decides),
    ),
    solution="vidro.learn.judging",
)
