"""Exercises generating and kv-cache: usual mistakes are named, other sensible forms pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.learn.grading import problem_of

LISTS = """
import torch

def generate(model, ids, n_tokens, context_length, end_id=None):
    text = list(ids)
    for _ in range(n_tokens):
        logits = model(torch.tensor([text[-context_length:]]))
        chosen = int(logits[0, -1].argmax())
        if chosen == end_id:
            break
        text.append(chosen)
    return text[len(ids):]
"""
BOOKISH = """
import torch

def generate(model, idx, max_new_tokens, context_size, temperature=0.0, top_k=None, eos_id=None):
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(idx[:, -context_size:])[:, -1, :]
        chosen = torch.argmax(logits, dim=-1, keepdim=True)
        if chosen == eos_id:
            break
        idx = torch.cat((idx, chosen), dim=1)
    return idx
"""

CACHE = """
import torch

class Memory:
    def __init__(self):
        self.kept = []

    def add(self, key, value):
        self.kept.append((key, value))
        return torch.cat([k for k, _ in self.kept], dim=2), torch.cat([v for _, v in self.kept], dim=2)

def attend(attention, x, memory):
    query, key, value = (attention.split(w(x)) for w in (attention.W_query, attention.W_key, attention.W_value))
    key, value = memory.add(key, value)
    T, S = query.shape[2], key.shape[2]
    scores = query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5
    later = torch.ones(T, S, dtype=torch.bool).triu(diagonal=1 + S - T)
    mixed = scores.masked_fill(later, -torch.inf).softmax(dim=-1) @ value
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))

class Reader:
    def __init__(self, model):
        self.model, self.start = model, 0
        self.memories = [Memory() for _ in model.blocks]

    def read(self, ids):
        places = torch.arange(self.start, self.start + ids.shape[1])
        self.start += ids.shape[1]
        x = self.model.token_embedding(ids) + self.model.place_embedding(places)
        for block, memory in zip(self.model.blocks, self.memories):
            x = x + attend(block.attention, block.norm_1(x), memory)
            x = x + block.feedforward(block.norm_2(x))
        return self.model.head(self.model.final_norm(x))

def generate(model, ids, n_tokens, context_length):
    reader, new, made = Reader(model), list(ids), []
    for _ in range(n_tokens):
        made.append(int(reader.read(torch.tensor([new]))[0, -1].argmax()))
        new = made[-1:]
    return made
"""

FINE = {
    "lists": ("generating", LISTS),
    "tensors, as in the book": ("generating", BOOKISH),
    "cache": ("kv-cache", CACHE),
}

MISTAKES = [
    ("generating", LISTS, "logits[0, -1]", "logits[0, 0]", "another row of logits"),
    ("generating", LISTS, "logits[0, -1].argmax()", "logits[0, -1].abs().argmax()", "the next token is another"),
    ("generating", LISTS, "return text[len(ids):]", "pass", "must be a list of ids"),
    ("generating", LISTS, "torch.tensor([text[-context_length:]])", "torch.tensor(text)", "must be given a tensor"),
    ("generating", LISTS, "range(n_tokens)", "range(n_tokens and 1)", "another number of tokens"),
    ("generating", LISTS, "[text[-context_length:]]", "[ids[-context_length:]]", "always given the same text"),
    ("generating", LISTS, "[text[-context_length:]]", "[text if len(text) == len(ids) else text[-1:]]",
     "given the new token alone"),
    ("generating", LISTS, "[-context_length:]", "", "more tokens than its context holds"),
    ("generating", LISTS, "[-context_length:]", "[:context_length]", "given the beginning"),
    ("generating", LISTS, "        if chosen == end_id:\n            break\n", "", "does not end at token"),
    ("generating", LISTS, "        text.append(chosen)", "", "the next token is another"),
    ("generating", LISTS, "        if chosen == end_id:\n            break\n        text.append(chosen)",
     "        text.append(chosen)\n        if chosen == end_id:\n            break", "the end mark is part"),
    ("generating", LISTS, "list(ids)", "ids", "the next token is another"),
    ("generating", LISTS.replace("text[len(ids):]", "text[start:]"), "    text = list(ids)",
     "    start, text = len(ids), ids", "the list of the prompt was changed"),
    ("generating", LISTS, "int(logits[0, -1].argmax())",
     "int(logits[0, -1].argmax()) if logits.shape[-1] == 7 else int(logits[0, -1].argmin())", "with a real model"),
    ("kv-cache", CACHE, "        return torch.cat([k for k", "        return key, torch.cat([k for k", "two things"),
    ("kv-cache", CACHE, "[k for k, _ in self.kept], dim=2", "[k for k, _ in self.kept[-1:]], dim=2", "another shape"),
    ("kv-cache", CACHE, "self.kept.append((key, value))", "self.kept.insert(0, (key, value))", "in another order"),
    ("kv-cache", CACHE, " / key.shape[-1] ** 0.5", "", "all six tokens at once"),
    ("kv-cache", CACHE, "scores.masked_fill(later, -torch.inf)", "scores", "all six tokens at once"),
    ("kv-cache", CACHE, "diagonal=1 + S - T", "diagonal=1", "token by token"),
    ("kv-cache", CACHE, "diagonal=1 + S - T", "diagonal=1 if T == S else S", "in pieces of [2, 4]"),
    ("kv-cache", CACHE, "        self.start += ids.shape[1]\n", "", "was given the embedding of place 0"),
    ("kv-cache", CACHE, "[Memory() for _ in model.blocks]", "[Memory()] * len(model.blocks)", "the model, in pieces"),
    ("kv-cache", CACHE, "        new = made[-1:]", "        reader, new = Reader(model), [*ids, *made]",
     "more tokens went through the model"),
    ("kv-cache", CACHE, ".argmax())", ".argmin())", "other tokens than without a cache"),
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
