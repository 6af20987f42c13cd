"""From a TOML file and flags to one checked settings object, and back to ``run.toml``.

Order: defaults < TOML file < flags. Flags are flat (`lr=0.001`); files have the schema's sections (`[optim] lr =
0.001`). An unknown key is an error with the nearest known one. Not here: what each setting means (`schema`).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import tomli_w

from vidro.config.schema import (
    BudgetOptions,
    ClassifyOptions,
    InstructOptions,
    PreferOptions,
    PretrainOptions,
    Settings,
)
from vidro.core.errors import UsageError, did_you_mean

S = TypeVar("S", bound=Settings)


def leaves(schema: type[Settings]) -> dict[str, tuple[str | None, Any]]:
    """Every setting of `schema` and its sections: flat name → (section or None, dataclass field).

    Names are unique across sections (asserted), so a flag needs no section.
    """
    found: dict[str, tuple[str | None, Any]] = {}
    hints = get_type_hints(schema)
    for item in fields(schema):
        kind = hints[item.name]
        nested = isinstance(kind, type) and is_dataclass(kind)
        for name, entry in [(i.name, (item.name, i)) for i in fields(kind)] if nested else [(item.name, (None, item))]:
            assert name not in found, f"{name} stands in two sections"
            found[name] = entry
    return found


def resolve(schema: type[S], *, file: Path | None = None, flags: dict[str, Any] | None = None) -> S:
    """The settings object from an optional TOML file and flat flags (`None` values are "not said").

    Raises UsageError for unreadable TOML, unknown names, wrong types and values out of range.
    """
    known = leaves(schema)
    values: dict[str, Any] = {}
    if file is not None:
        values.update(_flatten(read_toml(file), schema, where=file))
    for name, value in (flags or {}).items():
        if name not in known:
            raise UsageError(f"there is no setting {name!r}", hint=did_you_mean(name, known))
        if value is not None:
            values[name] = value
    return build(schema, values)


def build(schema: type[S], values: dict[str, Any]) -> S:
    """The settings object from flat, known names; each value is converted to its field's type or refused."""
    hints = get_type_hints(schema)
    arguments: dict[str, Any] = {}
    for item in fields(schema):
        kind = hints[item.name]
        if isinstance(kind, type) and issubclass(kind, Settings):
            inner = get_type_hints(kind)
            arguments[item.name] = kind(
                **{i.name: _convert(i.name, values[i.name], inner[i.name]) for i in fields(kind) if i.name in values}
            )
        elif item.name in values:
            arguments[item.name] = _convert(item.name, values[item.name], kind)
    return schema(**arguments)


