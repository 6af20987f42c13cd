"""The axes that a product sums over, against PyTorch itself; and names of weights and sizes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from vidro.learn.checker.opening import plain_value
from vidro.learn.checker.probes_attention import role
from vidro.learn.checker.products import product_of, summed_axes
from vidro.learn.checker.sizes import NAMES, SMALL, by_meaning, meaning


@given(st.permutations("bhqe"), st.permutations("bhke"), st.permutations("bhqk"), st.booleans())
def test_summed_axes_of_any_attention_einsum(one: list[str], two: list[str], out: list[str], spaced: bool) -> None:
    left, right, result = "".join(one), "".join(two), "".join(out)
    gap = " " if spaced else ""
    axes = summed_axes(f"{left},{gap}{right}{gap}->{result}")
    assert axes is not None
    assert left[axes[0]] == right[axes[1]] == "e"


@given(st.integers(2, 4), st.integers(2, 4), st.integers(2, 4))
def test_operands_come_out_rows_first(q: int, k: int, e: int) -> None:
    queries, keys = torch.randn(1, q, e), torch.randn(1, k, e)
    for op, args in (
        ("matmul", (queries, keys.transpose(1, 2))),
        ("bmm", (queries, keys.transpose(1, 2))),
        ("einsum", ("bqe,bke->bqk", queries, keys)),
        ("einsum", ("bke,bqe->bqk", keys, queries)),
        ("einsum", ("bqe,bke->bqk", [queries, keys])),
    ):
        product = product_of(op, args, {})
        assert product is not None
        assert product.left is queries
        assert product.left.shape[product.left_axis] == product.right.shape[product.right_axis] == e


@given(st.text(alphabet="abcehijkq,->. ", max_size=12))
def test_no_equation_breaks_it(equation: str) -> None:
    axes = summed_axes(equation)
    assert axes is None or all(isinstance(axis, int) for axis in axes)


def test_other_functions_are_no_products() -> None:
    for op, args in (("add", (torch.ones(2), torch.ones(2))), ("einsum", ("ij->ji", torch.ones(2, 2)))):
        assert product_of(op, args, {}) is None


def test_roles_of_the_names_that_people_use() -> None:
    for query, key in (
        ("att.W_query.weight", "att.W_key.weight"), ("self_attn.q_proj.weight", "self_attn.k_proj.weight"),
        ("attention.wq.weight", "attention.wk.weight"), ("heads.0.query.weight", "heads.0.key.weight"),
        ("attn.to_q.weight", "attn.to_k.weight"), ("a.q.weight", "a.k.weight"), ("att.W_query", "att.W_key"),
    ):  # fmt: skip
        assert role(frozenset({query})) == "query"
        assert role(frozenset({key})) == "key"
    for name in ("h.0.attn.c_attn.weight", "mlp.fc.weight", "tok_emb.weight", "quick.weight", "monkey.weight"):
        assert role(frozenset({name})) is None


def test_no_name_means_two_things() -> None:
    names = [name for meaning_, others in NAMES.items() for name in (meaning_, *others)]
    assert len(names) == len(set(names))
    assert set(SMALL) == set(NAMES)
    assert all(meaning(name) == wanted for wanted, others in NAMES.items() for name in others)


@given(st.integers(-(10**9), 10**9))
def test_numbers_of_a_setting_are_numbers(number: int) -> None:
    assert plain_value(str(number)) == number
    assert plain_value(f"{number:_}") == number
    assert plain_value(f"{number}.5") == float(f"{number}.5")


@given(st.dictionaries(st.sampled_from(["n_embd", "n_head", "colour", "vocab_size"]), st.integers(1, 9)))
def test_settings_are_placed_or_named(values: dict[str, int]) -> None:
    placed, strange = by_meaning(values, ["emb_dim", "n_heads", "vocab_size"])
    assert len(placed) + len(strange) == len(values)
    assert strange == [name for name in values if name == "colour"]
