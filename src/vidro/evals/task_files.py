"""Finding the tasks of lm-evaluation-harness: by name in the installed harness, in a YAML file, in a folder of them.

A task of one's own is a YAML file in the harness's format, with its rows in a file beside it:

    task: capitals
    dataset_path: json
    dataset_kwargs: {data_files: {test: capitals.jsonl}}     found beside the YAML file, wherever one stands
    test_split: test
    output_type: multiple_choice
    doc_to_text: "{{question}}"
    doc_to_choice: "{{choices}}"
    doc_to_target: answer

Nothing is downloaded: inside `offline` the libraries below refuse to reach out, and a task whose data is not on this
machine is an error. A task file can name Python functions (`!function`), which run; so can the harness's own.

Not here: the questions put to a model (`harness`), running tasks (`tasks`). Read next: `tasks`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidro.core.errors import DataError, UsageError, did_you_mean

OFFLINE_SWITCHES = (
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_DATASETS_OFFLINE"),
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("evaluate.config", "HF_EVALUATE_OFFLINE"),
)
SUFFIXES = (".yaml", ".yml")
HOW_TO_GET_DATA = "Vidro downloads nothing unasked. Fetch it once, in Python: datasets.load_dataset({})."


@dataclass(frozen=True)
class FoundTasks:
    """Tasks ready to run, in the harness's own objects, by name."""

    tasks: dict[str, Any]
    groups: dict[str, Any]

    def to_harness(self) -> dict[str, Any]:
        """What `lm_eval.evaluate` takes."""
        return {
            "tasks": self.tasks,
            "groups": self.groups,
            "group_map": {name: group.child_names for name, group in self.groups.items()},
        }


def harness_module(name: str) -> Any:
    """A module of the harness. Raises UsageError with how to install it where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        missing = (problem.name or "lm_eval").split(".")[0]
        what = "lm-evaluation-harness is not installed"
        if missing != "lm_eval":
            what = f"lm-evaluation-harness cannot be loaded ({problem})"
        raise UsageError(what, hint="pip install 'vidro[harness]'") from None


@contextmanager
def offline() -> Iterator[None]:
    """Inside, `datasets`, `huggingface_hub` and `evaluate` use only what is on this machine, and draw no bars."""
    datasets = importlib.import_module("datasets")
    modules = [(importlib.import_module(module), name) for module, name in OFFLINE_SWITCHES]
    before = [getattr(module, name) for module, name in modules]
    bars = datasets.is_progress_bar_enabled()
    try:
        for module, name in modules:
            setattr(module, name, True)
        datasets.disable_progress_bars()
        yield
    finally:
        for (module, name), value in zip(modules, before, strict=True):
            setattr(module, name, value)
        if bars:
            datasets.enable_progress_bars()


def is_own(name: str) -> bool:
    """Whether a task is meant by its file or folder, not by its name in the harness.

    >>> is_own("my/capitals.yaml"), is_own("arc_easy")
    (True, False)
    """
    return name.endswith(SUFFIXES) or "/" in name or "\\" in name or Path(name).exists()


def find_tasks(names: Sequence[str], *, say: Callable[[str], None]) -> FoundTasks:
    """The tasks meant by names, files and folders, with their data.

    Raises UsageError for a name nobody knows or one that comes twice, DataError for a file that is no task, for data
    that is not there, and for rows that do not fit the task.
    """
    known = [name for name in names if not is_own(name)]
    if known:
        say("Reading the harness's list of tasks, which takes up to a minute.")
    own = [Path(name) for name in names if is_own(name)]
    folders = sorted({folder for path in own if (folder := _searched(path)) is not None})
    manager = harness_module("lm_eval.tasks").TaskManager(include_path=folders, include_defaults=bool(known))
    for entry in manager.task_index.values():
        if entry.yaml_path is not None and any(entry.yaml_path.is_relative_to(folder) for folder in folders):
            entry.cfg, entry.yaml_path = read_task(entry.yaml_path), None
    found = FoundTasks({}, {})
    for name in names:
        for spec in _specs(manager, name):
            _add(found, _load(manager, spec, name))
    return found


def _searched(path: Path) -> Path | None:
    """The folder whose task files can name each other: a folder itself, or the one around a group's file."""
    if path.is_dir():
        return path
    return path.parent if "group" in read_task(path) else None


def _specs(manager: Any, name: str) -> list[Any]:
    """What the harness calls the tasks meant by a name: names, or the content of a file."""
    if not is_own(name):
        if name not in manager.task_index:
            hint = did_you_mean(name, manager.all_tasks)
            raise UsageError(f"the harness has no task {name!r}", hint=hint if len(hint) < 200 else None)
        return [name]
    path = Path(name)
    if path.is_dir():
        return _tops(manager, path)
    config = read_task(path)
    return [config.get("group", config)]  # a group is known by its name, a task by what stands in the file


