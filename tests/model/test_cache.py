"""The key/value cache as a container: rows, lengths, errors. (Cached = uncached: tests/equal/test_cache_equal.py.)"""

from __future__ import annotations

import pytest
import torch

from vidro.config.schema import ModelConfig
from vidro.core.errors import ModelError
from vidro.model.cache import KVCache

CONFIG = ModelConfig(
    family="llama", vocab_size=50, context_length=16, d_model=24, n_layers=2, n_heads=4, n_kv_heads=2, d_head=6, d_ff=40
)


def numbered(rows: int, count: int, start: int = 0) -> torch.Tensor:
    """[B K T E] whose numbers tell row and token."""
    values = 100 * torch.arange(rows)[:, None] + torch.arange(start, start + count)
    return values[:, None, :, None].expand(rows, 2, count, 6).float()


def write(cache: KVCache, numbers: torch.Tensor, counts: int | list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    for layer in range(2):
        seen = cache.append(layer, numbers, -numbers)
    cache.advance(counts)
    return seen


def held(cache: KVCache, row: int) -> list[float]:
    return cache.keys[1, row, 1, : cache.held[row], 3].tolist()


def test_rows_of_unequal_length_grow_at_their_own_ends() -> None:
    cache = KVCache(CONFIG, batch=3, capacity=8)
    write(cache, numbered(3, 4), [4, 1, 3])
    assert cache.lengths.tolist() == [4, 1, 3]
    keys, values = write(cache, numbered(3, 2, start=50), 2)
    assert held(cache, 0) == [0, 1, 2, 3, 50, 51]
    assert held(cache, 1) == [100, 150, 151]
    assert held(cache, 2) == [200, 201, 202, 250, 251]
    assert keys.shape == (3, 2, 6, 6)
    assert torch.equal(values[1, 0, :3], -keys[1, 0, :3])


def test_mask_by_lengths() -> None:
    cache = KVCache(CONFIG, batch=2, capacity=8)
    assert cache.mask(5) is None  # nothing held: plain causal attention
    cache.advance(2)
    assert cache.mask(1) is None  # one token may look at everything
    mask = cache.mask(2)
    assert mask is not None
    assert mask[:, 0].int().tolist() == [[[1, 1, 1, 0], [1, 1, 1, 1]]] * 2
    cache.advance([0, 2])
    mask = cache.mask(1)
    assert mask is not None
    assert mask[:, 0].int().tolist() == [[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]]


def test_fixed_slots_always_mask_the_whole_capacity() -> None:
    cache = KVCache(CONFIG, batch=2, capacity=8, fixed=True)
    mask = cache.mask(3)
    assert mask is not None
    assert mask.shape == (2, 1, 3, 8)
    keys, _ = cache.append(0, numbered(2, 3), numbered(2, 3))
    assert keys.shape == (2, 2, 8, 6)


def test_padding_may_stick_out_of_a_full_row() -> None:
    cache = KVCache(CONFIG, batch=2, capacity=4)
    write(cache, numbered(2, 3), [3, 1])
    write(cache, numbered(2, 3, start=50), [1, 3])
    assert held(cache, 0) == [0, 1, 2, 50]
    assert held(cache, 1) == [100, 150, 151, 152]


def test_a_full_cache_says_so() -> None:
    cache = KVCache(CONFIG, batch=2, capacity=4)
    write(cache, numbered(2, 3), 3)
    with pytest.raises(ModelError) as error:
        cache.append(0, numbered(2, 2), numbered(2, 2))
    assert str(error.value) == (
        "a row of the cache holds 3 of 4 tokens and cannot take 2 more. "
        "Make the cache larger, or forget old tokens first."
    )
    with pytest.raises(ModelError, match="cannot take 2 more"):
        cache.advance([2, 1])
    assert cache.held == [3, 3]


def test_wrong_counts_and_sizes_are_refused() -> None:
    cache = KVCache(CONFIG, batch=2, capacity=4)
    with pytest.raises(ModelError) as error:
        cache.advance([1])
    assert str(error.value) == "cache: [1] is not one count per row. There are 2 rows."
    with pytest.raises(ModelError, match="is not one count per row"):
        cache.advance([1, -1])
    for capacity in (0, 17):
        with pytest.raises(ModelError, match="between 1 and the context length, 16"):
            KVCache(CONFIG, batch=1, capacity=capacity)
    with pytest.raises(ModelError, match="row 0 holds 0 tokens and cannot be cut to 1"):
        cache.truncate(0, 1)


def test_truncate_and_place() -> None:
    cache = KVCache(CONFIG, batch=3, capacity=8)
    write(cache, numbered(3, 4), [4, 2, 3])
    cache.truncate(0, 1)
    copies = KVCache(CONFIG, batch=3, capacity=8)
    for row, source_row in enumerate([2, 0, 2]):
        copies.place(row, cache, source_row)
    assert copies.held == [3, 1, 3]
    assert held(copies, 0) == held(copies, 2) == [200, 201, 202]
    write(copies, numbered(3, 1, start=70), 1)
    assert held(cache, 2) == [200, 201, 202]  # copies are copies
    cache.place(1, copies, 0)
    assert held(cache, 1) == [200, 201, 202, 70]
    assert cache.held == [1, 4, 3]
    with pytest.raises(ModelError, match="4 tokens do not fit a row of 2"):
        KVCache(CONFIG, batch=1, capacity=2).place(0, copies, 0)
