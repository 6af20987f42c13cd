"""Exercise for words: a dictionary that gives numbers to words, and the text back.

The last steps are those that a dictionary of words gets wrong in practice: an order that changes from run to run, a
new word that stops the program, and blanks that never come back.
"""

from __future__ import annotations

from typing import Any

from vidro.learn.adapt import build
from vidro.learn.exercise import Exercise, Solution, Step, Wrong
from vidro.learn.words import WordDictionary, cut

STUB = '''\
"""Exercise words: a dictionary of words. Check it with: vidro learn check words FILE"""


class WordDictionary:
    """Numbers for the words of a text, and for every text made of them."""

    def __init__(self, text):
        # Cut the text into words and single other characters (blanks too); give each different piece a number.
        # Add one more entry, "<|unk|>", for all that is not in the dictionary.
        raise NotImplementedError

    def encode(self, text):
        # The list of the numbers.
        raise NotImplementedError

    def decode(self, ids):
        # The text again.
        raise NotImplementedError
'''

NAMES = ("WordDictionary", "SimpleTokenizerV2", "SimpleTokenizer", "SimpleTokenizerV1", "WordTokenizer", "Tokenizer")
BOOK = "The cat sat. The dog sat, too."
COUNTED = ["pear", "fig", "kiwi", "plum", "apple", "grape", "lemon", "melon", "cherry", "peach", "date", "lime"]


def made(solution: Solution, text: str = BOOK) -> Any:
    """The reader's dictionary of a text: made from the text, from a list of its words, or from {word: number}."""
    kind: Any = solution.get(*NAMES)
    if hasattr(kind, "of"):
        return kind.of(text)
    ours = WordDictionary.of(text).words
    numbers = {word: number for number, word in enumerate(ours)}
    return build(kind, text=text, txt=text, words=ours, vocab=numbers, vocabulary=numbers)


def encoded(dictionary: Any, text: str) -> list[int]:
    """The numbers of a text. Raises Wrong where they are no list of whole numbers."""
    ids = dictionary.encode(text)
    if not isinstance(ids, list | tuple) or not all(isinstance(number, int) for number in ids):
        raise Wrong("encode must give a list of whole numbers", found=ids)
    return list(ids)


def each_word_has_a_number(solution: Solution) -> None:
    """The same word, the same number; another word, another."""
    dictionary = made(solution)
    one = {word: encoded(dictionary, word) for word in ("The", "cat", "dog", "sat", ".", ",")}
    for word, ids in one.items():
        if len(ids) != 1:
            raise Wrong(f"{word!r} alone must be one number", found=ids)
    if len({ids[0] for ids in one.values()}) != len(one):
        raise Wrong("two different words have the same number", found={word: ids[0] for word, ids in one.items()})
    ids = encoded(dictionary, "The cat. The dog.")
    if ids.count(one["The"][0]) != 2:
        raise Wrong('"The" occurs twice in "The cat. The dog.", and its number does not', found=ids)


def the_words_come_back(solution: Solution) -> None:
    """Decode what was encoded."""
    dictionary = made(solution)
    for text in ("cat", "The cat sat.", "The dog sat, too."):
        found = dictionary.decode(encoded(dictionary, text))
        if found != text:
            glued = isinstance(found, str) and found == text.replace(" ", "")
            hint = "The blanks are gone: make them entries too." if glued else None
            raise Wrong("the text did not come back", found=repr(found), expected=repr(text), hint=hint)


def the_order_is_the_same_tomorrow(solution: Solution) -> None:
    """Sorted, by first occurrence or by frequency: anything but the order of a set."""
    text = " ".join(word for times, word in enumerate(COUNTED, start=1) for _ in range(times))
    dictionary = made(solution, text)
    order = sorted(COUNTED, key=lambda word: encoded(dictionary, word)[0])
    rules = (sorted(COUNTED), COUNTED)
    if not any(order in (rule, rule[::-1]) for rule in rules):
        hint = "Does set() decide? It mixes strings anew each time Python starts; sorted(set(…)) does not."
        raise Wrong(f"the words are numbered in no order that can be had again: {', '.join(order)}", hint=hint)


def new_words_are_unknown(solution: Solution) -> None:
    """One number for all new words, which no known word has."""
    dictionary = made(solution)
    try:
        cow, goat = encoded(dictionary, "cow"), encoded(dictionary, "goat")
    except KeyError as problem:
        raise Wrong(f"a word that is not in the dictionary stops it (KeyError: {problem})",
                    hint="Ask for it with .get, and give the number of <|unk|> instead.") from None  # fmt: skip
    if cow != goat or len(cow) != 1:
        raise Wrong('"cow" and "goat" are new, so both are the one number of <|unk|>', found=[cow, goat])
    known = {number for piece in set(cut(BOOK)) for number in encoded(dictionary, piece)}
    if cow[0] in known:
        raise Wrong(f"new words get number {cow[0]}, which a word of the text has too")


def nothing_is_dropped(solution: Solution) -> None:
    """Blanks, line ends and the rest, as they were."""
    for text in ("two  blanks", "one\nline\n\nafter another", "it's (odd) -- isn't it?", "1999, 7_up"):
        dictionary = made(solution, text)
        found = dictionary.decode(encoded(dictionary, text))
        if found != text:
            hint = "Make blanks and line ends entries of the dictionary, and join with nothing between."
            raise Wrong("the text came back changed", found=repr(found), expected=repr(text), hint=hint)


EXERCISE = Exercise(
    "words",
    STUB,
    (
        Step("each word has a number of its own", each_word_has_a_number),
        Step("the words come back", the_words_come_back),
        Step("the numbers are the same tomorrow", the_order_is_the_same_tomorrow),
        Step("a new word is <|unk|>", new_words_are_unknown),
        Step("nothing is dropped, not even a blank", nothing_is_dropped),
    ),
    solution="vidro.learn.words",
)
