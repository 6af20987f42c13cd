"""Bits per byte: the loss is a file size, and an arithmetic coder reaches it.

What the rung below lacks (`perplexity`): it counts per token, and every tokenizer has tokens of its own. A byte is the
same for all. So add up the surprise of a whole text, in bits, and divide by the bytes of the file:

>>> round(bits_per_byte(nats=693.147, n_bytes=500), 3)  # 1000 bits for 500 bytes
2.0

This is no figure of speech. Who predicts well can write short: an *arithmetic coder* (Rissanen 1976; in whole numbers
Witten, Neal & Cleary 1987) needs as many bits for a text as the model was surprised, and at most two more at the end.

It starts with all numbers from 0 to 1. Each possible next symbol gets a part of the interval, as wide as its
probability; the true one's part is the new interval. After the last symbol any number inside it names the whole text. A
wide interval is named by few digits: one of width w needs −log₂ w, and w is the product of all probabilities.

>>> def letters(before):  # three symbols, always the same chances
...     return [0.5, 0.25, 0.25]
>>> packed = compress([0, 1, 0, 0, 2, 0, 0, 1], letters)  # 5 · 1 bit + 3 · 2 bits = 11 bits
>>> len(packed), expand(packed, 8, letters)
(2, [0, 1, 0, 0, 2, 0, 0, 1])

The reader has the same model, asks it the same, and finds the part in which the number lies. Both must agree to the
last digit, so the coder computes in whole numbers: `parts` cuts `WHOLE_PARTS` = 2³² among the symbols, and the interval
is shifted left by a bit whenever its first binary digit is settled.

`Counts` is a model to try it on: the 5-gram that `vidro.evals.yardsticks` draws into every loss plot. The figures are
those of `vidro.evals.perplexity`, the sizes those of its 5-gram (`tests/equal/test_bits_per_byte_equal.py`).
What comes next is to make the loss small: `bigram`, `training`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from vidro.learn.surprise import bits, surprise

Predict = Callable[[Sequence[int]], Sequence[float]]
"""What a model says: the symbols so far → the probability of each symbol that may come next."""

WHOLE = 1 << 48
"""The interval at the beginning: 0 … WHOLE stands for 0 … 1."""
HALF, QUARTER = WHOLE // 2, WHOLE // 4
WHOLE_PARTS = 1 << 32
"""What the symbols share; small against a quarter of the interval, so that every part has a width."""


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """The surprise of a whole text in bits, divided by its bytes."""
    return bits(nats) / n_bytes


def nats_of(symbols: Sequence[int], predict: Predict) -> float:
    """The loss, not yet divided: the surprise of all symbols, each predicted from those before it."""
    return sum(surprise(predict(symbols[:place])[symbol]) for place, symbol in enumerate(symbols))


def parts(probabilities: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to the probabilities, each at least 1, together `WHOLE_PARTS`.

    Nothing gets 0, or it could not be written at all; what rounding left over goes to the likeliest.

    >>> parts([0.5, 0.5, 0.0])
    [2147483648, 2147483647, 1]
    """
    free = WHOLE_PARTS - len(probabilities)
    found = [1 + int(free * p) for p in probabilities]
    found[found.index(max(found))] += WHOLE_PARTS - sum(found)
    assert min(found) > 0, "probabilities add up to 1"
    return found


