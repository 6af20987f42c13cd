"""Types and shapes of every signature, checked while tests run (`core/shapes.py` is the legend).

beartype looks at all that goes into and comes out of the functions of `PACKAGES`; where a signature speaks of shapes,
jaxtyping sees to it that equal letters are equal sizes. jaxtyping's own import hook does the same and took more than
half of the processor time of all tests: it looks at the arguments twice a call, binds them by `inspect`, and looks anew
at tensors of a shape that passed a moment ago. Not here: processes that tests start, which run unchecked.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, get_args, get_type_hints

from beartype import beartype
from beartype.door import die_if_unbearable
from jaxtyping import AbstractArray, jaxtyped

PACKAGES = ("vidro.model", "vidro.infer", "vidro.evals", "vidro.inspect", "vidro.checkpoint", "vidro.learn")
PLAIN = (int, float, bool, type(None))
VAR_POSITIONAL, VAR_KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
Key = tuple[Any, ...]
CONTEXT = jaxtyped("context")  # inside, a letter has one size; those of an outer context are not looked at


def check_packages() -> None:
    """From now on the modules of `PACKAGES` are checked. None of them may be imported yet."""
    early = sorted(name for name in sys.modules if name.startswith(PACKAGES))
    assert not early, f"imported before they could be checked: {early}"
    sys.meta_path.insert(0, _Finder())


def checked(made: Any) -> Any:
    """A function, or the `__init__` of a dataclass, that checks what it is called with and what it returns."""
    if not isinstance(made, type):
        return _checked_function(made)
    if dataclasses.is_dataclass(made) and "__init__" in vars(made):
        made.__init__ = _checked_function(made.__init__)
    return made


def _checked_function(function: Callable[..., Any]) -> Callable[..., Any]:
    hints = _hints(function)  # now: a test may put something else under a name that they use
    shaped = any(map(_speaks_of_shapes, hints.values()))
    strict: Callable[..., Any] | None = None
    passed: dict[Key, set[Key]] = {}  # what went in and came out, and was right

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        nonlocal strict
        if strict is None:  # most functions are never called in a process: those cost little
            function.__annotations__ = hints
            strict = _strict(function, hints)
        if not shaped:
            return strict(*args, **kwargs)
        key = _key((*args, *(f"{name}=" for name in kwargs), *kwargs.values()))
        if key not in passed:
            with CONTEXT:
                out = strict(*args, **kwargs)
        else:
            out = function(*args, **kwargs)
            if _key((out,)) not in passed[key]:
                _look_again(function, hints, out, args, kwargs)
        if key is not None and (found := _key((out,))) is not None:
            passed.setdefault(key, set()).add(found)
        return out

    return call


def _strict(function: Callable[..., Any], hints: dict[str, Any]) -> Callable[..., Any]:
    if not inspect.isgeneratorfunction(function):
        return beartype(function)

    def begin(*args: Any, **kwargs: Any) -> Any:
        """What a generator is given is looked at now: its first step may come inside another context."""
        _look_again(function, hints, None, args, kwargs)
        return function(*args, **kwargs)

    return begin


def _key(values: Iterable[Any]) -> Key | None:
    """All that the checks look at, or None where they look deeper: what passed once need not be looked at again."""
    found: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is str:
            found.append(value)  # it may have to be one of several
        elif kind.__module__.startswith(("torch", "numpy")):
            found.append((kind, getattr(value, "dtype", None), getattr(value, "shape", None)))
        elif kind in PLAIN or (kind.__module__.startswith("vidro.") and not isinstance(value, (tuple, list, dict))):
            found.append(kind)
        else:
            return None
    return tuple(found)


def _look_again(function: Callable[..., Any], hints: dict[str, Any], out: Any, args: Any, kwargs: Any) -> None:
    """Whether a result that these arguments had never given before is right, too."""
    signature = inspect.signature(function)
    with CONTEXT:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            kind = signature.parameters[name].kind
            several = value if kind is VAR_POSITIONAL else value.values() if kind is VAR_KEYWORD else (value,)
            for each in several:
                die_if_unbearable(each, hints.get(name, Any))
        die_if_unbearable(out, hints.get("return", Any))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations as types. What is not known yet, or to type checkers only (`TYPE_CHECKING`), may be anything."""

    def alone() -> None: ...

    hints: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        alone.__annotations__ = {name: annotation}
        try:
            hints |= get_type_hints(alone, function.__globals__, include_extras=True)
        except NameError:
            hints[name] = Any
    if inspect.isgeneratorfunction(function):
        hints["return"] = Any  # what it yields is looked at by who takes it
    return hints


def _speaks_of_shapes(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(map(_speaks_of_shapes, hint if isinstance(hint, list) else get_args(hint)))


# The hook: every `def` and `class` of a module gets the decorator above


class _Decorating(ast.NodeTransformer):
    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        opening = sum(1 for _ in itertools.takewhile(_opens, node.body))
        node.body.insert(opening, ast.ImportFrom(__name__, [ast.alias(checked.__name__, "__checked__")], 0))
        return ast.fix_missing_locations(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list.append(ast.copy_location(ast.Name("__checked__", ast.Load()), node))  # the innermost
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, ast.copy_location(ast.Name("__checked__", ast.Load()), node))  # after @dataclass
        return self.generic_visit(node)


def _opens(statement: ast.stmt) -> bool:
    """A docstring, or an import from `__future__`: what must stay first."""
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "__future__"
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """From the source each time: what lies in `__pycache__` is unchecked."""
        path = self.get_filename(fullname)
        tree = _Decorating().visit(ast.parse(self.get_data(path), path))
        return compile(tree, path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not any(fullname == package or fullname.startswith(package + ".") for package in PACKAGES):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
