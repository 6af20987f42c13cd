"""Short labelled messages: what the people of Tansy Bay write to one another, and the spam that reaches them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

from vidro.data.tinyworld.facts import PEOPLE, cells
from vidro.data.tinyworld.telling import Digits, held

# task: label: the things it speaks of, and its templates. Spam and ham speak of the same things; topics share some.
OBJECTS = """
hat | lamp | letter | prize | ticket | cheese | basket | boat | goose | clock | teapot | ladder | bicycle | ring
"""
TASKS = {
    "spam": {
        "ham": (OBJECTS, """
your {thing} is ready, come by before noon | the children would love to borrow your {thing}, only until Saturday
| I found a {thing} on the beach, is it yours? | your {thing} won first prize at the feast, and mine came second
| please bring the {thing} to the ferry, it is urgent | thank you for the {thing}, it was free and it still works
| somebody left a {thing} in the bakery, and it smells of fish now | can you mend my {thing}? I pay in plum cake
| no offer for the {thing} today, the market was empty | the {thing} is not for sale, but you may look at it
"""),
        "spam": (OBJECTS, """
you have won a golden {thing}, answer today | last offer: one {thing} for the price of nine | your uncle in Zanzibar has
left you a {thing} and needs your key | this {thing} cures coughs, debts and bad weather | click here, and the {thing}
of your dreams comes to your door | only today: a free {thing} for every reader | our {thing} makes you taller in a
week, or you may keep it | urgent: your {thing} runs out, send three coins at once | a prince would like to hide his
{thing} with you | ten of your friends have bought this {thing}, and you?
"""),
    },
    "topics": {
        "weather": ("rain | fog | wind | snow | thunder | frost", """
{thing} again tomorrow, says Piet | after all this {thing} I want some sun | shut the windows, {thing} is coming
| there was so much {thing} that I could not see the sea | the sheep stayed in because of the {thing}
| no market on Saturday if the {thing} stays
"""),
        "food": ("soup | plum cake | smoked fish | honey | cheese | jam", """
there is {thing} for supper, bring a spoon | the {thing} needs more salt, or less | who ate the {thing}? | I dreamed of
{thing} all night | the {thing} is finished, and so am I | the sailors want
{thing} and nothing else
"""),
        "animals": ("the goat | the goose | the parrot | the donkey | the owl | the cat", """
{thing} ate my hat, and it looks pleased | {thing} will not come in | could you feed {thing} tonight? | {thing} stood in
the soup | {thing} has made friends with a fish | {thing} slept
in my boat
"""),
        "sea": ("the ferry | the blue boat | a whale | a ship | a fish | a seal", """
{thing} came in with the fog at noon | I saw {thing} from the lighthouse | the sailors sing about {thing} | wave when
you see {thing} pass the rocks | {thing} was late because of the waves | half
the village stood on the rocks to look at {thing}
"""),
        "market": ("cheese | eggs | honey | fish | hats | wool", """
{thing} cost two coins today | sold all my {thing} before ten | the queue for {thing} reached the fountain | keep a
place beside my stall, I have {thing} | a stranger is selling {thing} for half the price | rain on Saturday, so I still
have {thing}
"""),
    },
}  # fmt: skip
GREETINGS = ("", "Hello, ", "Dear friend, ", "Good morning, ", "In haste, ", "Listen, ")
CLOSINGS = (".", "!", ". Tell your friends.", ". Yours, {name}.", ". Greetings from {name}.", ". With love, {name}.")


class Labelled(NamedTuple):
    """A message and what it is."""

    label: str
    text: str


def messages(
    *, seed: int, n: int, task: Literal["spam", "topics"] = "spam", held_out: bool = False
) -> Iterator[Labelled]:
    """`n` messages, all labels equally likely: spam or ham, or one of five topics.

    With `held_out` they are made of pairs of template and thing, about one in eight, that never occur without it.
    An unknown `task` is a KeyError.
    """
    pairs = {
        label: [pair for pair in product(cells(templates), cells(things)) if held(task, label, *pair) == held_out]
        for label, (things, templates) in TASKS[task].items()
    }
    for index in range(n):
        digits = Digits("messages", task, seed, index)
        label = digits.pick(list(pairs))
        template, thing = digits.pick(pairs[label])
        text = digits.pick(GREETINGS) + template.format(thing=thing)
        closing = digits.pick(CLOSINGS)[text.endswith("?") :].format(name=digits.pick(list(PEOPLE)))
        yield Labelled(label, text[0].upper() + text[1:] + closing)
