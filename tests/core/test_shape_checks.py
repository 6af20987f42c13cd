"""The checks that watch all other tests: wrong types, wrong shapes and letters of two sizes do not pass."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from beartype.roar import (
    BeartypeCallHintParamViolation,
    BeartypeCallHintReturnViolation,
    BeartypeDoorHintViolation,
)
from jaxtyping import Float, Int
from tests.shape_checks import CONTEXT, PACKAGES, checked
from torch import Tensor

from vidro.config.schema import ModelConfig
from vidro.model.norm import RMSNorm
from vidro.model.transformer import Transformer


@checked
def scaled(x: Float[Tensor, "T D"], by: Float[Tensor, " D"], *, turned: bool = False) -> Float[Tensor, "T D"]:
    return (x * by).T if turned else x * by


@checked
def rows(x: Float[Tensor, "T D"]) -> Iterator[Float[Tensor, " D"]]:
    for row in x:
        yield scaled(row[None], torch.ones(len(row)))[0]


@checked
@dataclass
class Pair:
    ids: list[Int[Tensor, " T"]]
    name: str = ""


def test_what_is_right_passes() -> None:
    x = torch.ones(3, 2)
    for _ in range(2):
        assert torch.equal(scaled(x, torch.ones(2)), x)
    assert len(list(rows(x))) == 3
    with CONTEXT:
        assert isinstance(torch.ones(7), Float[Tensor, " T"])  # pyright: ignore
        assert len(list(rows(x))) == 3  # T is 7 out here: no matter
    assert scaled(torch.ones(5, 4), torch.ones(4)).shape == (5, 4)  # the letters of another call are others
    assert Pair([torch.zeros(2, dtype=torch.long)], "a").name == "a"


def test_what_is_wrong_does_not() -> None:
    for wrong in (torch.ones(3), torch.ones(3, 2, dtype=torch.long), [[1.0]], None):
        with pytest.raises(BeartypeCallHintParamViolation):
            scaled(wrong, torch.ones(2))  # pyright: ignore
    with pytest.raises(BeartypeCallHintParamViolation):
        scaled(torch.ones(3, 2), torch.ones(1))  # D is 2: no broadcasting
    with pytest.raises(BeartypeCallHintReturnViolation):
        scaled(torch.ones(3, 2), torch.ones(2), turned=True)
    with pytest.raises(BeartypeDoorHintViolation):
        rows(torch.ones(3))
    with pytest.raises(BeartypeCallHintParamViolation):
        Pair([torch.zeros(2)])
    with pytest.raises(BeartypeCallHintParamViolation):
        Pair([], name=3)  # pyright: ignore


def test_what_was_right_once_may_be_wrong_later() -> None:
    results = [torch.ones(3), torch.ones(3), torch.ones(4), torch.ones(3), [1.0]]

    @checked
    def given(x: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
        return results.pop(0)

    assert len(given(torch.zeros(3))) == len(given(torch.zeros(3))) == 3
    with pytest.raises(BeartypeDoorHintViolation):
        given(torch.zeros(3))
    assert len(given(torch.zeros(3))) == 3
    with pytest.raises(BeartypeDoorHintViolation):
        given(torch.zeros(3))


def test_the_package_is_checked() -> None:
    with pytest.raises(BeartypeCallHintParamViolation):
        RMSNorm(8)(torch.zeros(2, 8, dtype=torch.long))
    shape = ModelConfig(vocab_size=64, context_length=8, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, d_head=16)
    with pytest.raises(BeartypeCallHintParamViolation):
        Transformer(shape)(torch.zeros(8, dtype=torch.long))
    loaded = [module for name, module in sys.modules.items() if name.startswith(tuple(f"{p}." for p in PACKAGES))]
    assert len(loaded) > 10
    assert all("__checked__" in vars(module) for module in loaded)
