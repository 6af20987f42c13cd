"""The model under test and how to call it: ids in, logits out, whatever shape its author chose.

Understood: a tensor of logits, a tuple with logits in it (logits and loss, logits and cache), an object or dict with
`logits`; logits [B, T, V] or flattened to [B·T, V]; models that give all logits only when targets are given too. Every
call is quiet: evaluation mode, the same dice, dropout switched off even where the model would leave it on (one probe
looks at just that). Not here: the losses a model computes (`losses`), its insides (`tracing`, `visits`).
"""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidro.core.errors import ModelError
from vidro.core.shapes import Float, Int
from vidro.learn.checker.faults import NotApplicable
from vidro.learn.checker.shaking import shaken
from vidro.learn.checker.sizes import find_size

HOLDERS = ("config", "cfg", "args", "params", "hparams", "conf", "options")
"""Where models keep their sizes."""

IDS = ("input_ids", "idx", "ids", "tokens", "token_ids", "x", "in_idx", "inputs", "input")
TARGETS = ("labels", "targets", "target", "y", "label")
ROWS = 3
LENGTHS = (13, 11, 17, 19, 23, 29, 7, 5)  # one of them is no other size of the model, so the time axis is known by it


class Quiet(TorchFunctionMode):
    """Dropout does nothing, whatever the model says."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs) if kwargs else {}
        name = getattr(func, "__name__", "")
        if "dropout" in name and args:
            return args[0]
        if name == "scaled_dot_product_attention":
            args = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args
            kwargs.pop("dropout_p", None)
        return func(*args, **kwargs)


class Subject:
    """One model with its sizes, and calls that always mean the same.

    `n_tokens` is the length of the texts the probes use. Raises ModelError when a size can neither be found nor is
    given; what the model itself raises passes through.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        vocab_size: int | None = None,
        context_length: int | None = None,
        reference: Any = None,
        trained: bool | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.reference = reference
        self.seed = seed
        self.vocab_size = find_vocab_size(model) if vocab_size is None else vocab_size
        self.context_length = find_context_length(model) if context_length is None else context_length
        self.trained = looks_trained(model) if trained is None else trained
        self.n_tokens = unusual_length(model, self.context_length)
        first = next((tensor for tensor in (*model.parameters(), *model.buffers())), None)
        self.device = torch.device("cpu") if first is None else first.device
        self.extra: dict[str, Any] = {}  # arguments without which the model gives no logits for every token
        self.memo: dict[str, Any] = {}

    def ids(self, seed: int, *, rows: int = ROWS, n_tokens: int | None = None) -> Int[Tensor, "B T"]:
        """Random tokens, the same for the same seed; in each row no token twice where the vocabulary allows."""
        count = self.n_tokens if n_tokens is None else n_tokens
        generator = torch.Generator().manual_seed(self.seed * 1000 + seed)
        if self.vocab_size >= 2 * count:
            picked = [torch.randperm(min(self.vocab_size, 4096), generator=generator)[:count] for _ in range(rows)]
            return torch.stack(picked).to(self.device)
        return torch.randint(self.vocab_size, (rows, count), generator=generator).to(self.device)

    def others(self, ids: Int[Tensor, "B T"], seed: int = 77) -> Int[Tensor, "B T"]:
        """Tokens that differ from `ids` everywhere."""
        generator = torch.Generator().manual_seed(self.seed * 1000 + seed)
        step = torch.randint(1, max(self.vocab_size, 2), ids.shape, generator=generator).to(ids.device)
        return (ids + step) % self.vocab_size

    def raw(self, ids: Int[Tensor, "B T"], **more: Any) -> Any:
        """What the model returns, called quietly."""
        with Quiet():
            return self.loud(ids, self.seed, **more)

    def loud(self, ids: Int[Tensor, "B T"], dice: int, **more: Any) -> Any:
        """What the model returns when the (processor's) dice are seeded with `dice`; dropout may be active."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(dice)
            return call(self.model, ids, {**self.needed(ids), **more})

    def needed(self, ids: Int[Tensor, "B T"]) -> dict[str, Any]:
        """The arguments that this model wants besides the ids."""
        return {name: ids if value == "ids" else value for name, value in self.extra.items()}

    @torch.no_grad()
    def logits(self, ids: Int[Tensor, "B T"], **more: Any) -> Float[Tensor, "B T V"]:
        """Logits for every token. Raises NotApplicable when the model has none for some."""
        return self.graded_logits(ids, **more)

    def graded_logits(self, ids: Int[Tensor, "B T"], **more: Any) -> Float[Tensor, "B T V"]:
        """The same with gradients, where they are on."""
        found = self.logits_in(self.raw(ids, **more), ids)
        if found is None:
            raise NotApplicable("the model gives no logits for every token")
        return found.float() if found.dtype != torch.float64 else found

    def logits_in(self, output: Any, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"] | None:
        """The logits of these ids in what the model returned."""
        return find_logits(output, ids.shape[0], ids.shape[1], self.vocab_size)

    def takes(self, *names: str) -> str | None:
        """The first of these names that the model's forward has as an argument."""
        known = parameters_of(self.model)
        return next((name for name in names if name in known), None)

    @contextlib.contextmanager
    def shaken(self) -> Iterator[None]:
        """Inside, all weights carry noise, so that zeros hide nothing."""
        with shaken(self.model, seed=self.seed + 1):
            yield

    def learn_to_call(self) -> None:
        """Into evaluation mode, and find out how it gives logits for every token. Raises what the model raises."""
        self.model.eval()
        self.extra = required_extras(self.model)
        ids = self.ids(0)
        with torch.no_grad():
            if self.logits_in(self.raw(ids), ids) is not None:
                return
            if (name := self.takes(*TARGETS)) is not None and name not in self.extra:
                self.extra = {**self.extra, name: "ids"}
                if self.logits_in(self.raw(ids), ids) is None:
                    del self.extra[name]


