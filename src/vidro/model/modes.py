"""A model looked at without being changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside: no dropout. Afterwards the model is in the mode it was in. May be left open between two `yield`s."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Inside: no dropout and no gradients. Not for generators: the caller would lose its gradients too."""
    with evaluating(model), torch.no_grad():
        yield
