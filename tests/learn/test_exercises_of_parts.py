"""Exercises neuron, layer-norm and gelu: usual mistakes are named, other sensible forms pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.learn.grading import problem_of

NEURON = """
import torch
from torch import nn

def neuron(x, weights, bias):
    total = bias
    for number, weight in zip(x, weights):
        total += number * weight
    return max(0.0, total)

class Layer(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.linear = nn.Linear(d_in, d_out)

    def forward(self, x):
        return torch.relu(self.linear(x))

def either_but_not_both():
    return [[1, -1], [-1, 1]], [0, 0], [1, 1], 0
"""
RAW = NEURON.replace("self.linear = nn.Linear(d_in, d_out)",
                     "self.w, self.b = nn.Parameter(torch.zeros(d_in, d_out)), nn.Parameter(torch.zeros(d_out))"
                     ).replace("self.linear(x)", "x @ self.w + self.b")  # fmt: skip

NORM = """
import torch
from torch import nn

class LayerNorm(nn.Module):
    def __init__(self, emb_dim):
        super().__init__()
        self.eps = 1e-5
        self.gain, self.move = nn.Parameter(torch.ones(emb_dim)), nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x):
        mean = x.mean(dim=-1, keepdim=True)
        variance = x.var(dim=-1, keepdim=True, unbiased=False)
        return self.gain * ((x - mean) / torch.sqrt(variance + self.eps)) + self.move
"""
TORCHS = """
from torch import nn

class LayerNorm(nn.LayerNorm):
    def __init__(self, cfg):
        super().__init__(cfg["emb_dim"])
"""

GELU = """
import math
import torch

def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
"""
BY_ERF = """
import torch
from torch import nn

class GELU(nn.Module):
    def forward(self, x):
        return x * (1 + torch.erf(x / 2**0.5)) / 2
