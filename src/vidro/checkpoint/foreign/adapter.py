"""peft's LoRA adapters, in: thin matrices from elsewhere added to the model they were trained beside.

    adapter_config.json        peft_type LORA, r, lora_alpha, what they stand beside
    adapter_model.safetensors  base_model.model.PATH.lora_A.weight [r, in], .lora_B.weight [out, r], and whole tensors
                               of what learned whole (the head, the embedding)

    W' = W + s · B A,   s = lora_alpha / r, or lora_alpha / √r with use_rslora

Each matrix is added up when it is asked for, so the model is never in memory twice. Anything that is more than this
(DoRA, learned biases …) is refused by its name. Not here: the way out (`vidro.checkpoint.adapter`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidro.checkpoint.foreign.model import ForeignModel
from vidro.core.errors import CheckpointError, ModelError, UsageError
from vidro.core.files import read_json

if TYPE_CHECKING:
    from torch import Tensor

    from vidro.checkpoint.names import Cell
    from vidro.config.schema import ModelConfig

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."

_MORE_THAN_LORA = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "alora_invocation_tokens", "trainable_token_indices",
    "target_parameters", "layer_replication", "arrow_config", "kasa_config", "monteclora_config", "corda_config",
    "lora_ga_config", "loftq_config", "megatron_config",
)  # fmt: skip
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def is_adapter(path: Path) -> bool:
    """Whether this directory holds an adapter and not a model."""
    return (path / CONFIG).is_file()


def read(path: Path, base: ForeignModel | Path | None = None) -> ForeignModel:
    """The model that base and adapter make together. `path`: the adapter's directory.

    `base`: the model it was trained beside, or its directory; None takes the directory that the adapter names.
    Raises UsageError where that is not on this machine, ModelError for what is more than LoRA, CheckpointError for
    files that are damaged or do not fit.
    """
    settings = read_json(path / CONFIG, error=CheckpointError)
    if not isinstance(settings, dict):
        raise CheckpointError("this is not a JSON object", where=path / CONFIG)
    _check_kind(settings, path / CONFIG)
    model = base if isinstance(base, ForeignModel) else _base(path, settings, base)
    file = _Adapter(path / WEIGHTS, settings)
    return _merged(model, file, path)


def _base(path: Path, settings: Mapping[str, Any], given: Path | None) -> ForeignModel:
    named = settings.get("base_model_name_or_path")
    if given is None:
        if not isinstance(named, str) or not named:
            hint = "Name the model it was trained beside: --base DIR."
            raise UsageError("the adapter does not say which model it belongs to", where=path, hint=hint)
        here = next((place for place in (Path(named), path / named) if place.is_dir()), None)
        if here is None:
            hint = f"Get it first (vidro import {named}), then name its directory: --base DIR."
            raise UsageError(f"it belongs to {named}, which is not a directory here", where=path, hint=hint)
        given = here
    from vidro.checkpoint.foreign import directory

    return directory.read(given)


def _check_kind(settings: Mapping[str, Any], where: Path) -> None:
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise ModelError(f"an adapter of the kind {kind!r} is not supported", where=where, hint="Supported: LORA.")
    more = [key for key in _MORE_THAN_LORA if settings.get(key)]
    if settings.get("bias", "none") != "none":
        more.append(f"bias = {settings['bias']!r}")
    start = settings.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        more.append(f"init_lora_weights = {start!r}")
    if more:
        hint = "Merge it with peft: model.merge_and_unload().save_pretrained(DIR), then import DIR."
        raise ModelError(f"{more[0]} is more than plain LoRA", where=where, hint=hint)


@dataclass(frozen=True)
class _Thin:
    """Both thin matrices of a foreign matrix, and their scale."""

    a: Tensor
    b: Tensor
    scale: float


class _Adapter:
    """An adapter's file: thin pairs and whole tensors by the foreign path, for as long as they have not been taken."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            pickled = path.with_name(PICKLED).is_file()
            hint = "Save it as safetensors: model.save_pretrained(DIR)." if pickled else "An adapter needs its weights."
            raise CheckpointError("there is no such file", where=path, hint=hint)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iteration of its own)
        except (SafetensorError, OSError) as problem:
            hint = "The file is cut short or altered."
            raise CheckpointError(f"the weights cannot be read ({problem})", where=path, hint=hint) from None
        self.path, self.settings = path, settings
        # Of a head with thin matrices beside it the file holds the head itself too, as its base layer.
        plain = re.compile(rf"^{re.escape(PREFIX)}|\.(modules_to_save|base_layer)(?=\.)")
        self.left = {plain.sub("", name): tensor for name, tensor in tensors.items()}

    def thin(self, module: str) -> _Thin | None:
        """Takes the pair beside `module`. Raises CheckpointError for half a pair or matrices that do not fit."""
        names = [f"{module}.lora_{letter}.weight" for letter in "AB"]
        found = [self.left.pop(name, None) for name in names]
        a, b = found
        if a is None and b is None:
            return None
        if a is None or b is None or a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1] or not a.shape[0]:
            raise CheckpointError(f"the thin matrices beside {module} do not fit together", where=self.path)
        if not (a.is_floating_point() and b.is_floating_point()):
            raise CheckpointError(f"the thin matrices beside {module} hold no floats", where=self.path)
        return _Thin(a, b, self._scale(module, a.shape[0]))

    def whole(self, name: str) -> Tensor | None:
        """Takes a whole tensor."""
        return self.left.pop(name, None)

    def _scale(self, module: str, rank: int) -> float:
        alpha = self.settings.get("lora_alpha", 8)
        patterns = self.settings.get("alpha_pattern") or {}
        for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
            if module == pattern or module.endswith(f".{pattern}") or _matches(pattern, module):
                alpha = value
                break
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise CheckpointError(f"lora_alpha is {alpha!r}", where=self.path.with_name(CONFIG))
        return alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)


