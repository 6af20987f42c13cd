"""Exercise for perplexity: choices left, the mean that it is, and what it is counted per."""

from __future__ import annotations

import math

from vidro.learn import perplexity as ours
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.exercises._numbers import called, same_number

STUB = '''\
"""Exercise perplexity: choices left. Check it with: vidro learn check perplexity FILE"""

import math


def perplexity(nats_per_token):
    """Between how many equally likely things one hesitates who pays so many nats; math.inf if too large for a float."""
    raise NotImplementedError


def of_probabilities(given):
    """The perplexity of a text from the probabilities that its tokens were given (a list)."""
    raise NotImplementedError


def choices(logits):
    """Between how many tokens a model hesitates at one place: from its list of logits, without knowing the answer."""
    raise NotImplementedError


def per_unit(nats_per_token, n_tokens, n_units):
    """The perplexity per word, byte, …, when a text of n_tokens has n_units of them."""
    raise NotImplementedError
'''


def it_is_the_number_of_choices(solution: Solution) -> None:
    """e to the nats."""
    perplexity = solution.get("perplexity", "ppl")
    for nats in (math.log(10), 0.5):
        mistakes = {"this is 2 to the power of the nats: that is for bits": 2**nats, "these are the nats": nats}
        same_number(perplexity(nats), math.exp(nats), mistakes, what=f"perplexity({nats:.3f})")
    same_number(perplexity(0.0), 1.0, what="perplexity(0)")


def too_large_is_infinite(solution: Solution) -> None:
    """e^1000 is no float."""
    try:
        answer = solution.get("perplexity", "ppl")(1000.0)
    except OverflowError:
        raise Wrong("perplexity(1000) stops the program", hint="Above 709 answer math.inf.") from None
    same_number(answer, math.inf, what="perplexity(1000)")


def the_mean_is_geometric(solution: Solution) -> None:
    """Multiply the choices and take the root; or average the nats."""
    given = [0.5, 0.5, 1 / 32]
    find = solution.get("of_probabilities", "text_perplexity", "perplexity_of")
    mistakes = {
        "this is the plain mean of the choices: average the nats": sum(1 / p for p in given) / 3,
        "this is 1 over the mean probability: average the nats": 3 / sum(given),
        "the choices are multiplied, and no root is taken": 1 / math.prod(given),
        "these are the nats: take e to their power": sum(-math.log(p) for p in given) / 3,
        "this is 1 over the perplexity": math.prod(given) ** (1 / 3),
    }
    same_number(called(find, given), ours.of_probabilities(given), mistakes, what="of_probabilities([1/2, 1/2, 1/32])")


def one_impossible_token_spoils_all(solution: Solution) -> None:
    """Infinite, and many small ones are not 0."""
    find = solution.get("of_probabilities", "text_perplexity", "perplexity_of")
    try:
        answer = called(find, [0.5, 0.0])
    except (ValueError, ZeroDivisionError):
        raise Wrong("a probability of 0 stops the program", hint="Answer math.inf.") from None
    same_number(answer, math.inf, what="of_probabilities([0.5, 0])")
    hint = "The product of 1,000 small numbers is 0 for a float: add their logarithms."
    try:
        same_number(called(find, [0.001] * 1000), 1000.0, what="a text of 1,000 tokens at 0.001 each")
    except (OverflowError, ValueError, ZeroDivisionError) as problem:
        raise Wrong(f"1,000 tokens stop the program ({type(problem).__name__})", hint=hint) from None
    except Wrong as wrong:
        raise Wrong(str(wrong), hint=hint) from None


def choices_at_one_place(solution: Solution) -> None:
    """e to the entropy of softmax."""
    find = solution.get("choices", "n_choices")
    for row in ([0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [9.0, 0.0, 0.0]):
        shares = [math.exp(logit) / sum(map(math.exp, row)) for logit in row]
        mistakes = {
            "this is the entropy: take e to its power": math.log(ours.choices(row)),
            "this is 1 over the largest probability": 1 / max(shares),
        }
        same_number(called(find, row), ours.choices(row), mistakes, what=f"choices({row})")


def per_what_you_like(solution: Solution) -> None:
    """Share out all nats anew; do not scale the perplexity."""
    find = solution.get("per_unit", "word_perplexity", "per_word")
    mistakes = {
        "the perplexity is scaled: share out the nats, then take e to their power": math.exp(1.0) * 12 / 6,
        "n_tokens and n_units are exchanged": math.exp(0.5),
        "this is the perplexity per token": math.exp(1.0),
        "these are the nats per unit": 2.0,
    }
    same_number(find(1.0, 12, 6), math.exp(2.0), mistakes, what="per_unit(1.0, 12, 6)")


EXERCISE = Exercise(
    "perplexity",
    STUB,
    (
        Step("perplexity is a number of choices", it_is_the_number_of_choices),
        Step("too large for a float is infinite", too_large_is_infinite),
        Step("a text's perplexity is no plain mean", the_mean_is_geometric),
        Step("one impossible token spoils all, and 1,000 unlikely ones do not", one_impossible_token_spoils_all),
        Step("the choices at one place", choices_at_one_place),
        Step("per word or per byte: all nats shared out anew", per_what_you_like),
    ),
    solution="vidro.learn.perplexity",
)
