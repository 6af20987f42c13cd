"""Keeps what must survive a run: checkpoints, the best model at the root, the record.

The `Keeper` of the loop for everything that ends in a run directory. Not here: formats (`checkpoint`), when to keep
(`loop`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidro.checkpoint.adapter import FOLDER as ADAPTER
from vidro.checkpoint.adapter import write_adapter
from vidro.checkpoint.huggingface import from_hf_tensors, to_hf_config, to_hf_tensors, write_weights
from vidro.checkpoint.run import prune_checkpoints, write_record
from vidro.checkpoint.training_state import BEST, Checkpoint, save_checkpoint
from vidro.core.events import EventStream
from vidro.core.files import atomic_path
from vidro.model.lora import lora_layers, lora_tensors, merged_state, whole_tensors
from vidro.model.transformer import Transformer
from vidro.text.tokenizer import Tokenizer
from vidro.train.loop import LoopState
from vidro.train.optim import Optimizer

LORA, BEST_LORA = "lora.", "best_lora."
"""What stands before the names of thin matrices among the optimizer's tensors: now, and of the best model so far."""


@dataclass(kw_only=True)
class RunKeeper:
    """Writes into one run directory: `record` goes into ``vidro.json``, `facts` into every checkpoint."""

    path: Path
    model: Transformer
    tokenizer: Tokenizer
    optimizer: Optimizer
    events: EventStream
    keep: int
    record: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    best_thin: dict[str, Tensor] = field(default_factory=dict)

    def checkpoint(self, state: LoopState, *, kind: str) -> None:
        """Save everything a resume needs and remove what is no longer kept."""
        root = self.path / "model.safetensors"
        path = save_checkpoint(
            self.path / "checkpoints",
            state.step,
            config=to_hf_config(self.model.config, self.tokenizer),
            model=to_hf_tensors(merged_state(self.model), self.model.config),
            optimizer={
                **self.optimizer.tensors(),
                **random_states(self.model.head.weight.device),
                **{f"{LORA}{name}": tensor for name, tensor in lora_tensors(self.model).items()},
                **{f"{BEST_LORA}{name}": tensor for name, tensor in self.best_thin.items()},
            },
            state={"kind": kind, "loop": state.to_json(), "facts": self.facts},
            # What is published later may never be published by a run that goes on from here: a resume puts this back.
            best=root if root.exists() else None,
        )
        protect = {step for step in (state.pre_decay_step, state.landing_step) if step is not None}
        prune_checkpoints(self.path, keep=self.keep, protect=protect)
        self.events.emit("checkpoint", step=state.step, path=f"checkpoints/{path.name}", kind=kind)

    def publish(self, state: LoopState) -> None:
        """Make the current weights the run's model: renamed into place, then the record that vouches for them."""
        write_weights(self.path, self.model)
        self.best_thin = {name: tensor.clone() for name, tensor in self._of_adapter().items()}
        write_adapter(self.path / ADAPTER, self.model, base=self.record.get("parent"))
        results = {f"val_{name}": value for name, value in state.last_look.items()}
        self.write(state, status="training", results={**results, "full": False})

    def write(self, state: LoopState, *, status: str, results: dict[str, Any]) -> None:
        """Write ``vidro.json``: the last write of every refresh."""
        facts = {"status": status, "step": state.watch.best_step, "last_step": state.step, "results": results}
        write_record(self.path, {**self.record, **facts})

    def restore(self, checkpoint: Checkpoint) -> LoopState:
        """Put weights, optimizer, random generators and the root back to where the checkpoint was taken."""
        own = from_hf_tensors(checkpoint.model, self.model.config)
        thin = {name.removeprefix(LORA): t for name, t in checkpoint.optimizer.items() if name.startswith(LORA)}
        for name, _ in lora_layers(self.model):  # merged there already; the frozen ones are in place
            del own[f"{name}.weight"]
        self.model.load_state_dict({**self.model.state_dict(), **own, **thin})
        self._restore_adapter(checkpoint)
        self.optimizer.load(checkpoint.optimizer)
        set_random_states(checkpoint.optimizer, self.model.head.weight.device)
        state = LoopState.from_json(checkpoint.state["loop"])
        state.landing_step = None
        if (checkpoint.path / BEST).exists():
            with atomic_path(self.path / "model.safetensors") as temporary:
                shutil.copyfile(checkpoint.path / BEST, temporary)
            self.write(state, status="training", results={"val_nats_per_token": state.watch.best_nats, "full": False})
        return state

    def _of_adapter(self) -> dict[str, Tensor]:
        """What lies in ``adapter/``: the thin matrices, and what learns whole beside them."""
        return {**lora_tensors(self.model), **whole_tensors(self.model)}

    def _restore_adapter(self, checkpoint: Checkpoint) -> None:
        """Write the thin matrices of the best model so far again: a later one may lie there."""
        best = {n.removeprefix(BEST_LORA): t for n, t in checkpoint.optimizer.items() if n.startswith(BEST_LORA)}
        if not best:
            return
        self.best_thin = best
        now = {name: tensor.clone() for name, tensor in self._of_adapter().items()}
        self.model.load_state_dict(best, strict=False)  # not beside the others: a tied head would bring its old numbers
        write_adapter(self.path / ADAPTER, self.model, base=self.record.get("parent"))
        self.model.load_state_dict(now, strict=False)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of the generators that dropout draws from, as tensors."""
    states = {"rng.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["rng.device"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["rng.device"] = torch.mps.get_rng_state()
    return states


def set_random_states(tensors: dict[str, Tensor], device: torch.device) -> None:
    """Take over saved generator states."""
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.device" not in tensors:
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["rng.device"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(tensors["rng.device"])
