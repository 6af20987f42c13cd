r"""LoRA: a matrix that stays as it is, and beside it two thin ones that learn (Hu et al. 2021).

    y = W x + (alpha / rank) · B A x          W [out, in] frozen, A [rank, in], B [out, rank]

B begins at zero, so nothing changes before the first step; A begins as N(0, 1/rank). Afterwards W + (alpha / rank) B A
is one ordinary matrix again (`merged_state`): a merged model costs nothing more and opens anywhere.
Other parameters may learn whole beside the thin ones, above all the head (`whole_tensors`).
Not here: which matrices (`vidro.train.finetune`), files that hold the thin matrices alone (`vidro.checkpoint.adapter`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidro.core.errors import UsageError, did_you_mean
from vidro.core.shapes import Float
from vidro.model.init import Linear
from vidro.model.transformer import Transformer

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate", "up", "down")
"""The matrices inside a block by their own names; gpt2 has no gate."""


class LoRALinear(Linear):
    """A linear layer whose weight is frozen, with its own two thin matrices."""

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.weight.requires_grad_(False)
        if self.bias is not None:
            self.bias.requires_grad_(False)
        self.scale = alpha / rank
        start = torch.randn(rank, base.in_features, generator=generator) / rank**0.5
        self.lora_a = nn.Parameter(start.to(base.weight))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    def forward(self, input: Float[Tensor, "*N in"]) -> Float[Tensor, "*N out"]:
        """W x and, through the thin matrices, what was learned."""
        return (
            F.linear(input, self.weight, self.bias) + F.linear(F.linear(input, self.lora_a), self.lora_b) * self.scale
        )

    def merged(self) -> Float[Tensor, "out in"]:
        """One matrix that does the same."""
        return torch.addmm(self.weight, self.lora_b, self.lora_a, alpha=self.scale)


def add_lora(model: Transformer, *, rank: int, alpha: float, targets: Sequence[str], seed: int) -> None:
    """Freeze the model and put thin matrices beside the target matrices of every block, in place.

    Raises UsageError for a target that the model does not have.
    """
    has = [name for name in TARGETS if model.config.family != "gpt2" or name != "gate"]
    for target in targets:
        if target not in has:
            raise UsageError(f"there is no matrix {target!r}", where="lora-targets", hint=did_you_mean(target, has))
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, layer in list(model.blocks.named_modules()):
        parent, _, own = name.rpartition(".")
        if own in targets:
            assert isinstance(layer, nn.Linear)
            thin = LoRALinear(layer, rank=rank, alpha=alpha, generator=generator)
            setattr(model.blocks.get_submodule(parent), own, thin)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Every layer that has thin matrices, by name."""
    return ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LoRALinear))


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of the ordinary model that does the same; of a model without thin matrices its own."""
    state = model.state_dict()
    for name, layer in lora_layers(model):
        del state[f"{name}.lora_a"], state[f"{name}.lora_b"]
        state[f"{name}.weight"] = layer.merged().detach()
    return state


def lora_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The thin matrices by name (no copies)."""
    return {
        f"{name}.{part}": getattr(layer, part).detach()
        for name, layer in lora_layers(model)
        for part in ("lora_a", "lora_b")
    }


def whole_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What learns whole beside the thin matrices, by name (no copies); a tied head is the embedding.

    Nothing for a model without thin matrices, which needs no second form.
    """
    if not any(lora_layers(model)):
        return {}
    named = ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
    return {name: parameter.detach() for name, parameter in named if ".lora_" not in name}
