"""`FILE.py:NAME` and `--config` made into a model and its report.

The file is the reader's own and runs as such. What it prints goes to stderr. Not here: how a model is made from a
class (`building`), what is looked at (`checking`).
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vidro.config.load import read_toml
from vidro.core.errors import UsageError, did_you_mean
from vidro.learn.checker.building import Built, build
from vidro.learn.checker.checking import check_model
from vidro.learn.checker.faults import Report
from vidro.learn.exercise import Solution, loaded

WHOLE_MODELS = re.compile(r"(GPT\d*|LM|Model|Transformer)$")


def check_file(target: str, *, config: Sequence[str] = (), reference: str | None = None, seed: int = 0) -> Report:
    """Make the model that `target` names and check it.

    `config`: files or KEY=VALUE. `reference`: another FILE.py:NAME, made with the same settings. Raises UsageError for
    a name or setting that is not there, LessonError when the file does not run, ModelError when nothing can be made.
    """
    settings = read_settings(config)
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as stack:
        built = stack.enter_context(opened(target, settings, seed))
        other = None
        if reference is not None:
            other = stack.enter_context(opened(reference, settings, seed)).model
        return check_model(
            built.model,
            vocab_size=built.size("vocab_size"),
            context_length=built.size("context_length"),
            reference=other,
            trained=False if built.settings else None,
            seed=seed,
            notes=(f"built with {built.said()}",),
        )


@contextlib.contextmanager
def opened(target: str, settings: dict[str, Any], seed: int) -> Iterator[Built]:
    """The model of FILE.py:NAME, while its file is loaded."""
    file, name = split_target(target)
    path = Path(file)
    if not path.is_file():
        raise UsageError("there is no such file", where=path)
    with loaded(path) as solution:
        made_by = chosen(solution, name)
        yield build(made_by, settings, vars(solution.module), where=target, seed=seed)


def split_target(target: str) -> tuple[str, str | None]:
    """File and name. Raises UsageError for anything but a Python file.

    >>> split_target("my/gpt.py:GPT"), split_target("gpt.py")
    (('my/gpt.py', 'GPT'), ('gpt.py', None))
    """
    found = re.fullmatch(r"(.+\.py)(?::([A-Za-z_]\w*))?", target)
    if found is None:
        hint = "For example my_gpt.py:GPT; save a notebook's cells as a .py file."
        raise UsageError("this does not name a class in a Python file", where=target, hint=hint)
    return found[1], found[2]


def chosen(solution: Solution, name: str | None) -> Any:
    """The object of that name; without one, the only class that looks like a whole model."""
    if name is not None:
        if not hasattr(solution.module, name):
            hint = did_you_mean(name, solution.names()) if solution.names() else None
            raise UsageError(f"there is no {name}", where=solution.path, hint=hint)
        return getattr(solution.module, name)
    own = {n: getattr(solution.module, n) for n in solution.names()}
    classes = [n for n, value in own.items() if isinstance(value, type) and issubclass(value, nn.Module)]
    whole = classes if len(classes) == 1 else [n for n in classes if WHOLE_MODELS.search(n)]
    if len(whole) == 1:
        return own[whole[0]]
    if not classes:
        hint = "Name a function that makes one: FILE.py:NAME."
        raise UsageError("there is no class of a torch.nn.Module", where=solution.path, hint=hint)
    hint = f"Say which: {solution.path.name}:NAME; it has {', '.join(whole or classes)}."
    raise UsageError("there are several models", where=solution.path, hint=hint)


def read_settings(config: Sequence[str]) -> dict[str, Any]:
    """All settings of files (.json, .toml) and of KEY=VALUE, the later over the earlier."""
    settings: dict[str, Any] = {}
    for said in config:
        name, equals, value = said.partition("=")
        if equals and name.isidentifier():
            settings[name] = plain_value(value)
        elif said.endswith(".toml"):
            settings |= read_toml(Path(said))
        elif said.endswith(".json"):
            settings |= read_json(Path(said))
        else:
            raise UsageError(f"{said!r} is no setting", where="config", hint="Say KEY=VALUE, or a .json or .toml file.")
    return settings


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("there is no such file", where=path) from None
    except (ValueError, OSError) as error:
        raise UsageError(f"this is not a JSON file: {error}", where=path) from None
    if not isinstance(found, dict):
        raise UsageError("this is not a JSON object", where=path)
    return found


def plain_value(text: str) -> Any:
    """A number, true, false, null, or the text itself.

    >>> plain_value("10_000"), plain_value("0.1"), plain_value("true"), plain_value("sdpa")
    (10000, 0.1, True, 'sdpa')
    """
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
