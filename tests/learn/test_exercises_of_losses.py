"""Exercises surprise to bits-per-byte: usual mistakes are named, other sensible forms pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.learn.grading import problem_of

SURPRISE = """
import math

def surprise(p):
    return -math.log(p) if p > 0 else math.inf

def bits(nats):
    return nats / math.log(2)

def softmax(logits):
    most = max(logits)
    powers = [math.exp(x - most) for x in logits]
    return [power / sum(powers) for power in powers]

def token_surprise(logits, target):
    most = max(logits)
    return most + math.log(sum(math.exp(x - most) for x in logits)) - logits[target]

def gradient(logits, target):
    return [p - (i == target) for i, p in enumerate(softmax(logits))]
"""
SURPRISE_TORCH = """
import torch

def surprise(probability):
    return -torch.log(torch.tensor(probability))

def bits(nats):
    return torch.tensor(nats) / torch.log(torch.tensor(2.0))

def softmax(logits):
    return logits.softmax(dim=-1)

def token_surprise(logits, target):
    return torch.nn.functional.cross_entropy(logits[None], torch.tensor([target]))

def gradient(logits, target):
    row = logits.clone().requires_grad_()
    token_surprise(row, target).backward()
    return row.grad
"""

CROSS = """
import math
import torch

def cross_entropy(logits, targets):
    log_p = logits.log_softmax(dim=-1)
    asked = targets != -100
    each = -log_p.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (each * asked).sum(), asked.sum()

def total(parts):
    return sum(nats for nats, _ in parts) / sum(count for _, count in parts)

def between(p, q):
    return -sum(a * math.log(b) for a, b in zip(p, q) if a > 0)
"""

ENTROPY = """
import math

def entropy(p):
    return -sum(a * math.log(a) for a in p if a > 0)

def kl(p, q):
    if any(a > 0 and b == 0 for a, b in zip(p, q)):
        return math.inf
    return sum(a * math.log(a / b) for a, b in zip(p, q) if a > 0)

def shares(counts, more=0):
    grown = [count + more for count in counts]
    return [count / sum(grown) for count in grown]
"""

PERPLEXITY = """
import math

def perplexity(nats):
    return math.exp(nats) if nats < 700 else math.inf

def of_probabilities(given):
    if 0 in given:
        return math.inf
    return perplexity(-sum(math.log(p) for p in given) / len(given))

def choices(logits):
    powers = [math.exp(x - max(logits)) for x in logits]
    p = [power / sum(powers) for power in powers]
    return math.exp(-sum(a * math.log(a) for a in p))

def per_unit(nats, n_tokens, n_units):
    return perplexity(nats * n_tokens / n_units)
"""

EXACT = """
import math
from fractions import Fraction

def bits_per_byte(nats, n_bytes):
    return nats / math.log(2) / n_bytes

def inside(predict, before):
    p = [Fraction(max(x, 1e-12)) for x in predict(before)]
    return [x / sum(p) for x in p]

