"""A model made elsewhere, written as a model directory of ours, tensor by tensor: never more than one is in memory.

Numbers keep the precision they came in (16 bits stay 16 bits, so the file is as large as it was); whoever loads them
computes with 32. Not here: the record that makes a run of it (`api/importing`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vidro.checkpoint.foreign.model import ForeignModel
from vidro.core.files import atomic_path, write_json_atomic, write_text_atomic

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TEMPLATE = "chat_template.jinja"


def write_foreign(directory: Path, model: ForeignModel, *, template: str | None = None, where: object = None) -> str:
    """Write config, tokenizer, weights and (where `template` is given) the chat template; the numbers' dtype.

    Raises CheckpointError for a tensor that does not fit, StorageError when the disk is full.
    """
    import torch

    from vidro.checkpoint.huggingface import CONFIG, GENERATION, bare_model, check_tensor, to_hf_config
    from vidro.checkpoint.names import to_foreign_lazily
    from vidro.checkpoint.weights import WEIGHTS, Lazy, write_streamed

    assert model.tokenizer is not None
    shapes = {name: tensor.shape for name, tensor in bare_model(model.config, where).state_dict().items()}
    seen: set[torch.dtype] = set()

    def checked(name: str) -> Tensor:
        tensor = model.state[name]
        check_tensor(name, tensor, shapes[name], where)
        tensor = tensor.float() if tensor.dtype == torch.float64 else tensor
        seen.add(tensor.dtype)
        return tensor

    makers: dict[str, Callable[[], Tensor]] = {name: partial(checked, name) for name in shapes}
    tensors = to_foreign_lazily(Lazy(makers), model.config)
    model.tokenizer.save(directory)
    if template is not None:
        write_text_atomic(directory / TEMPLATE, template)
    with atomic_path(directory / WEIGHTS) as temporary:
        write_streamed(temporary, tensors, metadata={"format": "pt"})
    widest = max(seen, key=lambda dtype: (torch.finfo(dtype).bits, torch.finfo(dtype).max))
    values = to_hf_config(model.config, model.tokenizer, widest)
    write_json_atomic(directory / CONFIG, values)
    if not model.config.labels:
        ids = {key: values[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if values[key] is not None}
        write_json_atomic(directory / GENERATION, ids)
    return str(widest).removeprefix("torch.")