def _matches(pattern: str, module: str) -> bool:
    """peft's rule: the pattern, a regular expression, is the end of the module's path."""
    if len(pattern) > 200:
        return False
    try:
        return re.fullmatch(rf"(.*\.)?({pattern})", module) is not None
    except re.error:
        return False


class Merged(Mapping[str, "Tensor"]):
    """A base's tensors, those with thin matrices beside them added up each time they are asked for."""

    def __init__(
        self, base: Mapping[str, Tensor], whole: Mapping[str, Tensor], thin: Mapping[str, tuple[_Thin, Cell]]
    ) -> None:
        self._base, self._whole, self._thin = base, whole, thin

    def __getitem__(self, name: str) -> Tensor:
        """One tensor in the base's precision; added up in float32."""
        import torch

        tensor = self._whole[name] if name in self._whole else self._base[name]
        if name not in self._thin:
            return tensor
        pair, cell = self._thin[name]
        rows = pair.b.chunk(cell.pieces)[cell.piece]
        return torch.addmm(tensor.float(), rows.float(), pair.a.float(), alpha=pair.scale).to(tensor.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._base)

    def __len__(self) -> int:
        return len(self._base)


def _merged(model: ForeignModel, file: _Adapter, path: Path) -> ForeignModel:
    """The base with the adapter's tensors laid over it; nothing of the adapter may be left."""
    from vidro.checkpoint.names import CLASS_HEAD, cells

    config, notes = model.config, [*model.notes]
    head = file.left.get(CLASS_HEAD)
    if head is not None and not config.labels:
        labels = tuple(f"LABEL_{number}" for number in range(len(head)))
        config = _with(config, path, labels=labels, tie_embeddings=False)
        notes.append(f"the adapter makes it a classifier of {len(labels)} classes, whose names it does not hold")
    # Untied, so that the head is listed: an adapter may part it from the embedding.
    table = [(ours, cell) for ours, cell in cells(replace(config, tie_embeddings=False)) if ours.endswith(".weight")]
    whole: dict[str, Tensor] = {}
    for ours, cell in table:
        tensor = file.whole(cell.name) if cell.pieces == 1 else None
        if tensor is not None:
            whole[ours] = tensor.mT if cell.transposed else tensor
    modules = {cell.name.removesuffix(".weight") for _, cell in table}
    pairs = {module: file.thin(module) for module in sorted(modules)}
    beside = ((ours, cell, pairs[cell.name.removesuffix(".weight")]) for ours, cell in table)
    thin = {ours: (pair, cell) for ours, cell, pair in beside if pair is not None}
    if file.left:
        what = f"the tensor {min(file.left)} does not belong to a {config.family} model"
        raise CheckpointError(what, where=file.path, hint="Is this the model it was trained beside?")
    if not whole and not thin:
        raise CheckpointError("there is nothing in it", where=file.path)
    config = _parted(config, model.state, whole, thin, file.settings)
    _check_shapes(config, whole, thin, file.path)
    notes.append(f"merged with the adapter {path.name}: {len(thin)} thin pairs, {len(whole)} whole tensors")
    if config.tie_embeddings != model.config.tie_embeddings and not config.labels:
        notes.append("the adapter parts the head from the embedding, which the base shares")
    form = f"{model.form} with a peft adapter"
    return replace(model, form=form, config=config, state=Merged(model.state, whole, thin), notes=tuple(notes))


def _parted(
    config: ModelConfig,
    base: Mapping[str, Tensor],
    whole: dict[str, Tensor],
    thin: Mapping[str, object],
    settings: Mapping[str, Any],
) -> ModelConfig:
    """Whether head and embedding are still one afterwards; where they are, what was learned stands under both names."""
    import torch

    table, head = "token_embedding.weight", "head.weight"
    if not config.tie_embeddings:
        return config
    if head in whole and head not in thin and torch.equal(whole[head], whole.get(table, base[table])):
        return config  # both ends were saved, and they are the same
    if settings.get("ensure_weight_tying") and table in whole and head not in whole and head not in thin:
        whole[head] = whole[table]
        return config
    if head in whole or head in thin or table in whole:
        return replace(config, tie_embeddings=False)  # the end that did not learn stays as the base has it
    return config


def _check_shapes(
    config: ModelConfig, whole: Mapping[str, Tensor], thin: Mapping[str, tuple[_Thin, Cell]], where: Path
) -> None:
    import torch

    from vidro.model.transformer import Transformer

    with torch.device("meta"):
        expected = {name: list(tensor.shape) for name, tensor in Transformer(config).state_dict().items()}
    for name, tensor in whole.items():
        if list(tensor.shape) != expected[name] or not tensor.is_floating_point():
            what = f"the tensor for {name} is {list(tensor.shape)}, and the base asks for {expected[name]}"
            raise CheckpointError(what, where=where, hint="Is this the model it was trained beside?")
    for name, (pair, cell) in thin.items():
        shape = [pair.b.shape[0] // cell.pieces, pair.a.shape[1]]
        if shape != expected[name] or pair.b.shape[0] % cell.pieces:
            what = f"the thin matrices for {name} make {shape}, and the base asks for {expected[name]}"
            raise CheckpointError(what, where=where, hint="Is this the model it was trained beside?")


def _with(config: ModelConfig, where: Path, **changes: Any) -> ModelConfig:
    try:
        return replace(config, **changes)
    except UsageError as problem:
        raise CheckpointError(f"these sizes do not make a model ({problem})", where=where) from None