def compress(symbols, predict):
    low, width = Fraction(0), Fraction(1)
    for place, symbol in enumerate(symbols):
        p = inside(predict, symbols[:place])
        low, width = low + width * sum(p[:symbol]), width * p[symbol]
        low, width = round_in(low, width)
    digits = 0
    while Fraction(math.ceil(low * 2**digits), 2**digits) >= low + width:
        digits += 8
    return math.ceil(low * 2**digits).to_bytes(digits // 8, "big")

def round_in(low, width):
    # keep the fractions short: 60 digits more than the width needs
    digits = 2 ** (60 + (1 / width).__ceil__().bit_length())
    high = Fraction(math.floor((low + width) * digits), digits)
    low = Fraction(math.ceil(low * digits), digits)
    return low, high - low

def expand(packed, n, predict):
    number = Fraction(int.from_bytes(packed, "big"), 2 ** (8 * len(packed)))
    low, width, found = Fraction(0), Fraction(1), []
    while len(found) < n:
        p = inside(predict, found)
        symbol = 0
        while symbol < len(p) - 1 and number >= low + width * sum(p[: symbol + 1]):
            symbol += 1
        low, width = low + width * sum(p[:symbol]), width * p[symbol]
        low, width = round_in(low, width)
        found.append(symbol)
    return found
"""
FLOATS = """
import math, struct

def bits_per_byte(nats, n_bytes):
    return nats / math.log(2) / n_bytes

def compress(symbols, predict):
    low, width = 0.0, 1.0
    for place, symbol in enumerate(symbols):
        p = predict(symbols[:place])
        low, width = low + width * sum(p[:symbol]), width * p[symbol]
    return struct.pack(">d", low + width / 2)[:5]

def expand(packed, n, predict):
    number, found, low, width = struct.unpack(">d", packed + bytes(3))[0], [], 0.0, 1.0
    for _ in range(n):
        p, symbol = predict(found), 0
        while symbol < len(p) - 1 and number >= low + width * sum(p[: symbol + 1]):
            symbol += 1
        low, width = low + width * sum(p[:symbol]), width * p[symbol]
        found.append(symbol)
    return found
"""
WHOLE_BITS = """
import math

def bits_per_byte(nats, n_bytes):
    return nats / math.log(2) / n_bytes

def code(p):
    # canonical codes of a whole number of bits
    order, next_code, codes, last = sorted(range(len(p)), key=lambda s: -p[s]), 0, {}, 0
    for symbol in order:
        length = max(1, math.ceil(-math.log2(p[symbol])) if p[symbol] else 40)
        next_code <<= length - last
        codes[symbol] = format(next_code, f"0{length}b")
        next_code, last = next_code + 1, length
    return codes

def compress(symbols, predict):
    digits = "".join(code(predict(symbols[:n]))[symbol] for n, symbol in enumerate(symbols))
    digits += "0" * (-len(digits) % 8)
    return int("1" + digits, 2).to_bytes(len(digits) // 8 + 1, "big")

def expand(packed, n, predict):
    digits, found = bin(int.from_bytes(packed, "big"))[3:], []
    while len(found) < n:
        for symbol, digit in code(predict(found)).items():
            if digits.startswith(digit):
                digits = digits[len(digit) :]
                found.append(symbol)
                break
    return found
"""

FINE = {
    "surprise": ("surprise", SURPRISE),
    "surprise, tensors": ("surprise", SURPRISE_TORCH),
    "cross-entropy": ("cross-entropy", CROSS),
    "entropy": ("entropy", ENTROPY),
    "perplexity": ("perplexity", PERPLEXITY),
    "a coder of fractions": ("bits-per-byte", EXACT),
}

MISTAKES = [
    ("surprise", SURPRISE, "-math.log(p) if", "-math.log2(p) if", "base 2"),
    ("surprise", SURPRISE, "-math.log(p) if", "math.log(p) if", "the minus is missing"),
    ("surprise", SURPRISE, " if p > 0 else math.inf", "", "surprise(0.0) stops the program"),
    ("surprise", SURPRISE, "nats / math.log(2)", "nats * math.log(2)", "multiplied by ln 2"),
    ("surprise", SURPRISE, "power / sum(powers) for", "power for", "not divided by the sum of e to it"),
    ("surprise", SURPRISE, "math.exp(x - most) for x in logits]", "math.exp(x) for x in logits]", "power of 1000"),
    ("surprise", SURPRISE, "return most + math.log", "return math.log", "from the sum only"),
    ("surprise", SURPRISE, "most + math.log(sum(math.exp(x - most) for x in logits)) - logits[target]",
     "-math.log(softmax(logits)[target])", "logits of 1000 stop the program"),
    ("surprise", SURPRISE, "p - (i == target)", "(i == target) - p", "the sign is reversed"),
    ("surprise", SURPRISE, "p - (i == target)", "p", "the 1 is not taken away"),
    ("surprise", SURPRISE, "return nats / math.log(2)", "print(nats)", "must be one number"),
    ("cross-entropy", CROSS, "asked.sum()", "len(targets)", "another count"),
    ("cross-entropy", CROSS, "return (each * asked).sum(), asked.sum()", "return each.mean()", "two numbers"),
    ("cross-entropy", CROSS, "(each * asked).sum()", "(each * asked).mean()", "the mean already"),
    ("cross-entropy", CROSS, "each = -log_p", "each = log_p", "the minus is missing"),
    ("cross-entropy", CROSS, "log_softmax(dim=-1)", "log_softmax(dim=1)", "over the places"),
    ("cross-entropy", CROSS, "log_softmax(dim=-1)", "softmax(dim=-1)", "the logarithm is missing"),
    ("cross-entropy", CROSS, "logits.log_softmax(dim=-1)", "logits", "softmax is missing"),
    ("cross-entropy", CROSS, "logits.log_softmax(dim=-1)", "logits.softmax(-1).log_softmax(-1)", "taken twice"),
    ("cross-entropy", CROSS, "(each * asked).sum(), asked.sum()", "(each * asked).sum(), targets.numel()",
     "are counted all the same"),
    ("cross-entropy", CROSS, "(each * asked).sum()", "each.sum()", "with tokens marked −100 the nats"),
    ("cross-entropy", CROSS, "(each * asked).sum(), asked.sum()", "each[asked].mean() * asked.sum(), asked.sum()",
     "it must be (0, 0)"),
    ("cross-entropy", CROSS, "sum(nats for nats, _ in parts) / sum(count for _, count in parts)",
     "sum(nats / count for nats, count in parts) / len(parts)", "the mean of the batches' means"),
    ("cross-entropy", CROSS, "a * math.log(b) for", "b * math.log(a) for", "p and q are exchanged"),
    ("cross-entropy", CROSS, " if a > 0", "", "a probability of 0 stops the program"),
    ("entropy", ENTROPY, "-sum(a * math.log(a) for", "-sum(a * math.log2(a) for", "these are bits"),
    ("entropy", ENTROPY, "-sum(a * math.log(a) for", "-sum(math.log(a) for", "weighed by how often"),
    ("entropy", ENTROPY, "for a in p if a > 0", "for a in p", "a probability of 0 stops"),
    ("entropy", ENTROPY, "math.log(a / b)", "-math.log(b)", "this is the cross-entropy"),
    ("entropy", ENTROPY, "a * math.log(a / b)", "b * math.log(b / a)", "p and q are exchanged"),
    ("entropy", ENTROPY, "a * math.log(a / b)", "a * math.log(b / a)", "the sign is reversed"),
    ("entropy", ENTROPY, "return sum(a", "return 1e-3 + sum(a", "another number"),
    ("entropy", ENTROPY, "return sum(a", "return -0.02 * (q == [0.34, 0.33, 0.33]) * 9 + sum(a", "is below 0"),
    ("entropy", ENTROPY, "for a, b in zip(p, q) if a > 0)\n\n", "for a, b in zip(p, q))\n\n", "probability of 0 stops"),
    ("entropy", ENTROPY, "        return math.inf\n", "        return 99.0\n", "[0.5, 0.5], [1, 0]) is another number"),
    ("entropy", ENTROPY, "count / sum(grown)", "count / sum(counts)", "the sum of the grown counts"),
    ("perplexity", PERPLEXITY, "math.exp(nats) if", "2 ** nats if", "that is for bits"),
    ("perplexity", PERPLEXITY, " if nats < 700 else math.inf", "", "perplexity(1000) stops the program"),
    ("perplexity", PERPLEXITY, "perplexity(-sum(math.log(p) for p in given) / len(given))",
     "sum(1 / p for p in given) / len(given)", "the plain mean of the choices"),
    ("perplexity", PERPLEXITY, "perplexity(-sum(math.log(p) for p in given) / len(given))",
     "len(given) / sum(given)", "1 over the mean probability"),
    ("perplexity", PERPLEXITY, "    if 0 in given:\n        return math.inf\n", "", "a probability of 0 stops"),
    ("perplexity", PERPLEXITY, "perplexity(-sum(math.log(p) for p in given) / len(given))",
     "math.prod(given) ** (-1 / len(given))", "add their logarithms"),
    ("perplexity", PERPLEXITY, "return math.exp(-sum(a", "return (-sum(a", "this is the entropy"),
    ("perplexity", PERPLEXITY, "return perplexity(nats * n_tokens / n_units)",
     "return perplexity(nats) * n_tokens / n_units", "the perplexity is scaled"),
    ("bits-per-byte", EXACT, "nats / math.log(2) / n_bytes", "nats / n_bytes", "divide by ln 2"),
    ("bits-per-byte", EXACT, "digits += 8", "digits += 64", "larger than the loss says"),
    ("bits-per-byte", EXACT, "predict(before)]\n", "predict([])]\n", "larger than the loss says"),
    ("bits-per-byte", EXACT, "inside(predict, found)", "inside(predict, found[:1])", "change does not come back"),
    ("bits-per-byte", EXACT, "2 ** (8 * len(packed))", "2 ** (8 * len(packed) - 1)", "8 symbols does not come back"),
    ("bits-per-byte", EXACT, "max(x, 1e-12)", "max(x, 0.009)", "among 4,000 likely ones: the file is larger"),
    ("bits-per-byte", FLOATS, "[:5]", "[:5]", "400 symbols does not come back"),
    ("bits-per-byte", WHOLE_BITS, "max(1, ", "max(1, ", "takes a whole number of bits"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source"), FINE.values(), ids=FINE)
def test_sensible_forms_pass(name: str, source: str, tmp_path: Path) -> None:
    assert problem_of(name, source, tmp_path) is None


@pytest.mark.parametrize(("name", "source", "right", "wrong", "named"), MISTAKES)
def test_mistakes_are_named(name: str, source: str, right: str, wrong: str, named: str, tmp_path: Path) -> None:
    assert source.count(right) >= 1, "the right form is to be found"
    problem = problem_of(name, source.replace(right, wrong), tmp_path)
    assert problem is not None
    assert named in problem
