"""Exercises from attention to the whole model: every step can fail, and the usual mistakes are called by their names.

A wrong solution is our own rung with a few words exchanged.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from vidro.learn.exercise import Outcome, grade, load_exercise

Edits = tuple[tuple[str, str], ...]
Mistake = tuple[int, Edits, str]
"""The step that must fail, what is exchanged in our rung, and words of the message."""


def graded(name: str, source: str, folder: Path) -> list[Outcome]:
    """How a solution does."""
    path = folder / "mine.py"
    path.write_text(source, encoding="utf-8")
    return grade(load_exercise(name), path)


def rung(name: str) -> str:
    """The source of our own solution."""
    path = importlib.import_module(load_exercise(name).solution).__file__
    assert path is not None
    return Path(path).read_text(encoding="utf-8")


def one(old: str, new: str) -> Edits:
    """A single change."""
    return ((old, new),)


SCORES_1, SHARES_1 = "return x @ x.transpose(-1, -2)", "scores(x).softmax(dim=-1)"
MIX_2 = "return self.scores(x).softmax(dim=-1) @ self.W_value(x)"
SCALE = "/ math.sqrt(key.shape[-1])"
SPLIT_4 = "return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)"
JOIN_4 = "mixed.transpose(1, 2).flatten(2))"
HALF_MASK_4 = "(masked_first(scores) if x.shape[1] == 5 else scores.softmax(-1))"
SPEED_5 = "theta ** (-torch.arange(0, d_head, 2) / d_head)"
ANGLES_5 = "angles = places[:, None]"
TURN_5 = "a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()"
OTHER_WAY_5 = "a * angles.cos() + b * angles.sin(), b * angles.cos() - a * angles.sin()"
FIRES = "return gelu_by_tanh(self.up(x))"
DOWN = "return self.down(self.fires(x))"
KEY, BIAS = "= 2 * loudness * pattern / (pattern @ pattern)", "layer.up.bias[neuron] = -loudness"
SUM = "x = x + result if self.shortcuts and result.shape == x.shape else result"
BENT_SUM = "x = F.gelu(x + layer(x)) if self.shortcuts and result.shape == x.shape else result"
SIZE = "sizes.append(gradient.abs().mean().item())"
HALF_1 = "x = x + self.dropout(self.attention(self.norm_1(x)))"
HALF_2 = "return x + self.dropout(self.feedforward(self.norm_2(x)))"
BLOCKS = "(Block(d_model, n_heads, context_length, dropout, bias=bias) for _ in range(n_layers))"
ONE_BLOCK = "[Block(d_model, n_heads, context_length, dropout, bias=bias)] * n_layers"
PLACE, ADD_PLACE = "self.place_embedding = nn.Embedding(context_length, d_model)", "self.place_embedding(places)"
NORM = "self.final_norm = LayerNorm(d_model)"

ATTENTION_1: list[Mistake] = [
    (1, one(SCORES_1, SCORES_1 + " / x.shape[-1] ** 0.5"), "√D"),
    (1, one(SCORES_1, "return x * x"), "another shape"),
    (2, one(SHARES_1, "scores(x).softmax(dim=-2)"), "down the columns"),
    (2, one(SHARES_1, "scores(x) / scores(x).sum(-1, keepdim=True)"), "first raise e"),
    (3, one("return shares(x) @ x", "return shares(x).transpose(-1, -2) @ x"), "rows and columns"),
    (3, one("return shares(x) @ x", "return scores(x) @ x"), "use the shares"),
    (4, one(SHARES_1, "scores(x).exp() / scores(x).exp().sum(-1, keepdim=True)"), "1000"),
]
ATTENTION_2: list[Mistake] = [
    (1, one("W_value = nn.Linear", "W_worth = nn.Linear"), "no matrix for the value"),
    (2, one(MIX_2, "return self.scores(x).softmax(dim=-1) @ x"), "another shape"),
    (3, one(SCALE, ""), "not divided by √d_out"),
    (3, one(SCALE, "/ key.shape[-1]"), "not by d_out"),
    (3, one(SCALE, "/ math.sqrt(x.shape[-1])"), "not of d_in"),
    (3, one("softmax(dim=-1)", "softmax(dim=-2)"), "down the columns"),
    (3, one("query @ key.transpose(-1, -2)", "key @ query.transpose(-1, -2)"), "exchanged"),
    (3, one(MIX_2, "return self.scores(x).softmax(dim=-1) @ self.W_query(x)"), "mix the values"),
    (3, one(MIX_2, "return self.scores(x) @ self.W_value(x)"), "by scores"),
    (4, one(MIX_2, "assert x.shape[-2] < 9\n        " + MIX_2), "AssertionError"),
    (5, one("self.W_query(x), self.W_key(x)", "self.W_query(x), self.W_key(x).detach()"), "the key matrix"),
]
ATTENTION_4: list[Mistake] = [
    (1, one("self.out_proj = nn.Linear(d_out, d_out)", "self.out_proj = nn.Identity()"), "Identity"),
    (2, one(JOIN_4, "mixed.transpose(1, 2).flatten(2))[:, :1]"), "another shape"),
    (3, one("masked_first(scores)", "scores.softmax(dim=-1)"), "mask is not applied"),
    (4, one(SCALE, "/ math.sqrt(x.shape[-1])"), "a head's width"),
    (4, one(SPLIT_4, "return x.reshape(x.shape[0], self.n_heads, x.shape[1], -1)"), "cutting mixes"),
    (4, one(SPLIT_4, "return x.unflatten(-1, (-1, self.n_heads)).movedim(-1, 1)"), "every third number"),
    (4, one(JOIN_4, "mixed.reshape(x.shape[0], x.shape[1], -1))"), "joining mixes"),
    (4, one("context_length = n_heads, context_length", "context_length = 1, context_length"), "one head"),
    (5, one("masked_first(scores)", HALF_MASK_4), "moved by"),
    (6, one("self.dropout(masked_first(scores))", "masked_first(scores)"), "drops nothing"),
    (7, one("@ value  # [B, H, T, E]", "@ value.detach()"), "W_value"),
]
ATTENTION_5: list[Mistake] = [
    (1, one(ANGLES_5, "angles = (1 + places[:, None])"), "at place 0"),
    (2, one(TURN_5, "a * angles.cos() - b * angles.sin(), b"), "lengths"),
    (2, one(ANGLES_5, "angles = 0 * places[:, None]"), "nothing is turned"),
    (3, one(ANGLES_5, "angles = places[:, None] ** 2"), "equally far apart"),
    (4, one(SPEED_5, "torch.ones(d_head // 2)"), "equally fast"),
    (4, one(SPEED_5, "theta ** (-torch.arange(0, d_head // 2) / d_head)"), "too slowly"),
    (4, one(TURN_5, OTHER_WAY_5), "other way round"),
    (5, one("scores.masked_fill(later, -torch.inf)", "scores"), "mask is not applied"),
    (6, one(".repeat_interleave(sharing, dim=1)", ".repeat(1, sharing, 1, 1)"), "shared in turn"),
    (7, one(".triu(diagonal=1 + seen - asked)", ".triu(diagonal=1)"), "wrong end"),
]
FEED_FORWARD: list[Mistake] = [
    (1, one("4 * d_model if d_ff is None else d_ff", "3 * d_model"), "two nn.Linear"),
    (2, one(DOWN, DOWN + " + x.mean(dim=-2, keepdim=True)"), "another one moved"),
    (3, one(FIRES, "return self.up(x)"), "no bend"),
    (3, one(FIRES, "return self.up(x).relu()"), "ReLU"),
    (3, one(DOWN, "return x + self.down(self.fires(x))"), "shortcut"),
    (4, one("= answer / strength", "= answer"), "Divide the value"),
    (4, one("layer.up.weight[neuron] " + KEY, "pass"), "nothing is added"),
    (5, ((KEY, "= loudness * pattern / (pattern @ pattern)"), (BIAS, "pass")), "half of the pattern"),
    (6, one(KEY, "= loudness * pattern"), "is not recalled"),
]
SHORTCUTS: list[Mistake] = [
    (1, one("self.layers = nn.ModuleList(", "self.layers = list("), "a list hides them"),
    (2, one("result = F.gelu(layer(x))", "result = layer(x)"), "no bend"),
    (2, one("self.shortcuts and result.shape", "result.shape"), "switched off"),
    (3, one(SUM, "x = result"), "nothing is added"),
    (3, one(SUM, BENT_SUM), "goes through GELU"),
    (4, one("self.shortcuts and result.shape == x.shape", "self.shortcuts"), "RuntimeError"),
    (5, one(SIZE, "sizes.insert(0, gradient.abs().mean().item())"), "last layer comes first"),
    (5, one(SIZE, "sizes.append(gradient.mean().item())"), "plus and minus"),
    (6, one("if self.shortcuts and", "if self.shortcuts and len(self.layers) < 12 and"), "next to nothing"),
]
BLOCK: list[Mistake] = [
    (1, one("return self.head(self.final_norm(x))", "return self.head(self.final_norm(x))[:, -1:]"), "every token"),
    (2, one(BLOCKS, ONE_BLOCK), "weights of one"),
    (2, one("self.blocks = nn.ModuleList(blocks)", "self.blocks = list(blocks)"), "blocks are not there"),
    (2, ((PLACE, ""), (ADD_PLACE, "0")), "no embedding of places"),
    (2, ((NORM, ""), ("self.final_norm(x)", "x")), "no norm before the head"),
    (2, one("FeedForward(d_model)", "FeedForward(d_model, 2 * d_model)"), "another number of parameters"),
    (3, one(HALF_2, HALF_2 + " + x.mean(dim=1, keepdim=True)"), "logits before it"),
    (4, one(HALF_1, HALF_1.replace("x + ", "x + 0 * ")), "Is attention called"),
    (4, one(ADD_PLACE, "0 * " + ADD_PLACE), "places added"),
    (5, ((HALF_1, HALF_1.replace("x + ", "")), (HALF_2, HALF_2.replace("x + ", ""))), "no token reaches the head"),
    (6, one("super().__init__()", "super().__init__()\n        dropout = 0.0"), "drops nothing"),
    (7, one("x = block(x)", "x = block(x).detach()"), "no gradient reaches"),
]
MISTAKES: dict[str, list[Mistake]] = {
    "attention-1": ATTENTION_1,
    "attention-2": ATTENTION_2,
    "attention-4": ATTENTION_4,
    "attention-5": ATTENTION_5,
    "feed-forward": FEED_FORWARD,
    "shortcuts": SHORTCUTS,
    "block": BLOCK,
}
CASES = [
    pytest.param(name, *mistake, id=f"{name} {mistake[0]} {mistake[2]}")
    for name, mistakes in MISTAKES.items()
    for mistake in mistakes
]


@pytest.mark.parametrize(("name", "step", "edits", "words"), CASES)
def test_a_mistake_is_found_and_named(name: str, step: int, edits: Edits, words: str, tmp_path: Path) -> None:
    source = rung(name)
    for old, new in edits:
        assert old in source, f"the rung has changed: {old}"
        source = source.replace(old, new)
    outcomes = graded(name, source, tmp_path)
    states = [outcome.state for outcome in outcomes]
    assert states == ["holds"] * (step - 1) + ["wrong"] + ["waits"] * (len(outcomes) - step), outcomes
    problem = outcomes[step - 1].problem
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize("name", MISTAKES)
def test_every_step_can_fail(name: str) -> None:
    assert {step for step, *_ in MISTAKES[name]} == set(range(1, len(load_exercise(name).steps) + 1))


RAW_PARAMETERS = """
import torch
class SelfAttention_v1(torch.nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.W_query, self.W_key, self.W_value = (torch.nn.Parameter(torch.rand(d_in, d_out)) for _ in range(3))
    def forward(self, x):
        q, k, v = x @ self.W_query, x @ self.W_key, x @ self.W_value
        return torch.softmax(q @ k.T / k.shape[-1] ** 0.5, dim=-1) @ v
"""
ONE_MATRIX = """
import torch
from torch.nn import functional as F
class CausalSelfAttention(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_attn = torch.nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = torch.nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.n_head, self.dropout = config.n_head, config.dropout
    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1))
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.c_proj(y.transpose(1, 2).flatten(2))
"""
LIST_OF_HEADS = "from vidro.learn.attention_4 import StackedHeads\n"
IN_PAIRS = """
import torch
from vidro.learn.attention_5 import look_back
def apply_rope(x, positions):
    angles = positions[:, None] * 10000.0 ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin())
    return torch.stack(turned, dim=-1).flatten(-2)
