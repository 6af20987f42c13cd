"""LoRA: a large matrix stays as it is, and two thin ones beside it learn (Hu et al. 2021).

What the rung below lacks (`training`): to teach a model something new, every weight moves. Each new skill is then a
whole new model, and the optimizer keeps two more numbers for each weight. But the change that is learned is simple: it
can be written as a product of two thin matrices.

    x ─┬─ W, frozen ──────────────── + ─ y        W [in, out]      in × out numbers
       └─ A ─ rank numbers ─ B ─ · s ┘            A [in, rank], B [rank, out]: rank × (in + out) numbers

The factor s is alpha / rank, so that another rank needs no other learning rate. B begins at zero: before the first step
the model is what it was. Afterwards W + s · A B is one matrix again (`merge`), and nothing is left to pay.

>>> layer = LinearWithLoRA(nn.Linear(768, 768, bias=False), rank=8, alpha=8.0)
>>> n_learning(layer), layer.linear.weight.numel()
(12288, 589824)

`tests/equal/test_training_rungs_equal.py` proves it equal to `vidro.model.lora`, which names the matrices to change and
saves the thin ones alone. Next rung: `dpo`, learning from which of two answers is the better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float


class LoRALayer(nn.Module):
    """The detour: [.., in_dim] → rank numbers → [.., out_dim], times alpha / rank.

    >>> LoRALayer(in_dim=3, out_dim=5, rank=2, alpha=4.0)(torch.ones(1, 3))  # B is still zero
    tensor([[0., 0., 0., 0., 0.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, in_dim: int, out_dim: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.randn(in_dim, rank) / math.sqrt(rank))
        self.B = nn.Parameter(torch.zeros(rank, out_dim))
        self.scale = alpha / rank

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """What was learned says about x."""
        return self.scale * (x @ self.A @ self.B)

    def change(self) -> Float[Tensor, "I O"]:
        """The same as one matrix."""
        return self.scale * (self.A @ self.B)


class LinearWithLoRA(nn.Module):
    """A linear layer that no longer learns, and its detour, which does."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """The old answer plus what was learned."""
        return self.linear(x) + self.lora(x)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """One ordinary layer that does the same."""
        one = nn.Linear(self.linear.in_features, self.linear.out_features, bias=self.linear.bias is not None)
        one.load_state_dict(self.linear.state_dict())
        one.weight += self.lora.change().T  # nn.Linear stores [out, in]
        return one


def replace_linear_with_lora(model: nn.Module, rank: int, alpha: float) -> None:
    """Every `nn.Linear` of the model gets a detour, in place; nothing else learns any more."""
    model.requires_grad_(False)
    _replace(model, nn.Linear, lambda linear: LinearWithLoRA(linear, rank, alpha))


def merge(model: nn.Module) -> None:
    """Every detour goes into its matrix, in place: the model has its old form, with new numbers."""
    _replace(model, LinearWithLoRA, lambda layer: layer.merge())


def n_learning(module: nn.Module) -> int:
    """How many numbers learn."""
    return sum(weights.numel() for weights in module.parameters() if weights.requires_grad)


def _replace(model: nn.Module, kind: type[nn.Module], make) -> None:
    """Put `make(part)` in the place of each part of this kind, and do not look inside what was put there."""
    for name, part in list(model.named_children()):
        if isinstance(part, kind):
            setattr(model, name, make(part))
        else:
            _replace(part, kind, make)
