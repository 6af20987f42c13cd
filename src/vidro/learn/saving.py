"""Saving a training so that it goes on exactly: what must be kept, and how a file is written that is never half.

What the rung below lacks: `training` runs from the first step to the last, and a power cut takes it all. To go on, more
is needed than the weights: the optimizer remembers every gradient (two numbers a weight), the dice have a state, and
the text was read up to some place.

>>> dice = torch.Generator().manual_seed(1)
>>> model = nn.Linear(1, 1)
>>> optimizer = AdamW(model.parameters(), lr=0.1)
>>> sorted(state_of(model, optimizer, dice))
['dice', 'mean.0', 'mean.1', 'square.0', 'square.1', 'steps', 'weights.bias', 'weights.weight']

A file comes into being under another name and is renamed when it is whole, which every file system does in one go. In
front of it stand 32 bytes, a checksum of the rest: what was cut short or altered later is refused, not read.

`tests/equal/test_saving_equal.py` proves that production (`vidro.checkpoint.training_state`) keeps the same numbers.
What is missing here: a manifest of several files, old checkpoints cleared away, the best model beside the newest.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from vidro.learn.training import AdamW


def state_of(model: nn.Module, optimizer: AdamW, dice: torch.Generator) -> dict[str, Tensor]:
    """Everything that the next step depends on, as copies: training goes on and must not change them."""
    kept = {f"weights.{name}": numbers for name, numbers in model.state_dict().items()}
    for i, (mean, square) in enumerate(zip(optimizer.mean, optimizer.square, strict=True)):
        kept |= {f"mean.{i}": mean, f"square.{i}": square}
    kept |= {"steps": torch.tensor(optimizer.steps), "dice": dice.get_state()}
    return {name: numbers.clone() for name, numbers in kept.items()}


def put_back(state: dict[str, Tensor], model: nn.Module, optimizer: AdamW, dice: torch.Generator) -> None:
    """The inverse: as if nothing had happened in between."""
    model.load_state_dict({name.removeprefix("weights."): state[name] for name in state if name.startswith("weights.")})
    for i, (mean, square) in enumerate(zip(optimizer.mean, optimizer.square, strict=True)):
        mean.copy_(state[f"mean.{i}"])
        square.copy_(state[f"square.{i}"])
    optimizer.steps = int(state["steps"])
    dice.set_state(state["dice"])


def write(path: Path, state: dict[str, Tensor]) -> None:
    """Put `state` into a file: whole, or not at all."""
    content = safetensors.torch.save(state)
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        file.write(hashlib.sha256(content).digest() + content)
        file.flush()
        os.fsync(file.fileno())  # on the disk, before the name says so
    beside.replace(path)


def read(path: Path) -> dict[str, Tensor]:
    """The state in a file. Raises ValueError when it is not, bit for bit, what was written."""
    stored = path.read_bytes()
    checksum, content = stored[:32], stored[32:]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError(f"{path.name} was cut short or altered")
    return safetensors.torch.load(content)