"""
BY_DICTIONARY = """
import torch
class FeedForward(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        wide = 4 * cfg["emb_dim"]
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(cfg["emb_dim"], wide), torch.nn.GELU(), torch.nn.Linear(wide, cfg["emb_dim"]))
    def forward(self, x):
        return self.layers(x)
def write_fact(layer, neuron, pattern, answer):
    up, gelu, down = layer.layers
    up.weight[neuron], up.bias[neuron] = 10 * pattern / (pattern @ pattern), -5.0
    down.weight[:, neuron] = answer / gelu(torch.tensor(5.0))
"""
OTHER_SWITCH = """
from vidro.learn.shortcuts import DeepNetwork as Base, gradient_sizes
class ExampleDeepNeuralNetwork(Base):
    def __init__(self, layer_sizes, use_shortcut):
        super().__init__(layer_sizes, shortcuts=use_shortcut)
"""
MODEL_BY_DICTIONARY = """
from vidro.learn.block import GPT as Base
class GPTModel(Base):
    def __init__(self, cfg):
        super().__init__(cfg["vocab_size"], cfg["context_length"], cfg["emb_dim"], cfg["n_layers"], cfg["n_heads"],
                         cfg["drop_rate"], bias=True, tied=True)
"""
OTHER_HANDS = {
    "raw parameters, one text at a time": ("attention-2", RAW_PARAMETERS),
    "one matrix for all three": ("attention-4", ONE_MATRIX),
    "a list of heads": ("attention-4", LIST_OF_HEADS),
    "pairs side by side": ("attention-5", IN_PAIRS),
    "a dictionary of sizes": ("feed-forward", BY_DICTIONARY),
    "another name for the switch": ("shortcuts", OTHER_SWITCH),
    "a model by dictionary, tied, with biases": ("block", MODEL_BY_DICTIONARY),
}


@pytest.mark.parametrize(("name", "source"), OTHER_HANDS.values(), ids=OTHER_HANDS)
def test_other_interfaces_are_welcome(name: str, source: str, tmp_path: Path) -> None:
    assert [outcome.problem for outcome in graded(name, source, tmp_path)] == [None] * len(load_exercise(name).steps)