class Encoder:
    """Narrows an interval symbol by symbol, and writes each binary digit as soon as it is settled."""

    def __init__(self) -> None:
        self.low, self.high = 0, WHOLE
        self.digits: list[int] = []
        self.waiting = 0

    def put(self, shares: Sequence[int], symbol: int) -> None:
        """The new interval is the symbol's part of the old one."""
        self.low, self.high = part_of(self.low, self.high, shares, symbol)
        while True:
            if self.high <= HALF:  # the lower half: the next digit is 0
                self._write(0)
            elif self.low >= HALF:
                self._write(1)
                self.low, self.high = self.low - HALF, self.high - HALF
            elif self.low >= QUARTER and self.high <= 3 * QUARTER:
                self.waiting += 1  # around the middle: 01… or 10…, the next digit will tell
                self.low, self.high = self.low - QUARTER, self.high - QUARTER
            else:
                return
            self.low, self.high = 2 * self.low, 2 * self.high

    def finish(self) -> bytes:
        """Two more digits name a quarter that lies wholly inside the interval; then fill the last byte with 0."""
        self.waiting += 1
        self._write(0 if self.low < QUARTER else 1)
        digits = "".join(map(str, self.digits))
        digits += "0" * (-len(digits) % 8)
        return int(digits, 2).to_bytes(len(digits) // 8, "big")

    def _write(self, digit: int) -> None:
        """The settled digit, and after it its opposite for each that waited: 0111… or 1000…"""
        self.digits += [digit] + [1 - digit] * self.waiting
        self.waiting = 0


class Decoder:
    """Follows the same intervals, and finds out at each step in which part the number lies."""

    def __init__(self, packed: bytes) -> None:
        self.low, self.high = 0, WHOLE
        self.digits = (byte >> place & 1 for byte in packed for place in range(7, -1, -1))
        self.number = 0
        for _ in range(WHOLE.bit_length() - 1):
            self._read()

    def get(self, shares: Sequence[int]) -> int:
        """The symbol in whose part the number lies."""
        symbol = 0
        while self.number >= part_of(self.low, self.high, shares, symbol)[1]:
            symbol += 1
        self.low, self.high = part_of(self.low, self.high, shares, symbol)
        while True:
            if self.high <= HALF:
                less = 0
            elif self.low >= HALF:
                less = HALF
            elif self.low >= QUARTER and self.high <= 3 * QUARTER:
                less = QUARTER
            else:
                return symbol
            self.low, self.high, self.number = 2 * (self.low - less), 2 * (self.high - less), self.number - less
            self._read()

    def _read(self) -> None:
        """Shift in the next digit; behind the end of the file there are only zeros."""
        self.number = 2 * self.number + next(self.digits, 0)


def part_of(low: int, high: int, shares: Sequence[int], symbol: int) -> tuple[int, int]:
    """Where the symbol's part of an interval begins and ends. Neighbours touch: no number is lost between them.

    >>> part_of(0, 1000, [1 << 31, 1 << 30, 1 << 30], symbol=1)
    (500, 750)
    """
    below = sum(shares[:symbol])
    width = high - low
    return low + width * below // WHOLE_PARTS, low + width * (below + shares[symbol]) // WHOLE_PARTS


def compress(symbols: Sequence[int], predict: Predict) -> bytes:
    """The symbols as a file. How many there are is not in it: `expand` must be told."""
    encoder = Encoder()
    for place, symbol in enumerate(symbols):
        encoder.put(parts(predict(symbols[:place])), symbol)
    return encoder.finish()


def expand(packed: bytes, n_symbols: int, predict: Predict) -> list[int]:
    """The symbols again, with the same model."""
    decoder, symbols = Decoder(packed), []
    while len(symbols) < n_symbols:
        symbols.append(decoder.get(parts(predict(symbols))))
    return symbols


class Counts:
    """A model that has counted which byte followed the last `order` − 1 bytes of a text; call it to predict.

    Shorter contexts fill in for what a longer one has not seen: a context seen N times, with T different bytes after
    it, gives p(b) = (count(b) + T · p_shorter(b)) / (N + T) (Witten & Bell 1991, method C); the shortest of all gives
    1/256 to every byte.

    >>> after_a = Counts(b"banana", order=2)(b"a")
    >>> round(after_a[ord("n")], 2), round(after_a[ord("z")], 4), round(sum(after_a), 6)
    (0.74, 0.0004, 1.0)
    """

    def __init__(self, text: bytes, order: int) -> None:
        self.order, self.end = order, text[max(0, len(text) - order + 1) :]
        self.after: dict[bytes, Counter[int]] = defaultdict(Counter)
        for n in range(order):
            for place in range(n, len(text)):
                self.after[text[place - n : place]][text[place]] += 1

    def __call__(self, before: Sequence[int]) -> list[float]:
        """The probability of each of the 256 bytes; the first bytes have the counted text before them."""
        known = self.end + bytes(before[-self.order :])
        p = [1 / 256] * 256
        for n in range(self.order):
            counts = self.after.get(known[len(known) - n :]) if n <= len(known) else None
            if counts is None:
                break
            kinds, whole = len(counts), counts.total() + len(counts)
            p = [kinds * shorter / whole for shorter in p]
            for byte, times in counts.items():
                p[byte] += times / whole
        return p
