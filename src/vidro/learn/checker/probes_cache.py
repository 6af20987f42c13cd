"""The KV cache: reading a text piece by piece gives the logits of reading it at once.

Three ways of offering a cache are understood: the model returns it and takes it back (`past_key_values`, `past`,
`kv_cache` …); a cache object is handed in and filled (`cache=`), Vidro's own among them; the model keeps it inside
(`use_cache=True` and `reset_kv_cache()`). The text is fed as several tokens, then single ones, then several again.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from vidro.core.shapes import Float, Int
from vidro.learn.checker.faults import Finding, NotApplicable, found, passed
from vidro.learn.checker.probes_context import leaks
from vidro.learn.checker.sizes import find_size
from vidro.learn.checker.subject import HOLDERS, Subject, find_logits

ARGUMENTS = (
    "past_key_values", "past_key_value", "kv_cache", "kv_caches", "cache", "caches", "past_kv", "past_kvs", "past",
    "layer_past", "key_value_cache",
)  # fmt: skip
RESETS = ("reset_kv_cache", "reset_cache", "clear_cache", "clear_kv_cache", "empty_cache")
SAME = 1e-3  # of the largest logit: other kernels round otherwise, a wrong position or mask is far above

Reader = Callable[[Int[Tensor, "B T"]], Any]


@torch.no_grad()
def cache(subject: Subject) -> Finding:
    """Logits with the cache are those without."""
    name = "KV cache"
    ids = subject.ids(13, rows=2)
    if subject.takes(*ARGUMENTS, "use_cache") is not None and leaks(subject):
        raise NotApplicable("tokens see later tokens, so reading in pieces must differ")
    with subject.shaken():
        whole = subject.logits(ids)
        if not bool(whole.isfinite().all()):
            raise NotApplicable("logits are not finite")
        reader = reader_of(subject, ids)
        try:
            at = 0
            for size in pieces(ids.shape[1]):
                logits = logits_of(subject, reader(ids[:, at : at + size]), size)
                want = whole[:, at + size - logits.shape[1] : at + size]
                gap = float((logits - want).abs().max() / whole.abs().max().clamp(min=1e-9))
                if not gap <= SAME:
                    held = f"with {at} tokens held, " if at else "for the first tokens, "
                    seen = f"{held}logits of the next {size} differ by {gap:.2g} of the largest"
                    return found(name, "cache-differs", seen)
                at += size
        finally:
            reset(subject)
    return passed(name, f"{at} tokens read in pieces of {', '.join(map(str, pieces(at)))} give the same logits")


def pieces(total: int) -> list[int]:
    """Into which pieces a text is cut: some tokens, two single ones, and the rest."""
    if total < 6:
        return [1] * total
    return [total // 2, 1, 1, total - total // 2 - 2]


def logits_of(subject: Subject, output: Any, size: int) -> Float[Tensor, "B T V"]:
    """The logits of a piece; of a model that gives only the last token's, those."""
    logits = find_logits(output, 2, size, subject.vocab_size)
    logits = find_logits(output, 2, 1, subject.vocab_size) if logits is None else logits
    if logits is None:
        raise NotApplicable("no logits come back when the cache is used")
    return logits.float()


def reader_of(subject: Subject, ids: Int[Tensor, "B T"]) -> Reader:
    """A function that reads a piece after the ones before. Raises NotApplicable when the model offers no cache."""
    argument = subject.takes(*ARGUMENTS)
    switch = {"use_cache": True} if subject.takes("use_cache") else {}
    if argument is None:
        if not switch or not any(hasattr(subject.model, name) for name in RESETS):
            raise NotApplicable("the model offers no KV cache")
        reset(subject)
        return lambda piece: subject.raw(piece, **switch)
    ours = vidro_reader(subject, ids, argument)
    if ours is not None:
        return ours
    first = subject.raw(ids[:, :1], **switch)
    if handed_back(first) is not None:
        return Returned(subject, argument, switch)
    for made in empty_caches(subject, ids):
        try:
            subject.raw(ids[:, :1], **{argument: made}, **switch)
        except Exception:  # this class was no cache of this model, or is made in another way
            continue
        return Handed(subject, argument, next(empty_caches(subject, ids, type(made))), switch)
    raise NotApplicable(f"it is not known how to make a {argument} for this model")


