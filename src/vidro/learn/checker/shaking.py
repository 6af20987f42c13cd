"""A model's weights, disturbed for a moment and put back: a fresh model can hide its faults behind zeros.

Many models begin with a head or residual outputs of zero, so that nothing moves the logits, a leak neither. With a
little noise on every weight each path carries something. Not here: what is then measured (`probes_*`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

STRENGTH = 0.5  # of 1/√width: the size at which a layer keeps the size of what passes through


@contextlib.contextmanager
def shaken(model: nn.Module, *, seed: int) -> Iterator[None]:
    """Inside: noise on every floating-point parameter. Afterwards the weights are what they were, bit for bit."""
    with kept(model):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.is_floating_point() and parameter.numel() > 0:
                    parameter.add_(noise(parameter, generator))
        yield


def noise(parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Random numbers of the parameter's shape, of the size that suits it."""
    size = STRENGTH / min(parameter.shape[-2:]) ** 0.5 if parameter.dim() >= 2 else 0.1
    return (torch.randn(parameter.shape, generator=generator) * size).to(parameter.device, parameter.dtype)


@contextlib.contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Inside, weights, gradients, buffers and modes may change; afterwards they are what they were."""
    weights = [(p, p.detach().clone(), p.grad, p.requires_grad) for p in model.parameters()]
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, before, grad, wanted in weights:
                parameter.data.copy_(before)
                parameter.grad = grad
                parameter.requires_grad_(wanted)
            for buffer, before in buffers:
                if buffer.shape == before.shape:
                    buffer.copy_(before)
        for module, mode in modes:
            module.training = mode