"""
PHI = "x * (1 + torch.erf(x / 2**0.5)) / 2"

FINE = {
    "neuron": ("neuron", NEURON),
    "neuron, raw parameters": ("neuron", RAW),
    "layer norm": ("layer-norm", NORM),
    "torch's layer norm": ("layer-norm", TORCHS),
    "gelu by tanh": ("gelu", GELU),
    "gelu by erf, a module": ("gelu", BY_ERF),
}

MISTAKES = [
    ("neuron", NEURON, "total += number * weight", "total += number * weight / len(x)", "it is the sum, not the mean"),
    ("neuron", NEURON, "total = bias", "total = 0", "the bias is not added"),
    ("neuron", NEURON, "total = bias", "total = -bias", "the bias is taken away: add it"),
    ("neuron", NEURON, "total += number * weight", "total += number * weight + bias", "for every number: add it once"),
    ("neuron", NEURON, "max(0.0, total)", "max(0.0, total - bias) + bias", "the bias is added after the bend"),
    ("neuron", NEURON, "max(0.0, total)", "total", "without a bend"),
    ("neuron", NEURON, "max(0.0, total)", "abs(total)", "another bend (abs)"),
    ("neuron", NEURON, "return max(0.0, total)", "return None", "answers with one number"),
    ("neuron", NEURON, "torch.relu(self.linear(x))", "self.linear(x)", "the layer does not bend"),
    ("neuron", NEURON, "self.linear(x)", "x @ self.linear.weight.T", "the biases are not added"),
    ("neuron", RAW, "torch.relu(x @ self.w + self.b)", "torch.relu(x @ self.w) + self.b", "added after relu"),
    ("neuron", RAW, "nn.Parameter(torch.zeros(d_out))", "torch.zeros(d_out)", "3 biases are needed"),
    ("neuron", RAW, "x @ self.w + self.b", "(x @ self.w + self.b).sum(dim=0)", "went in"),
    ("neuron", NEURON, "[1, -1], [-1, 1]", "[1, 1], [1, 1]", "(1, 0) gives (found 2.0, expected 1.0)"),
    ("neuron", NEURON, "return [[1, -1], [-1, 1]], [0, 0], [1, 1], 0", "return [[1, -1], [-1, 1]]", "four things must"),
    ("layer-norm", NORM, ", nn.Parameter(torch.zeros(emb_dim))", ", torch.zeros(emb_dim)", "a learned row of ones"),
    ("layer-norm", NORM, "+ self.move", "+ self.move[:, None]", "went in and must come out"),
    ("layer-norm", NORM, "unbiased=False", "unbiased=True", "the variance divides by D − 1"),
    ("layer-norm", NORM, "unbiased=False", "correction=1", "the variance divides by D − 1"),
    ("layer-norm", NORM, "torch.sqrt(variance + self.eps)", "(variance + self.eps)", "the root is missing"),
    ("layer-norm", NORM, "(x - mean)", "x", "the mean is not taken away"),
    ("layer-norm", NORM, " / torch.sqrt(variance + self.eps)", "", "nothing is divided"),
    ("layer-norm", NORM, "x.var(dim=-1, keepdim=True, unbiased=False)\n        return self.gain * ((x - mean)",
     "x.square().mean(dim=-1, keepdim=True)\n        return self.gain * (x", "this is RMSNorm"),
    ("layer-norm", NORM, "mean = x.mean(dim=-1, keepdim=True)\n        variance = x.var(dim=-1, keepdim=True",
     "d = max(-2, -x.dim())\n        mean = x.mean(dim=d, keepdim=True)\n        variance = x.var(dim=d, keepdim=True",
     "down the tokens"),
    ("layer-norm", NORM, "mean = x.mean(dim=-1, keepdim=True)\n        variance = x.var(dim=-1, keepdim=True, ",
     "mean = x.mean()\n        variance = x.var(", "the whole batch is normalised at once"),
    ("layer-norm", NORM, "self.gain * ((x - mean)", "((x - mean)", "the scale is not used"),
    ("layer-norm", NORM, " + self.move", "", "the shift is not added"),
    ("layer-norm", NORM, "self.gain * ((x - mean) / torch.sqrt(variance + self.eps)) + self.move",
     "self.gain * ((x - mean) / torch.sqrt(variance + self.eps) + self.move)", "added before scaling"),
    ("layer-norm", NORM, "self.eps = 1e-5", "self.eps = 0.0", "have no spread, and 0 / 0 is none"),
    ("layer-norm", NORM, "torch.sqrt(variance + self.eps)", "(torch.sqrt(variance) + self.eps)", "under the root"),
    ("layer-norm", NORM, "mean = x.mean(dim=-1, keepdim=True)", "mean = x.mean(dim=-1, keepdim=True).detach()",
     "the gradient of the input is another"),
    ("layer-norm", NORM, "self.gain *", "self.gain.data *", "no gradient reaches the scale"),
    ("gelu", GELU, "0.5 * x * (1 + ", "0.5 * (1 + ", "gelu(0) is 0"),
    ("gelu", BY_ERF, PHI, f"({PHI}).sum()", "keeps the shape"),
    ("gelu", GELU, "0.5 * x * (1", "x * (1", "the half is missing"),
    ("gelu", GELU, "(1 + torch", "(torch", "the 1 is missing"),
    ("gelu", GELU, "x**3", "x**2", "0.044715 belongs to x³"),
    ("gelu", GELU, " + 0.044715 * x**3", "", "the part with x³ is missing"),
    ("gelu", GELU, "math.sqrt(2 / math.pi)", "math.sqrt(2) / math.pi", "√(2/π), not √2 / π"),
    ("gelu", GELU, "0.044715", "0.44715", "gelu("),
    ("gelu", BY_ERF, "x / 2**0.5", "x", "erf(x): divide by √2 first"),
    ("gelu", BY_ERF, PHI, "torch.relu(x)", "this is relu"),
    ("gelu", BY_ERF, PHI, "x * torch.sigmoid(x)", "this is SiLU"),
    ("gelu", BY_ERF, PHI, "x * torch.sigmoid(1.702 * x)", "a third and rougher formula"),
    ("gelu", GELU, "torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))",
     "(lambda e: (e - 1) / (e + 1))(torch.exp(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
     "e to a large power"),
    ("gelu", GELU, "0.5 * x * (1", "0.5 * x.detach() * (1", "neither may be detached"),
    ("gelu", GELU, "return 0.5 * x", "x = x.detach()\n    return 0.5 * x", "no gradient goes through"),
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