class Returned:
    """A cache that comes back with the logits and is given to the next call."""

    def __init__(self, subject: Subject, argument: str, switch: dict[str, Any]) -> None:
        self.subject, self.argument, self.switch = subject, argument, switch
        self.held: Any = None

    def __call__(self, piece: Int[Tensor, "B T"]) -> Any:
        more = {} if self.held is None else {self.argument: self.held}
        output = self.subject.raw(piece, **more, **self.switch)
        self.held = handed_back(output)
        return output


class Handed:
    """A cache object that the model fills."""

    def __init__(self, subject: Subject, argument: str, held: Any, switch: dict[str, Any]) -> None:
        self.subject, self.argument, self.held, self.switch = subject, argument, held, switch

    def __call__(self, piece: Int[Tensor, "B T"]) -> Any:
        return self.subject.raw(piece, **{self.argument: self.held}, **self.switch)


def handed_back(output: Any) -> Any:
    """The cache in what a model returned: by its name, or what follows the logits and is no plain tensor."""
    for name in ARGUMENTS:
        value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
        if value is not None:
            return value
    if isinstance(output, tuple | list):
        rest = [item for item in output[1:] if item is not None and not isinstance(item, Tensor)]
        return rest[-1] if rest else None
    return None


def vidro_reader(subject: Subject, ids: Int[Tensor, "B T"], argument: str) -> Reader | None:
    """The cache of our own models, which is told how many tokens to keep."""
    from vidro.model.cache import KVCache
    from vidro.model.transformer import Transformer

    if not isinstance(subject.model, Transformer):
        return None
    held = KVCache(subject.model.config, ids.shape[0], ids.shape[1])

    def read(piece: Int[Tensor, "B T"]) -> Any:
        output = subject.raw(piece, **{argument: held})
        held.advance(piece.shape[1])
        return output

    return read


def empty_caches(subject: Subject, ids: Int[Tensor, "B T"], kind: type | None = None) -> Iterator[Any]:
    """Empty objects of the classes named …Cache beside the model, made from its sizes."""
    for cls in [kind] if kind is not None else cache_classes(subject):
        arguments = cache_arguments(cls, subject, ids)
        if arguments is not None:
            with contextlib.suppress(Exception):  # the class wants something else
                yield cls(**arguments)


def cache_classes(subject: Subject) -> list[type]:
    """Classes that may be caches of this model: what forward's annotation names, and what is named …Cache beside it."""
    named: list[Any] = []
    with contextlib.suppress(Exception):  # annotations need not be real names
        hints = typing.get_type_hints(type(subject.model).forward)
        for name in ARGUMENTS:
            named += [hints.get(name), *typing.get_args(hints.get(name))]
    for cls in type(subject.model).__mro__:
        home = sys.modules.get(cls.__module__)
        named += [value for name, value in vars(home).items() if name.endswith("Cache")] if home is not None else []
    own = [item for item in named if inspect.isclass(item) and item.__module__ not in ("builtins", "types", "torch")]
    return list(dict.fromkeys(own))


def cache_arguments(cls: type, subject: Subject, ids: Int[Tensor, "B T"]) -> dict[str, Any] | None:
    """What a cache class is made from: the config, or sizes by their names; None when a name is unknown."""
    holder = next((h for h in (getattr(subject.model, n, None) for n in HOLDERS) if h is not None), subject.model)
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD,
        ):  # fmt: skip
            continue
        rows = ids.shape[0] if "batch" in name else None
        size = rows if rows is not None else holder if name in HOLDERS else find_size_of(holder, name)
        size = len(layers_of(subject)) if size is None and "layer" in name else size
        if size is None:
            return None
        arguments[name] = size
    return arguments


def find_size_of(holder: Any, name: str) -> int | None:
    """The model's size that a constructor calls `name`."""
    from vidro.learn.checker.sizes import NAMES, meaning

    known = meaning(name)
    return find_size(holder, known) if known in NAMES else None


def layers_of(subject: Subject) -> list[Any]:
    """The model's blocks: its longest list of modules."""
    lists = [list(m) for m in subject.model.modules() if isinstance(m, torch.nn.ModuleList | torch.nn.Sequential)]
    return max(lists, key=len, default=[])


def reset(subject: Subject) -> None:
    """Let the model forget what it keeps inside."""
    for name in RESETS:
        if callable(method := getattr(subject.model, name, None)):
            method()