def read_toml(path: Path) -> dict[str, Any]:
    """The parsed file. Raises UsageError when it is missing or is not TOML (line and column named)."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("there is no such file", where=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        hint = "vidro pretrain FILE --minutes 1 --dry-run prints one that is right."
        raise UsageError(f"this is not a TOML file: {error}", where=path, hint=hint) from None


RUN_SCHEMAS: dict[str, type[Settings]] = {
    "base": PretrainOptions,
    "classifier": ClassifyOptions,
    "instruct": InstructOptions,
    "preferred": PreferOptions,
}
"""The settings of each kind of run."""


def kind_of(table: dict[str, Any]) -> str:
    """What kind of run these settings are of, by the sections that only it has.

    >>> kind_of({"labels": {}}), kind_of({"rows": {"beta": 0.1}}), kind_of({"rows": {}}), kind_of({})
    ('classifier', 'preferred', 'instruct', 'base')
    """
    if "labels" in table:
        return "classifier"
    if "rows" in table:
        return "preferred" if "beta" in table["rows"] else "instruct"
    return "base"


def read_any_settings(run_toml: Path) -> Settings:
    """The resolved settings of a run of any kind. Raises UsageError when the file is missing or damaged."""
    table = read_toml(run_toml)
    return from_dict(RUN_SCHEMAS[kind_of(table)], table, where=run_toml)


def read_settings(run_toml: Path) -> PretrainOptions:
    """The resolved settings of a pretrained run. Raises UsageError for another kind, or a damaged file."""
    table = read_toml(run_toml)
    if (kind := kind_of(table)) != "base":
        raise UsageError(f"this run was fine-tuned ({kind})", where=run_toml.parent, hint=f"Use {COMMANDS[kind]}.")
    return from_dict(PretrainOptions, table, where=run_toml)


COMMANDS = {
    "base": "vidro pretrain",
    "classifier": "vidro finetune classify",
    "instruct": "vidro finetune instruct",
    "preferred": "vidro finetune prefer",
}
"""Which command makes a run of each kind."""


def the_budget(budget: BudgetOptions) -> str:
    """The name of the one budget that is said. Raises UsageError for none or several."""
    said = [item.name for item in fields(budget) if getattr(budget, item.name) is not None]
    if len(said) == 1:
        return said[0]
    hint = "Say one of --minutes, --tokens, --steps and --epochs; for example --minutes 10."
    if not said:
        raise UsageError("for how long?", hint=hint)
    raise UsageError(f"{' and '.join('--' + name for name in said)} are both budgets", hint=hint)


def to_dict(settings: Settings) -> dict[str, Any]:
    """Plain nested dict of all values that are said; `None` is left out (TOML has no null)."""
    plain: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if isinstance(value, Settings):
            plain[item.name] = to_dict(value)
        elif value is not None:
            plain[item.name] = list(value) if isinstance(value, tuple) else value
    return plain


def from_dict(schema: type[S], values: dict[str, Any], *, where: object = None) -> S:
    """The inverse of `to_dict`. Raises UsageError on unknown keys."""
    return build(schema, _flatten(values, schema, where=where))


def to_toml(values: dict[str, Any]) -> str:
    """TOML text of a nested dict."""
    return tomli_w.dumps(values)


def _flatten(table: dict[str, Any], schema: type[Settings], *, where: object) -> dict[str, Any]:
    known = leaves(schema)
    sections = {section for section, _ in known.values() if section is not None}
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if key in sections:
            if not isinstance(value, dict):
                hint = f"Write [{key}] on a line of its own, and its settings below."
                raise UsageError(f"[{key}] must be a table", where=where, hint=hint)
            for name, inner in value.items():
                if name not in known or known[name][0] != key:
                    names = [n for n, (section, _) in known.items() if section == key]
                    raise UsageError(f"unknown key {key}.{name}", where=where, hint=did_you_mean(name, names))
                flat[name] = inner
        elif key in known and known[key][0] is None:
            flat[key] = value
        else:
            names = sections | {n for n, (section, _) in known.items() if section is None}
            raise UsageError(f"unknown key {key!r}", where=where, hint=did_you_mean(key, names))
    return flat


def _convert(name: str, value: Any, kind: Any) -> Any:
    """`value` as its field's type: int → float is fine, list → tuple is fine, anything else must match."""
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    for option in options:
        converted = _as_type(value, option, where=name)
        if converted is not _NO:
            return converted
    wanted = " or ".join(getattr(option, "__name__", str(option)) for option in options if option is not type(None))
    article = "an" if wanted[0] in "aeiou" else "a"
    quoted = isinstance(value, str) and re.fullmatch(r"[+-]?[\d._]+(e[+-]?\d+)?|true|false", value) is not None
    hint = "Numbers, true and false stand without quotes." if quoted else None
    raise UsageError(f"{value!r} is not {article} {wanted}", where=name.replace("_", "-"), hint=hint)


_NO = object()


def _as_type(value: Any, kind: Any, *, where: str) -> Any:
    """`value` as `kind`, or `_NO` when it does not fit. True and False are never numbers here."""
    if get_origin(kind) is tuple:
        return tuple(value) if isinstance(value, list | tuple) else _NO
    if isinstance(value, dict) and issubclass(kind, Settings):
        return from_dict(kind, value, where=where)
    if isinstance(value, bool):
        return value if kind is bool else _NO
    if kind is float and isinstance(value, int):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, kind) else _NO
