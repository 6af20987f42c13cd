"""Exercises words, bpe, windows and embeddings: usual mistakes are named, other sensible forms pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.learn.grading import problem_of

WORDS = r"""
import re

class WordDictionary:
    def __init__(self, text):
        words = sorted(set(self.cut(text))) + ["<|unk|>"]
        self.number_of = {word: number for number, word in enumerate(words)}
        self.words = words

    def cut(self, text):
        return re.findall(r"\w+|\W", text)

    def encode(self, text):
        return [self.number_of.get(word, self.number_of["<|unk|>"]) for word in self.cut(text)]

    def decode(self, ids):
        return "".join(self.words[number] for number in ids)
"""
FROM_A_DICT = WORDS.replace("WordDictionary", "SimpleTokenizerV2").replace(
    '(self, text):\n        words = sorted(set(self.cut(text))) + ["<|unk|>"]',
    "(self, vocab):\n        words = list(vocab)",
)

BPE = r"""
import itertools
import re
from collections import Counter

def join(ids, pair, number):
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            out.append(number)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out

def cut(text):
    return re.findall(r" ?[^\W\d_]+|\s|.", text)

class BPE:
    def __init__(self):
        self.merges = {}

    def train(self, text, vocab_size):
        words = [list(word.encode()) for word in cut(text)]
        for number in range(256, vocab_size):
            counts = Counter(pair for word in words for pair in itertools.pairwise(word))
            if not counts:
                break
            best = counts.most_common(1)[0][0]
            self.merges[best] = number
            words = [join(word, best, number) for word in words]

    def encode(self, text):
        out = []
        for word in cut(text):
            ids = list(word.encode())
            for pair, number in self.merges.items():
                ids = join(ids, pair, number)
            out += ids
        return out

    def decode(self, ids):
        known = {number: pair for pair, number in self.merges.items()}
        def spell(number):
            return spell(known[number][0]) + spell(known[number][1]) if number in known else bytes([number])
        return b"".join(spell(number) for number in ids).decode(errors="replace")
"""
TRAIN = """
def train(texts, n_merges):
    bpe = BPE()
    bpe.train(texts[0], 256 + n_merges)
    return bpe
"""

WINDOWS = """
def windows(ids, length, stride):
    x, y = [], []
    for start in range(0, len(ids) - length, stride):
        x.append(ids[start : start + length])
        y.append(ids[start + 1 : start + length + 1])
    return x, y
"""
DATASET = """
import torch

class GPTDatasetV1(torch.utils.data.Dataset):
    def __init__(self, txt, tokenizer, max_length, stride):
        ids = torch.tensor(tokenizer.encode(txt, allowed_special={"<|endoftext|>"}))
        self.pieces = ids.unfold(0, max_length + 1, stride) if len(ids) > max_length else []

    def __len__(self):
        return len(self.pieces)

    def __getitem__(self, place):
        return self.pieces[place][:-1], self.pieces[place][1:]
"""

EMBEDDINGS = """
import torch
from torch import nn

class Embeddings(nn.Module):
    def __init__(self, vocab_size, d_model, context_length):
        super().__init__()
        self.token = nn.Embedding(vocab_size, d_model)
        self.position = nn.Embedding(context_length, d_model)

    def forward(self, ids):
        n = ids.shape[1]
        return self.token(ids) + self.position(torch.arange(n))
"""
FROM_A_CONFIG = """
import torch
from torch import nn

