r"""Byte-pair encoding, readable: start from bytes, and again and again join the pair that occurs most often.

What the rung below lacks (`words`): a dictionary of words cannot read a word it has not seen, needs a row of the
model for each of `go`, `goes` and `going`, and forgets how words are built. Characters read everything but make a text
five times as long as it must be. Byte-pair encoding sits between: it knows all 256 bytes, so it can read anything, and
gives frequent strings a token of their own. How long the tokens get is one number: how many pairs are joined.

Train it on a rhyme, with four joins. The most frequent pair is joined first; of equally frequent ones the pair with
the smaller numbers, so that everybody gets the same tokens:

>>> bpe = train(["low lower lowest"], n_merges=4)
>>> [bpe.token(number) for number in range(256, 260)]
[b'lo', b'low', b' low', b' lowe']

A word it has never seen is cut into what it has; a character it has never seen, into bytes:

>>> bpe.encode("slower lows")
[115, 257, 101, 114, 258, 115]
>>> [bpe.token(number) for number in bpe.encode("slower lows")]
[b's', b'low', b'e', b'r', b' low', b's']
>>> bpe.encode("☃"), bpe.decode([226, 152, 131])
([226, 152, 131], '☃')

What this file lacks: speed (every join counts everything again), the reserved tokens, and a format that others read.
`vidro.text.train` has them; `tests/equal/test_bpe_equal.py` proves that both learn and give the same ids.
Sources: Gage 1994 (compression), Sennrich et al. 2016 (words), Radford et al. 2019 (bytes). Read next:
`vidro.data.documents`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import regex

from vidro.text.patterns import QWEN2

Pair = tuple[int, int]
Ids = tuple[int, ...]


def cut(text: str) -> list[str]:
    """The text in pieces; pairs are joined inside a piece only, so no token is ever half of two words.

    A blank goes with the word after it. Each digit stands alone, so that 1999 is four digits and not a name.

    >>> cut("It's 1999, isn't it?")
    ['It', "'s", ' ', '1', '9', '9', '9', ',', ' isn', "'t", ' it', '?']
    """
    return regex.findall(QWEN2, text)


def count_pairs(pieces: dict[Ids, int]) -> Counter[Pair]:
    """How often each pair of neighbours occurs; `pieces` says how often each piece does.

    >>> count_pairs({(1, 2, 3): 10, (1, 2): 1})
    Counter({(1, 2): 11, (2, 3): 10})
    """
    counts: Counter[Pair] = Counter()
    for ids, times in pieces.items():
        for pair in itertools.pairwise(ids):
            counts[pair] += times
    return counts


def join(ids: Ids, pair: Pair, number: int) -> Ids:
    """The ids with every occurrence of `pair` replaced by `number`, from the left.

    >>> join((7, 7, 7, 5), (7, 7), 256)
    (256, 7, 5)
    """
    joined: list[int] = []
    index = 0
    while index < len(ids):
        if ids[index : index + 2] == pair:
            joined.append(number)
            index += 2
        else:
            joined.append(ids[index])
            index += 1
    return tuple(joined)


@dataclass(frozen=True)
class BPE:
    """A trained encoding: the pairs in the order they were joined. The first makes token 256."""

    merges: list[Pair]

    def token(self, number: int) -> bytes:
        """The bytes of a token: itself below 256, else those of its two halves."""
        if number < 256:
            return bytes([number])
        left, right = self.merges[number - 256]
        return self.token(left) + self.token(right)

    def encode(self, text: str) -> list[int]:
        """The ids of a text: its bytes, with the pairs joined in the order in which they were learned."""
        number_of = {pair: 256 + index for index, pair in enumerate(self.merges)}
        encoded: list[int] = []
        for piece in cut(text):
            ids: Ids = tuple(piece.encode("utf-8"))
            # Later pairs are built from earlier ones, so the pair that was learned first goes first.
            while known := [pair for pair in itertools.pairwise(ids) if pair in number_of]:
                first = min(known, key=number_of.__getitem__)
                ids = join(ids, first, number_of[first])
            encoded += ids
        return encoded

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids. A token may end inside a character: only all bytes together are text.

        >>> BPE([]).decode([195, 169]), BPE([]).decode([195])
        ('é', '�')
        """
        return b"".join(self.token(number) for number in ids).decode("utf-8", errors="replace")


def train(texts: Iterable[str], n_merges: int) -> BPE:
    """Learn `n_merges` pairs, or as many as there are, from the texts.

    A piece that occurs a thousand times is kept once, with its count: a novel has few different words.
    """
    pieces = Counter(tuple(piece.encode("utf-8")) for text in texts for piece in cut(text))
    merges: list[Pair] = []
    while len(merges) < n_merges:
        counts = count_pairs(pieces)
        if not counts:
            break  # every piece is one token
        # The most frequent; among equals the smallest numbers.
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        # Two different pieces can never become the same ids, so nothing is lost in this dictionary.
        pieces = Counter({join(ids, best, 256 + len(merges)): times for ids, times in pieces.items()})
        merges.append(best)
    return BPE(merges)