def _tops(manager: Any, folder: Path) -> list[str]:
    """The groups and tasks of a folder that are not part of another group there."""
    configs = [config for file in sorted(folder.rglob("*.yaml")) if is_task(config := _read_yaml(file))]
    members: set[str] = set()
    for config in configs:
        if isinstance(config.get("task"), list):
            for each in config["task"]:
                name = each if isinstance(each, str) else each.get("task", each.get("group"))
                entry = manager.task_index.get(name)
                members |= {name, *(entry.tags if entry is not None and entry.kind.name == "TAG" else ())}
    names = [config["group"] if "group" in config else config["task"] for config in configs]
    if not names:
        hint = "A task file ends in .yaml and has a line task: NAME."
        raise DataError("there is no task in this folder", where=folder, hint=hint)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two files call their task {twice[0]!r}", where=folder, hint="Give each its own name.")
    return [name for name in names if name not in members]


def is_task(config: dict[str, Any]) -> bool:
    """Whether a YAML file is a task or a group; others are templates that tasks include."""
    return "group" in config or isinstance(config.get("task"), str)


def read_task(path: Path) -> dict[str, Any]:
    """The content of a task file, its data files found beside it. Raises DataError."""
    config = _read_yaml(path)
    if not is_task(config):
        raise DataError("this is not a task", where=path, hint="A task file has a line task: NAME.")
    settings = config.get("dataset_kwargs") or {}
    if "data_files" not in settings:
        return config
    files = _beside(settings["data_files"], path)
    return {**config, "dataset_kwargs": {**settings, "data_files": files}}


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError("there is no such task file", where=path)
    try:
        return harness_module("lm_eval.tasks._yaml_loader").load_yaml(path)
    except Exception as problem:  # YAML that is none, and whatever the Python that a task names may raise
        raise DataError(f"this task file cannot be read ({_said(problem)})", where=path) from None


def _beside(files: Any, task: Path) -> Any:
    """Names of data files as absolute paths: beside the task file, or where one stands. Raises DataError."""
    if isinstance(files, dict):
        return {split: _beside(each, task) for split, each in files.items()}
    if isinstance(files, list):
        return [_beside(each, task) for each in files]
    if not isinstance(files, str) or any(sign in files for sign in "*?["):
        return files
    if "://" in files:
        hint = "Download it and put it beside the task file: Vidro downloads nothing unasked."
        raise DataError(f"the data file {files!r} is not on this machine", where=task, hint=hint)
    for folder in (task.resolve().parent, Path.cwd()):
        if (folder / files).is_file():
            return str(folder / files)
    raise DataError(f"there is no data file {files!r}", where=task, hint="Put it beside the task file.")


def _add(found: FoundTasks, loaded: Any) -> None:
    for kind, more in ((found.tasks, loaded["tasks"]), (found.groups, loaded.get("groups", {}))):
        for name, each in more.items():
            if name in kind:
                raise UsageError(f"the task {name!r} comes twice", hint="Name it once.")
            kind[name] = each


def _load(manager: Any, spec: Any, name: str) -> Any:
    """A task with its data. Raises DataError for whatever stands in its way."""
    try:
        return manager.load([spec])
    except ImportError as problem:
        raise DataError(f"this task needs a library that is not installed ({problem.name})", where=name) from None
    except ConnectionError as problem:
        hint = HOW_TO_GET_DATA.format(_asked(manager, spec, problem))
        raise DataError("the data of this task is not on this machine", where=name, hint=hint) from None
    except Exception as problem:  # a task is a program in YAML, Jinja and Python: anything may be wrong with it
        raise DataError(f"this task cannot be put together ({_said(problem)})", where=name) from None


def _asked(manager: Any, spec: Any, problem: Exception) -> str:
    """What to give to `load_dataset`: a task's own words, or for a group what could not be reached."""
    config = spec
    if isinstance(spec, str):
        entry = manager.task_index[spec]
        config = entry.cfg or {}
    if config.get("dataset_path") is None:
        reached = re.search(r"\B'([^']+)'", str(problem))  # not the one of "couldn't"
        return "…" if reached is None else f"{reached[1]!r}, …"
    return ", ".join(repr(config[key]) for key in ("dataset_path", "dataset_name") if config.get(key) is not None)


def _said(problem: Exception) -> str:
    """An error of another library in one line: its kind and the beginning of what it says."""
    words = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {words[:160]}" if words else type(problem).__name__
