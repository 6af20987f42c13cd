"""Where weights come from before training: one table, one seed, and each parameter's own name.

Here: `initialise` and the two layer classes that leave their weights to it. Not here: weights from a file
(`checkpoint.huggingface`), the layers' wiring (`transformer`).
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn

from vidro.config.schema import ModelConfig


class Linear(nn.Linear):
    """`nn.Linear` whose weights are left to `initialise`, so that building a model draws no random numbers."""

    def reset_parameters(self) -> None:
        """Nothing: see `initialise`."""


class Embedding(nn.Embedding):
    """`nn.Embedding` whose weights are left to `initialise`."""

    def reset_parameters(self) -> None:
        """Nothing: see `initialise`."""


def initialise(model: nn.Module, seed: int, *, scheme: str = "family") -> None:
    """Fill every parameter of `model` (a `Transformer`) in place. `scheme` "family" is this table:

    | parameter                                        | gpt2           | llama          | qwen3        |
    |--------------------------------------------------|----------------|----------------|--------------|
    | token_embedding, position_embedding              | N(0, 0.02)     | N(0, 0.02)     | N(0, 0.3)    |
    | token_embedding, where the head is tied to it    | N(0, 0.02)     | N(0, 0.02)     | N(0, 0.02)   |
    | q_proj k_proj v_proj, up, gate (fan_in inputs)   | N(0, 0.02)     | N(0, 0.02)     | N(0, 1/√fan_in) |
    | o_proj, down: what a block adds to the residual  | 0.02 / √(2L)   | 0.02 / √(2L)   | 0            |
    | head, where it is not the embedding              | N(0, 0.02)     | N(0, 0.02)     | 0            |
    | norm weights; all biases                         | 1; 0           | 1; -           | 1; -         |

    Zero outputs make each new block the identity and the first prediction exactly uniform (loss ln V); scaling by
    √(2L) keeps the residual from growing with depth (Radford et al. 2019). A parameter's numbers depend on `seed`
    and its own name only: not on the device, the order of construction, or what other layers there are.

    `scheme` "pytorch" is what PyTorch's layers do by themselves, and so the models of many books: embeddings N(0, 1),
    matrices and biases uniform within ±1/√fan_in, norms as above.
    """
    config = model.config
    assert isinstance(config, ModelConfig)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            numbers = torch.empty(parameter.shape)
            if scheme == "pytorch" and "norm" not in name:
                _fill_like_pytorch(numbers, name, model, _generator(seed, name))
            else:
                std = standard_deviation(name, parameter, config)
                if std is None:
                    numbers.fill_(0.0 if name.endswith("bias") else 1.0)
                else:
                    numbers.normal_(0.0, std, generator=_generator(seed, name))
            parameter.copy_(numbers)


def _fill_like_pytorch(numbers: torch.Tensor, name: str, model: nn.Module, generator: torch.Generator) -> None:
    layer = model.get_submodule(name.rpartition(".")[0])
    if isinstance(layer, nn.Embedding):
        numbers.normal_(generator=generator)
    else:
        assert isinstance(layer, nn.Linear)
        bound = 1 / math.sqrt(layer.in_features)
        numbers.uniform_(-bound, bound, generator=generator)


def standard_deviation(name: str, parameter: torch.Tensor, config: ModelConfig) -> float | None:
    """The table's entry for one parameter: the spread of its normal distribution, or None for norms and biases."""
    if name.endswith("bias") or "norm" in name:
        return None
    modern = config.family == "qwen3"
    layer = name.split(".")[-2]
    if layer in ("o_proj", "down"):
        return 0.0 if modern else 0.02 / math.sqrt(2 * config.n_layers)
    if layer == "head":
        return 0.0 if modern else 0.02
    if layer in ("token_embedding", "position_embedding"):
        return 0.3 if modern and not config.tie_embeddings else 0.02
    return 1 / math.sqrt(parameter.shape[1]) if modern else 0.02


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
