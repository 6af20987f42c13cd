"""A trace: what flowed through the model in one pass, kept for looking at.

Hand one to `Transformer.forward(ids, trace=Trace())` and read its fields afterwards. Tracing takes attention's
explicit softmax path, equal to the fast one within 1e-5. Not here: what is drawn from it (`vidro.inspect`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from vidro.core.shapes import Float


@dataclass
class Trace:
    """The stages of one forward pass, in the order in which they happen."""

    token_embedding: Float[Tensor, "B T D"] | None = None
    """Looked up for each id."""

    position_embedding: Float[Tensor, "#B T D"] | None = None
    """Added to it (gpt2 only; the other families turn queries and keys instead)."""

    attention: list[Float[Tensor, "B H T S"]] = field(default_factory=list)
    """Per layer: how much each of the T tokens looks at each of the S seen ones; rows sum to 1."""

    residual: list[Float[Tensor, "B T D"]] = field(default_factory=list)
    """Per layer: the running sum after the block."""

    final: Float[Tensor, "B T D"] | None = None
    """After the final norm: what the head multiplies."""