class GPTEmbeddings(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.wte = nn.Parameter(torch.randn(cfg["vocab_size"], cfg["emb_dim"]))
        self.wpe = nn.Parameter(torch.randn(1, cfg["context_length"], cfg["emb_dim"]))
        self.drop = nn.Dropout(cfg["drop_rate"])

    def forward(self, ids):
        return self.drop(self.wte[ids] + self.wpe[:, : ids.shape[1]])
"""

FINE = {
    "words": ("words", WORDS),
    "words from a dict": ("words", FROM_A_DICT),
    "bpe, a class that trains": ("bpe", BPE),
    "bpe, a function that trains": ("bpe", BPE + TRAIN),
    "windows": ("windows", WINDOWS),
    "windows, a data set": ("windows", DATASET),
    "embeddings": ("embeddings", EMBEDDINGS),
    "embeddings from a config": ("embeddings", FROM_A_CONFIG),
}

MISTAKES = [
    ("words", WORDS, "sorted(set(self.cut(text)))", "list(set(self.cut(text)))", "no order that can be had again"),
    ("words", WORDS, ".get(word, self.number_of[\"<|unk|>\"])", "[word]", "a word that is not in the dictionary stops"),
    ("words", WORDS, "self.number_of[\"<|unk|>\"])", "0)", "new words get number 0, which a word of the text has too"),
    ("words", WORDS, "\\w+|\\W", "\\w+|[^\\w\\s]", "The blanks are gone"),
    ("words", WORDS, "\\w+|\\W", "\\w+|[^\\w\\n]", "the text came back changed"),
    ("words", WORDS, "\"\".join(", "\" \".join(", "the text did not come back"),
    ("words", WORDS, "return [self.number_of", "return [word for word in text] or [self.number_of", "whole numbers"),
    ("words", WORDS, "enumerate(words)}", "((len(word), word) for word in words)}", "two different words"),
    ("bpe", BPE, "i += 2", "i += 1", "1, 2 joined to 256"),
    ("bpe", BPE, "if tuple(ids[i : i + 2]) == pair:", "if out[-1:] == [number] and ids[i - 1] == pair[0] == pair[1] == "
     "ids[i]:\n            out[-1:] = [number, number]\n            i += 1\n        "
     "elif tuple(ids[i : i + 2]) == pair:",
     "7, 7 joined to 256"),
    ("bpe", BPE, "counts.most_common(1)[0][0]", "counts.most_common()[-1][0]", "\"ab\" is the commonest pair"),
    ("bpe", BPE, "words = [join(word, best, number) for word in words]", "words = [word for word in words if best not "
     "in itertools.pairwise(word)]", "a second join takes up the first"),
    ("bpe", BPE, "for pair, number in self.merges.items():\n                ids", "while pairs := [pair for pair in "
     "itertools.pairwise(ids) if pair in self.merges]:\n                pair, number = pairs[0], self.merges[pairs[0]]"
     "\n                ids", "in \"abc\" the left pair was joined"),
    ("bpe", BPE, 'return re.findall(r" ?[^\\W\\d_]+|\\s|.", text)', "return [text]", "half of two words"),
    ("bpe", BPE, "[^\\W\\d_]+|\\s|.", "[^\\W\\d_]+|\\s", "the text did not come back"),
    ("bpe", BPE, "list(word.encode())\n            for", "[ord(letter) for letter in word]\n            for",
     "ids are below"),
    ("bpe", BPE, "errors=\"replace\"", "", "decode([195]) stops there"),
    ("windows", WINDOWS, "len(ids) - length, stride", "len(ids) - length + 1, stride", "lacks its last answer"),
    ("windows", WINDOWS, "len(ids) - length, stride", "len(ids), stride", "is not 3 tokens long"),
    ("windows", WINDOWS, "len(ids) - length, stride", "len(ids) - length - 1, stride", "other inputs (found 2)"),
    ("windows", WINDOWS, "ids[start : start + length]", "ids[start + 1 : start + length + 1]", "not the text, cut"),
    ("windows", WINDOWS, "y.append(ids[start + 1 : start + length + 1])", "y.append(x[-1])", "would learn to repeat"),
    ("windows", WINDOWS, "y.append(ids[start + 1 : start + length + 1])", "y.append(x[-1][1:] + x[-1][:1])",
     "the window's own first token"),
    ("windows", WINDOWS, "ids[start + 1 : start + length + 1]", "ids[start + 1 : start + 2] * length",
     "the target at each place is the next token"),
    ("windows", WINDOWS, ", stride):\n        x", ", length):\n        x", "the windows begin elsewhere"),
    ("windows", WINDOWS, "return x, y", "return x", "two things must come back"),
    ("embeddings", EMBEDDINGS, "self.position = nn.Embedding(context_length, d_model)", "self.position = torch.arange",
     "one table of 6 rows for the places"),
    ("embeddings", EMBEDDINGS, "self.token(ids) + self.position(torch.arange(n))",
     "torch.cat([self.token(ids), self.position(torch.arange(n)).expand(len(ids), -1, -1)], dim=-1)",
     "behind one another"),
    ("embeddings", EMBEDDINGS, " + self.position(torch.arange(n))", "", "the places are not added"),
    ("embeddings", EMBEDDINGS, "self.token(ids) + ", "0 * self.token(ids) + ", "the token's row is missing"),
    ("embeddings", EMBEDDINGS, ") + self", ") * self", "multiplied, not added"),
    ("embeddings", EMBEDDINGS, "torch.arange(n)", "torch.arange(n) + 1", "counted from 1"),
    ("embeddings", EMBEDDINGS, "torch.arange(n)", "torch.arange(n).flip(0)", "counted from the end"),
    ("embeddings", EMBEDDINGS, "torch.arange(n)", "torch.zeros(n, dtype=torch.long)", "every token has place 0"),
    ("embeddings", EMBEDDINGS, "torch.arange(n)", "ids % 6", "token 1 of the first text has other numbers"),
    ("embeddings", EMBEDDINGS, "self.token(ids) +", "self.token(ids) * 2 +", "multiplied by √d_model"),
    ("embeddings", EMBEDDINGS, "torch.arange(n)", "torch.arange(n) % 6", "only 6 places"),
    ("embeddings", EMBEDDINGS, "self.token(ids)", "self.token.weight.data[ids]", "no gradient reaches the table"),
    ("embeddings", EMBEDDINGS, "self.token(ids)", "self.token(ids) + 0 * 1e-9 * self.token.weight.sum() + "
     "(self.token.weight.sum() - self.token.weight.sum().detach())", "reaches other tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source"), FINE.values(), ids=FINE)
def test_sensible_forms_pass(name: str, source: str, tmp_path: Path) -> None:
    assert problem_of(name, source, tmp_path) is None


@pytest.mark.parametrize(("name", "source", "right", "wrong", "named"), MISTAKES, ids=[m[-1] for m in MISTAKES])
def test_mistakes_are_named(name: str, source: str, right: str, wrong: str, named: str, tmp_path: Path) -> None:
    assert source.count(right) >= 1, "the right form is to be found"
    problem = problem_of(name, source.replace(right, wrong), tmp_path)
    assert problem is not None
    assert named in problem
