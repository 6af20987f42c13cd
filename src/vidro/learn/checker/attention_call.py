"""One attention as it was seen while a model ran: where, from which weights, how scaled, how masked, which shares.

`Trace` gathers them; `tracing` fills it. The shares are those that really multiplied the values, so whatever happened
between scores and mixture, by whichever functions, is in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidro.core.shapes import Bool, Float, Shaped


@dataclass(eq=False)
class Fill:
    """A mask met scores or shares: what it hides, and where it was made."""

    hidden: Tensor | None  # Boolean [T, T]; None when it cannot be told
    made_in: str


@dataclass(eq=False)
class Call:
    """One attention: T queries over T keys."""

    where: str
    d_head: int
    query: frozenset[str] = frozenset()
    key: frozenset[str] = frozenset()
    value: frozenset[str] = frozenset()
    factor: float | None = 1.0  # query · key times this are the scores; None when it cannot be told
    normed: bool = False
    fused: bool = False
    fills: list[Fill] = field(default_factory=list)  # every mask that met these scores
    on_the_way: tuple[Fill, ...] = ()  # those whose result was really used
    softmax_axis: int | None = None  # -1 keys, -2 queries, else another axis; None: no softmax seen
    softmax_flipped: bool = False  # the softmax saw the scores transposed
    softmaxed: Tensor | None = None  # [.., T, T], queries then keys
    used: Tensor | None = None  # the same, as it multiplied the values

    def future_share(self) -> float:
        """The largest share that a token gives to all later ones; NaN counts as none."""
        if self.used is None:
            return 0.0
        return float(self.used.nan_to_num().abs().triu(diagonal=1).sum(dim=-1).max())

    def own_share(self) -> float:
        """The largest share that a token other than the first gives to itself."""
        if self.used is None:
            return 1.0
        return float(self.used.nan_to_num().abs().diagonal(dim1=-2, dim2=-1)[..., 1:].max())


@dataclass(eq=False)
class Trace:
    """All attentions of one pass, and the triangular masks that the model has or made."""

    calls: list[Call] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    used_masks: set[str] = field(default_factory=set)

    @property
    def complete(self) -> list[Call]:
        """The attentions whose shares were seen to multiply values."""
        return [call for call in self.calls if call.used is not None]


def triangular(tensor: Shaped[Tensor, "..."], n_tokens: int) -> bool:
    """Whether this is a mask: one value in the lower triangle and another, in every place, above some diagonal."""
    if tensor.dim() < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] < max(2, n_tokens):
        return False
    if tensor.is_complex():
        return False
    whole = tensor.reshape(-1, *tensor.shape[-2:])[0][:n_tokens, :n_tokens].float()
    low, high = whole[-1, 0], whole[0, -1]
    if bool(low == high) or bool(low.isnan()) or bool(high.isnan()):
        return False
    is_high = whole == high
    return bool(((whole == low) | is_high).all()) and any(
        torch.equal(is_high, torch.ones_like(is_high).triu(diagonal)) for diagonal in (-1, 0, 1, 2)
    )


def squeezed(hidden: Shaped[Tensor, "..."], n_tokens: int) -> Bool[Tensor, "T T"] | None:
    """What a Boolean mask of any broadcastable shape hides in every row and head; None when it is not [.., T, T]."""
    if tuple(hidden.shape[-2:]) != (n_tokens, n_tokens):
        return None
    return hidden.reshape(-1, n_tokens, n_tokens).all(dim=0)


def explicit_shares(
    q: Float[Tensor, "*B T E"],
    k: Float[Tensor, "*C S E"],
    mask: Shaped[Tensor, "..."] | None,
    *,
    causal: bool,
    scale: float,
) -> Float[Tensor, "*D T S"]:
    """What PyTorch's fused attention computes inside: softmax of scaled scores behind the mask."""
    if q.dim() == 4 and k.shape[1] != q.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = q.float() @ k.float().transpose(-1, -2) * scale
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(diagonal=1)
        scores = scores.masked_fill(hidden, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.float()
    return scores.softmax(dim=-1)
