"""A model made from whatever its author wrote: a class or function, with settings in whatever form it wants them.

Keywords by any known name, a dataclass or config class (of the file, of an annotation, of Transformers), a dict that
lies in the file, or a dict made up here that answers to `cfg["emb_dim"]`, `cfg.n_embd` and the like. Sizes that the
reader does not choose are small, and every one of them is said. Not here: files and flags (`opening`).
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vidro.core.errors import ModelError, UsageError, did_you_mean
from vidro.learn.checker.sizes import SHRUNK, SMALL, by_meaning, find_size, meaning
from vidro.learn.checker.subject import described

SETTINGS = ("cfg", "config", "conf", "args", "params", "hparams", "configuration", "options", "settings")
OTHERS: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Built:
    """A model, and the settings it was made with, by its author's names."""

    model: nn.Module
    settings: dict[str, Any]

    def size(self, wanted: str) -> int | None:
        """The size of that meaning among the settings."""
        return find_size(self.settings, wanted)

    def said(self) -> str:
        """The settings in one line."""
        words = [f"{name}={value}" for name, value in self.settings.items() if isinstance(value, int | float | str)]
        return ", ".join(words) or "no settings"


class AnySettings(dict[str, Any]):
    """Settings under any name: as key, as attribute, by a synonym; what is not there is a small default.

    >>> cfg = AnySettings(n_layer=3)
    >>> cfg["num_layers"], cfg.emb_dim, cfg.get("colour", "red")
    (3, 32, 'red')
    >>> sorted(cfg.asked)
    ['colour', 'emb_dim', 'num_layers']
    """

    def __init__(self, *values: Mapping[str, Any], **more: Any) -> None:
        super().__init__(*values, **more)
        object.__setattr__(self, "asked", set())

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def __missing__(self, name: str) -> Any:
        same = [value for own, value in self.items() if meaning(own) is not None and meaning(own) == meaning(name)]
        known = meaning(name)
        if not same and known is None and name not in OTHERS:
            raise KeyError(name)
        self[name] = same[0] if same else OTHERS[name] if known is None else SMALL[known]
        return self[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        """A setting of that name or meaning, else the default."""
        self.asked.add(name)
        same = [value for own, value in self.items() if own == name or (meaning(own) or own) == meaning(name)]
        return same[0] if same else default


def build(made_by: Any, settings: Mapping[str, Any], home: Mapping[str, Any], *, where: str, seed: int) -> Built:
    """The model that a class, function or finished module stands for.

    `home`: what lies beside it in the file. Raises UsageError for a setting nobody takes and ModelError when the
    author's code raises or asks for something unknown.
    """
    if isinstance(made_by, nn.Module):
        if settings:
            hint = "Leave --config out, or name its class."
            raise UsageError("this is a finished model, which takes no settings", where=where, hint=hint)
        return Built(made_by, {})
    if not callable(made_by):
        raise UsageError("this is neither a class nor a function that makes a model", where=where)
    said: Mapping[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            keywords, said = arguments(made_by, settings, home, where)
            model = made_by(**keywords)
            if isinstance(said, AnySettings):
                unread(said, settings, where)
        except (UsageError, ModelError):
            raise
        except (KeyError, AttributeError) as error:
            hint = f"If it is a setting, say it: --config {error.args[0] if error.args else 'NAME'!s}=VALUE."
            raise ModelError(f"cannot be built: {described(error)}", where=where, hint=hint) from error
        except Exception as error:
            hint = f"It was given {dict(said)}; say others with --config KEY=VALUE."
            raise ModelError(f"cannot be built: {described(error)}", where=where, hint=hint) from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"makes a {type(model).__name__}, not a torch.nn.Module", where=where)
    return Built(model, dict(said))


def arguments(
    made_by: Callable[..., Any], settings: Mapping[str, Any], home: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """What the constructor is called with, and the settings in it (which a made-up dict learns while it is read)."""
    parameters = parameters_of(made_by)
    holder = config_parameter(made_by, parameters)
    if holder is None:
        keywords = fitting(parameters, settings, where)
        return keywords, keywords
    config = config_class(made_by, holder, home)
    rest = {name: p for name, p in parameters.items() if name != holder.name and p.default is p.empty}
    others = fitting(rest, {}, where)
    if config is not None:
        keywords = fitting(parameters_of(config), settings, where)
        return {holder.name: config(**keywords), **others}, keywords
    beside = dict_beside(home)
    placed, strange = by_meaning(dict(settings), beside)
    made_up = AnySettings(small(beside) | placed | {name: settings[name] for name in strange})
    return {holder.name: made_up, **others}, made_up


def unread(made_up: AnySettings, settings: Mapping[str, Any], where: str) -> None:
    """Raise UsageError for a setting of the reader's that the constructor never looked at."""
    read = {meaning(name) or name for name in made_up.asked}
    for name in settings:
        if read and (meaning(name) or name) not in read:
            raise UsageError(f"there is no setting {name!r}", where=where, hint=did_you_mean(name, made_up.asked))


def parameters_of(made_by: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a class or function, by name."""
    try:
        found = inspect.signature(made_by).parameters
    except (TypeError, ValueError):
        return {}
    return dict(found)


def fitting(parameters: dict[str, inspect.Parameter], settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values for named arguments: the reader's, and small ones for sizes. Raises UsageError for what fits none."""
    named = {name: p for name, p in parameters.items() if p.kind not in VARIABLE}
    placed, strange = by_meaning(dict(settings), named)
    if strange and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        placed |= {name: settings[name] for name in strange}
    elif strange:
        raise UsageError(f"there is no setting {strange[0]!r}", where=where, hint=did_you_mean(strange[0], named))
    values: dict[str, Any] = {}
    for name, parameter in named.items():
        known, required = meaning(name), parameter.default is parameter.empty
        whole = isinstance(parameter.default, int) and not isinstance(parameter.default, bool)
        if name in placed:
            continue
        if known in SMALL and (required or (known in SHRUNK and whole)):
            values[name] = SMALL[known]
        elif required and name in OTHERS:
            values[name] = OTHERS[name]
        elif required:
            raise ModelError(f"wants {name!r}", where=where, hint=f"Say it: --config {name}=VALUE.")
    return {**values, **placed}


def small(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with small sizes."""
    return {
        name: SMALL[known] if (known := meaning(name)) in SHRUNK and known is not None else value
        for name, value in values.items()
    }


def config_parameter(made_by: Callable[..., Any], parameters: dict[str, inspect.Parameter]) -> inspect.Parameter | None:
    """The argument that holds all settings, if there is one."""
    for name, parameter in parameters.items():
        if parameter.kind in VARIABLE:
            continue
        if name.lower().strip("_") in SETTINGS or is_config(hints_of(made_by).get(name)):
            return parameter
        return None  # settings come first
    return None


def hints_of(made_by: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a constructor, where they are real types."""
    try:
        return typing.get_type_hints(made_by.__init__ if inspect.isclass(made_by) else made_by)
    except Exception:  # an annotation may name what is not there
        return {}


def is_config(kind: Any) -> bool:
    """Whether a type holds settings: a dataclass, or one that is called so."""
    named = inspect.isclass(kind) and kind.__name__.endswith(("Config", "Args", "Configuration", "Settings"))
    return inspect.isclass(kind) and (dataclasses.is_dataclass(kind) or named)


def config_class(
    made_by: Callable[..., Any], holder: inspect.Parameter, home: Mapping[str, Any]
) -> Callable[..., Any] | None:
    """The class of the settings: annotated, Transformers' own, or the only one in the file."""
    annotated = hints_of(made_by).get(holder.name)
    if is_config(annotated):
        return annotated
    own = getattr(made_by, "config_class", None)
    if inspect.isclass(own):
        return own
    beside = [value for value in home.values() if is_config(value) and value.__module__ == home.get("__name__")]
    return beside[0] if len(beside) == 1 else None


def dict_beside(home: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that lie in the file as a dict; nothing when there are none."""
    for value in home.values():
        if isinstance(value, dict):
            sizes = [name for name in value if isinstance(name, str) and meaning(name) in SHRUNK]
            if len(sizes) >= 3:
                return value
    return {}