def call(model: nn.Module, ids: Int[Tensor, "B T"], more: dict[str, Any]) -> Any:
    """The model on these ids: by position, or by name where its first argument is something else."""
    names = list(parameters_of(model))
    by_name = next((name for name in names if name in IDS), None)
    if names and by_name is not None and names[0] != by_name:
        return model(**{by_name: ids}, **more)
    return model(ids, **more)


def parameters_of(model: nn.Module) -> dict[str, inspect.Parameter]:
    """The arguments of the model's forward, by name."""
    try:
        return dict(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return {}


def required_extras(model: nn.Module) -> dict[str, Any]:
    """Values for the arguments without a default that follow the ids: a start of 0, no mask, the ids as targets."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    wanted = [p for p in parameters_of(model).values() if p.default is p.empty and p.kind in plain]
    names = [p.name for p in wanted]
    ids = next((name for name in names if name in IDS), names[0] if names else None)
    extras: dict[str, Any] = {}
    for name in names:
        if name != ids:
            extras[name] = "ids" if name in TARGETS else 0 if "pos" in name or "start" in name else None
    return extras


def find_logits(output: Any, rows: int, n_tokens: int, vocab_size: int) -> Float[Tensor, "B T V"] | None:
    """The tensor [rows, n_tokens, V] in what a model returned; None when there is none."""
    if isinstance(output, dict) and "logits" in output:
        candidates = [output["logits"]]
    elif isinstance(named := getattr(output, "logits", None), Tensor):
        candidates = [named]
    elif isinstance(output, tuple | list):
        candidates = [item for item in output if isinstance(item, Tensor) and item.shape[-1:] >= (vocab_size,)]
    else:
        candidates = [output]
    for found in candidates:
        if not isinstance(found, Tensor) or not found.is_floating_point():
            continue
        if found.dim() == 3 and tuple(found.shape[:2]) == (rows, n_tokens):
            return found
        if found.dim() == 2 and found.shape[0] == rows * n_tokens:
            return found.unflatten(0, (rows, n_tokens))
    return None


def find_vocab_size(model: nn.Module) -> int:
    """From the model's own config, else the longest embedding. Raises ModelError when there is neither."""
    for holder in (*(getattr(model, name, None) for name in HOLDERS), model):
        if holder is not None and (size := find_size(holder, "vocab_size")) is not None:
            return size
    rows = [module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)]
    if not rows:
        raise ModelError("the model does not say how many tokens it knows", hint="Give vocab_size.")
    return max(rows)


def find_context_length(model: nn.Module) -> int:
    """From the model's own config, else a second embedding or the size of a mask, else 32."""
    for holder in (*(getattr(model, name, None) for name in HOLDERS), model):
        if holder is not None and (size := find_size(holder, "context_length")) is not None:
            return size
    vocab_size = find_vocab_size(model)
    rows = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings < vocab_size]
    square = [b.shape[-1] for b in model.buffers() if b.dim() >= 2 and b.shape[-1] == b.shape[-2] > 1]
    return max(rows) if rows else min(square, default=32)


def unusual_length(model: nn.Module, context_length: int) -> int:
    """A number of tokens that is no size of the model's weights, so that the axis of that length is time."""
    sizes = {ROWS, *(size for parameter in model.parameters() for size in parameter.shape)}
    heads = {getattr(module, name, None) for module in model.modules() for name in ("n_heads", "num_heads", "n_head")}
    fitting = [length for length in LENGTHS if length <= context_length]
    return next((n for n in fitting if n not in sizes | heads), fitting[0] if fitting else context_length)


def looks_trained(model: nn.Module) -> bool | None:
    """Whether the scales of the norms differ from each other, as they do only after training; None without norms."""
    scales = [
        parameter
        for module in model.modules()
        if (own := list(module.parameters(recurse=False))) and all(p.dim() == 1 and p.numel() > 1 for p in own)
        for parameter in own
    ]
    return any(bool(scale.std() > 0) for scale in scales) if scales else None


def described(error: BaseException, model: nn.Module | None = None) -> str:
    """An exception in one line, with the place in the reader's own file where there is one."""
    first = next(iter(str(error).strip().splitlines()), "")
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    library = str(Path(torch.__file__).parent)
    here = str(Path(__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((library, here))]
    if not frames:
        return what
    return f"{what} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
