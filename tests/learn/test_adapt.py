"""Modules of any sensible interface: built, filled, called; and what cannot be understood is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidro.learn.adapt import build, fill, matrix, run
from vidro.learn.exercise import Wrong

W = torch.arange(6.0).reshape(3, 2)


class Raw(nn.Module):
    """As in the book's first version: raw parameters, one text at a time."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.W_query = nn.Parameter(torch.rand(d_in, d_out))
        self.W_key = nn.Parameter(torch.rand(d_in, d_out))
        self.W_value = nn.Parameter(torch.rand(d_in, d_out))

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 2, "one text at a time"
        scores = x @ self.W_query @ (x @ self.W_key).T
        return scores.softmax(-1) @ x @ self.W_value


class Fused(nn.Module):
    """As in nanoGPT: a config, one matrix for all three, a tuple as answer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config["d_out"], bias=True)
        self.c_proj = nn.Linear(config["d_out"], config.n_embd)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.c_attn(x), None


class Nested(nn.Module):
    """The matrices one floor below."""

    def __init__(self, emb_dim: int, drop_rate: float = 0.1) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"q_proj": nn.Linear(emb_dim, 2), "k_proj": nn.Linear(emb_dim, 2)})
        self.said = drop_rate


@pytest.mark.parametrize("kind", [Raw, Fused])
def test_matrices_are_filled_whatever_they_are(kind: type[nn.Module]) -> None:
    module = build(kind, d_in=3, d_out=2, n_heads=1, dropout=0.0)
    fill(module, query=W, key=W + 10, value=W + 20)
    for place, role in enumerate(("query", "key", "value")):
        assert torch.equal(matrix(module, role), W + 10 * place)
    if isinstance(module, Fused):
        assert torch.equal(run(module, torch.eye(3)[None])[0], torch.cat([W, W + 10, W + 20], dim=1))


def test_names_of_sizes_and_nested_parts() -> None:
    module = build(Nested, d_in=3, dropout=0.5)
    assert module.said == 0.5
    fill(module, key=W)
    assert torch.equal(module.inner["k_proj"].weight, W.T)
    assert not module.inner["k_proj"].bias.any()


def test_a_batch_is_called_text_by_text_where_needed() -> None:
    module, x = Raw(3, 2), torch.randn(4, 5, 3)
    for rows_first in (True, False):
        assert torch.equal(run(module, x, rows_first=rows_first), torch.stack([module(text) for text in x]))


def test_what_cannot_be_understood_is_said() -> None:
    @dataclass
    class Odd:
        colour: str

    with pytest.raises(Wrong, match=r"Odd asks for 'colour'.*Call it d_in or dropout, or give it a default"):
        build(Odd, d_in=3, dropout=0.0)
    with pytest.raises(Wrong, match=r"no matrix for the value was found. Its parameters are 0, 0\.bias"):
        matrix(nn.Sequential(nn.Linear(2, 2)), "value")
    with pytest.raises(Wrong, match=r"the query matrix has another size \(found \[4, 2\], expected \[3, 2\]\)"):
        fill(Raw(4, 2), query=W)
    with pytest.raises(Wrong, match=r"the answer is no tensor \(found NoneType\). Is there a return"):
        run(lambda x: None, torch.zeros(1, 2, 3))


def test_what_the_module_raised_first_is_raised() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError(f"axes: {x.ndim}")

    with pytest.raises(RuntimeError, match="axes: 3"):
        run(broken, torch.zeros(1, 2, 3))
