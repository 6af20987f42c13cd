"""Build, fill and call a reader's module, whatever sensible interface it has.

The book that a reader follows writes `CausalAttention(d_in, d_out, context_length, dropout, qkv_bias=False)` with
`W_query` as a raw parameter [d_in, d_out] or as a `Linear` [d_out, d_in]; others write `CausalSelfAttention(config)`
with one `c_attn`. An exercise is about attention and not about names, so here are the names: what a size, a matrix or
an input may be called. What cannot be understood raises Wrong, which says what was found.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vidro.core.shapes import Float
from vidro.learn.exercise import Wrong

SIZES: dict[str, tuple[str, ...]] = {
    "d_in": ("d_in", "in_dim", "input_dim", "d_model", "emb_dim", "embed_dim", "n_embd", "hidden_size", "dim"),
    "d_out": ("d_out", "out_dim", "output_dim"),
    "context_length": (
        "context_length",
        "context_size",
        "block_size",
        "max_length",
        "max_len",
        "seq_len",
        "max_seq_len",
    ),
    "dropout": ("dropout", "drop_rate", "dropout_rate", "p"),
    "n_heads": ("n_heads", "num_heads", "n_head", "heads", "num_attention_heads"),
    "bias": ("bias", "qkv_bias", "use_bias"),
    "vocab_size": ("vocab_size", "n_vocab", "vocabulary_size"),
    "n_layers": ("n_layers", "num_layers", "n_layer", "num_hidden_layers"),
    "d_ff": ("d_ff", "hidden_dim", "ff_dim", "intermediate_size"),
    "rank": ("rank", "r"),
    "alpha": ("alpha", "lora_alpha"),
    "eps": ("eps", "epsilon"),
}
"""What a constructor's parameters may be called, for each of our names."""

CONFIGS = ("config", "cfg", "conf", "args")

ROLES: dict[str, tuple[str, ...]] = {
    "query": ("wquery", "wq", "query", "queryproj", "qproj", "toq", "q", "queries"),
    "key": ("wkey", "wk", "key", "keyproj", "kproj", "tok", "k", "keys"),
    "value": ("wvalue", "wv", "value", "valueproj", "vproj", "tov", "v", "values"),
    "out": ("outproj", "oproj", "wo", "wout", "cproj", "proj", "out", "output", "toout"),
}
"""What an attention's matrices may be called, in small letters without underscores."""

FUSED = ("qkv", "wqkv", "qkvproj", "cattn", "inproj", "toqkv")
"""The same for one matrix that holds query, key and value side by side."""


class Config(dict[str, Any]):
    """Sizes under every name, as items (`cfg["emb_dim"]`) and as attributes (`config.n_embd`)."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


def build(kind: Callable[..., Any], **sizes: Any) -> Any:
    """Call a class with the sizes that it asks for, under its names. Raises Wrong for one that cannot be guessed.

    >>> class Theirs:
    ...     def __init__(self, emb_dim, num_heads, qkv_bias=False):
    ...         self.said = emb_dim, num_heads, qkv_bias
    >>> build(Theirs, d_in=6, d_out=6, n_heads=2, dropout=0.0).said
    (6, 2, False)
    """
    called = {alias: value for name, value in sizes.items() for alias in (name, *SIZES.get(name, ()))}
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in CONFIGS:
            arguments[name] = Config(called)
        elif name in called:
            arguments[name] = called[name]
        elif parameter.default is parameter.empty:
            title = getattr(kind, "__name__", "it")
            hint = f"Call it {' or '.join(sorted(sizes))}, or give it a default."
            raise Wrong(f"{title} asks for {name!r}, and the exercise cannot know what that is", hint=hint)
    return kind(**arguments)


def matrix(module: nn.Module, role: str) -> Float[Tensor, "D_in D_out"]:
    """The matrix of a role ("query", "key", "value", "out") so that x @ matrix is its product; shares its memory.

    >>> attention = nn.ModuleDict({"q_proj": nn.Linear(3, 2, bias=False)})
    >>> matrix(attention, "query").shape
    torch.Size([3, 2])
    """
    holder = _find(module, ROLES[role])
    if holder is not None:
        return _weights(holder)
    fused = _find(module, FUSED)
    if fused is None or role not in ("query", "key", "value"):
        names = sorted({name.removesuffix(".weight") for name, _ in module.named_parameters()})
        raise Wrong(f"no matrix for the {role} was found", hint=f"Its parameters are {', '.join(names) or 'none'}.")
    return _weights(fused).chunk(3, dim=-1)[("query", "key", "value").index(role)]


def fill(module: nn.Module, **values: Float[Tensor, "D_in D_out"]) -> None:
    """Put numbers into the matrices of the named roles and 0 into their biases. Raises Wrong for another size."""
    for role, numbers in values.items():
        place = matrix(module, role)
        if place.shape != numbers.shape:
            raise Wrong(f"the {role} matrix has another size", found=list(place.shape), expected=list(numbers.shape))
        with torch.no_grad():
            place.copy_(numbers)
            for names in (ROLES[role], FUSED if role != "out" else ()):
                bias = getattr(_find(module, names), "bias", None)
                if isinstance(bias, Tensor):
                    bias.zero_()


def run(module: Callable[[Tensor], Any], x: Float[Tensor, "B T D"], *, rows_first: bool = False) -> Tensor:
    """The module's answer to a batch. A module that takes one text [T, D] at a time is called for each.

    `rows_first` tries one text at a time first. Of a tuple the first part counts. Raises what the module raised.
    """
    ways = [_rows, _batch] if rows_first else [_batch, _rows]
    first: Exception | None = None
    for way in ways:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = way(module, x)
        except NotImplementedError:
            raise
        except Exception as problem:
            first = problem if first is None else first
        else:
            if answer.ndim == x.ndim:
                return answer
            first = first or Wrong("the answer has another number of axes", found=list(answer.shape))
    assert first is not None
    raise first


def _batch(module: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    return _first(module(x))


def _rows(module: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    return torch.stack([_first(module(text)) for text in x])


def _first(answer: Any) -> Tensor:
    answer = answer[0] if isinstance(answer, tuple | list) and answer else answer
    if not isinstance(answer, Tensor):
        raise Wrong("the answer is no tensor", found=type(answer).__name__, hint="Is there a return?")
    return answer


def _find(module: nn.Module, names: Iterable[str]) -> nn.Module | Tensor | None:
    """The one part or parameter with one of these names: directly in the module, else anywhere below if only once."""
    parts: dict[str, Any] = {**dict(module.named_parameters()), **dict(module.named_modules())}
    fitting = {path: part for path, part in parts.items() if _bare(path.rpartition(".")[2]) in names}
    direct = [part for path, part in fitting.items() if "." not in path]
    found = direct or list(fitting.values())
    return found[0] if len(found) == 1 else None


def _bare(name: str) -> str:
    return name.replace("_", "").lower()


def _weights(holder: nn.Module | Tensor) -> Tensor:
    """[in, out] of a raw parameter, a Linear (which stores [out, in]) or a Conv1D of Transformers."""
    if isinstance(holder, Tensor):
        return holder.data
    weight = getattr(holder, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise Wrong(f"a {type(holder).__name__} holds no matrix", hint="Use nn.Linear or nn.Parameter.")
    return weight.data if type(holder).__name__ == "Conv1D" else weight.data.T
