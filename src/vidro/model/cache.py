"""The key/value cache: what attention has seen, kept so that a new token costs one token of work.

Each row (one text) has a fixed slot of `capacity` places and its own length, so rows may differ:

    row 0   t h e   c a t . . . .      length 7
    row 1   o n c e . . . . . . .      length 4     (. = free; what lies there is never looked at)

A pass over T new tokens writes them behind each row's own text; `advance` then says how many of them were real, so
a batch of unequal prompts is fed padded on the right:

    cache = KVCache(config, batch=2, capacity=11)
    logits = model(ids, cache=cache)        # ids [2, 7], the second row padded
    cache.advance([7, 4])                   # its 3 pads are forgotten: the next token overwrites them

Not here: choosing tokens and feeding them (`vidro.infer`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vidro.config.schema import ModelConfig
from vidro.core.errors import ModelError
from vidro.core.shapes import Bool, Float, Int


class KVCache:
    """Keys and values of all layers, [L B K capacity E] each, and the number of tokens held per row.

    `fixed=True` always attends over the whole capacity behind a mask: a row's numbers are then bit-for-bit the same
    whatever its neighbours hold (a server's slots). The default looks no further than the longest row.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        fixed: bool = False,
    ) -> None:
        if not 1 <= capacity <= config.context_length:
            raise ModelError(
                f"a cache of {capacity} tokens per row does not fit the model",
                hint=f"It must be between 1 and the context length, {config.context_length}.",
            )
        shape = (config.n_layers, batch, config.n_kv_heads, capacity, config.d_head)
        self.keys: Tensor = torch.zeros(shape, device=device, dtype=dtype)
        self.values: Tensor = torch.zeros(shape, device=device, dtype=dtype)
        self.capacity = capacity
        self.fixed = fixed
        self.held: list[int] = [0] * batch
        """Tokens per row, on the host, so that asking never waits for the accelerator."""
        self._pass: tuple = (0, [], ())

    @property
    def batch(self) -> int:
        """Number of rows."""
        return len(self.held)

    @property
    def lengths(self) -> Int[Tensor, "B"]:
        """Tokens held per row."""
        return torch.tensor(self.held, device=self.keys.device)

    @property
    def common_length(self) -> int | None:
        """The length of every row when all are equal (the fast way), else None."""
        equal = not self.fixed and min(self.held) == max(self.held)
        return self.held[0] if equal else None

    def positions(self, count: int) -> Int[Tensor, "B T"]:
        """The places that each row's next `count` tokens take."""
        return self.lengths[:, None] + torch.arange(count, device=self.keys.device)

    def mask(self, count: int) -> Bool[Tensor, "B 1 T S"] | None:
        """True where each of the next `count` tokens may look; None where that is plain causal attention.

        Token i of row b stands at place length[b] + i and sees the places up to its own.
        """
        start = self.common_length
        if start is not None and (start == 0 or count == 1):
            return None
        places = torch.arange(self._seen(count), device=self.keys.device)
        return (places <= self.positions(count)[:, :, None])[:, None]

    def append(
        self, layer: int, k: Float[Tensor, "B K T E"], v: Float[Tensor, "B K T E"]
    ) -> tuple[Float[Tensor, "B K S E"], Float[Tensor, "B K S E"]]:
        """Write T new tokens behind every row and return views of all that was seen, these included.

        Lengths do not move: every layer writes to the same places, and the caller says `advance` afterwards.
        """
        count, start = k.shape[2], self.common_length
        keys, values = self.keys[layer], self.values[layer]
        if start is not None:
            if start + count > self.capacity:
                raise self._full(count)
            keys[:, :, start : start + count] = k
            values[:, :, start : start + count] = v
        else:
            rows, tokens, places = self._targets(count)
            keys[rows, :, places] = k[rows, :, tokens].to(keys.dtype)
            values[rows, :, places] = v[rows, :, tokens].to(values.dtype)
        seen = self._seen(count)
        return keys[:, :, :seen], values[:, :, :seen]

    def advance(self, counts: int | Sequence[int]) -> None:
        """Keep the first `counts` of the tokens just written: one number for all rows, or one per row."""
        counts = [counts] * self.batch if isinstance(counts, int) else [int(count) for count in counts]
        if len(counts) != self.batch or min(counts) < 0:
            raise ModelError(f"{counts} is not one count per row", where="cache", hint=f"There are {self.batch} rows.")
        after = [held + count for held, count in zip(self.held, counts, strict=True)]
        if max(after) > self.capacity:
            raise self._full(max(counts))
        self.held = after

    def truncate(self, row: int, length: int) -> None:
        """Forget what row `row` holds past `length` tokens."""
        if not 0 <= length <= self.held[row]:
            raise ModelError(f"row {row} holds {self.held[row]} tokens and cannot be cut to {length}", where="cache")
        self.held[row] = length

    def place(self, row: int, source: KVCache, source_row: int = 0) -> None:
        """Overwrite one row with a row of another cache of the same model (prefilled apart, say)."""
        length = source.held[source_row]
        if length > self.capacity:
            raise ModelError(f"{length} tokens do not fit a row of {self.capacity}", where="cache")
        self.keys[:, row, :, :length] = source.keys[:, source_row, :, :length]
        self.values[:, row, :, :length] = source.values[:, source_row, :, :length]
        self.held[row] = length

    def _targets(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Row, token and place of each token to be written; the same for all layers, so computed once a pass."""
        if self._pass[:2] != (count, self.held):
            places = self.positions(count)
            rows, tokens = (places < self.capacity).nonzero(as_tuple=True)  # padding may stick out; `advance` checks
            self._pass = (count, list(self.held), (rows, tokens, places[rows, tokens]))
        return self._pass[2]

    def _seen(self, count: int) -> int:
        return self.capacity if self.fixed else min(max(self.held) + count, self.capacity)

    def _full(self, count: int) -> ModelError:
        return ModelError(
            f"a row of the cache holds {max(self.held)} of {self.capacity} tokens and cannot take {count} more",
            hint="Make the cache larger, or forget old tokens first.",
        )
