"""A dictionary of words, the first rung: every different word of a text gets a number.

>>> book = "the cat sat. the end"
>>> dictionary = WordDictionary.of(book)
>>> dictionary.words
[' ', '.', 'cat', 'end', 'sat', 'the', '<|unk|>', '<|endoftext|>']
>>> dictionary.encode("the cat.")
[5, 0, 2, 1]
>>> dictionary.decode([5, 0, 2, 1])
'the cat.'

Blanks and punctuation are entries too; without them the text could not be put together again. `<|endoftext|>` is
written between documents, `<|unk|>` stands for every word that the dictionary lacks, and there the text is lost:

>>> dictionary.decode(dictionary.encode("the dog sat."))
'the <|unk|> sat.'

What this rung lacks: any word it has not seen. The next one, `bpe`, reads everything. The engine's twin is
`vidro.text.train.build_words`; `tests/equal/test_bpe_equal.py` proves that both give the same ids.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from vidro.text.special import EOT, UNK


def is_word_character(character: str) -> bool:
    """Letters, the marks on them, digits and the underscore make words; all else stands alone.

    >>> [is_word_character(character) for character in "é7_- "]
    [True, True, True, False, False]
    """
    return character == "_" or unicodedata.category(character)[0] in "LMN"


def cut(text: str) -> list[str]:
    """The text in words and single other characters; nothing is dropped.

    >>> cut("It's 1999, isn't it?")
    ['It', "'", 's', ' ', '1999', ',', ' ', 'isn', "'", 't', ' ', 'it', '?']
    """
    pieces: list[str] = []
    inside = False
    for character in text:
        if inside and is_word_character(character):
            pieces[-1] += character
        else:
            pieces.append(character)
            inside = is_word_character(character)
    return pieces


@dataclass(frozen=True)
class WordDictionary:
    """Words by number: the words of a text in alphabetical order, then `<|unk|>` and `<|endoftext|>`."""

    words: list[str]

    @classmethod
    def of(cls, text: str) -> WordDictionary:
        """The dictionary of a text."""
        return cls([*sorted(set(cut(text))), UNK, EOT])

    def encode(self, text: str) -> list[int]:
        """The number of each word; that of `<|unk|>` for words that are not in the dictionary."""
        number_of = {word: number for number, word in enumerate(self.words)}
        return [number_of.get(word, number_of[UNK]) for word in cut(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The words, one after another."""
        return "".join(self.words[number] for number in ids)
